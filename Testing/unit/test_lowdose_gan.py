"""The method ``lowdose_gan`` with a generator whose answer is known."""

from __future__ import annotations

import json

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("monai")

from ContrastSynthLib.errors import RequestError
from ContrastSynthLib.geometry import Grid
from ContrastSynthLib.methods.lowdose_gan import LowDoseParameters, lowdose_gan
from ContrastSynthLib.networks.lowdose_gan import AtDose, LowDoseGenerator, condition
from ContrastSynthLib.registry.context import Context
from ContrastSynthLib.volumes import Volume

NOISE = 3
"""Standard deviation, of tissue of about 100."""
SHAPE = (40, 90, 80)


class Linear(torch.nn.Module):
    """Adds the dose times the difference of the scans, and the noise it is given."""

    def __init__(self):
        super().__init__()
        self.told = []
        self.weight = torch.nn.Parameter(torch.ones(1))

    def forward(self, image, asked):
        self.told.append(asked[0].tolist())
        noise, native, standard = image.split(1, dim=1)
        dose = asked[:, 0].reshape(-1, 1, 1, 1, 1)
        return {"residual": dose * (standard - native) + noise, "heads": []}


class Given(Context):
    """A context whose network is given."""

    def network(self, name):
        return self.given


@pytest.fixture
def scans():
    """A pair in arbitrary units: tissue about 100, a block of which rises by 60; half the gain."""
    rng = np.random.default_rng(0)
    brain = np.zeros(SHAPE, bool)
    brain[4:-4, 10:-10, 10:-10] = True
    pre = np.where(brain, 100 + rng.normal(0, NOISE, SHAPE), 30)
    post = pre.copy()
    post[15:25, 40:50, 30:40] += 60
    return {"pre": pre.astype("f4"), "post": (0.5 * post).astype("f4"), "brain": brain}


def made(scans, seed=1, grid=None, **parameters):
    grid = grid or Grid(SHAPE[::-1])
    context = Given(scans["brain"], seed=seed)
    context.given = Linear()
    volumes = [Volume(scans[role], grid) for role in ("pre", "post")]
    low = lowdose_gan(*volumes, parameters=LowDoseParameters(**parameters), context=context)["low"]
    return low, context


def test_what_the_network_adds_is_added_to_the_native_scan_in_its_units(scans):
    low, context = made(scans, dose=0.2)
    pre, brain = scans["pre"], scans["brain"]
    change, rises = low - pre, np.zeros(SHAPE, bool)
    rises[15:25, 40:50, 30:40] = True
    assert low.dtype == np.float32
    assert (change[~brain] == 0).all()
    # The post scan has half the gain, which is taken out of it first.
    assert change[rises].mean() == pytest.approx(0.2 * 60, rel=0.05)
    # The noise that the network is given is as strong as that of the scans.
    assert change[brain & ~rises].std() == pytest.approx(NOISE, rel=0.05)
    assert context.record["noise_of_scans"] == pytest.approx(NOISE, rel=0.05)
    assert context.record["gain_post_over_pre"] == pytest.approx(0.5, rel=0.02)
    assert context.warnings == []
    json.dumps(context.record)


def test_a_seed_is_a_noise(scans):
    one, again, other = (made(scans, seed=seed)[0] for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, again)
    brain = scans["brain"]
    assert np.corrcoef((one - scans["pre"])[brain], (other - scans["pre"])[brain])[0, 1] < 0.5
    assert one[brain].mean() == pytest.approx(other[brain].mean(), rel=1e-3)


def test_a_higher_dose_rises_more(scans):
    low, high = (made(scans, dose=dose)[0] for dose in (0.05, 0.5))
    block = (slice(15, 25), slice(40, 50), slice(30, 40))
    assert (high - low)[block].mean() == pytest.approx(0.45 * 60, rel=0.05)


@pytest.mark.parametrize(("field", "told"), [(1.5, -1), (1.2, -1), (2.89, 1), (3.5, 1)])
def test_the_network_is_told_the_nearer_field_of_its_training(scans, field, told):
    _, context = made(scans, field_strength_t=field)
    assert context.given.told[0] == pytest.approx([0.33, told])
    assert context.record["field_strength_told_t"] in (1.5, 3.0)


def test_voxels_of_another_size_are_resampled_with_a_warning(scans):
    thick = {role: array[::4] for role, array in scans.items()}
    low, context = made(thick, grid=Grid((80, 90, 10), spacing_mm=(1, 1, 4)))
    assert low.shape == (10, 90, 80)
    assert "its noise was interpolated" in context.warnings[0]


def test_an_empty_mask_is_refused(scans):
    with pytest.raises(RequestError, match="mask"):
        made({**scans, "brain": np.zeros(SHAPE, bool)})


def test_a_generator_at_a_dose_is_the_generator_told_of_it():
    torch.manual_seed(0)
    generator, image = LowDoseGenerator(4).eval(), torch.randn(2, 3, 16, 16, 16)
    asked = condition(torch.full((2,), 0.2), torch.full((2,), 1.5))
    made = AtDose(generator, 0.2, 1.5)(image)
    assert set(made) == {"residual"}
    torch.testing.assert_close(made["residual"], generator(image, asked)["residual"])
