"""The method ``hrfcn`` with a network whose answer is known."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("monai")

from ContrastSynthLib.geometry import Grid
from ContrastSynthLib.methods.hrfcn import HrfcnParameters, hrfcn
from ContrastSynthLib.networks import build_network
from ContrastSynthLib.registry.context import Context
from ContrastSynthLib.volumes import Volume

SHAPE = (20, 48, 40)
INPUTS = ["t1", "t2", "flair", "adc"]
CARD = {"network": {"arguments": {"inputs": INPUTS}}}


class Guess(torch.nn.Module):
    """Adds to T1 what T2 shows beyond a half."""

    def __init__(self):
        super().__init__()
        self.seen, self.weight = [], torch.nn.Parameter(torch.ones(1))

    def forward(self, scans):
        self.seen.append((tuple(scans.shape[1:]), scans.flatten(2).any(dim=2)[0].tolist()))
        return {"post": scans[:, :1] + (scans[:, 1:2] - 0.5).clamp(min=0)}


class Given(Context):
    """A context whose network is given."""

    def network(self, name):
        return self.given


@pytest.fixture
def scans():
    """Tissue of 100 in T1 and 30 in T2, where a block has 200 and is the brightest."""
    brain = np.zeros(SHAPE, bool)
    brain[2:-2, 6:-6, 6:-6] = True
    rng = np.random.default_rng(0)
    t1 = np.where(brain, rng.uniform(80, 100, SHAPE), 7)
    t2 = np.where(brain, 30.0, 9)
    t2[8:12, 20:28, 16:24] = 200
    return {"pre": t1.astype("f4"), "t2": t2.astype("f4"), "brain": brain}


def made(scans, roles=("pre", "t2"), grid=None, **parameters):
    grid = grid or Grid(scans["pre"].shape[::-1])
    bundle = SimpleNamespace(id="hrfcn", metadata=CARD)
    context = Given(scans["brain"], bundles={"hrfcn": bundle})
    context.given = Guess()
    volumes = {role: Volume(scans[role], grid) for role in roles}
    post = hrfcn(**volumes, parameters=HrfcnParameters(**parameters), context=context)["post"]
    return post, context


@pytest.mark.parametrize("step", [1, 2, 3])
def test_what_the_network_adds_is_added_to_t1_in_its_units(scans, step):
    post, context = made(scans, step=step)
    change, block = post - scans["pre"], np.zeros(SHAPE, bool)
    block[8:12, 20:28, 16:24] = True
    unit = np.percentile(scans["pre"][scans["brain"]], 99.9)
    np.testing.assert_allclose(change[block], 0.5 * unit, rtol=1e-3)
    np.testing.assert_allclose(change[~block], 0, atol=1e-3)
    assert (post[~scans["brain"]] == scans["pre"][~scans["brain"]]).all()
    assert {shape[:2] for shape, _ in context.given.seen} == {(4, 3)}
    assert len(context.given.seen) <= 16


def test_scans_that_are_not_given_are_left_out(scans):
    _, context = made(scans)
    assert all(there == [True, True, False, False] for _, there in context.given.seen)
    assert context.record["scans_seen"] == ["pre", "t2"]
    post, context = made(scans, roles=("pre",))
    np.testing.assert_allclose(post, scans["pre"], rtol=1e-6)
    assert all(there == [True, False, False, False] for _, there in context.given.seen)


def test_a_network_of_slices_sees_the_slabs_slice_by_slice(scans):
    """The variant in two dimensions: its weights have another layout than the slabs."""
    torch.manual_seed(0)
    flat = {"inputs": INPUTS, "widths": (4, 8), "blocks": 1, "dimensions": 2, "base": 0}
    network = build_network("hrfcn", {**flat, "norm": "instance"}).eval()
    bundle = SimpleNamespace(id="hrfcn", metadata=CARD)
    context = Given(scans["brain"], bundles={"hrfcn": bundle})
    context.given = network
    grid = Grid(scans["pre"].shape[::-1])
    volumes = {role: Volume(scans[role], grid) for role in ("pre", "t2")}
    post = hrfcn(**volumes, parameters=HrfcnParameters(), context=context)["post"]
    assert post.shape == SHAPE
    assert np.abs(post - scans["pre"])[scans["brain"]].max() > 0
    assert (post[~scans["brain"]] == scans["pre"][~scans["brain"]]).all()


def test_thick_slices_come_back_on_their_grid(scans):
    thick = {role: array[::4] for role, array in scans.items()}
    post, _ = made(thick, grid=Grid((40, 48, 5), spacing_mm=(1, 1, 4)))
    assert post.shape == (5, 48, 40)
    assert (post - thick["pre"])[2, 22:26, 18:22].min() > 20
