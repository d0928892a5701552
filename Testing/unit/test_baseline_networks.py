"""SwinIR, U-KAN, MambaIR and BICEPS: what is written by hand, and that each can be trained."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.interpolate import BSpline

torch = pytest.importorskip("torch")
pytest.importorskip("monai")

from ContrastSynthLib.networks import build_network
from ContrastSynthLib.networks.baselines import ARCHITECTURES, Direct, parameters_of, width_for
from ContrastSynthLib.networks.biceps import Biceps
from ContrastSynthLib.networks.mambair import MambaIR, SelectiveScan, selective_scan
from ContrastSynthLib.networks.sphere import Sphere
from ContrastSynthLib.networks.swinir import SwinIR
from ContrastSynthLib.networks.ukan import INTERVALS, ORDER, KanLinear

NEW = ("swinir", "ukan", "mambair", "biceps")


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def slices(channels=3, rows=32, cols=32):
    return torch.rand(2, channels, rows, cols) + 0.2


# ---- all of them


@pytest.mark.parametrize("architecture", NEW)
def test_the_gradient_reaches_every_parameter(architecture):
    network = ARCHITECTURES[architecture](3, 2)
    post, pre = slices(), slices(1)
    # In training BICEPS is asked for everything that it makes.
    made = network.both_ways(post, pre) if architecture == "biceps" else {"pre": network(post)}
    sum(image.square().mean() for image in made.values()).backward()
    without = [n for n, p in network.named_parameters() if p.grad is None or not p.grad.any()]
    # A bias before a batch normalisation is subtracted again.
    assert not [name for name in without if not name.endswith("bias")]


@pytest.mark.parametrize("architecture", NEW)
def test_a_network_answers_in_bfloat16_as_in_single_precision(architecture):
    network, given = ARCHITECTURES[architecture](3, 2), slices(3, 64, 64)
    with torch.no_grad():
        whole = network(given)
        with torch.autocast("cpu", torch.bfloat16):
            half = network(given).float()
    assert whole.std() > 0.01
    assert (half - whole).square().mean().sqrt() < 0.05 * whole.std()


def last_of(network):
    convolutions = [m for m in network.modules() if isinstance(m, torch.nn.Conv2d)]
    return convolutions[-1].weight


@pytest.mark.parametrize("architecture", NEW)
def test_weights_can_be_kept_and_read(architecture):
    options = {"architecture": architecture, "in_channels": 3, "width": 2}
    first, second = (build_network("direct", options).eval() for _ in range(2))
    torch.nn.init.normal_(last_of(first))
    given = slices()
    assert not torch.allclose(first(given)["pre"], second(given)["pre"])
    second.load_state_dict(first.state_dict())
    assert torch.equal(first(given)["pre"], second(given)["pre"])


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_nearest_width_is_found(architecture):
    wanted = parameters_of(Sphere(3, 8, 4))
    width = width_for(architecture, 3, wanted)

    def distance(other):
        with torch.device("meta"):
            return abs(parameters_of(ARCHITECTURES[architecture](3, other)) - wanted)

    assert distance(width) < 0.1 * wanted
    assert distance(width) <= min(distance(width - 1), distance(width + 1))


# ---- the parts that are ours


def test_the_scan_is_the_recurrence_that_it_says():
    """Also where the sequence cannot be cut into equal pieces; and its gradient."""
    n, length, channels, states = 2, 23, 3, 4
    x, write, read = (torch.randn(n, length, k) for k in (channels, states, states))
    step, decay = torch.rand(n, length, channels), -torch.rand(channels, states)
    given = [value.double().requires_grad_(True) for value in (x, step, decay, write, read)]
    x, step, decay, write, read = given
    state, wanted = torch.zeros(n, channels, states), []
    for t in range(length):
        entering = (step[:, t] * x[:, t]).unsqueeze(-1) * write[:, t].unsqueeze(1)
        state = torch.exp(step[:, t].unsqueeze(-1) * decay) * state + entering
        wanted.append((state * read[:, t].unsqueeze(1)).sum(-1))
    wanted = torch.stack(wanted, dim=1)
    found = selective_scan(x, step, decay, write, read)
    torch.testing.assert_close(found, wanted)
    weights = torch.randn_like(wanted)
    for a, b in zip(
        torch.autograd.grad((found * weights).sum(), given),
        torch.autograd.grad((wanted * weights).sum(), given),
        strict=True,
    ):
        torch.testing.assert_close(a, b)


def test_a_scan_sees_what_came_before_and_nothing_after():
    scan, sequence = SelectiveScan(4), torch.randn(1, 12, 4)
    other = sequence.clone()
    other[:, 6] += 1
    same = (scan(sequence) == scan(other)).all(dim=-1)[0]
    assert same[:6].all()
    assert not same[6:].any()


@pytest.mark.parametrize("network", [MambaIR, SwinIR])
def test_a_pixel_of_a_token_is_a_choice(network):
    """One pixel, as in the papers, or several: of any sides that are multiples of it."""
    for patch in (1, 2):
        assert network(3, 2, patch=patch)(slices(3, 16, 24)).shape == (2, 1, 16, 24)


def test_mambair_sees_the_whole_slice():
    network, given = MambaIR(1, 2).eval(), torch.randn(1, 1, 16, 16, requires_grad=True)
    network(given)[0, 0, 8, 8].backward()
    assert (given.grad != 0).all()


def test_the_splines_are_those_of_scipy():
    """On [-1, 1] they sum to 1; outside of all knots nothing of them is left."""
    layer, x = KanLinear(1, 1), np.linspace(-0.999, 0.999, 41)
    found = layer.basis(torch.from_numpy(x)[:, None].float())[:, 0].numpy()
    knots = layer.knots.numpy().astype(float)
    for index, coefficients in enumerate(np.eye(INTERVALS + ORDER)):
        wanted = BSpline(knots, coefficients, ORDER)(x)
        np.testing.assert_allclose(found[:, index], wanted, atol=1e-5)
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-5)
    assert not layer.basis(torch.tensor([[5.0]])).any()


def test_a_kolmogorov_arnold_layer_learns_a_curve_that_a_line_cannot():
    layer, x = KanLinear(1, 1), torch.linspace(-1, 1, 64)[:, None]
    wanted = torch.sin(4 * x)
    adam = torch.optim.Adam(layer.parameters(), lr=0.05)
    for _ in range(150):
        loss = (layer(x) - wanted).square().mean()
        adam.zero_grad()
        loss.backward()
        adam.step()
    assert loss < 0.01 * wanted.square().mean()


def test_biceps_adds_to_pre_what_it_takes_from_post():
    network, post, pre = Biceps(3, 2).eval(), slices(), slices(1)
    made = network.both_ways(post, pre)
    torch.testing.assert_close(made["enhancement"], network(post))
    assert set(made) == {"enhancement", "post", "image_of_post", "image_of_pre"}
    assert all(image.shape == pre.shape for image in made.values())
    both = Direct("biceps", 3, 2).eval()
    given = both(post, pre=pre)
    torch.testing.assert_close(given["pre"], both(post)["pre"])
    torch.testing.assert_close(given["post"], pre)  # it starts without any enhancement
