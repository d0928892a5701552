"""A virtual breast patient: a dynamic contrast-enhanced series with its true maps.

Anatomy, lesions and kinetics are drawn from one seed. The images are computed from maps of T1,
proton density and the Tofts model by SPHERE, eq. 1 and 7. No data of real patients are used, so
results do not predict the performance of a method in real patients.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates

from ContrastSynthLib.acquisition import Acquisition
from ContrastSynthLib.errors import RequestError, unknown_name
from ContrastSynthLib.phantom import marks
from ContrastSynthLib.phantom.breast.anatomy import (
    DENSITIES,
    Shape,
    draw_body,
    paint_chest,
    paint_gland,
    paint_skin,
    paint_veins,
    shape_of,
)
from ContrastSynthLib.phantom.breast.lesions import (
    KINETICS,
    PAPER_TIMES_S,
    BreastLesion,
    Scanner,
    paint_lesions,
    place_lesions,
)
from ContrastSynthLib.phantom.breast.space import (
    AIR,
    BLOOD,
    FAT,
    GLAND,
    LESION,
    LUNG,
    MAPS,
    MARROW,
    MUSCLE,
    NECROSIS,
    SKIN,
    Canvas,
    Space,
)
from ContrastSynthLib.physics.constants import (
    HAEMATOCRIT,
    STANDARD_DOSE_MMOL_PER_KG,
    TABULATED_FIELDS_T,
)
from ContrastSynthLib.volumes import FloatArray, Volume, checked_times

SCHEMA_VERSION = 1
SYNTHETIC = marks.BREAST

# T1 and T2 in s at 1.5 and 3 T. Gland and fat: Rakow-Penner et al., J Magn Reson Imaging
# 2006;23:87-91. Muscle and blood: Stanisz et al., Magn Reson Med 2005;54:507-512. Marrow: de
# Bazelaire et al., Radiology 2004;230:652-659. Skin, lung and necrosis: our choice, between
# muscle and fat, long with few protons, and near that of fluid. T2 of lesions, 0.06-0.11 s:
# Liu et al., J Int Med Res 2018;46:1928-1935.
T1_S = {
    SKIN: (0.90, 1.10),
    FAT: (0.296, 0.367),
    GLAND: (1.266, 1.445),
    MUSCLE: (1.008, 1.412),
    BLOOD: (1.441, 1.932),
    LUNG: (1.10, 1.25),
    MARROW: (0.549, 0.586),
    LESION: (1.2, 1.6),
    NECROSIS: (2.2, 2.6),
}
T2_S = {
    SKIN: (0.030, 0.028),
    FAT: (0.053, 0.053),
    GLAND: (0.058, 0.054),
    MUSCLE: (0.044, 0.050),
    BLOOD: (0.290, 0.275),
    LUNG: (0.040, 0.030),
    MARROW: (0.049, 0.049),
    LESION: (0.085, 0.080),
    NECROSIS: (0.160, 0.150),
}
# Proton density relative to water, the share of it in fat, Ktrans per minute, ve, vp. Our choice,
# of the order of published perfusion values; in blood agent is in the plasma only.
OTHERS = {
    SKIN: (0.62, 0.0, 0.030, 0.25, 0.02),
    FAT: (0.95, 1.0, 0.002, 0.03, 0.004),
    GLAND: (0.80, 0.0, 1.0, 0.25, 0.006),
    MUSCLE: (0.78, 0.0, 0.035, 0.12, 0.02),
    BLOOD: (0.85, 0.0, 0.0, 0.0, 1.0 - HAEMATOCRIT),
    LUNG: (0.10, 0.0, 0.050, 0.15, 0.05),
    MARROW: (0.60, 0.6, 0.010, 0.10, 0.02),
    LESION: (0.85, 0.0, 0.200, 0.40, 0.04),
    NECROSIS: (0.92, 0.0, 0.008, 0.30, 0.0),
}
BACKGROUNDS = {"minimal": 0.006, "mild": 0.014, "moderate": 0.030, "marked": 0.055}
"""Ktrans of gland per minute, by class of background parenchymal enhancement (BI-RADS)."""

WATER_SIGNAL = 20_000.0
"""Signal of water with a gain and a relaxation factor of 1, in arbitrary units."""
MID_BREAST_MM = -45.0
"""Position y, in LPS, at which the shading is 1; it is larger in front and smaller behind."""

MOTION_STEP_MM = 70.0
"""Features of the deformation between phases."""

# kep in the maps is rounded to powers of this, so that each convolution is computed only once.
KEP_STEP = 1.01


@dataclass(frozen=True)
class BreastPatient:
    """A series and its true maps on one axial grid, with the patient in prone position.

    ``phases`` are scans with ``acquisition.time_s``, the time after injection. ``tissue`` is the
    label of the tissue with the largest share of a voxel, see ``space.TISSUE_NAMES``;
    ``lesion_labels`` labels the enhancing part of each lesion. ``truth`` holds float32 maps
    (k, j, i): ``t1_s``, ``t2_s``, ``proton_density`` (reduced by fat suppression),
    ``ktrans_per_s``, ``ve``, ``vp``, and ``sensitivity`` (gain times shading).
    ``concentration_mmol_per_l`` is (phases, k, j, i). Without noise a phase is
    sensitivity * proton_density * SPGR(1 / t1_s + r1 * concentration). ``parameters`` holds
    everything that was drawn or given, JSON-able.
    """

    phases: list[Volume]
    tissue: NDArray[np.uint8]
    lesion_labels: NDArray[np.uint8]
    truth: dict[str, FloatArray]
    concentration_mmol_per_l: FloatArray
    lesions: tuple[BreastLesion, ...]
    parameters: dict[str, Any]


def breast_patient(
    seed: int,
    *,
    size: tuple[int, int, int] = (256, 256, 60),
    times_s: Sequence[float] = PAPER_TIMES_S,
    snr: float = 20.0,
    lesion_types: Sequence[str] | None = None,
    density: str | None = None,
    background: str | None = None,
    fat_suppressed: bool | None = None,
    field_strength_t: float | None = None,
    agent: str = "gadopentetate",
    dose_mmol_per_kg: float = STANDARD_DOSE_MMOL_PER_KG,
    motion_mm: float = 0.0,
) -> BreastPatient:
    """Return a patient on a grid of ``size`` (i, j, k) that spans 333 x 333 x 150 mm.

    ``times_s`` are seconds after injection; scans at 0 and before contain no agent. ``snr`` is the
    pre-contrast signal of gland in the middle of the breast divided by the standard deviation of
    the Rician noise; infinite for no noise. ``lesion_types`` are "I", "II" or "III", one for each
    lesion; ``density`` is "a" to "d", ``background`` "minimal" to "marked". ``motion_mm`` is the
    standard deviation, along each axis, of how far tissue lies from where it lay in the first scan,
    in each later one; the maps are those of the first. Parameters that are None are drawn. The same
    seed gives the same bits, and the same anatomy on every grid, except that the position of
    lesions can change. Raises RequestError for unknown names, wrong times, and settings out of
    range.
    """
    times = checked_times(times_s, len(times_s), "The virtual patient")
    rng = np.random.default_rng(seed)
    scanner = draw_scanner(rng, fat_suppressed, field_strength_t, agent, dose_mmol_per_kg)
    settings = _settings(rng, lesion_types, density, background)
    settings |= {"seed": seed, "size": list(size), "times_s": times.tolist()}
    body = draw_body(rng, settings["density"])
    space = Space.of(size)
    shape = shape_of(space, body, rng)
    canvas = _anatomy(space, shape, body, scanner, settings["background"], rng)
    lesions = place_lesions(rng, shape, space, scanner, settings["lesion_types"])
    labels = paint_lesions(canvas, space, lesions, rng)
    truth = _truth(canvas, space, scanner, rng)
    concentration = _concentration(truth, scanner, times)
    noise = noise_deviation(scanner, snr)
    phases = _phases(rng, space, truth, concentration, scanner, times, noise, motion_mm)
    parameters = {
        "schema_version": SCHEMA_VERSION,
        **settings,
        "snr": snr if np.isfinite(snr) else None,
        "noise_deviation": noise,
        "motion_mm": motion_mm,
        "scanner": asdict(scanner),
        "body": body,
        "lesions": [lesion.as_dict() for lesion in lesions],
    }
    return BreastPatient(phases, canvas.tissue, labels, truth, concentration, lesions, parameters)


def draw_scanner(
    rng: np.random.Generator,
    fat_suppressed: bool | None = None,
    field_strength_t: float | None = None,
    agent: str = "gadopentetate",
    dose_mmol_per_kg: float = STANDARD_DOSE_MMOL_PER_KG,
) -> Scanner:
    """Return a random acquisition, in most cases 3 T with fat suppression, or as given."""
    field = float(rng.choice(TABULATED_FIELDS_T, p=[0.35, 0.65]))
    suppressed, fat_left = bool(rng.random() < 0.7), float(rng.uniform(0.07, 0.20))
    return Scanner(
        field_strength_t=field if field_strength_t is None else field_strength_t,
        repetition_time_s=float(rng.uniform(0.0036, 0.0060)),
        flip_angle_deg=float(rng.uniform(10.0, 15.0)),
        fat_left=fat_left if (suppressed if fat_suppressed is None else fat_suppressed) else 1.0,
        agent=agent,
        dose_mmol_per_kg=dose_mmol_per_kg,
        arrival_s=float(rng.uniform(15.0, 32.0)),
        gain=float(rng.uniform(0.5, 2.0)),
        shading_mm=float(rng.uniform(150.0, 280.0)),
    )


def noise_deviation(scanner: Scanner, snr: float) -> float:
    """Return the standard deviation of the noise: the signal of gland / snr. See ``snr`` above."""
    if not snr > 0:
        raise RequestError(f"A signal-to-noise ratio of {snr:g} is not above 0.")
    gland = tissue_values(scanner)[GLAND]
    signal = gland["proton_density"] * float(scanner.signal(gland["r1_per_s"], 0.0))
    return WATER_SIGNAL * scanner.gain * signal / snr


def tissue_values(scanner: Scanner) -> dict[int, dict[str, float]]:
    """Return the values of each tissue, by the names of the maps, at the field strength."""
    fields = TABULATED_FIELDS_T
    values = {AIR: dict.fromkeys(MAPS, 0.0) | {"r1_per_s": 1.0, "r2_per_s": 20.0}}
    for tissue, (density, fat, ktrans_per_min, ve, vp) in OTHERS.items():
        values[tissue] = {
            "r1_per_s": 1.0 / float(np.interp(scanner.field_strength_t, fields, T1_S[tissue])),
            "r2_per_s": 1.0 / float(np.interp(scanner.field_strength_t, fields, T2_S[tissue])),
            "proton_density": density * (1.0 - fat * (1.0 - scanner.fat_left)),
            "ktrans_per_s": ktrans_per_min / 60.0,
            "ve": ve,
            "vp": vp,
        }
    return values


def _settings(
    rng: np.random.Generator,
    lesion_types: Sequence[str] | None,
    density: str | None,
    background: str | None,
) -> dict[str, Any]:
    """Draw all settings, so that a given one changes no other, and replace the given ones."""
    settings: dict[str, Any] = {
        "density": str(rng.choice(list(DENSITIES), p=[0.1, 0.4, 0.4, 0.1])),
        "background": str(rng.choice(list(BACKGROUNDS), p=[0.3, 0.35, 0.2, 0.15])),
        "lesion_types": rng.choice(list(KINETICS), rng.integers(1, 4)).tolist(),
    }
    for name, value, known in (
        ("density", density, DENSITIES),
        ("background", background, BACKGROUNDS),
    ):
        if value is not None and value not in known:
            raise unknown_name(name, value, known)
        settings[name] = value or settings[name]
    if lesion_types is not None:
        settings["lesion_types"] = list(lesion_types)
    return settings


def _anatomy(
    space: Space,
    shape: Shape,
    body: Mapping[str, Any],
    scanner: Scanner,
    background: str,
    rng: np.random.Generator,
) -> Canvas:
    canvas = Canvas.empty(space.grid.shape, tissue_values(scanner))
    paint_chest(canvas, space, shape, body, scanner.fat_left, rng)
    paint_gland(canvas, space, shape, body, BACKGROUNDS[background], rng)
    paint_veins(canvas, space, shape, body, rng)
    paint_skin(canvas, space, shape, body)
    return canvas


def _truth(
    canvas: Canvas, space: Space, scanner: Scanner, rng: np.random.Generator
) -> dict[str, FloatArray]:
    """Return the true maps, with kep rounded to powers of KEP_STEP, and the coil's sensitivity."""
    maps = canvas.maps
    ktrans, ve = maps["ktrans_per_s"], maps["ve"]
    has = (ktrans > 0) & (ve > 0)
    kep = np.divide(ktrans, ve, out=np.ones_like(ktrans), where=has)
    rounded = KEP_STEP ** np.round(np.log(kep) / np.log(KEP_STEP))
    back = (space.y - MID_BREAST_MM) / scanner.shading_mm
    shading = np.exp(0.07 * space.noise(rng, 95.0) - back)
    return {
        "t1_s": 1.0 / maps["r1_per_s"],
        "t2_s": 1.0 / maps["r2_per_s"],
        "proton_density": maps["proton_density"],
        "ktrans_per_s": np.where(has, ktrans, np.float32(0)),
        "ve": np.where(has, ktrans / rounded, np.float32(0)).astype(np.float32),
        "vp": maps["vp"],
        "sensitivity": (WATER_SIGNAL * scanner.gain * shading).astype(np.float32),
    }


def _concentration(
    truth: Mapping[str, FloatArray], scanner: Scanner, times_s: NDArray[np.float64]
) -> FloatArray:
    """Return the concentration (times, k, j, i) of the Tofts model, convolved once per kep."""
    ktrans, ve, vp = truth["ktrans_per_s"], truth["ve"], truth["vp"]
    has = ktrans > 0
    steps = np.round(np.log(ktrans[has] / ve[has]) / np.log(KEP_STEP))
    known, found = np.unique(steps, return_inverse=True)
    index = np.zeros(ktrans.shape, np.intp)
    index[has] = found
    kep, part = KEP_STEP**known, 0.01
    outside = scanner.tofts(times_s, ktrans_per_s=kep * part, ve=part) / (kep * part)
    plasma = scanner.tofts(times_s, ktrans_per_s=0.0, ve=0.0, vp=1.0)
    result = np.empty((len(times_s), *ktrans.shape), np.float32)
    for now, response, blood in zip(result, outside.astype(np.float32), plasma, strict=True):
        np.multiply(ktrans, response[index], out=now)
        now += vp * np.float32(blood)
    return result


def _phases(
    rng: np.random.Generator,
    space: Space,
    truth: Mapping[str, FloatArray],
    concentration: FloatArray,
    scanner: Scanner,
    times_s: NDArray[np.float64],
    noise: float,
    motion_mm: float,
) -> list[Volume]:
    visible = truth["sensitivity"] * truth["proton_density"]
    phases: list[Volume] = []
    for time, agent in zip(times_s.tolist(), concentration, strict=True):
        image = visible * scanner.signal(1.0 / truth["t1_s"], agent)
        if motion_mm > 0 and phases:
            image = _moved(image, space, motion_mm, rng)
        if noise > 0:
            real, imaginary = (rng.standard_normal(image.shape, np.float32) for _ in range(2))
            image = np.hypot(image + noise * real, noise * imaginary)
        given = time > 0
        acquisition = Acquisition(
            repetition_time_s=scanner.repetition_time_s,
            flip_angle_deg=scanner.flip_angle_deg,
            field_strength_t=scanner.field_strength_t,
            agent=scanner.agent if given else None,
            dose_mmol_per_kg=scanner.dose_mmol_per_kg if given else None,
            time_s=time,
        )
        phases.append(Volume(image, space.grid, acquisition, SYNTHETIC))
    return phases


def _moved(
    image: NDArray[Any], space: Space, motion_mm: float, rng: np.random.Generator
) -> FloatArray:
    """Return an image (k, j, i) deformed smoothly, by ``motion_mm`` along each axis on average."""
    where = np.indices(image.shape, dtype=np.float32)
    for axis, spacing_mm in enumerate(space.grid.spacing_mm[::-1]):
        where[axis] += motion_mm / spacing_mm * space.noise(rng, MOTION_STEP_MM)
    moved = map_coordinates(image, where, order=1, mode="nearest", output=np.float32)
    return np.asarray(moved)
