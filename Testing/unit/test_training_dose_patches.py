"""Patches for the low-dose GAN: what a dose adds, with noise of its own, virtual and real."""

from __future__ import annotations

import importlib
from types import SimpleNamespace

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.usefixtures("training_path")

SIDE = 16


@pytest.fixture(scope="module")
def patches():
    return importlib.import_module("data.dose_patches")


@pytest.fixture
def pair(patches, tmp_path):
    """Tissue of 1 with noise of 0.02, a third of which rises by half; a pair on the disk."""
    shape = (24, 36, 36)
    rng = np.random.default_rng(0)
    brain = np.zeros(shape, "f4")
    brain[:, 3:33, 3:33] = 1
    rise = np.zeros(shape, "f4")
    rise[6:18, 10:20, 10:20] = 0.5
    target, post = (
        brain * np.clip(1 + more + rng.normal(0, 0.02, shape), 0.5, None) for more in (0, rise)
    )
    maps = np.stack([post, target, rise > 0, rise > 0, brain]).astype(np.float16)
    path = tmp_path / "one.npy"
    np.save(path, maps)
    places = np.argwhere(rise > 0)
    given = SimpleNamespace(
        name="one",
        path=path,
        maps=maps,
        places=places,
        lesions=places,
        inside=np.argwhere(brain > 0),
    )
    folder = tmp_path / "clean"
    folder.mkdir()
    return patches.DosePair.of(given, folder)


def kept(maps):
    """Maps of white matter with a tumour in its middle, as a folder of slabs would give them."""
    agent_maps = importlib.import_module("data.agent_maps")
    tissue = np.full((32, 40, 40), agent_maps.TISSUES["white"].label, np.uint8)
    tissue[10:20, 14:26, 14:26] = agent_maps.TISSUES["tumour"].label
    table = agent_maps.tissue_table(3.0)
    channels = np.zeros((7, *tissue.shape), "f4")
    for name in ("white", "tumour"):
        channels[:, tissue == agent_maps.TISSUES[name].label] = table[name][:, None]
    anatomy = SimpleNamespace(maps=channels, tissue=tissue, brain=tissue > 0)
    slab = agent_maps.Maps(agent_maps.as_channels(anatomy))
    return SimpleNamespace(draw=lambda rng: slab)


def test_a_pair_is_denoised_once_and_its_noise_is_known(patches, pair):
    assert pair.sigma == pytest.approx(0.02, rel=0.25)
    assert pair.median == pytest.approx(1, abs=0.02)
    assert pair.p95 > pair.median
    inside = np.asarray(pair.pair.maps[4]) > 0
    quiet = inside & (pair.pair.maps[2] == 0)
    assert pair.clean[0][quiet].std() < 0.5 * pair.pair.maps[1][quiet].std()
    assert not pair.clean[:, ~inside].any()
    made = pair.pair.path.parent / "clean" / "one.npy"
    before = made.stat().st_mtime_ns
    patches.DosePair.of(pair.pair, made.parent)
    assert made.stat().st_mtime_ns == before


def test_the_residual_of_a_real_pair_has_the_rise_of_its_dose_and_the_noise_of_two_scans(
    patches, pair
):
    sources = patches.PatchSources([pair], None, side=SIDE)
    rng = np.random.default_rng(1)
    found: dict[float, list] = {dose: [] for dose in patches.DOSES}
    for _ in range(60):
        patch = sources.draw(rng)
        native, standard, low = patch.images * pair.p95
        rise = (standard - native) > 0.3
        if rise.any():
            found[patch.dose].append((low - native)[rise].mean())
        quiet = (patch.brain > 0) & (np.abs(standard - native) < 0.1)
        # Noise of one scan is 0.02; interpolation by none.
        assert (low - native)[quiet].std() == pytest.approx(0.02 * 2**0.5, rel=0.3)
        assert patch.noise * pair.p95 == pytest.approx(0.02, rel=0.25)
        assert patch.field_strength_t in (1.5, 3.0)
    means = [np.mean(found[dose]) for dose in patches.DOSES]
    assert means == sorted(means)
    # The signal is concave in the dose: more than in proportion, less than half as much again.
    assert 0.1 * 0.5 * 0.8 < means[0] < 0.1 * 0.5 * 1.6
    assert 0.33 * 0.5 * 0.8 < means[2] < 0.33 * 0.5 * 1.6


def test_virtual_scans_have_independent_noise_of_one_strength(patches):
    sources = patches.PatchSources([], kept(None), side=SIDE)
    rng = np.random.default_rng(2)
    for _ in range(6):
        patch = sources.draw(rng)
        assert patch.images.shape == (3, SIDE, SIDE, SIDE)
        assert np.isfinite(patch.images).all()
        assert 0.5 < np.median(patch.images[0]) < 1.5


def test_examples_are_residuals_with_the_condition(patches, pair):
    sources = patches.PatchSources([pair], kept(None), real=0.5, side=SIDE)
    stream = iter(patches.DosePatches(sources, seed=0))
    doses = set()
    for _, example in zip(range(30), stream, strict=False):
        assert set(example) == {"native", "standard", "residual", "dose", "noise", "field"}
        for name in ("native", "standard", "residual"):
            assert example[name].shape == (1, SIDE, SIDE, SIDE)
            assert example[name].dtype == torch.float32
        doses.add(round(float(example["dose"]), 2))
        outside = example["native"] == 0
        assert not example["residual"][outside].any()
    assert doses == set(patches.DOSES)
    one, again, other = (next(iter(patches.DosePatches(sources, s))) for s in (5, 5, 6))
    assert torch.equal(one["residual"], again["residual"])
    assert not torch.equal(one["residual"], other["residual"])


def test_patches_without_a_brain_end_the_training(patches, pair, monkeypatch):
    monkeypatch.setattr(patches, "LEAST_BRAIN", 1.1)
    monkeypatch.setattr(patches, "MOST_TRIES", 3)
    with pytest.raises(SystemExit, match="3 patches in a row hold no brain"):
        patches.PatchSources([pair], None, side=SIDE).draw(np.random.default_rng(0))
