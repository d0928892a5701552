"""The losses of the high-resolution FCN and of iterU-Net, by hand."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("monai")

from ContrastSynthLib.losses import gradient_difference_loss, local_loss


def volume(*values):
    return torch.tensor(values, dtype=torch.float64).reshape(1, 1, 1, 1, -1)


def test_the_local_loss_is_that_of_what_enhances():
    t1, post = volume(0.2, 0.2, 0.2, 0.2), volume(0.2, 0.25, 0.5, 0.6)
    made = volume(0.9, 0.9, 0.4, 0.4)
    assert local_loss(made, post, t1) == pytest.approx((0.1 + 0.2) / 2)
    assert local_loss(made, post, t1, threshold=0.35) == pytest.approx(0.2)
    assert local_loss(made, post, t1, most=0.35) == pytest.approx(0.1), "without vessels"
    assert local_loss(made, t1, t1) == 0


def test_the_gradient_difference_is_that_of_the_steps_whatever_their_sign():
    real = volume(0.0, 1.0, 1.0)
    assert gradient_difference_loss(real, real) == 0
    assert gradient_difference_loss(-real + 5, real) == 0
    assert gradient_difference_loss(volume(0.0, 0.4, 0.6), real) == pytest.approx((0.6 + 0.2) / 2)


def test_every_axis_counts_and_one_of_a_single_voxel_does_not():
    generator = torch.Generator().manual_seed(0)
    made, real = torch.rand(2, 2, 1, 3, 4, 5, generator=generator, dtype=torch.float64)
    wanted = sum(
        (made.diff(dim=axis).abs() - real.diff(dim=axis).abs()).abs().mean() for axis in (2, 3, 4)
    )
    assert gradient_difference_loss(made, real) == pytest.approx(float(wanted))
    flat = gradient_difference_loss(made[:, :, :1, :1, :1], real[:, :, :1, :1, :1])
    assert flat == 0


def test_both_can_be_learnt_by():
    made = torch.rand(1, 1, 4, 4, 4, requires_grad=True)
    real = torch.rand(1, 1, 4, 4, 4)
    (local_loss(made, real + 1, real) + gradient_difference_loss(made, real)).backward()
    assert torch.isfinite(made.grad).all()
    assert (made.grad != 0).any()
