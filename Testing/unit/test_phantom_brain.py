"""Virtual brains: reproducible, consistent with their truth, and different where they should be."""

from __future__ import annotations

import importlib.util
import itertools
import json
import sys

import numpy as np
import pytest

from ContrastSynthLib.errors import MissingError, RequestError
from ContrastSynthLib.phantom.brain import template as template_module
from ContrastSynthLib.phantom.brain.anatomy import make_anatomy, prepare_patient
from ContrastSynthLib.phantom.brain.deformation import make_deformation, push_aside
from ContrastSynthLib.phantom.brain.fields import Box, random_spline
from ContrastSynthLib.phantom.brain.parameters import (
    ANATOMY,
    CORRUPTION,
    LESION_TYPES,
    SPANS,
    draw_parameters,
)
from ContrastSynthLib.phantom.brain.patient import BrainPatient, brain_patient, build_patient
from ContrastSynthLib.phantom.brain.slices import SLAB_SLICES, brain_slabs
from ContrastSynthLib.phantom.brain.study import Study
from ContrastSynthLib.phantom.brain.template import brain_template
from ContrastSynthLib.phantom.tissue import TISSUES
from ContrastSynthLib.physics import concentration, relaxivity, spgr_r1, spgr_signal

COARSE_MM = 3.0
SPGR = {
    "sequence": "spgr",
    "repetition_time_s": 0.008,
    "echo_time_s": 0.0,
    "flip_angle_deg": 15.0,
}
PERFECT = {
    **{"noise": 0.0, "bias": 0.0, "gain": 1.0, "shift_mm": 0.0, "rotation_deg": 0.0},
    **{"thickness_mm": 1.0, "pixel_mm": 1.0},
}


@pytest.fixture(scope="module")
def patient() -> BrainPatient:
    return brain_patient(4, spacing_mm=COARSE_MM, lesions=2, doses=(0.1, 0.33))


def label(name: str) -> int:
    return TISSUES[name].label


def test_every_role_is_there_finite_and_positive_in_the_brain(patient):
    roles = {"pre", "low_0.1", "low_0.33", "post", "t2", "flair", "adc", "corrupted"}
    assert set(patient.scans) == roles
    brain = patient.truth["brain"]
    assert 0.8e6 < brain.sum() * COARSE_MM**3 < 2.4e6
    for role, scan in patient.scans.items():
        assert np.isfinite(scan.array).all()
        assert (scan.array >= 0).all()
        assert (scan.array[~brain] == 0).all()
        assert (scan.array[brain] > 0).mean() > (0.97 if role == "adc" else 0.999)
        assert scan.synthetic
        assert scan.grid == patient.scans["pre"].grid
        assert scan.acquisition.field_strength_t in (1.5, 3.0)
    assert patient.scans["post"].acquisition.dose_mmol_per_kg == 0.1
    assert patient.scans["low_0.33"].acquisition.dose_mmol_per_kg == pytest.approx(0.033)
    assert patient.scans["pre"].acquisition.agent is None
    assert patient.scans["flair"].acquisition.inversion_time_s > 1.5


def test_the_grid_is_where_the_anatomy_is(patient):
    """Asymmetric structures are where RAS requires, and the head is upright."""
    grid = patient.scans["pre"].grid
    points = grid.ras_from_index(np.argwhere(patient.truth["brain"]))
    low, high = points.min(axis=0), points.max(axis=0)
    assert -90 < low[0] < -55
    assert 55 < high[0] < 90
    # More brain lies behind the commissure than before it, and more above than below.
    assert low[1] < -90
    assert 50 < high[1] < 95
    assert high[2] > 60
    for name in ("white", "grey", "csf", "blood"):
        assert (patient.truth["tissue"] == label(name)).sum() > 20
    lesion = patient.parameters["lesions"][0]
    prepared = prepare_patient(patient.parameters)
    centre = prepared.lesions[0].centre_mm[::-1]
    found = grid.ras_from_index(np.argwhere(patient.truth["lesion"] == 1)).mean(axis=0)
    assert np.linalg.norm(found - centre) < 0.3 * lesion["diameter_mm"] + COARSE_MM


def test_parameters_survive_json_and_rebuild_the_same_patient(patient):
    read_back = json.loads(json.dumps(patient.parameters))
    assert read_back == patient.parameters
    again = build_patient(read_back)
    for role, scan in patient.scans.items():
        np.testing.assert_array_equal(scan.array, again.scans[role].array)
    for name, truth in patient.truth.items():
        np.testing.assert_array_equal(truth, again.truth[name])
    with pytest.raises(RequestError, match="schema"):
        build_patient({**read_back, "schema_version": 99})


def test_seeds_make_other_patients(patient):
    other = brain_patient(5, spacing_mm=6.0, only=())
    same, again = (brain_patient(6, spacing_mm=6.0, only=()) for _ in range(2))
    np.testing.assert_array_equal(same.scans["post"].array, again.scans["post"].array)
    assert (same.truth["brain"] != other.truth["brain"]).mean() > 0.01


def test_uptake_is_where_the_agent_is(patient):
    """Without noise, shading and gain the post scan exceeds the pre scan exactly there."""
    parameters = {
        **patient.parameters,
        "corruption": None,
        "scans": {
            "pre": {**SPGR, **PERFECT, "dose": 0.0, "seed": 1},
            "post": {**SPGR, **PERFECT, "dose": 1.0, "seed": 2},
        },
    }
    found = build_patient(parameters)
    brain = found.truth["brain"]
    rise = found.scans["post"].array - found.scans["pre"].array
    agent = found.truth["gadolinium_mmol_per_l"]
    assert (agent >= 0).all()
    assert (rise[brain & (agent > 1e-3)] > 0).all()
    assert np.abs(rise[brain & (agent == 0)]).max(initial=0) < 1e-3
    mask = found.truth["uptake_mask"]
    assert agent[mask].mean() > 5 * agent[brain & ~mask].mean()
    assert (agent[mask] > 0).all()
    assert agent[found.truth["tissue"] == label("blood")].mean() > 0.2
    # Doses lie in between, in order.
    assert (found.truth["uptake"][mask] > 0).all()


def test_noise_free_spgr_gives_t1_and_gadolinium_back():
    parameters = draw_parameters(7, spacing_mm=COARSE_MM, lesions=1, corruption=None, only=())
    pair = {
        "pre": {**SPGR, **PERFECT, "dose": 0.0, "seed": 1},
        "post": {**SPGR, **PERFECT, "dose": 1.0, "seed": 2},
    }
    # A voxel's average would mix signals: the scan's pixels are the grid's.
    found = build_patient({**parameters, "scans": pair})
    brain = found.truth["brain"]
    white = prepare_patient(parameters).tissues["white"]
    settings = {"repetition_time_s": 0.008, "flip_angle_deg": 15.0}
    level = 1000.0 / spgr_signal(float(white[0]), proton_density=float(white[2]), **settings)
    density = level * found.truth["proton_density"][brain].astype(np.float64)
    r1 = [
        spgr_r1(found.scans[role].array[brain], proton_density=density, **settings)
        for role in ("pre", "post")
    ]
    np.testing.assert_allclose(1 / r1[0], found.truth["t1_s"][brain], rtol=1e-4)
    speed = relaxivity(parameters["agent"], parameters["field_strength_t"])
    agent = concentration(*r1, speed)
    truth = found.truth["gadolinium_mmol_per_l"][brain]
    np.testing.assert_allclose(agent, truth, rtol=1e-4, atol=1e-4 * truth.max())


def test_corruption_changes_only_the_corrupted_scan(patient):
    clean = build_patient({**patient.parameters, "corruption": None})
    assert "corrupted" not in clean.scans
    for role, scan in clean.scans.items():
        np.testing.assert_array_equal(scan.array, patient.scans[role].array)
    pre, corrupted = patient.scans["pre"].array, patient.scans["corrupted"].array
    assert np.abs(corrupted - pre)[patient.truth["brain"]].mean() > 0.01 * pre.mean()


def test_lesions_have_their_volume_in_the_patient():
    parameters = draw_parameters(11, lesions=1, spacing_mm=2.0, corruption=None, only=())
    for kind, diameter in (("ring", 24.0), ("non_enhancing", 14.0)):
        parameters["lesions"][0] |= {"type": kind, "diameter_mm": diameter}
        prepared = prepare_patient(parameters)
        centre = tuple(float(c) for c in prepared.lesions[0].centre_mm[::-1])
        box = Box.centred((48, 48, 48), 1.0, centre)
        anatomy = make_anatomy(prepared, box)
        wanted = np.pi / 6 * diameter**3
        # A little may reach out of the brain.
        assert 0.8 * wanted < (anatomy.lesion == 1).sum() < 1.1 * wanted
        leak = anatomy.maps[5][anatomy.lesion == 1].max()
        assert (leak > 0.1) == (kind == "ring")


def test_deformations_do_not_fold_and_can_be_undone():
    box = Box.centred((35, 42, 34), 5.0, (0.0, -18.0, 8.0))
    for kind in ("training", "different"):
        for seed in range(2):
            drawn = draw_parameters(seed, kind=kind)["anatomy"]
            warp = make_deformation(brain_template(), drawn, np.random.default_rng(seed))
            warp = push_aside(warp, [(np.array([20.0, -30.0, 30.0]), 20.0, 5.0)])
            assert warp.jacobian(box).min() > 0.1
            points = np.random.default_rng(1).uniform(-50, 50, (200, 3))
            there_and_back = warp.at(warp.from_template(points))
            assert np.linalg.norm(there_and_back - points, axis=1).max() < 0.2


def test_lesions_push_tissue_away():
    drawn = {name: 0.0 for name in ANATOMY} | {"scale_x": 1.0, "scale_y": 1.0, "scale_z": 1.0}
    still = make_deformation(brain_template(), drawn, np.random.default_rng(0))
    pushed = push_aside(still, [(np.array([20.0, -30.0, 30.0]), 15.0, 4.0)])
    beside = np.array([[20.0, -30.0, 46.0]])
    np.testing.assert_allclose(still.at(beside), beside, atol=1e-3)
    assert pushed.at(beside)[0, 2] == pytest.approx(42.5, abs=0.7)
    far = np.array([[20.0, -30.0, -60.0]])
    np.testing.assert_allclose(pushed.at(far), far, atol=0.2)


def test_a_slab_is_part_of_the_volume():
    """Slices for training and whole volumes show the same patient."""
    patient = prepare_patient(draw_parameters(9, lesions=1))
    whole = Box.centred((60, 60, 30), 3.0, (0.0, -18.0, 8.0))
    slab = whole.part((slice(10, 14), slice(5, 55), slice(0, 60)))
    first, second = make_anatomy(patient, whole), make_anatomy(patient, slab)
    np.testing.assert_allclose(second.maps, first.maps[:, 10:14, 5:55], atol=2e-3)
    assert (second.tissue == first.tissue[10:14, 5:55]).mean() > 0.999


def test_fields_have_unit_deviation_and_do_not_depend_on_the_box():
    spline = random_spline(np.random.default_rng(0), 8.0)
    box = Box.centred((40, 40, 40), 3.0, (0.0, -18.0, 8.0))
    field = spline.on(box)[0]
    assert field.std() == pytest.approx(1, rel=0.1)
    z, y, x = np.broadcast_arrays(*box.mesh())
    points = np.stack([z, y, x], axis=-1)[::7, ::7, ::7].reshape(-1, 3)
    scattered = spline.at(points)[:, 0]
    np.testing.assert_allclose(scattered, field[::7, ::7, ::7].ravel(), atol=1e-4)


def drawn_values(parameters: dict) -> dict[tuple[str, str], list[float]]:
    """Every drawn number by section and name."""
    found: dict[tuple[str, str], list[float]] = {}
    sections = [(name, parameters[name]) for name in ("anatomy", "tissue", "contrast", "vessels")]
    sections += [("lesion", lesion) for lesion in parameters["lesions"]]
    for scan in parameters["scans"].values():
        name = {"adc": "diffusion"}.get(scan["sequence"], scan["sequence"])
        sections += [(name, scan), ("scan", scan), ("resolution", scan)]
    sections.append((parameters["corruption"]["type"], parameters["corruption"]))
    for section, values in sections:
        for name in SPANS[section]:
            found.setdefault((section, name), []).append(values[name])
    return found


def test_different_patients_are_outside_the_training_ranges():
    seen = set()
    for seed, corruption in itertools.product(range(8), CORRUPTION):
        for kind in ("training", "different"):
            drawn = draw_parameters(seed, kind=kind, corruption=corruption)
            for (section, name), values in drawn_values(drawn).items():
                low, high = SPANS[section][name].training
                seen.add((section, name))
                for value in values:
                    registered = value == 0 and name in ("shift_mm", "rotation_deg")
                    if kind == "training" or name == "diameter_mm":
                        assert low <= value <= high, (section, name, value)
                    elif not registered:
                        assert not low <= value <= high, (section, name, value)
    assert seen == {(section, name) for section, spans in SPANS.items() for name in spans}
    assert set(LESION_TYPES["different"]) - set(LESION_TYPES["training"])


def test_slabs_are_what_was_asked_for_and_reproducible():
    options = {
        "roles": ("pre", "post", "low", "corrupted", "uptake", "uptake_mask", "brain"),
        "shape": (96, 80),
    }
    first, again = (list(itertools.islice(brain_slabs(3, **options), 2)) for _ in range(2))
    for one, two in zip(first, again, strict=True):
        assert set(one) == set(options["roles"])
        for role, image in one.items():
            assert image.shape == (SLAB_SLICES, 96, 80)
            assert image.dtype == np.float32
            assert np.isfinite(image).all()
            np.testing.assert_array_equal(image, two[role])
    assert not np.array_equal(first[0]["pre"], first[1]["pre"])
    assert max(one["brain"].mean() for one in first) > 0.2
    wrong = (
        *({"roles": ("pre", "posts")}, {"roles": ("low_0.1",)}),
        *({"roles": ("corrupted",), "corruption": None}, {"shape": (16, 80)}),
    )
    for request in wrong:
        with pytest.raises(RequestError):
            next(brain_slabs(3, **request))


def test_without_agent_the_post_scan_is_the_same_scan_and_darker_where_agent_was():
    parameters = draw_parameters(9, lesions=1, corruption=None, only=())
    parameters["lesions"][0] |= {"type": "solid", "diameter_mm": 16.0}
    imperfect = {**SPGR, **PERFECT, "noise": 0.04, "bias": 0.3}
    scans = {
        "pre": {**imperfect, "dose": 0.0, "seed": 1},
        "post": {**imperfect, "dose": 1.0, "seed": 2},
    }
    prepared = prepare_patient({**parameters, "scans": scans})
    centre = tuple(float(c) for c in prepared.lesions[0].centre_mm[::-1])
    box = Box.centred((40, 40, 40), 1.0, centre)
    study = Study(prepared, box, make_anatomy(prepared, box))
    pre, post, unenhanced = study.image("pre"), study.image("post"), study.unenhanced()
    free = study.agent(1.0) == 0
    assert free.mean() > 0.01
    noise = np.std((pre - post)[free])
    assert noise > 1
    assert np.abs(post - unenhanced)[free].max() < 0.01 * noise
    mask = study.uptake()[1]
    assert mask.sum() > 500
    assert (unenhanced < post)[mask].mean() > 0.999
    # The rise is that of the clean signals, shaded: no noise of its own.
    assert np.corrcoef((post - unenhanced)[mask], study.uptake()[0][mask])[0, 1] > 0.95
    # Without noise and shading it is the pre scan.
    flat = {role: {**scan, **PERFECT} for role, scan in scans.items()}
    perfect = Study(prepared.with_scans(flat), box, study.anatomy)
    np.testing.assert_allclose(perfect.unenhanced(), perfect.image("pre"), rtol=1e-5)


def test_a_whole_head_has_fat_bone_and_eyes():
    head = brain_patient(2, spacing_mm=4.0, head=True, only=("t2",), corruption=None)
    tissue = head.truth["tissue"]
    for name in ("fat", "bone", "skin", "vitreous", "marrow", "muscle"):
        assert (tissue == label(name)).sum() > 10, name
    assert (head.scans["pre"].array[~head.truth["brain"]] > 0).mean() > 0.9
    pre = head.scans["pre"].array
    fat, bone = (pre[tissue == label(name)].mean() for name in ("fat", "bone"))
    assert fat > 1.2 * pre[head.truth["brain"]].mean()
    assert bone < 0.7 * fat


@pytest.mark.parametrize(
    "options",
    [
        {"kind": "trained"},
        {"corruption": "ghost"},
        {"doses": (2.5,)},
        {"spacing_mm": 0.1},
        {"only": ("t3",)},
    ],
)
def test_wrong_requests_are_refused(options):
    with pytest.raises(RequestError):
        brain_patient(0, **options)


def test_without_nilearn_the_message_names_the_extra(monkeypatch):
    imported = "nilearn" in sys.modules  # by another test
    monkeypatch.setattr(template_module, "find_spec", lambda name: None)
    brain_template.cache_clear()
    with pytest.raises(MissingError, match="phantom"):
        brain_template()
    monkeypatch.undo()
    assert importlib.util.find_spec("nilearn")
    assert brain_template().fluid.shape == (189, 233, 197)
    assert ("nilearn" in sys.modules) == imported
