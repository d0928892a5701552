"""The virtual breast: images against their own truth, truth against what is known of breasts."""

from __future__ import annotations

import json

import dcmri
import numpy as np
import pytest

from ContrastSynthLib.analysis.kinetics import mean_curve, measure_curve
from ContrastSynthLib.errors import RequestError
from ContrastSynthLib.phantom.breast.anatomy import DENSITIES
from ContrastSynthLib.phantom.breast.lesions import PAPER_TIMES_S, draw_tissue
from ContrastSynthLib.phantom.breast.patient import (
    BACKGROUNDS,
    OTHERS,
    WATER_SIGNAL,
    breast_patient,
    draw_scanner,
    noise_deviation,
)
from ContrastSynthLib.phantom.breast.space import (
    AIR,
    BLOOD,
    FAT,
    GLAND,
    LESION,
    NECROSIS,
    SKIN,
    TISSUE_NAMES,
)
from ContrastSynthLib.physics import concentration, relaxivity, spgr_r1
from ContrastSynthLib.physics.constants import HAEMATOCRIT
from ContrastSynthLib.physics.kinetics import tofts_concentration

SMALL = (80, 80, 20)
TYPES = ("I", "II", "III")


@pytest.fixture(scope="module")
def patient():
    return breast_patient(7, size=SMALL, snr=np.inf, lesion_types=TYPES)


def scanner_of(patient):
    return patient.parameters["scanner"]


def settings_of(patient):
    scanner = scanner_of(patient)
    return {name: scanner[name] for name in ("repetition_time_s", "flip_angle_deg")}


def pure(patient, tissue):
    """Return the voxels that contain nothing else, identified by their ve."""
    inside = patient.tissue == tissue
    inside &= abs(patient.truth["ve"] / OTHERS[tissue][3] - 1) < 0.01
    assert inside.sum() > 100
    return inside


def test_the_images_give_t1_and_the_agent_back(patient):
    """Through the inverse of the signal equation, which the generator does not use."""
    scanner = scanner_of(patient)
    seen = patient.truth["proton_density"] > 0.02
    unit = (patient.truth["sensitivity"].astype(float) * patient.truth["proton_density"])[seen]
    rates = [spgr_r1(phase.array[seen] / unit, **settings_of(patient)) for phase in patient.phases]
    np.testing.assert_allclose(1 / rates[0], patient.truth["t1_s"][seen], rtol=1e-4)
    r1 = relaxivity(scanner["agent"], scanner["field_strength_t"])
    for rate, truth in zip(rates, patient.concentration_mmol_per_l, strict=True):
        found = concentration(rates[0], rate, r1)
        np.testing.assert_allclose(found, truth[seen], rtol=1e-4, atol=1e-4)


def test_the_agent_is_that_of_the_maps_voxel_by_voxel(patient):
    truth, scanner = patient.truth, scanner_of(patient)
    chosen = np.random.default_rng(0).choice(patient.tissue.size, 400, replace=False)
    maps = {name: truth[name].ravel()[chosen] for name in ("ktrans_per_s", "ve", "vp")}
    expected = tofts_concentration(PAPER_TIMES_S, arrival_s=scanner["arrival_s"], **maps)
    found = patient.concentration_mmol_per_l.reshape(6, -1)[:, chosen]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)
    assert not found[0].any(), "nothing was injected before the first scan"


def test_the_agent_agrees_with_dcmri(patient):
    truth, scanner = patient.truth, scanner_of(patient)
    at = tuple(np.argwhere(patient.lesion_labels == 3)[0])
    ktrans, ve, vp = (float(truth[name][at]) for name in ("ktrans_per_s", "ve", "vp"))
    t = np.arange(0, 365, 0.05)
    plasma = dcmri.aif_parker(t) * 1000 / (1 - HAEMATOCRIT)
    curve = vp * plasma + ve * dcmri.expconv(plasma, ve / ktrans, t)
    expected = np.interp(np.subtract(PAPER_TIMES_S[1:], scanner["arrival_s"]), t, curve)
    found = patient.concentration_mmol_per_l[(slice(1, None), *at)]
    np.testing.assert_allclose(found, expected, rtol=1e-3)


def test_virtual_lesions_come_back_with_their_type():
    """Regions of 60 voxels, each with its own kinetics and noise; a type is a third of all."""
    rng, count, right = np.random.default_rng(2025), 300, 0
    for number in range(count):
        scanner = draw_scanner(rng)
        tissue = draw_tissue(rng, TYPES[number % 3], scanner)
        signal = tissue.signals(scanner, PAPER_TIMES_S, np.exp(0.22 * rng.standard_normal(60)))
        noise = signal[0].mean() / 20 * rng.standard_normal((2, *signal.shape))
        curve = np.hypot(signal + noise[0], noise[1]).mean(axis=1)
        right += measure_curve(PAPER_TIMES_S, curve).type == tissue.type
    assert right >= 0.95 * count


@pytest.mark.parametrize("fat_suppressed", [True, False])
def test_lesions_in_a_volume_have_their_type(fat_suppressed):
    patient = breast_patient(
        11, size=(160, 160, 40), lesion_types=TYPES, fat_suppressed=fat_suppressed
    )
    assert [lesion.tissue.type for lesion in patient.lesions] == list(TYPES)
    for lesion in patient.lesions:
        mask = patient.lesion_labels == lesion.label
        curve = measure_curve(PAPER_TIMES_S, mean_curve(patient.phases, mask))
        assert curve.type == lesion.tissue.type
        k, j, i = np.argwhere(mask).mean(axis=0)
        centre = patient.phases[0].grid.ras_from_index([k, j, i])
        assert np.linalg.norm(centre - lesion.centre_ras_mm) < lesion.radius_mm
        assert np.isin(patient.tissue[mask], LESION).mean() > 0.9


def test_other_times_show_the_same_patient(patient):
    dense = breast_patient(
        7, size=SMALL, snr=np.inf, lesion_types=TYPES, times_s=[-60, 0, 40, 85, 120, 365, 600]
    )
    for name, map_ in patient.truth.items():
        np.testing.assert_array_equal(map_, dense.truth[name])
    for here, there in ((0, 0), (0, 1), (1, 3), (5, 5)):
        same = patient.phases[here].array, dense.phases[there].array
        np.testing.assert_allclose(*same, rtol=1e-5)
    assert [phase.acquisition.time_s for phase in dense.phases] == [-60, 0, 40, 85, 120, 365, 600]
    agents = [phase.acquisition.agent for phase in dense.phases]
    assert agents == [None, None, *["gadopentetate"] * 5]


def test_the_same_seed_gives_the_same_bits(patient):
    again = breast_patient(7, size=SMALL, snr=np.inf, lesion_types=TYPES)
    assert [p.sha256() for p in again.phases] == [p.sha256() for p in patient.phases]
    assert again.parameters == patient.parameters
    other = breast_patient(8, size=SMALL, snr=np.inf, lesion_types=TYPES)
    assert other.phases[0].sha256() != patient.phases[0].sha256()
    noisy = breast_patient(7, size=SMALL, snr=20, lesion_types=TYPES)
    np.testing.assert_array_equal(noisy.tissue, patient.tissue)


def test_all_that_was_drawn_is_json_and_the_phases_say_what_they_are(patient):
    content = json.loads(json.dumps(patient.parameters, allow_nan=False))
    assert (content["schema_version"], content["seed"], content["snr"]) == (1, 7, None)
    assert [lesion["tissue"]["type"] for lesion in content["lesions"]] == list(TYPES)
    for phase in patient.phases:
        assert "virtual patient" in phase.synthetic
        assert phase.acquisition.repetition_time_s == content["scanner"]["repetition_time_s"]
        assert phase.grid == patient.phases[0].grid
        assert np.isfinite(phase.array).all()
    assert set(np.unique(patient.tissue)) <= set(TISSUE_NAMES)


def test_the_noise_is_that_of_the_snr():
    quiet, noisy = (breast_patient(3, size=SMALL, snr=snr) for snr in (np.inf, 20.0))
    noise = noisy.parameters["noise_deviation"]
    air = (quiet.tissue == AIR) & (quiet.phases[0].array < 1e-3 * noise)
    # Rayleigh's distribution: mean sqrt(pi / 2), mean square 2, in deviations.
    values = noisy.phases[0].array[air].astype(float) / noise
    assert values.mean() == pytest.approx(np.sqrt(np.pi / 2), rel=0.01)
    assert (values**2).mean() == pytest.approx(2.0, rel=0.02)
    assert noisy.phases[1].array[air].std() / noise == pytest.approx(
        np.sqrt(2 - np.pi / 2), rel=0.02
    )
    gland = (quiet.tissue == GLAND) & (quiet.truth["proton_density"] > 0.75)
    usual = WATER_SIGNAL * scanner_of(quiet)["gain"]
    unit = quiet.phases[0].array[gland] / quiet.truth["sensitivity"][gland] * usual
    assert np.median(unit) / noise == pytest.approx(20, rel=0.1)


@pytest.mark.parametrize("field_strength_t", [1.5, 3.0])
def test_fat_is_bright_unless_it_is_suppressed(field_strength_t):
    means = {}
    for suppressed in (False, True):
        patient = breast_patient(
            5,
            size=SMALL,
            snr=np.inf,
            fat_suppressed=suppressed,
            field_strength_t=field_strength_t,
        )
        image = patient.phases[0].array / patient.truth["sensitivity"]
        means[suppressed] = [np.median(image[pure(patient, t)]) for t in (FAT, GLAND)]
    assert means[False][0] > 1.8 * means[False][1]
    assert means[True][0] < 0.8 * means[True][1]
    assert means[True][1] == pytest.approx(means[False][1], rel=0.03)


def test_relaxation_is_that_of_the_field():
    for field, gland_s, fat_s in ((1.5, 1.266, 0.296), (3.0, 1.445, 0.367)):
        patient = breast_patient(
            5, size=SMALL, snr=np.inf, fat_suppressed=False, field_strength_t=field
        )
        for tissue, expected in ((GLAND, gland_s), (FAT, fat_s)):
            found = np.median(patient.truth["t1_s"][pure(patient, tissue)])
            assert found == pytest.approx(expected, rel=0.02)


def test_density_and_background_come_in_their_order():
    shares = []
    for density in DENSITIES:
        tissue = breast_patient(4, size=SMALL, density=density, lesion_types=[]).tissue
        shares.append((tissue == GLAND).sum() / np.isin(tissue, (GLAND, FAT)).sum())
    assert (np.diff(shares) > 0).all()
    rises = []
    for background in BACKGROUNDS:
        patient = breast_patient(
            4, size=SMALL, snr=np.inf, density="c", background=background, lesion_types=[]
        )
        gland = patient.tissue == GLAND
        pre, early, *_, late = (phase.array[gland].mean() for phase in patient.phases)
        rises.append(early / pre - 1)
        assert late > early > pre, "background enhancement goes on rising"
    assert (np.diff(rises) > 0).all()
    assert rises[0] < 0.16
    assert rises[-1] > 0.3


def test_blood_peaks_early_and_a_core_stays_dark():
    patient = next(
        found
        for seed in range(40, 80)
        for found in [breast_patient(seed, size=SMALL, snr=np.inf, lesion_types=["III"] * 3)]
        if found.lesions[0].shape == "rim"
    )
    _, early, *_, late = patient.concentration_mmol_per_l
    blood = patient.truth["vp"] > 0.55
    assert (patient.tissue[blood] == BLOOD).all()
    assert early[blood].mean() > 1.5 * late[blood].mean()
    core = patient.tissue == NECROSIS
    rim = patient.lesion_labels == 1
    assert core.any()
    assert not (core & rim).any()
    assert early[core].min() < 0.5 * early[rim].mean()


def test_the_anatomy_does_not_depend_on_the_grid():
    coarse, fine = (
        breast_patient(6, size=size, density="c", lesion_types=[])
        for size in (SMALL, (144, 144, 36))
    )
    for tissue in (AIR, FAT, GLAND, BLOOD):
        shares = [(patient.tissue == tissue).mean() for patient in (coarse, fine)]
        assert shares[0] == pytest.approx(shares[1], rel=0.12)
    assert (coarse.tissue == SKIN).any()


def test_lesions_lie_apart_within_their_breast():
    patient = breast_patient(9, size=(112, 112, 28), lesion_types=TYPES * 3)
    labels, lesions = patient.lesion_labels, patient.lesions
    assert len(lesions) >= 5
    for lesion in lesions:
        assert (lesion.centre_ras_mm[0] > 0) == (lesion.side == "right")
        for other in lesions:
            apart = np.linalg.norm(np.subtract(lesion.centre_ras_mm, other.centre_ras_mm))
            assert other is lesion or apart > 1.5 * (lesion.radius_mm + other.radius_mm)
        touched = patient.tissue[labels == lesion.label]
        assert touched.size
        assert not np.isin(touched, (AIR, SKIN)).any()


def test_a_lesions_signal_is_that_of_its_tissue():
    rng = np.random.default_rng(1)
    scanner = draw_scanner(rng, field_strength_t=1.5)
    tissue = draw_tissue(rng, "II", scanner)
    agent = tofts_concentration(
        PAPER_TIMES_S,
        ktrans_per_s=tissue.ktrans_per_s,
        ve=tissue.ve,
        vp=tissue.vp,
        arrival_s=scanner.arrival_s,
    )
    r1 = 1 / tissue.t1_s + relaxivity("gadopentetate", 1.5) * agent
    angle, tr = np.deg2rad(scanner.flip_angle_deg), scanner.repetition_time_s
    decay = np.exp(-tr * r1)
    expected = np.sin(angle) * (1 - decay) / (1 - np.cos(angle) * decay)
    np.testing.assert_allclose(tissue.signals(scanner, PAPER_TIMES_S), expected, rtol=1e-9)
    assert 1.05 <= tissue.t1_s <= 1.4


def test_a_border_is_no_brighter_than_what_it_parts():
    """Suppressed fat has few protons left: a voxel that shares gland relaxes as gland does."""
    patient = breast_patient(
        5, size=SMALL, snr=np.inf, fat_suppressed=True, density="b", lesion_types=[]
    )
    image = patient.phases[0].array / patient.truth["sensitivity"]
    gland = np.median(image[pure(patient, GLAND)])
    breast = np.isin(patient.tissue, (GLAND, FAT)) & (patient.truth["vp"] < 0.007)
    assert breast.sum() > 3000
    assert np.percentile(image[breast], 99.5) < 1.12 * gland


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"density": "e"}, "Unknown density 'e'"),
        ({"background": "midl"}, "Did you mean 'mild'"),
        ({"lesion_types": ["IV"]}, "Unknown type of curve 'IV'"),
        ({"times_s": [0, 85, 85]}, "do not increase"),
        ({"snr": 0.0}, "not above 0"),
        ({"agent": "gadolini"}, "Unknown contrast agent"),
        ({"field_strength_t": 7.0}, "7 T"),
    ],
)
def test_wrong_settings_are_refused(wrong, message):
    with pytest.raises(RequestError, match=message):
        breast_patient(0, size=(32, 32, 8), **wrong)


def test_settings_without_t1_weighting_are_refused():
    rng = np.random.default_rng(0)
    scanner = draw_scanner(rng)
    weak = type(scanner)(**(vars(scanner) | {"flip_angle_deg": 2.0, "repetition_time_s": 0.02}))
    with pytest.raises(RequestError, match="too little T1 weighting"):
        draw_tissue(rng, "III", weak)


def test_the_noise_deviation_follows_the_scanner():
    scanner = draw_scanner(np.random.default_rng(0))
    assert noise_deviation(scanner, np.inf) == 0
    assert noise_deviation(scanner, 10) == pytest.approx(2 * noise_deviation(scanner, 20))


def test_a_patient_who_moves_has_the_same_first_scan_and_the_same_maps():
    still, moving = (breast_patient(5, size=(64, 64, 24), motion_mm=mm) for mm in (0.0, 3.0))
    assert np.array_equal(still.truth["t1_s"], moving.truth["t1_s"])
    assert np.array_equal(still.phases[0].array, moving.phases[0].array)
    assert moving.parameters["motion_mm"] == 3
    differences = [
        np.abs(one.array - other.array).mean() / one.array.mean()
        for one, other in zip(still.phases[1:], moving.phases[1:], strict=True)
    ]
    assert min(differences) > 0.03
    again = breast_patient(5, size=(64, 64, 24), motion_mm=3.0)
    assert np.array_equal(again.phases[3].array, moving.phases[3].array)
