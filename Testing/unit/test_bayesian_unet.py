"""The Bayesian U-Net: dropout in use, its mean and spread, and the method around it."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("monai")

from ContrastSynthLib.geometry import Grid
from ContrastSynthLib.methods.bayesian_unet import BayesianUNetParameters, bayesian_unet
from ContrastSynthLib.networks import build_network
from ContrastSynthLib.networks.baselines import parameters_of
from ContrastSynthLib.networks.bayesian_unet import BayesianUNet, Sampled
from ContrastSynthLib.registry.context import Context
from ContrastSynthLib.volumes import Volume

SMALL = {"inputs": ["t1", "t2"], "widths": (4, 8)}
SHAPE = (9, 32, 24)


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def test_it_begins_with_t1_as_it_is():
    scans = torch.rand(2, 2, 3, 16, 16)
    network = build_network("bayesian_unet", {**SMALL, "base": 0})
    torch.testing.assert_close(network(scans)["post"], scans[:, :1])
    assert BayesianUNet(**SMALL)(scans)["post"].std() > 0, "the paper's is not added to T1"


def test_in_two_dimensions_it_takes_slices_one_by_one():
    network = build_network("bayesian_unet", {**SMALL, "dropout": 0.0, "dimensions": 2}).eval()
    volume = torch.rand(2, 2, 3, 16, 16)
    made = network(volume)["post"]
    assert made.shape == (2, 1, 3, 16, 16)
    torch.testing.assert_close(made[1, :, 2], network(volume[1:, :, 2])["post"][0])
    whole = BayesianUNet(**SMALL)
    assert parameters_of(network) < parameters_of(whole) / 2


def test_its_last_layer_learns_at_once():
    """What comes up to it has the same spread in every example; it may not be the image itself."""
    network = BayesianUNet(**SMALL, base=0)
    network(torch.rand(1, 2, 3, 16, 16))["post"].square().mean().backward()
    assert network.last.weight.grad.abs().max() > 0
    assert network.last.in_channels == SMALL["widths"][0]


def test_passes_differ_by_dropout_alone():
    scans, network = torch.rand(1, 2, 3, 16, 16), BayesianUNet(**SMALL, dropout=0.3)
    sampled = Sampled(network, 6).eval()
    made = sampled(scans)
    assert made["post"].shape == made["uncertainty"].shape == (1, 1, 3, 16, 16)
    assert made["uncertainty"].max() > 0
    assert not network.net.training
    torch.manual_seed(5)
    passes = torch.stack([network(scans)["post"] for _ in range(6)])
    torch.manual_seed(5)
    again = sampled(scans)
    torch.testing.assert_close(again["post"], passes.mean(dim=0))
    torch.testing.assert_close(again["uncertainty"], passes.std(dim=0, correction=0))
    without = Sampled(BayesianUNet(**SMALL, dropout=0.0), 3)(scans)
    assert without["uncertainty"].max() < 1e-6


class Given(Context):
    """A context whose network is given."""

    def network(self, name):
        return self.given


class Coin(torch.nn.Module):
    """Adds 0 or 1 to T1, as often either."""

    def __init__(self):
        super().__init__()
        self.weight, self.passes = torch.nn.Parameter(torch.ones(1)), 0

    def forward(self, scans):
        self.passes += 1
        return {"post": scans[:, :1] + self.passes % 2}


def test_the_method_gives_mean_and_spread_in_units_of_t1():
    brain = np.zeros(SHAPE, bool)
    brain[1:-1, 4:-4, 4:-4] = True
    t1 = np.where(brain, 50.0, 3.0).astype("f4")
    card = {"network": {"arguments": {"inputs": ["t1", "t2"]}}}
    bundle = SimpleNamespace(id="bayesian_unet", metadata=card)
    context = Given(brain, bundles={"bayesian_unet": bundle}, seed=1)
    context.given = Coin()
    parameters = BayesianUNetParameters(samples=4)
    made = bayesian_unet(Volume(t1, Grid(SHAPE[::-1])), parameters=parameters, context=context)
    inside = np.zeros(SHAPE, bool)
    inside[2:-2, 6:-6, 6:-6] = True
    np.testing.assert_allclose(made["post"][inside], 75.0, rtol=1e-3)
    np.testing.assert_allclose(made["uncertainty"][inside], 0.5, rtol=1e-3)
    assert (made["post"][~brain] == 3).all()
    assert (made["uncertainty"][~brain] == 0).all()
