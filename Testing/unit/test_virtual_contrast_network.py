"""The U-Net of the virtual contrast model: shapes, and where it begins."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("monai")

from ContrastSynthLib.networks import build_network


def test_it_sees_seven_slices_of_two_scans_and_begins_with_the_native_one():
    network = build_network("virtual_contrast", {"width": 4})
    slices = torch.randn(2, 14, 32, 48)
    made = network(slices)
    assert set(made) == {"post"}
    assert torch.equal(made["post"], slices[:, 3:4])


def test_every_slice_of_both_scans_matters():
    torch.manual_seed(0)
    network = build_network("virtual_contrast", {"width": 4, "slices": 3})
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    slices = torch.randn(1, 6, 32, 32, requires_grad=True)
    network(slices)["post"].sum().backward()
    assert (slices.grad.abs().sum(dim=(0, 2, 3)) > 0).all()
