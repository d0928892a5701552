"""Lesions of a virtual brain: position, shape and parts.

A lesion is a level set of an irregular ellipsoid; the level is chosen such that the volume is that
of a ball with the given diameter. The type determines the parts (wall, core, nodules).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ContrastSynthLib.errors import RequestError, unknown_name
from ContrastSynthLib.phantom.brain.fields import Box
from ContrastSynthLib.phantom.brain.template import Template
from ContrastSynthLib.volumes import FloatArray

TYPES = (
    *("ring", "solid", "nodular", "leaky", "non_enhancing", "t1_bright"),
    *("cyst_nodule", "open_ring"),
)
DIAMETER_RANGE_MM = (3.0, 60.0)
BUMPS = 24
"""Number of plane waves that make the surface of a lesion irregular."""
FURTHEST = 1.9
"""Maximum distance of a lesion's parts from its centre, in radii."""


@dataclass(frozen=True)
class Lesion:
    """A lesion. ``centre_mm`` is (z, y, x) in the patient; ``waves`` (BUMPS, 3) are in 1/radius."""

    type: str
    radius_mm: float
    centre_mm: FloatArray
    stretch: FloatArray
    waves: FloatArray
    phases: FloatArray
    settings: Mapping[str, float]
    level: float

    def shape_at(self, offsets: list[NDArray[np.floating]]) -> FloatArray:
        """Return the level set function, which is 1 on the border and below 1 inside.

        ``offsets`` are z, y and x from the centre in mm, broadcastable.
        """
        return np.asarray(_irregular(self, offsets) / self.level, dtype=np.float32)

    def bumps(self, offsets: list[NDArray[np.floating]], first: int, count: int) -> FloatArray:
        """Return noise with mean 0 and standard deviation 1: the sum of ``count`` waves."""
        total = np.float32(0)
        for wave, phase in zip(
            self.waves[first : first + count], self.phases[first : first + count], strict=True
        ):
            along = sum(w / self.radius_mm * o for w, o in zip(wave, offsets, strict=True))
            total = total + np.cos(along + phase)
        return np.asarray(total * np.sqrt(2 / count), dtype=np.float32)


def _irregular(lesion: Lesion, offsets: list[NDArray[np.floating]]) -> FloatArray:
    squares = sum(
        (o / (lesion.radius_mm * s)) ** 2 for o, s in zip(offsets, lesion.stretch, strict=True)
    )
    noise = lesion.bumps(offsets, 0, 10)
    return np.asarray(np.sqrt(squares) * np.exp(lesion.settings["irregularity"] * noise))


def make_lesion(settings: Mapping[str, Any], centre_mm: FloatArray) -> Lesion:
    """Return the lesion with the drawn ``settings`` at (z, y, x) ``centre_mm`` of the patient.

    Raises RequestError for an unknown type and a diameter outside 3-60 mm.
    """
    if settings["type"] not in TYPES:
        raise unknown_name("type of lesion", settings["type"], TYPES)
    diameter = float(settings["diameter_mm"])
    low, high = DIAMETER_RANGE_MM
    if not low <= diameter <= high:
        raise RequestError(
            f"A lesion of {diameter:g} mm is out of range: give {low:g} to {high:g} mm."
        )
    rng = np.random.default_rng(settings["seed"])
    stretch = np.exp(rng.uniform(-0.22, 0.22, 3))
    waves = rng.normal(size=(BUMPS, 3))
    lengths = np.r_[np.linspace(2, 6, 10), np.full(BUMPS - 10, 6.0)]
    waves *= (lengths / np.linalg.norm(waves, axis=1))[:, None]
    lesion = Lesion(
        type=settings["type"],
        radius_mm=diameter / 2,
        centre_mm=np.asarray(centre_mm, dtype=np.float32),
        stretch=(stretch / np.cbrt(stretch.prod())).astype(np.float32),
        waves=waves.astype(np.float32),
        phases=rng.uniform(0, 2 * np.pi, BUMPS).astype(np.float32),
        settings={k: v for k, v in settings.items() if isinstance(v, float)},
        level=1.0,
    )
    return _with_volume(lesion)


def _with_volume(lesion: Lesion) -> Lesion:
    """Return the lesion with the level that encloses the volume of the ball."""
    count = 40
    axis = np.linspace(-FURTHEST, FURTHEST, count, dtype=np.float32) * lesion.radius_mm
    offsets = list(np.meshgrid(axis, axis, axis, indexing="ij", sparse=True))
    cell = (2 * FURTHEST / (count - 1)) ** 3
    wanted = round(4 / 3 * np.pi / cell)
    level = np.partition(_irregular(lesion, offsets).ravel(), wanted)[wanted]
    return Lesion(**{**lesion.__dict__, "level": float(level)})


def place_lesion(
    template: Template, settings: Mapping[str, Any], rng: np.random.Generator, taken: list[Any]
) -> FloatArray:
    """Return a plausible centre, (z, y, x) in mm of the template.

    Large lesions are deep enough to fit into the brain. Small ones are in white matter or at its
    border with grey matter. Some solid ones are attached to the dura. ``taken`` lists the (centre,
    radius) of other lesions, which are avoided.
    """
    radius = float(settings["diameter_mm"]) / 2
    low, high = np.array([-60.0, -100.0, -66.0]), np.array([72.0, 66.0, 66.0])
    points = rng.uniform(low, high, (4000, 3))
    depth, white, ventricle, fluid = (
        template.sample(name, points.T)
        for name in ("depth_mm", "whiteness", "ventricle_mm", "fluid")
    )
    dural = settings["type"] == "solid" and rng.random() < 0.35
    # Minimum depth of the centre at which nearly the whole lesion is in the brain.
    least = 0.75 * radius + 1.5 if dural else min(1.1 * radius + 3, 34.0)
    most = least + 4 if dural else 60.0
    score = (depth > least) * 1.0 + (depth < most) + rng.random(len(points)) * 0.2
    if not dural:
        score += (white > -0.3) + (white < 0.8) * 0.3 + (ventricle > min(radius, 8.0)) * 0.5
        score -= 1.0 * (fluid > 0.5)
    # Lesions below the tentorium and in the brain stem are rarer.
    score -= 0.6 * (points[:, 0] < -25)
    for centre, other in taken:
        score -= 4.0 * (np.linalg.norm(points - centre, axis=1) < 1.3 * (radius + other))
    return np.asarray(points[np.argmax(score)], dtype=np.float32)


def lesion_parts(lesion: Lesion, box: Box) -> dict[str, FloatArray]:
    """Return the share of each voxel of ``box`` in each part, by the name of its tissue, 0 to 1.

    "body" is the share of the whole lesion; "leak" is a factor for the leaky fraction of tumour.
    """
    offsets = [m - c for m, c in zip(box.mesh(), lesion.centre_mm, strict=True)]
    share = lesion.shape_at(offsets)
    # Border voxels have partial shares, by their distance to the border in voxels.
    sharpness = lesion.radius_mm / box.spacing_mm

    def within(limit: Any) -> FloatArray:
        return np.asarray(np.clip((limit - share) * sharpness + 0.5, 0, 1), dtype=np.float32)

    body = within(1.0)
    coarse, fine = lesion.bumps(offsets, 2, 8), lesion.bumps(offsets, 10, 14)
    patchy = np.clip(1 + 0.25 * fine, 0.3, 1.8)
    return {
        "body": body,
        **_PARTS[lesion.type](lesion, offsets, within, (body, coarse, fine, patchy)),
    }


def _core_limit(lesion: Lesion, coarse: FloatArray) -> FloatArray:
    # The thickness of the wall varies along the circumference and is at least 1.2 mm.
    wall = np.maximum(lesion.settings["wall"] * (1 + 0.6 * coarse), 1.2 / lesion.radius_mm)
    return np.asarray(1 - wall)


def _infiltrating(within: Any, of: Any) -> FloatArray:
    """Return shares that increase irregularly from the border inwards: infiltrating tumour."""
    body, coarse, fine, _ = of
    depth = np.mean([within(limit) for limit in (0.7, 0.8, 0.9, 1.0)], axis=0)
    uneven = np.clip(0.85 + 0.12 * coarse + 0.08 * fine, 0.3, 1)
    return np.asarray(body * depth * uneven, dtype=np.float32)


def _ring(lesion: Lesion, offsets: Any, within: Any, of: Any) -> dict[str, FloatArray]:
    body, coarse, fine, patchy = of
    core = within(_core_limit(lesion, coarse) + 0.08 * fine)
    # Viable tumour in the necrotic core of large lesions.
    islands = np.clip(3 * (fine - 1.1), 0, 1) * (lesion.radius_mm > 9)
    core = core * body * (1 - 0.8 * islands)
    return {"tumour": body, "necrosis": core, "leak": patchy}


def _open_ring(lesion: Lesion, offsets: Any, within: Any, of: Any) -> dict[str, FloatArray]:
    body, coarse, _, patchy = of
    core = within(_core_limit(lesion, 0.4 * coarse))
    side = lesion.waves[0] / np.linalg.norm(lesion.waves[0])
    along = sum(w * o for w, o in zip(side, offsets, strict=True)) / lesion.radius_mm
    core = core * body
    return {"tumour": body, "glioma": core, "leak": patchy * np.clip(0.6 + 2 * along, 0.02, 1)}


def _solid(lesion: Lesion, offsets: Any, within: Any, of: Any) -> dict[str, FloatArray]:
    body, coarse, fine, _ = of
    return {"tumour": body, "leak": np.clip(1.1 + 0.15 * coarse + 0.12 * fine, 0.4, 1.6)}


def _nodular(lesion: Lesion, offsets: Any, within: Any, of: Any) -> dict[str, FloatArray]:
    body, coarse, _, patchy = of
    nodules = np.clip(4 * (coarse - 0.45), 0, 1) * within(0.9)
    return {"glioma": _infiltrating(within, of), "tumour": nodules * body, "leak": patchy}


def _leaky(lesion: Lesion, offsets: Any, within: Any, of: Any) -> dict[str, FloatArray]:
    body, coarse, fine, _ = of
    faint = np.clip(0.5 * coarse + 0.4 * fine, 0, 1.2) * 0.45
    leaking = body * np.clip(2 * faint, 0, 0.8)
    return {"glioma": _infiltrating(within, of), "tumour": leaking, "leak": faint}


def _non_enhancing(lesion: Lesion, offsets: Any, within: Any, of: Any) -> dict[str, FloatArray]:
    return {"glioma": _infiltrating(within, of)}


def _t1_bright(lesion: Lesion, offsets: Any, within: Any, of: Any) -> dict[str, FloatArray]:
    body, coarse, fine, _ = of
    # Old haematomas are brightest at their rim.
    rim = 1 - 0.5 * within(0.65) * (lesion.radius_mm > 6)
    bright = body * np.clip(0.7 * rim + 0.2 * coarse + 0.12 * fine, 0.1, 1)
    return {"glioma": body, "blood_or_fat": bright}


def _cyst_nodule(lesion: Lesion, offsets: Any, within: Any, of: Any) -> dict[str, FloatArray]:
    body, _, _, patchy = of
    side = lesion.waves[1] / np.linalg.norm(lesion.waves[1])
    away = sum((o / lesion.radius_mm - 0.62 * w) ** 2 for w, o in zip(side, offsets, strict=True))
    nodule = np.clip((0.32 - np.sqrt(away)) * lesion.radius_mm + 0.5, 0, 1)
    return {"necrosis": body, "tumour": body * nodule, "leak": patchy}


_PARTS = {
    "ring": _ring,
    "solid": _solid,
    "nodular": _nodular,
    "leaky": _leaky,
    "non_enhancing": _non_enhancing,
    "t1_bright": _t1_bright,
    "cyst_nodule": _cyst_nodule,
    "open_ring": _open_ring,
}
