"""Lesions of a virtual breast: kinetics, shape and position.

A lesion has a type of kinetic curve: I persistent, II plateau, III washout. Its kinetics are drawn
repeatedly until the noise-free signal has that type, with a margin for noise, at the six times of
the iterU-Net paper. At other times the type of the same tissue can differ.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.ndimage import map_coordinates

from ContrastSynthLib.errors import RequestError, unknown_name
from ContrastSynthLib.phantom.breast.anatomy import SIDES, Shape, places_for_lesions
from ContrastSynthLib.phantom.breast.space import LESION, NECROSIS, SPLINE_VARIANCE, Canvas, Space
from ContrastSynthLib.physics import r1_with_agent, relaxivity, spgr_signal
from ContrastSynthLib.physics.kinetics import tofts_concentration
from ContrastSynthLib.volumes import FloatArray

PAPER_TIMES_S = (0.0, 85.0, 155.0, 225.0, 295.0, 365.0)
"""Times of the six scans of iterU-Net, section 4.1, in s; the first is before the injection."""

# Ktrans and kep per minute, and vp: our choice. Dynamic studies since Tofts et al., Magn Reson Med
# 1995;33:564-568, report Ktrans of 0.05-0.2 in benign and 0.1-0.8 in malignant tumours and kep up
# to 3. With the arterial input function of Parker et al. the type depends on kep alone.
KINETICS = {
    "I": {"ktrans": (0.05, 0.16), "kep": (0.06, 0.22), "vp": (0.0, 0.04)},
    "II": {"ktrans": (0.10, 0.35), "kep": (0.25, 0.55), "vp": (0.01, 0.06)},
    "III": {"ktrans": (0.20, 0.80), "kep": (0.60, 2.50), "vp": (0.02, 0.08)},
}
# Range of the delayed change, from the first post-contrast scan to the last. The types are
# separated at -10 % and +10 %; the ranges keep a distance from these limits.
CHANGES = {"I": (0.145, 2.0), "II": (-0.06, 0.06), "III": (-0.9, -0.145)}
LOWEST_ENHANCEMENT = 0.4
"""Minimum initial enhancement of a lesion."""

SHAPES = {
    "I": {"round": 0.7, "irregular": 0.3},
    "II": {"round": 0.25, "irregular": 0.45, "spiculated": 0.2, "rim": 0.1},
    "III": {"irregular": 0.35, "spiculated": 0.4, "rim": 0.25},
}
"""Probabilities of the shapes of a lesion, by type."""

LESION_T1_S = {1.5: (1.05, 1.4), 3.0: (1.3, 1.8)}
"""Range of T1 by field: about that of gland (Rakow-Penner 2006) and longer. Our choice."""

DRAWS = 500
"""Maximum number of attempts to draw kinetics of a type."""


@dataclass(frozen=True)
class Scanner:
    """The acquisition of one patient: a spoiled gradient echo, one injection at 0 s.

    ``arrival_s`` is the time at which the bolus reaches the breast; ``fat_left`` is the share of
    the signal of fat that fat suppression leaves, 1 without suppression. The image is multiplied by
    ``gain``, and decreases towards the back by 1 / e in ``shading_mm``.
    """

    field_strength_t: float
    repetition_time_s: float
    flip_angle_deg: float
    fat_left: float
    agent: str
    dose_mmol_per_kg: float
    arrival_s: float
    gain: float
    shading_mm: float

    def signal(self, r1_per_s: ArrayLike, concentration_mmol_per_l: ArrayLike) -> NDArray[Any]:
        """Return the signal for a proton density of 1, of the arrays' shape."""
        r1 = r1_with_agent(
            r1_per_s, concentration_mmol_per_l, relaxivity(self.agent, self.field_strength_t)
        )
        return np.asarray(
            spgr_signal(
                r1,
                repetition_time_s=self.repetition_time_s,
                flip_angle_deg=self.flip_angle_deg,
            )
        )

    def tofts(self, times_s: ArrayLike, **tissue: Any) -> NDArray[np.float64]:
        """Return the concentration in tissue in mmol/L; see ``physics.kinetics``."""
        return tofts_concentration(
            times_s, arrival_s=self.arrival_s, dose_mmol_per_kg=self.dose_mmol_per_kg, **tissue
        )


@dataclass(frozen=True)
class LesionTissue:
    """Properties of a lesion's tissue; ``type`` is that of its curve."""

    type: str
    ktrans_per_s: float
    ve: float
    vp: float
    t1_s: float
    t2_s: float

    def signals(self, scanner: Scanner, times_s: ArrayLike, texture: ArrayLike = 1.0) -> Any:
        """Return noise-free signals (times, *texture's shape) for a proton density of 1.

        ``texture`` is a local factor for Ktrans and ve; kep does not change.
        """
        scale = np.asarray(texture, dtype=np.float64)
        concentration = scanner.tofts(
            times_s,
            ktrans_per_s=self.ktrans_per_s * scale,
            ve=np.minimum(self.ve * scale, 1.0),
            vp=self.vp,
        )
        return scanner.signal(1.0 / self.t1_s, concentration)


def draw_tissue(rng: np.random.Generator, type_: str, scanner: Scanner) -> LesionTissue:
    """Return tissue of a lesion whose noise-free signal has a curve of type I, II or III.

    Raises RequestError for another type, and when the scanner's settings allow no such curve.
    """
    if type_ not in KINETICS:
        raise unknown_name("type of curve", type_, KINETICS)
    low_change, high_change = CHANGES[type_]
    ranges = KINETICS[type_]
    t1_range = [
        np.interp(scanner.field_strength_t, list(LESION_T1_S), ends)
        for ends in zip(*LESION_T1_S.values(), strict=True)
    ]
    for _ in range(DRAWS):
        ktrans, kep = (np.exp(rng.uniform(*np.log(ranges[n]))) for n in ("ktrans", "kep"))
        vp, t1_s, t2_s = rng.uniform(*ranges["vp"]), rng.uniform(*t1_range), rng.uniform(0.06, 0.11)
        if not 0.12 <= ktrans / kep <= 0.75:
            continue
        tissue = LesionTissue(
            type_, float(ktrans / 60), float(ktrans / kep), float(vp), float(t1_s), float(t2_s)
        )
        pre, early, *_, late = tissue.signals(scanner, PAPER_TIMES_S).tolist()
        change = late / early - 1.0
        if low_change <= change <= high_change and early / pre - 1.0 >= LOWEST_ENHANCEMENT:
            return tissue
    raise RequestError(
        f"No lesion has a curve of type {type_} with a repetition time of "
        f"{scanner.repetition_time_s:g} s and a flip angle of {scanner.flip_angle_deg:g} degrees: "
        "too little T1 weighting. A flip angle of 10 to 15 degrees is usual."
    )


@dataclass(frozen=True)
class BreastLesion:
    """One lesion: ``label`` is its value in the map of lesions, ``shape`` a key of SHAPES.

    A rim lesion has a core of ``core_share`` of its radius, which hardly enhances and does not
    belong to the label.
    """

    label: int
    side: str
    shape: str
    centre_ras_mm: tuple[float, float, float]
    radius_mm: float
    core_share: float
    tissue: LesionTissue

    def as_dict(self) -> dict[str, Any]:
        """Return all values, JSON-able."""
        return asdict(self)


def place_lesions(
    rng: np.random.Generator, shape: Shape, space: Space, scanner: Scanner, types: Sequence[str]
) -> tuple[BreastLesion, ...]:
    """Return lesions of ``types`` at separate places in gland; one without space is left out."""
    placed: list[BreastLesion] = []
    for type_ in types:
        tissue = draw_tissue(rng, type_, scanner)
        form = str(rng.choice(list(SHAPES[type_]), p=list(SHAPES[type_].values())))
        radius = rng.uniform(7.0, 15.0) if form == "rim" else np.exp(rng.uniform(*np.log([4, 13])))
        core = rng.uniform(0.4, 0.62) if form == "rim" else 0.0
        first = int(rng.integers(len(SIDES)))
        where = rng.random(20)
        for attempt, share in enumerate(where):
            breast = shape.breasts[(first + attempt) % len(SIDES)]
            candidates = np.argwhere(places_for_lesions(shape, radius, breast))
            if not len(candidates):
                continue
            kji = candidates[int(share * len(candidates))] + [part.start for part in breast.where]
            ras = space.grid.ras_from_index(kji)
            apart = [
                np.linalg.norm(ras - other.centre_ras_mm) - other.radius_mm for other in placed
            ]
            if min(apart, default=np.inf) < 2 * radius + 6:
                continue
            right, anterior, superior = ras.tolist()
            centre = (right, anterior, superior)
            placed.append(
                BreastLesion(
                    len(placed) + 1, breast.side, form, centre, float(radius), float(core), tissue
                )
            )
            break
    return tuple(placed)


def paint_lesions(
    canvas: Canvas, space: Space, lesions: Sequence[BreastLesion], rng: np.random.Generator
) -> NDArray[np.uint8]:
    """Paint lesions and their cores; return the map of their labels (k, j, i)."""
    labels = np.zeros(canvas.tissue.shape, np.uint8)
    for lesion in lesions:
        _paint_lesion(canvas, labels, space, lesion, rng)
    return labels


def _paint_lesion(
    canvas: Canvas,
    labels: NDArray[np.uint8],
    space: Space,
    lesion: BreastLesion,
    rng: np.random.Generator,
) -> None:
    right, anterior, superior = lesion.centre_ras_mm
    centre, reach = (superior, -anterior, -right), 2.6 * lesion.radius_mm
    axes = (space.z.ravel(), space.y.ravel(), space.x.ravel())
    spans = [
        np.flatnonzero(np.abs(axis - middle) <= reach)
        for axis, middle in zip(axes, centre, strict=True)
    ]
    where = (
        slice(spans[0][0], spans[0][-1] + 1),
        slice(spans[1][0], spans[1][-1] + 1),
        slice(spans[2][0], spans[2][-1] + 1),
    )
    around = [axis[part] - middle for axis, part, middle in zip(axes, where, centre, strict=True)]
    points = np.stack(np.meshgrid(*around, indexing="ij")).astype(np.float32)
    distance = _distance_to(lesion, points, rng)
    texture = np.exp(0.22 * _local_noise(rng, points, 3.0))
    share, tissue = space.inside(distance), lesion.tissue
    canvas.paint(
        LESION,
        share,
        where,
        r1_per_s=(1 + 0.04 * _local_noise(rng, points, 4.0)) / tissue.t1_s,
        r2_per_s=1 / tissue.t2_s,
        ktrans_per_s=tissue.ktrans_per_s * texture,
        ve=np.minimum(tissue.ve * texture, 1.0),
        vp=tissue.vp,
    )
    mine = share > 0.5
    if lesion.core_share:
        core = space.inside(distance - (1 - lesion.core_share) * lesion.radius_mm)
        canvas.paint(NECROSIS, core, where)
        mine &= core <= 0.5
    labels[where][mine] = lesion.label


def _distance_to(lesion: BreastLesion, points: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Return the distance to a lesion's surface, positive inside, at points (3, ...) in mm."""
    radius = lesion.radius_mm
    bend = {"round": 0.10, "rim": 0.16, "irregular": 0.34, "spiculated": 0.26}[lesion.shape]
    flat = rng.uniform(0.75, 1.0, 3).reshape(3, 1, 1, 1)
    bent = points / (flat / flat.mean()) + bend * radius * np.stack(
        [_local_noise(rng, points, 0.85 * radius) for _ in range(3)]
    )
    distance = radius - np.sqrt((bent**2).sum(axis=0))
    if lesion.shape == "irregular":
        distance = distance + 0.10 * radius * _local_noise(rng, points, 0.35 * radius)
    if lesion.shape != "spiculated":
        return np.asarray(distance, np.float32)
    for _ in range(int(rng.integers(14, 26))):
        direction = rng.normal(size=3)
        direction /= np.linalg.norm(direction)
        length = radius * rng.uniform(1.3, 2.3)
        along = np.tensordot(direction, bent, 1)
        aside = np.sqrt(np.maximum((bent**2).sum(axis=0) - along**2, 0))
        # A spicule tapers to a point.
        spicule = 0.17 * radius * (1 - along / length) - aside + 0.25
        distance = np.maximum(distance, np.where((along > 0) & (along < length), spicule, -9.0))
    return np.asarray(distance, np.float32)


def _local_noise(rng: np.random.Generator, points: FloatArray, step_mm: float) -> FloatArray:
    """Return a random field with a standard deviation of about 1 at points (3, ...) in mm."""
    reach = np.abs(points).max()
    count = int(np.ceil(2 * reach / step_mm)) + 4
    coefficients = rng.standard_normal((count,) * 3, dtype=np.float32)
    where = points / step_mm + (count - 1) / 2
    values = map_coordinates(
        coefficients, where, order=3, prefilter=False, mode="nearest", output=np.float32
    )
    return np.asarray(values / np.float32(SPLINE_VARIANCE**1.5))
