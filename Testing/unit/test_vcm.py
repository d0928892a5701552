"""The virtual contrast model with a network whose answer is known."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

torch = pytest.importorskip("torch")
pytest.importorskip("monai")

from ContrastSynthLib.geometry import Grid
from ContrastSynthLib.methods.vcm import VcmParameters, vcm
from ContrastSynthLib.registry.context import Context
from ContrastSynthLib.volumes import Volume

SHAPE, DOSE, SEEN = (72, 88, 80), 0.2, 3
CARD = {"network": {"arguments": {"slices": SEEN}}, "doses": [0.1, 0.33]}


class Extrapolates(torch.nn.Module):
    """Gives the middle slice of the extrapolated scan."""

    def __init__(self):
        super().__init__()
        self.calls, self.weight = [], torch.nn.Parameter(torch.ones(1))

    def forward(self, seen):
        self.calls.append(tuple(seen.shape))
        assert seen.shape[1] == 2 * SEEN
        middle = SEEN + SEEN // 2
        return {"post": seen[:, middle : middle + 1]}


class Given(Context):
    """A context whose network is given."""

    def network(self, name):
        return self.given


@pytest.fixture
def scans():
    """Tissue of 100, a smooth ball of which rises by 80; the pre scan has three times the gain."""
    places = np.meshgrid(*(np.arange(n) - n / 2 for n in SHAPE), indexing="ij")
    distance = np.sqrt(sum(place**2 for place in places))
    brain = distance < 32
    rise = 80 * gaussian_filter((distance < 9).astype(float), 2) * brain
    texture = gaussian_filter(np.random.default_rng(0).normal(size=SHAPE), 2)
    pre = np.where(brain, 100 + 40 * texture, 0)
    low = pre + DOSE * rise
    return {"pre": 3 * pre, "low": low, "full": pre + rise, "brain": brain}


def made(scans, grid=None, **parameters):
    grid = grid or Grid(scans["low"].shape[::-1])
    context = Given(scans["brain"], bundles={"vcm": SimpleNamespace(id="vcm", metadata=CARD)})
    context.given = Extrapolates()
    low, pre = (Volume(scans[role].astype("f4"), grid) for role in ("low", "pre"))
    parameters = VcmParameters(**{"dose": DOSE, **parameters})
    return vcm(low, pre, parameters=parameters, context=context)["post"], context


def error(scans, post):
    return np.abs(post - scans["full"])[scans["brain"]].mean() / 80


def test_what_the_network_adds_is_added_at_the_gain_of_the_low_dose(scans):
    post, context = made(scans, three_directions=False, rotations=1)
    assert post.dtype == np.float32
    # What is left is that of the gain, a fifth of which becomes all of it.
    assert error(scans, post) < 0.02
    outside = ~scans["brain"]
    np.testing.assert_array_equal(post[outside], scans["low"].astype("f4")[outside])
    assert context.record["gain_pre_over_low"] == pytest.approx(3, rel=0.01)
    assert context.record["views"] == 1
    assert context.warnings == []


@pytest.mark.parametrize(
    ("directions", "rotations", "views"), [(True, 1, 3), (True, 5, 15), (False, 5, 1)]
)
def test_views_are_averaged_and_agree(scans, directions, rotations, views):
    post, context = made(scans, three_directions=directions, rotations=rotations)
    assert context.record["views"] == views
    assert error(scans, post) < 0.03


def test_slices_without_brain_are_not_run(scans):
    _, context = made(scans, three_directions=False)
    assert sum(call[0] for call in context.given.calls) == scans["brain"].any(axis=(1, 2)).sum()


def test_a_scan_of_thick_slices_has_one_view(scans):
    thick = {role: array[::6] for role, array in scans.items()}
    post, context = made(thick, grid=Grid((80, 88, 12), spacing_mm=(1, 1, 6)))
    assert post.shape == (12, 88, 80)
    assert context.record["views"] == 1


def test_a_dose_beyond_the_training_is_told(scans):
    _, context = made(scans, dose=0.05, rotations=1)
    assert "trained on low doses of 0.1 to 0.33" in context.warnings[0]
