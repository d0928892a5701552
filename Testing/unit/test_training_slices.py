"""The slices that SPHERE is trained on: cut from slabs, changed, normalised, and kept slabs."""

from __future__ import annotations

import importlib
import itertools
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from training_slabs import pair_slab, write_pool

pytestmark = pytest.mark.usefixtures("training_path")


@pytest.fixture(scope="module")
def slices():
    return importlib.import_module("data.slices")


@pytest.fixture(scope="module")
def slabs():
    return importlib.import_module("data.slabs")


@pytest.fixture(scope="module")
def pool(tmp_path_factory) -> Path:
    return write_pool(tmp_path_factory.mktemp("pool"), pair_slab)


def examples(slices, pool: Path, count: int = 6, **options) -> list[dict[str, torch.Tensor]]:
    given = {"crop": 32, "seed": 3, **options}
    kept = importlib.import_module("data.slabs").KeptSlabs(pool)
    stream = slices.Slices(kept, **given)
    return list(itertools.islice(stream, count))


def test_the_same_seed_gives_the_same_examples(slices, pool):
    first, again, other = (examples(slices, pool, seed=seed) for seed in (3, 3, 4))
    for one, two in zip(first, again, strict=True):
        assert one.keys() == two.keys()
        assert all(torch.equal(one[name], two[name]) for name in one)
    assert not all(torch.equal(a["post"], b["post"]) for a, b in zip(first, other, strict=True))


def test_examples_have_the_documented_roles_and_shapes(slices, slabs, pool):
    for crop in (32, 64):
        for example in examples(slices, pool, crop=crop):
            assert set(example) == {
                *{"post", "pre", "uptake", "second", "corrupted", "brain", "tissue"}
            }
            assert example["post"].shape == (slabs.NEIGHBOURS, crop, crop)
            for name, image in example.items():
                assert image.dtype == torch.float32
                assert name == "post" or image.shape == (1, crop, crop)
            assert set(example["brain"].unique().tolist()) <= {0.0, 1.0}
            inside = example["brain"] > 0
            # Means of the brain, at gains of exp(+-0.2).
            assert 0.6 < example["second"][inside].mean() < 1.6


def ladder(slabs, spacing_mm: float, depth: int = 11):
    """A slab whose slices have their height in mm as their value."""
    heights = spacing_mm * np.arange(depth, dtype=np.float16)
    images = np.broadcast_to(heights[:, None, None], (len(slabs.ROLES), depth, 4, 4))
    return slabs.Slab(images, spacing_mm)


@pytest.mark.parametrize("spacing_mm", [1.0, 0.5, 0.75, 2.5, 5.0])
@pytest.mark.parametrize("count", [3, 5, 7])
def test_neighbours_are_1_mm_apart_however_far_apart_slices_are(slabs, spacing_mm, count):
    """As in use, see SlicePlan.with_neighbours; beyond the ends the last slice is repeated."""
    slab, last = ladder(slabs, spacing_mm), spacing_mm * 10
    for slice_ in (0, 1, 5, 10):
        wanted = spacing_mm * slice_ + np.arange(count) - count // 2
        found = slab.neighbourhood(slice_, count)
        assert found.shape == (len(slabs.ROLES), count, 4, 4)
        assert found.dtype == np.float32
        np.testing.assert_allclose(found[0, :, 0, 0], np.clip(wanted, 0, last), atol=1e-3)
    assert slab.neighbourhood(5).shape[1] == slabs.NEIGHBOURS == 3
    with pytest.raises(ValueError, match="4 slices have no middle one"):
        slab.neighbourhood(5, 4)


def test_more_neighbours_of_the_same_slices(slices, pool):
    """The same draws: the middle slices are the same, and other slices stand about them."""
    three, five = (examples(slices, pool, 12, neighbours=count) for count in (3, 5))
    for one, two in zip(three, five, strict=True):
        assert two["post"].shape == (5, 32, 32)
        torch.testing.assert_close(two["post"][1:4], one["post"])
        for name in set(one) - {"post"}:
            torch.testing.assert_close(two[name], one[name])
    # At an end of a slab the last slice is repeated, at the other end it is not.
    outer = [(e["post"][[0, 4]] - e["post"][[1, 3]]).abs().max() for e in five]
    assert min(map(float, outer)) > 0.001


def test_neighbours_of_thick_slices_lie_between_them(slices, slabs, monkeypatch):
    """Drawn nearer by one share, so that 2 mm are twice as far as 1 mm."""
    monkeypatch.setattr(slices, "THICK_SHARE", 1.0)
    monkeypatch.setattr(slices, "CHANGED_SHARE", -1.0)
    for name in ("CONTRAST_EXPONENTS", "AGENT_RANGE"):
        monkeypatch.setattr(slices, name, (1.0, 1.0))
    slab = slabs.Slab(np.ones((len(slabs.ROLES), 11, 32, 32), np.float32))
    slab.images[:2] += np.arange(11, dtype=np.float32)[:, None, None] / 10
    monkeypatch.setattr(slabs.Slab, "lesions", np.array([[5, 16, 16]]))
    monkeypatch.setattr(slices, "LESION_SHARE", 1.0)
    seen = []
    for seed in range(8):
        example = slices.take(slab, np.random.default_rng(seed), 32, "same_scan", 5)
        steps = np.diff(example["post"][:, 16, 16].numpy())
        gain = float(example["pre"][0, 16, 16]) / 1.5
        np.testing.assert_allclose(steps, steps[0], rtol=1e-3, atol=1e-5)
        seen.append(steps[0] / gain / 0.1)
    assert all(0 <= share < 1 for share in seen)
    assert max(seen) - min(seen) > 0.3


def test_uptake_is_equation_22(slices, pool):
    for tau in (0.06, 0.14):
        found = examples(slices, pool, tau=tau)
        assert sum(example["uptake"].sum() for example in found) > 50
        for example in found:
            rise = example["post"][1] - example["pre"][0]
            assert torch.equal(example["uptake"][0], (rise > tau).float())


def test_a_target_is_the_same_scan_or_the_second_one(slices, pool, monkeypatch):
    """Same draws and dose, so only ``pre`` and the uptake from it differ."""
    monkeypatch.setattr(slices, "AGENT_RANGE", (1.0, 1.0))
    same, second = (examples(slices, pool, target=t) for t in ("same_scan", "second_scan"))
    for one, two in zip(same, second, strict=True):
        for name in ("post", "second", "corrupted", "brain"):
            assert torch.equal(one[name], two[name])
        plain = (one["brain"][0] > 0) & (one["post"][1] - one["pre"][0] < 0.01)
        # Without agent the scan less its own noise; the second scan has other noise.
        assert (one["post"][1] - one["pre"][0])[plain].abs().mean() < 0.02
        assert not torch.equal(one["pre"], two["pre"])
        ratio = (two["pre"][0] / two["second"][0])[plain]
        assert float(ratio.std() / ratio.mean()) < 1e-3
        # Both targets are on the scale of the post scan.
        assert float((two["pre"][0] / one["pre"][0])[plain].median()) == pytest.approx(1, abs=0.03)


def test_other_doses_and_contrasts_keep_the_order_of_tissues(slices):
    """Twice the agent is twice the rise; an exponent keeps order, the brain's mean and zero."""
    rng = np.random.default_rng(0)
    draw = rng.uniform(0.2, 2.0, (4, 3, 8, 8)).astype(np.float32)
    images = dict(zip(("unenhanced", "post", "pre", "corrupted"), draw, strict=True))
    images["post"] += images["unenhanced"]
    levels = {"post": 1.5, "pre": 1.0, "corrupted": 1.0, "rise": 1.2, "agent": 1.1}

    class Fixed:
        def __init__(self, *drawn):
            self.drawn = iter(np.log(drawn))

        def uniform(self, low, high):
            return next(self.drawn)

    double = slices._other_contrast(images, levels, Fixed(1.0, 2.0), with_agent=True)
    rise = images["post"] - images["unenhanced"]
    np.testing.assert_allclose(double["post"] - images["unenhanced"], 2 * rise, rtol=1e-4)
    # What all tissue takes up counts as a gain, twice as much of it too.
    np.testing.assert_allclose(double["unenhanced"], 1.2 * images["unenhanced"], rtol=1e-4)
    np.testing.assert_allclose(double["pre"], images["pre"], rtol=1e-5)
    steep = slices._other_contrast(images, levels, Fixed(1.3, 2.0), with_agent=False)
    for role, unit in (("post", 1.5), ("unenhanced", 1.5), ("pre", 1.2), ("corrupted", 1.2)):
        np.testing.assert_allclose(steep[role] / unit, (images[role] / unit) ** 1.3, rtol=1e-4)
    assert images["pre"] is not steep["pre"]


def test_tissues_stay_tissues_when_a_slice_is_turned(slices, pool):
    """Between tissues 1 and 5 there is no 3."""
    found = set()
    for example in examples(slices, pool, count=12):
        found |= set(example["tissue"].unique().tolist())
    assert found == {0.0, 1.0, 5.0}


def test_half_of_the_crops_lie_about_a_lesion(slices, slabs):
    slab = slabs.Slab(pair_slab(0))
    slab.images[slabs.ROLES.index("tissue"), 2:4, 40:44, 40:44] = slabs.TISSUES["tumour"].label
    assert set(slab.lesions[:, 0]) == {2, 3}
    assert (slab.lesions[:, 1:] >= 40).all()
    assert (slab.lesions[:, 1:] < 44).all()
    taken = [slices.take(slab, np.random.default_rng(n), 8, "same_scan") for n in range(200)]
    tumour = slabs.TISSUES["tumour"].label
    share = np.mean([float((example["tissue"] == tumour).any()) for example in taken if example])
    assert 0.4 < share < 0.75


def test_slices_with_little_brain_are_passed_over(slices, slabs):
    slab = pair_slab(0)
    slab[slabs.ROLES.index("brain")] = 0
    slab[slabs.ROLES.index("brain"), :, :10, :19] = 1
    assert slices.take(slabs.Slab(slab), np.random.default_rng(0), 32, "same_scan") is None


def test_processes_and_workers_see_other_patients(slices, monkeypatch):
    """The seeds of patients, of a few streams beside each other."""
    seen = []
    for rank, worker in itertools.product(range(2), range(2)):
        made: list[int] = []

        def make_slabs(seed, made=made):
            made.append(seed)
            yield pair_slab(0)

        monkeypatch.setattr(slices, "make_slabs", make_slabs)
        information = SimpleNamespace(id=worker, num_workers=2, seed=worker)
        monkeypatch.setattr(torch.utils.data, "get_worker_info", lambda i=information: i)
        options = {"crop": 32, "batch": 1, "workers": 0, "seed": 1000 * rank}
        stream = slices.batches("virtual", **options)
        for _ in range(60):
            next(stream)
        assert len(made) > 1
        seen.append(set(made))
    assert sum(map(len, seen)) == len(set.union(*seen))


def test_slabs_are_kept_once(slabs, tmp_path):
    made: list[int] = []

    def make_slabs(seed):
        made.append(seed)
        for n in range(slabs.SLABS_PER_SEED):
            yield np.full((6, 3, 4, 4), n, np.float16)

    slabs.write_slabs(tmp_path, 12, make_slabs)
    names = [f"00012_{n}.npy" for n in range(slabs.SLABS_PER_SEED)]
    assert sorted(path.name for path in tmp_path.iterdir()) == names
    assert [np.load(tmp_path / name)[0, 0, 0, 0] for name in names] == list(range(8))
    slabs.write_slabs(tmp_path, 12, make_slabs)
    assert made == [12]
    # Stopped before the end: what is missing is made, what is there is left alone.
    np.save(tmp_path / names[0], np.zeros(1))
    (tmp_path / names[5]).unlink()
    slabs.write_slabs(tmp_path, 12, make_slabs)
    assert made == [12, 12]
    assert sorted(path.name for path in tmp_path.iterdir()) == names
    assert np.load(tmp_path / names[0]).shape == (1,)


def test_a_folder_without_slabs_is_refused(slabs, tmp_path):
    with pytest.raises(SystemExit, match=r"make_slabs\.py"):
        slabs.KeptSlabs(tmp_path)
