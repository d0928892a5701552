"""The crops that the rise of the agent is learnt from, and what is done to them."""

from __future__ import annotations

import importlib
from types import SimpleNamespace

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from ContrastSynthLib.errors import RequestError
from ContrastSynthLib.geometry import Grid
from ContrastSynthLib.inference.slicing import plan_slices

pytestmark = pytest.mark.usefixtures("training_path")

CROP = 32


@pytest.fixture(scope="module")
def changes():
    return importlib.import_module("data.crop_changes")


@pytest.fixture(scope="module")
def crops():
    return importlib.import_module("data.mixed_crops")


@pytest.fixture(scope="module")
def maps():
    return importlib.import_module("data.agent_maps")


def crop(changes, depth=5, size=CROP):
    rng = np.random.default_rng(0)
    pre = rng.uniform(0.5, 1.5, (depth, size, size)).astype("f4")
    uptake = np.zeros_like(pre)
    uptake[:, 10:20, 10:20] = 1
    return changes.Crop(pre + uptake, pre, uptake, np.ones_like(pre), np.ones_like(pre))


def pair(crops, name="one", size=40):
    """A pair as :class:`RealPair` gives it: a box of tissue with a lesion in its middle."""
    maps = np.zeros((5, 30, size, size), np.float16)
    maps[4, 4:26, 4:-4, 4:-4] = 1
    maps[1] = maps[4]
    maps[2, 10:20, 15:25, 15:25] = 1
    maps[0] = maps[1] + maps[2]
    maps[3, 8:22, 13:27, 13:27] = 1
    places = np.argwhere(maps[2] > 0.5)
    inside = np.argwhere(maps[4] > 0)
    return SimpleNamespace(
        name=name, patient=name, maps=maps, places=places, lesions=places, inside=inside
    )


def slab(maps):
    """Maps of a ball of white matter with a tumour in its middle and blood at its side."""
    tissue = np.zeros((24, 48, 48), np.uint8)
    labels = {name: maps.TISSUES[name].label for name in ("white", "tumour", "blood")}
    tissue[:, 4:44, 4:44] = labels["white"]
    tissue[8:16, 16:32, 16:32] = labels["tumour"]
    tissue[:, 8:12, 8:12] = labels["blood"]
    table = maps.tissue_table(3.0)
    channels = np.zeros((7, *tissue.shape), "f4")
    channels[:2] = 1
    for name, label in labels.items():
        channels[:, tissue == label] = table[name][:, None]
    anatomy = SimpleNamespace(maps=channels, tissue=tissue, brain=tissue > 0)
    return maps.Maps(maps.as_channels(anatomy))


def test_agent_taken_away_leaves_the_pre_scan_and_no_uptake(changes):
    given = crop(changes)
    np.testing.assert_allclose(given.with_agent(1).post, given.post, atol=1e-6)
    without = given.with_agent(0)
    np.testing.assert_allclose(without.post, given.pre, atol=1e-6)
    assert not without.uptake.any()
    np.testing.assert_allclose(
        given.with_agent(1.5).post - given.pre, 1.5 * given.uptake, atol=1e-6
    )


@pytest.mark.parametrize("thickness", [1.5, 3.0, 5.7])
def test_thick_slices_keep_a_constant_and_average_noise(changes, thickness):
    depth = changes.depth_for(thickness, 5)
    weights = changes.thick_weights(depth, 5, thickness, 0.3)
    assert weights.shape == (5, depth)
    np.testing.assert_allclose(weights.sum(axis=1), 1, atol=1e-5)
    assert (weights >= 0).all()
    # Each is made of slices around it, and of about as many as it is thick.
    centre = weights @ np.arange(depth)
    assert np.abs(centre - (np.arange(5) + depth // 2 - 2)).max() <= 0.75 * thickness
    assert (1 / (weights**2).sum(axis=1)).min() >= 0.8 * thickness


def test_slices_of_1_mm_are_not_averaged(changes):
    assert changes.depth_for(1.0, 5) == 5


def test_scan_and_target_are_changed_alike(changes):
    """Where there is no agent the two stay equal, whatever is done to them."""
    rng = np.random.default_rng(3)
    for _ in range(20):
        thickness = changes.draw_thickness(rng)
        given = crop(changes, changes.depth_for(thickness, 5)).with_agent(0)
        found = changes.changed(given, rng, thickness, 5)
        assert found.post.shape == (5, CROP, CROP)
        np.testing.assert_allclose(found.post, found.pre, atol=1e-5)
        assert set(np.unique(found.brain)) <= {0.0, 1.0}


def test_a_pasted_lesion_brings_its_rise_and_label(changes):
    blank = crop(changes).with_agent(0)
    donor = crop(changes)
    halo = np.zeros_like(donor.post)
    halo[:, 8:22, 8:22] = 1
    found = changes.pasted(blank, donor, halo, np.random.default_rng(0))
    rise = found.post - found.pre
    assert found.uptake.sum() > 0
    ratio = rise[found.uptake > 0.99]
    assert ratio.min() > changes.LEVEL[0] - 0.01
    assert ratio.max() < changes.LEVEL[1] + 0.01
    np.testing.assert_allclose(rise[found.uptake == 0], 0, atol=1e-5)


def test_a_window_at_the_border_is_padded_with_zeros(crops):
    maps = np.ones((2, 9, 20, 20), np.float16)
    found = crops.window(maps, (0, 1, 19), 5, 16)
    assert found.shape == (2, 5, 16, 16)
    assert (found[:, :, :7] == 0).all()
    assert (found[:, :, 7:, :9] == 1).all()
    assert (found[:, :, :, 9:] == 0).all()


def test_structures_are_switched_one_by_one(maps):
    given = slab(maps)
    protocol = maps.Protocol.draw(np.random.default_rng(0))
    tumour = np.asarray(given.maps[-1]) == maps.TISSUES["tumour"].label
    blood = np.asarray(given.maps[-1]) == maps.TISSUES["blood"].label
    far = ~tumour & ~blood & (np.asarray(given.maps[6]) == 0)

    def rise(**agent):
        post, pre = protocol.images(given.maps, {**maps.NO_AGENT, **agent})
        return post - pre

    assert not rise().any()
    lesions = rise(lesions=1.0)
    assert lesions[tumour].min() > 0
    np.testing.assert_allclose(lesions[blood | far], 0, atol=1e-7)
    vessels = rise(vessels=1.0)
    assert vessels[blood].min() > 0
    np.testing.assert_allclose(vessels[tumour | far], 0, atol=1e-7)
    assert rise(lesions=2.0)[tumour].mean() > lesions[tumour].mean()


def test_a_dose_is_between_none_and_the_full_one(maps):
    given = slab(maps).maps
    protocol = maps.Protocol.draw(np.random.default_rng(3))
    scans = [protocol.at_dose(given, maps.ALL_AGENT, dose) for dose in (0.0, 0.1, 0.33, 1.0)]
    np.testing.assert_array_equal(scans[-1], protocol.images(given, maps.ALL_AGENT)[0])
    lesion = given[maps.CHANNELS.index("leak")] > 0
    means = [float(scan[lesion].mean()) for scan in scans]
    assert means == sorted(means)
    # Less agent in healthy tissue than a gain could explain away.
    other = protocol.at_dose(given, maps.NO_AGENT, 0.0)
    np.testing.assert_array_equal(scans[0], other)


def test_lesions_take_up_unevenly_and_nothing_else_changes(maps):
    given = np.asarray(slab(maps).maps)
    lesion = given[6] == maps.STRUCTURES.index("lesions")
    for seed in range(6):
        found = maps.textured(given, np.random.default_rng(seed))
        leak = maps.CHANNELS.index("leak")
        assert found[leak][given[leak] > 0].std() > 0.02
        assert np.isfinite(found).all()
        np.testing.assert_array_equal(found[:, ~lesion], given[:, ~lesion])
    assert maps.textured(given[:, :, :12], np.random.default_rng(0)) is not None


def test_tissues_are_uneven_about_their_own_values_and_agent_is_not(maps):
    given = np.asarray(slab(maps).maps).astype("f4")
    found = maps.mottled(given, np.random.default_rng(1))
    for number, name in enumerate(maps.CHANNELS):
        if name not in maps.MOTTLE:
            np.testing.assert_array_equal(found[number], given[number])
            continue
        known = given[number] > 0
        ratio = np.log(found[number][known] / given[number][known])
        assert 0.005 < ratio.std() < maps.MOTTLE[name]
        assert abs(ratio.mean()) < ratio.std()
    assert not np.array_equal(found, maps.mottled(given, np.random.default_rng(2)))


def test_a_point_spread_mixes_tissues_and_nothing_from_outside(crops):
    brain = np.zeros((5, 20, 20), "f4")
    brain[:, 3:17, 3:17] = 1
    tissue = np.where(np.arange(20) < 10, 1, 2) * brain
    (even, mixed) = crops.spread([7 * brain, tissue], brain, 0.8)
    np.testing.assert_allclose(even, 7 * brain, rtol=1e-5)
    assert 1.01 < mixed[2, 10, 9] < 1.99
    assert mixed[2, 10, 4] == pytest.approx(1, abs=1e-3)


def test_the_structure_of_a_voxel_is_the_nearest_of_those_beside_it(maps):
    tissue = np.zeros((1, 1, 12), np.uint8)
    tissue[..., 3] = maps.TISSUES["blood"].label
    tissue[..., 11] = maps.TISSUES["dura"].label
    vessels, dura = (maps.STRUCTURES.index(name) for name in ("vessels", "dura"))
    expected = [0, *[vessels] * 5, 0, 0, 0, *[dura] * 3]
    assert maps.structures(tissue).ravel().tolist() == expected


@pytest.mark.parametrize("real_share", [0.0, 1.0, 0.5])
def test_examples_have_their_shapes_and_finite_values(crops, maps, real_share):
    kept = SimpleNamespace(draw=lambda rng: slab_of_all)
    slab_of_all = slab(maps)
    sources = crops.Sources(
        [pair(crops), pair(crops, "two")], kept, CROP, crops.Recipe(real=real_share)
    )
    stream = iter(crops.Crops(sources, seed=1))
    for _, example in zip(range(24), stream, strict=False):
        assert set(example) == {"post", "pre", "uptake", "brain", "trust"}
        assert example["post"].shape == (crops.SEEN, CROP, CROP)
        for name, image in example.items():
            assert image.dtype == torch.float32
            assert torch.isfinite(image).all()
            assert name == "post" or image.shape == (1, CROP, CROP)
        assert 0 <= float(example["uptake"].min()) <= float(example["uptake"].max()) <= 1 + 1e-6


def test_some_examples_have_no_agent_at_all(crops):
    sources = crops.Sources([pair(crops)], None, CROP)
    stream = iter(crops.Crops(sources, seed=2))
    without = [
        not (example["post"][2] - example["pre"][0]).abs().max() > 1e-4
        for _, example in zip(range(60), stream, strict=False)
        if example["brain"].any()
    ]
    assert 0.05 < np.mean(without) < 0.5


def test_the_same_seed_gives_the_same_examples(crops):
    sources = crops.Sources([pair(crops)], None, CROP)
    one, two, other = (next(iter(crops.Crops(sources, seed=seed))) for seed in (5, 5, 6))
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert not torch.equal(one["post"], other["post"])


@pytest.mark.parametrize("part", ["real", "no_agent", "pasted", "other_views", "changed"])
def test_a_part_of_the_recipe_is_left_out(crops, part):
    recipe = crops.Recipe().without([part])
    assert getattr(recipe, part) == 0
    assert recipe.virtual_agent == crops.Recipe.virtual_agent


def test_an_unknown_part_of_the_recipe_is_refused(crops):
    with pytest.raises(RequestError, match="unheard"):
        crops.Recipe().without(["unheard"])


def test_shares_of_the_recipe_are_changed_and_wrong_ones_refused(crops):
    recipe = crops.Recipe().changed_to({"no_agent": 0.1})
    assert recipe.no_agent == 0.1
    assert recipe.pasted == crops.Recipe.pasted
    with pytest.raises(RequestError, match="0 to 1"):
        crops.Recipe().changed_to({"pasted": 1.5})


def test_without_the_part_every_example_has_agent(crops):
    recipe = crops.Recipe().without(["no_agent"])
    stream = iter(crops.Crops(crops.Sources([pair(crops)], None, CROP, recipe), seed=2))
    for _, example in zip(range(30), stream, strict=False):
        if example["uptake"].any():
            assert (example["post"][2] - example["pre"][0]).abs().max() > 1e-3


def test_a_real_pair_asks_for_a_change_below_the_uptake_alone(crops):
    maps = np.array(pair(crops).maps, dtype=np.float32)
    maps[1] += 0.1 * np.random.default_rng(0).standard_normal(maps[1].shape)
    away, inside = maps[2] == 0, maps[2] == 1
    plain, clean = crops.crop_of(maps), crops.crop_of(maps, only_agent=True)
    assert not np.allclose(plain.pre[away], plain.post[away])
    np.testing.assert_array_equal(clean.pre[away], clean.post[away])
    np.testing.assert_allclose(clean.pre[inside], np.minimum(maps[1], maps[0])[inside], atol=1e-6)


def test_a_place_is_the_same_voxel_in_every_view(crops):
    maps = np.arange(2 * 4 * 5 * 6).reshape(2, 4, 5, 6)
    place = np.array([1, 3, 2])
    for view in ("axial", *crops.OTHER_VIEWS):
        k, j, i = crops.place_viewed(place, maps.shape[1:], view)
        assert (crops.viewed(maps, view)[:, k, j, i] == maps[:, 1, 3, 2]).all()


@pytest.mark.parametrize(("view", "axis"), [("axial", 0), ("coronal", 1), ("sagittal", 2)])
def test_views_are_ordered_as_the_method_slices_a_scan(crops, view, axis):
    """The maps of a pair are ordered to superior, posterior, left: so is the grid here."""
    array = np.random.default_rng(0).uniform(size=(16, 32, 48)).astype("f4")
    grid = Grid((48, 32, 16))
    plan = plan_slices(grid, np.ones(array.shape, bool), across=axis)
    np.testing.assert_array_equal(crops.viewed(array[None], view)[0], plan.slices(array))


def test_a_scan_before_the_agent_may_carry_a_virtual_lesion(crops, maps):
    slab_of_all = slab(maps)
    kept = SimpleNamespace(draw=lambda rng: slab_of_all)
    recipe = crops.Recipe(real=1, no_agent=0, virtual_agent=1, pasted=0, changed=0)
    own, sources = pair(crops), crops.Sources([pair(crops)], kept, CROP, recipe)
    rng = np.random.default_rng(0)
    own_lesion_gone = 0
    for _ in range(30):
        crop = sources._with_virtual_agent(rng, crops.crop_of(own.maps[:, 12:17, 4:36, 4:36]))
        rise = crop.post - crop.pre
        assert rise.min() > -1e-5
        own_lesion_gone += bool(rise[2, 15, 15] < 0.3)
    assert 3 < own_lesion_gone < 27
