"""The Wasserstein GAN loss and its gradient penalty, on critics whose gradient is known."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from ContrastSynthLib.losses.wasserstein_gan import critic_loss, fooling_loss, gradient_penalty

SHAPE = (3, 1, 2, 2, 2)
SHARE = torch.tensor([0.0, 0.25, 1.0])


def examples(value, told):
    return torch.full(SHAPE, value), torch.full((3, 2), told)


def test_the_critic_and_the_generator_want_opposite_scores():
    real, synthetic = torch.tensor([2.0, 4.0]), torch.tensor([1.0, 0.0])
    assert critic_loss(real, synthetic) == -2.5
    assert fooling_loss(synthetic) == -0.5


@pytest.mark.parametrize(("of_image", "of_condition"), [(1.0, 0.0), (0.0, 2.0), (0.3, 0.4)])
def test_the_penalty_of_a_linear_critic_is_of_the_length_of_both_gradients(of_image, of_condition):
    def critic(image, told):
        return of_image * image.flatten(1).sum(dim=1) + of_condition * told.sum(dim=1)

    length = (8 * of_image**2 + 2 * of_condition**2) ** 0.5
    found = gradient_penalty(critic, examples(0.0, 0.1), examples(1.0, 0.5), SHARE)
    assert float(found) == pytest.approx((length - 1) ** 2, rel=1e-5)


def test_the_gradient_is_taken_between_real_and_synthetic():
    seen = []

    def critic(image, told):
        seen.append((image.detach(), told.detach()))
        return image.flatten(1).sum(dim=1)

    gradient_penalty(
        lambda *given: critic(*given) + given[1].sum(dim=1) * 0,
        examples(0.0, 0.1),
        examples(1.0, 0.5),
        SHARE,
    )
    image, told = seen[0]
    assert torch.allclose(image[:, 0, 0, 0, 0], SHARE)
    assert torch.allclose(told[:, 0], 0.1 + 0.4 * SHARE)


def test_the_penalty_moves_the_weights_of_the_critic_even_where_its_gradient_is_zero():
    weight = torch.zeros(8, requires_grad=True)

    def critic(image, told):
        return (image.flatten(1) * (weight + 1e-4)).sum(dim=1) + 0 * told.sum(dim=1)

    penalty = gradient_penalty(critic, examples(0.0, 0.1), examples(1.0, 0.5), SHARE)
    penalty.backward()
    assert torch.isfinite(weight.grad).all()
    assert (weight.grad < 0).all()
