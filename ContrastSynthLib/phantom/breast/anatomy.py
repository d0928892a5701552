"""Simulated anatomy of a female chest in prone position, without a template."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.ndimage import map_coordinates

from ContrastSynthLib.phantom.breast.space import (
    BLOOD,
    FAT,
    GLAND,
    LUNG,
    MARROW,
    MUSCLE,
    SKIN,
    SPLINE_VARIANCE,
    Canvas,
    Part,
    Space,
)
from ContrastSynthLib.volumes import BoolArray, FloatArray

DENSITIES = {"a": 0.12, "b": 0.28, "c": 0.5, "d": 0.75}
"""Share of gland in the region that can contain gland, by class of breast density (BI-RADS)."""
SIDES = {"right": -1.0, "left": 1.0}


def draw_body(rng: np.random.Generator, density: str) -> dict[str, Any]:
    """Return the random dimensions of one patient's chest, JSON-able."""
    body: dict[str, Any] = {
        "density": density,
        "chest_half_width_mm": rng.uniform(140, 158),
        "chest_half_depth_mm": rng.uniform(88, 102),
        "skin_mm": rng.uniform(1.6, 2.3),
        "chest_fat_mm": rng.uniform(5, 11),
        "pectoral_mm": rng.uniform(9, 14),
        "gland_share": DENSITIES[density] * rng.uniform(0.85, 1.15),
    }
    shape = {
        "centre_mm": rng.uniform(70, 82),
        "radius_mm": rng.uniform(64, 76),
        "length_mm": rng.uniform(66, 104),
        "exponent": rng.uniform(1.5, 2.1),
        "tilt": rng.uniform(0.0, 0.16),
    }
    for side in SIDES:
        body[side] = {name: value * rng.uniform(0.96, 1.04) for name, value in shape.items()}
        body[side]["height_mm"] = rng.uniform(-6, 6)
    return body


@dataclass(frozen=True)
class Breast:
    """One breast; the arrays are (k, j, i) on the part ``where`` of the grid, in mm.

    ``across`` and ``up`` are distances from its axis, ``along`` is that from the chest wall towards
    the nipple. ``envelope`` is positive where there can be gland, up to 1 in the middle.
    """

    side: str
    where: Part
    across: FloatArray
    up: FloatArray
    along: FloatArray
    envelope: FloatArray
    radius_mm: float
    length_mm: float


@dataclass(frozen=True)
class Shape:
    """Distances in mm to surfaces: ``depth`` below the skin, ``chest`` below the chest wall."""

    depth: FloatArray
    chest: FloatArray
    breasts: tuple[Breast, ...]


def shape_of(space: Space, body: Mapping[str, Any], rng: np.random.Generator) -> Shape:
    """Return the surfaces of a body, slightly deformed by smooth random fields."""
    x, y, z = (
        axis + np.float32(bend) * space.noise(rng, 48.0)
        for axis, bend in ((space.x, 4.0), (space.y, 3.0), (space.z, 4.0))
    )
    width, depth = body["chest_half_width_mm"], body["chest_half_depth_mm"]
    back = y - np.float32(depth)
    level = (np.abs(x / width) ** 2.5 + np.abs(back / depth) ** 2.5) ** 0.4
    chest = _distance(np.hypot(x, back), level)
    surface, breasts = chest, []
    for side, sign in SIDES.items():
        mine = body[side]
        along = np.float32(6.0) - y
        across = sign * x - mine["centre_mm"] - mine["tilt"] * np.maximum(along, 0)
        up = z - mine["height_mm"]
        reach = np.where(along > 0, along / mine["length_mm"], along / -30.0)
        around = (across**2 + up**2) / mine["radius_mm"] ** 2
        level = np.sqrt(around + reach ** np.where(along > 0, mine["exponent"], 2.0))
        breast = _distance(np.sqrt(across**2 + up**2 + along**2), level)
        # A smooth union of breast and chest.
        surface = (surface + breast + np.sqrt((surface - breast) ** 2 + 25.0**2)) / 2
        breasts.append((side, across, up, along, breast))
    return Shape(surface, chest, tuple(_breast(body, *parts) for parts in breasts))


def _distance(length: FloatArray, level: FloatArray) -> FloatArray:
    """Return the distance along rays from a centre to ``level`` = 1, positive inside."""
    return np.clip(length * (1 / np.maximum(level, 0.02) - 1), -80.0, 80.0).astype(np.float32)


def _breast(
    body: Mapping[str, Any],
    side: str,
    across: FloatArray,
    up: FloatArray,
    along: FloatArray,
    distance: FloatArray,
) -> Breast:
    mine = body[side]
    near = (distance > -3) & (along > -4)
    spans = [np.flatnonzero(near.any(axis=others)) for others in ((1, 2), (0, 2), (0, 1))]
    where = (
        slice(spans[0][0], spans[0][-1] + 1),
        slice(spans[1][0], spans[1][-1] + 1),
        slice(spans[2][0], spans[2][-1] + 1),
    )
    radius, length = mine["radius_mm"], mine["length_mm"]
    outward, high, forward = across[where] - 4.0, up[where] - 5.0, along[where] - 0.52 * length
    envelope = 1 - np.sqrt(
        (outward / (0.72 * radius)) ** 2
        + (high / (0.72 * radius)) ** 2
        + (forward / (0.46 * length)) ** 2
    )
    return Breast(side, where, across[where], up[where], along[where], envelope, radius, length)


def paint_chest(
    canvas: Canvas,
    space: Space,
    shape: Shape,
    body: Mapping[str, Any],
    fat_left: float,
    rng: np.random.Generator,
) -> None:
    """Paint fat, the muscles of the chest, ribs, lungs and mediastinum.

    Fat suppression leaves the share ``fat_left`` of the signal of fat, with spatial variations.
    """
    depth, chest = shape.depth, shape.chest
    patchy = 1.0 + 0.4 * (1.0 - fat_left) * np.tanh(space.noise(rng, 70.0))
    seen = canvas.values[FAT]["proton_density"] * patchy
    canvas.paint(FAT, space.inside(depth), proton_density=seen)
    uneven = space.noise(rng, 30.0)
    muscle = chest - body["chest_fat_mm"] - 1.5 * uneven
    canvas.paint(MUSCLE, space.inside(muscle))
    # In front, a thin sheet of fat separates the two pectoral muscles.
    sheet = 0.8 - np.abs(muscle - 0.55 * body["pectoral_mm"] + 1.5 * uneven)
    front = space.inside(np.float32(28.0) - space.y) * space.inside(np.abs(space.x) - 45.0)
    canvas.paint(FAT, space.inside(sheet) * front * 0.8)
    ribs = muscle - body["pectoral_mm"]
    # Ribs descend from the spine to the front, so an axial slice cuts them obliquely.
    turn = np.arctan2(np.abs(space.x), body["chest_half_depth_mm"] - space.y)
    phase = (space.z - 52.0 * turn) / 27.0 + rng.uniform(0, 1)
    between = 27.0 * np.abs(phase - np.round(phase))
    rib = 4.5 - np.hypot(ribs - 5.5, between * 0.7)
    canvas.paint(FAT, space.inside(rib + 1.0) * 0.5)
    canvas.paint(MARROW, space.inside(rib))
    breastbone = 5.5 - np.hypot(ribs - 4.0, 0.32 * space.x)
    canvas.paint(MARROW, space.inside(breastbone))
    lung = np.minimum(ribs - 11.0, np.abs(space.x) - 22.0 - 5.0 * uneven)
    canvas.paint(LUNG, space.inside(lung))
    _paint_mediastinum(canvas, space, uneven, body["chest_fat_mm"] + 17.0, rng)


def _paint_mediastinum(
    canvas: Canvas, space: Space, uneven: FloatArray, breastbone_mm: float, rng: np.random.Generator
) -> None:
    """Paint the spine, the heart, the aorta and the internal thoracic arteries."""
    canvas.paint(FAT, space.inside(_ball(space, (4, 62, 0), (20, 42, 300)) + 3.0 * uneven) * 0.6)
    bone = _ball(space, (0, 128, 0), (19, 16, 200))
    canvas.paint(MARROW, space.inside(bone))
    canvas.paint(BLOOD, space.inside(_ball(space, (22, 112, 0), (11, 11, 300))))
    heart = np.array([26.0, 58.0, -14.0]) + rng.uniform(-5, 5, 3)
    wall = _ball(space, heart, (52, 40, 62)) + 2.0 * uneven
    canvas.paint(FAT, space.inside(wall + 1.5 + 1.5 * uneven) * 0.7)
    canvas.paint(MUSCLE, space.inside(wall))
    canvas.paint(
        BLOOD, space.inside(_ball(space, np.add(heart, (14, 8, -4)), (27, 21, 38)) + uneven)
    )
    right = _ball(space, np.add(heart, (-22, -8, 4)), (24, 22, 44)) + 2.0 * uneven
    canvas.paint(BLOOD, space.inside(right))
    for side in (-24.0, 25.0):
        inner = _ball(space, (side, breastbone_mm, 0), (1.8, 1.8, 400))
        canvas.paint(BLOOD, space.inside(inner))


def _ball(space: Space, centre: Any, radii: Any) -> FloatArray:
    """Return the approximate distance to an ellipsoid, positive inside; centre, radii (x, y, z)."""
    parts = [
        (axis - np.float32(middle)) / np.float32(radius)
        for axis, middle, radius in zip((space.x, space.y, space.z), centre, radii, strict=True)
    ]
    level = np.sqrt(parts[0] ** 2 + parts[1] ** 2 + parts[2] ** 2)
    return np.asarray(min(radii) * (1 - level), np.float32)


def paint_gland(
    canvas: Canvas,
    space: Space,
    shape: Shape,
    body: Mapping[str, Any],
    enhancement: float,
    rng: np.random.Generator,
) -> None:
    """Paint gland that extends to the nipple, fibrous septa in the fat, and the nipples.

    ``enhancement`` is a factor for Ktrans of the gland, which is heterogeneous and larger at the
    border.
    """
    noise = {step: space.noise(rng, step) for step in (26.0, 12.0, 6.0, 3.5)}
    # T1 is longer where there is more water.
    wetness = np.clip(space.noise(rng, 5.0), -2.5, 2.5)
    for breast in shape.breasts:
        where = breast.where
        n26, n12, n6, n3 = (noise[step][where] for step in noise)
        depth, wall = shape.depth[where], -shape.chest[where]
        streaks, septa = _streaks(breast, rng, 14.0), _streaks(breast, rng, 5.5)
        shallow = np.clip((10.0 + 2.0 * n12 - depth) / 8.0, 0, 2)
        # Behind the nipple gland extends to the skin.
        shallow = shallow * np.clip(np.hypot(breast.across, breast.up) / 14.0, 0.15, 1)
        score = 1.0 * breast.envelope + 0.28 * n26 + 0.28 * n12 + 0.20 * n6 + 0.14 * n3
        score = score + 0.30 * streaks - shallow - 0.7 * np.clip((9.0 - wall) / 9.0, 0, 2)
        can_be = (breast.envelope > 0) & (depth > 3) & (wall > 3)
        limit = np.quantile(score[can_be], 1 - min(body["gland_share"], 0.95))
        share = np.clip((score - limit) / 0.45 + 0.5, 0, 1) * np.clip(wall / 4.0, 0, 1)
        share = share * np.clip((breast.envelope + 0.25 + 0.1 * n12) / 0.25, 0, 1)
        sheets = np.exp(-((septa + 0.12 * streaks + 0.25 * n26) ** 2) / 0.008)
        sheets = sheets * np.clip(0.35 + 0.25 * n26, 0.1, 0.6) * np.clip(wall / 4.0, 0, 1)
        patchy = np.clip(0.65 + 0.45 * n12 + 0.25 * n6, 0.08, 2) * (1.25 - 0.8 * breast.envelope)
        ktrans = canvas.values[GLAND]["ktrans_per_s"] * enhancement
        canvas.paint(
            GLAND,
            np.maximum(share, sheets) * space.inside(depth),
            where,
            ktrans_per_s=ktrans * np.where(share > 0.1, patchy, 0.3),
            r1_per_s=canvas.values[GLAND]["r1_per_s"] * (1 - 0.03 * wetness[where]),
            proton_density=canvas.values[GLAND]["proton_density"] * (1 + 0.06 * wetness[where]),
        )
        tip = np.sqrt(breast.across**2 + breast.up**2 + (breast.along - breast.length_mm) ** 2)
        canvas.paint(SKIN, space.inside(5.5 - tip), where, ktrans_per_s=0.10 / 60)


def _streaks(breast: Breast, rng: np.random.Generator, across: float) -> FloatArray:
    """Return noise that is elongated along rays to the nipple, like ducts and septa.

    ``across`` is the number of its features per radian.
    """
    half = int(np.ceil(across)) + 1
    coefficients = rng.standard_normal((2 * half + 1, 2 * half + 1, 7), dtype=np.float32)
    back = np.maximum(breast.length_mm + 14.0 - breast.along, 1.0)
    away = np.sqrt(breast.across**2 + breast.up**2 + back**2)
    where = [
        half + across * breast.across / away,
        half + across * breast.up / away,
        np.clip(away / 30.0, 0, 6),
    ]
    values = map_coordinates(
        coefficients, where, order=3, prefilter=False, mode="nearest", output=np.float32
    )
    return np.asarray(values / np.float32(SPLINE_VARIANCE**1.5))


def paint_skin(canvas: Canvas, space: Space, shape: Shape, body: Mapping[str, Any]) -> None:
    """Paint the skin over everything at the surface."""
    depth = shape.depth
    canvas.paint(SKIN, space.inside(depth) * space.inside(body["skin_mm"] - depth))


def paint_veins(
    canvas: Canvas, space: Space, shape: Shape, body: Mapping[str, Any], rng: np.random.Generator
) -> None:
    """Paint branching veins under the skin, from the chest towards the nipple."""
    for breast in shape.breasts:
        sign, mine = SIDES[breast.side], body[breast.side]
        for _ in range(rng.integers(4, 8)):
            start, width = rng.uniform(0, 2 * np.pi), rng.uniform(0.9, 1.7)
            first = _vein(mine, sign, start, 0.0, rng)
            _paint_tube(canvas, space, first, width)
            if rng.random() < 0.6:
                branch = _vein(mine, sign, start + rng.choice([-0.5, 0.5]), 0.35, rng)
                share = np.linspace(1, 0, len(branch))[:, None] ** 3
                joined = branch * (1 - share) + first[len(first) // 3] * share
                _paint_tube(canvas, space, joined, 0.75 * width)


def _vein(
    mine: Mapping[str, float], sign: float, angle: float, start: float, rng: np.random.Generator
) -> FloatArray:
    """Return points (n, 3), x, y, z in LPS mm, along a breast under its skin."""
    along = np.linspace(start, rng.uniform(0.7, 0.95), 240)
    turns = angle + 0.35 * np.cumsum(rng.normal(0, 1, 6))[:, None] * np.ones((1, 40))
    smooth = np.convolve(np.pad(turns.ravel(), 60, mode="edge"), np.ones(121) / 121, "valid")
    radius = mine["radius_mm"] * np.sqrt(1 - along ** mine["exponent"]) - rng.uniform(5, 9)
    forward = along * mine["length_mm"]
    across = np.maximum(radius, 2.0) * np.cos(smooth)
    x = sign * (mine["centre_mm"] + mine["tilt"] * forward + across)
    z = mine["height_mm"] + np.maximum(radius, 2.0) * np.sin(smooth)
    return np.stack([x, 6.0 - forward, z], axis=-1).astype(np.float32)


def _paint_tube(canvas: Canvas, space: Space, points: FloatArray, radius_mm: float) -> None:
    """Paint a vessel along points (n, 3), x, y, z in LPS mm, as the union of balls."""
    low, high = points.min(axis=0) - 4, points.max(axis=0) + 4
    axes = (space.z.ravel(), space.y.ravel(), space.x.ravel())
    spans = [
        np.flatnonzero((axis >= low[2 - n]) & (axis <= high[2 - n])) for n, axis in enumerate(axes)
    ]
    if any(span.size == 0 for span in spans):
        return
    where = tuple(slice(span[0], span[-1] + 1) for span in spans)
    share = np.zeros([span.size for span in spans], np.float32)
    z, y, x = (axis[part] for axis, part in zip(axes, where, strict=True))
    reach = radius_mm + space.edge_mm
    for point in points:
        near = [
            np.flatnonzero(np.abs(axis - centre) <= reach)
            for axis, centre in zip((z, y, x), point[::-1], strict=True)
        ]
        if any(part.size == 0 for part in near):
            continue
        cut = tuple(slice(part[0], part[-1] + 1) for part in near)
        apart = np.sqrt(
            (z[cut[0]] - point[2])[:, None, None] ** 2
            + (y[cut[1]] - point[1])[None, :, None] ** 2
            + (x[cut[2]] - point[0])[None, None, :] ** 2
        )
        share[cut] = np.maximum(share[cut], space.inside(radius_mm - apart))
    canvas.paint(BLOOD, share, where)


def places_for_lesions(shape: Shape, radius_mm: float, breast: Breast) -> BoolArray:
    """Return where the centre of a lesion can be: in gland, away from skin and chest wall."""
    depth, wall = shape.depth[breast.where], -shape.chest[breast.where]
    return np.asarray((breast.envelope > 0.05) & (depth > radius_mm + 7) & (wall > radius_mm + 5))
