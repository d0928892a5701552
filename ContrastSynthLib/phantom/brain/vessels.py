"""Arteries, veins and venous sinuses of the brain, as points with a radius.

Large vessels have the courses of anatomy. Trees grow from them, arteries into the sulci and veins
over the convexity; radii at branches follow Murray's law. All coordinates are (z, y, x) in RAS
millimetres of the template.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline

from ContrastSynthLib.phantom.brain.template import Template
from ContrastSynthLib.volumes import FloatArray

STEP_MM = 2.0
POINT_SPACING_MM = 0.5
SMALLEST_RADIUS_MM = 0.22

# Radii in mm at the start and at the end, and courses, (x, y, z) in RAS mm of MNI space. They are
# for the right side; the left side is the mirror image.
ARTERIES: dict[str, tuple[float, float, list[tuple[float, float, float]]]] = {
    "vertebral": (1.5, 1.4, [(13, -46, -70), (9, -34, -58), (2, -27, -47)]),
    "basilar": (1.6, 1.5, [(0, -27, -47), (1, -24, -35), (0, -20, -22)]),
    "posterior_cerebral": (
        *(1.2, 0.8),
        [(0, -20, -22), (9, -19, -18), (20, -27, -10), (17, -42, -2), (11, -62, 3), (8, -82, 4)],
    ),
    "internal_carotid": (2.0, 1.8, [(22, -8, -42), (14, -2, -34), (13, 5, -26), (15, 4, -19)]),
    "middle_cerebral": (1.5, 1.1, [(15, 4, -19), (26, 5, -18), (37, 2, -16), (42, -2, -10)]),
    "middle_cerebral_upper": (
        *(1.0, 0.7),
        [(42, -2, -10), (41, 10, -2), (42, 16, 8), (50, 18, 18), (55, 12, 30)],
    ),
    "middle_cerebral_lower": (
        *(1.0, 0.7),
        [(42, -2, -10), (43, -14, 0), (44, -28, 12), (50, -44, 18), (54, -56, 24)],
    ),
    "anterior_cerebral": (
        *(1.2, 0.7),
        [
            (15, 4, -19),
            (5, 12, -15),
            (2, 26, -9),
            (2, 38, 4),
            (2, 32, 22),
            (2, 8, 36),
            (2, -24, 42),
        ],
    ),
}
VEINS: dict[str, tuple[float, float, list[tuple[float, float, float]]]] = {
    "straight_sinus": (1.8, 2.4, [(0, -46, 10), (0, -60, 2), (0, -76, -10), (0, -94, -18)]),
    "vein_of_galen": (1.8, 2.0, [(0, -36, 8), (0, -41, 7), (0, -46, 10)]),
    "internal_cerebral": (0.8, 1.2, [(3, 2, 10), (2, -12, 14), (2, -26, 12), (0, -36, 8)]),
    "thalamostriate": (0.5, 0.8, [(18, -22, 24), (14, -10, 22), (8, 0, 16), (3, 2, 10)]),
    "septal": (0.4, 0.7, [(12, 26, 14), (6, 22, 12), (3, 12, 12), (3, 2, 10)]),
    "basal": (0.6, 1.1, [(14, 0, -17), (19, -16, -12), (15, -32, -2), (0, -37, 7)]),
    "sylvian": (0.8, 1.2, [(52, -24, 18), (52, -4, 4), (46, 10, -8), (34, 14, -22), (22, 6, -26)]),
    "sphenoparietal": (1.5, 1.8, [(22, 6, -26), (18, -2, -32), (22, -14, -34)]),
}
TRANSVERSE = [(0, -98, -18), (18, -94, -20), (38, -82, -22), (52, -66, -25), (58, -50, -27)]
SIGMOID = [(58, -50, -27), (54, -42, -36), (47, -42, -46), (38, -44, -58), (32, -44, -68)]
MIDLINE_CENTRE_MM = (5.0, -15.0)

# Feeding arteries, and the number of trees that grow from each of them on each side.
ARTERIAL_TREES = {
    "middle_cerebral_upper": 26,
    "middle_cerebral_lower": 26,
    "anterior_cerebral": 26,
    "posterior_cerebral": 22,
    "basilar": 10,
}
VENOUS_TREES = 18
"""Number of bridging veins on each side that join the superior sagittal sinus."""


@dataclass(frozen=True)
class VesselPoints:
    """Points (n, 3), (z, y, x) in mm, and the radii (n,) of their vessels in mm."""

    points_mm: FloatArray
    radius_mm: FloatArray


def grow_vessels(
    template: Template, parameters: Mapping[str, float], rng: np.random.Generator
) -> VesselPoints:
    """Return all vessels of one patient in template space; see VESSELS for ``parameters``."""
    calibre = parameters["calibre"]
    arteries = _both_sides(ARTERIES, calibre, rng)
    veins = _both_sides(VEINS, calibre, rng)
    sinuses = _sinuses(template, parameters, rng)
    seeds = [
        _seeds_along(arteries[f"{name}_{side}"], count, rng)
        for name, count in ARTERIAL_TREES.items()
        for side in (0, 1)
    ]
    points, radii = (np.concatenate(parts) for parts in zip(*seeds, strict=True))
    arterial = _grow(template, points, radii * 0.75, rng, parameters["branching"], surface=False)
    sagittal = sinuses[0]
    points, radii = _seeds_along(sagittal, 2 * VENOUS_TREES, rng)
    side = np.repeat((-1.0, 1.0), VENOUS_TREES)
    points[:, 2] += 4.0 * side
    bridging = calibre * rng.uniform(0.5, 1.2, len(side))
    venous = _grow(
        template, points, bridging, rng, parameters["branching"], surface=True, side=side
    )
    trees = (*arteries.values(), *veins.values(), arterial, venous, *sinuses)
    points, radii = (np.concatenate(parts) for parts in zip(*trees, strict=True))
    return VesselPoints(points.astype(np.float32), radii.astype(np.float32))


Tree = tuple[NDArray[np.floating], NDArray[np.floating]]
"""Points (n, 3) and radii (n,)."""


def _both_sides(
    courses: Mapping[str, tuple[float, float, list[tuple[float, float, float]]]],
    calibre: float,
    rng: np.random.Generator,
) -> dict[str, Tree]:
    """Return each course on the left (0) and on the right (1), with random variations."""
    trees = {}
    for side, sign in ((0, -1.0), (1, 1.0)):
        for name, (first, last, course) in courses.items():
            points = np.array(course, dtype=float)[:, ::-1] * (1, 1, sign)
            # The ends are fixed, because the next vessel begins there.
            points[1:-1] += rng.normal(0, 1.2, points[1:-1].shape)
            size = calibre * rng.uniform(0.85, 1.15)
            trees[f"{name}_{side}"] = _polyline(points, first * size, last * size)
    return trees


def _polyline(points: NDArray[np.floating], first_mm: float, last_mm: float) -> Tree:
    """Return a smooth line through the points, with a linear change of the radius."""
    lengths = np.r_[0, np.cumsum(np.linalg.norm(np.diff(points, axis=0), axis=1))]
    along = np.arange(0, lengths[-1], POINT_SPACING_MM)
    smooth = CubicSpline(lengths, points)(along)
    return smooth, np.linspace(first_mm, last_mm, len(along))


def _onto_hull(
    template: Template, points: NDArray[np.floating], depth_mm: float, rounds: int = 4
) -> NDArray[np.floating]:
    """Return the points moved along the gradient of the depth to ``depth_mm``."""
    for _ in range(rounds):
        slope = template.gradient("depth_mm", points, 2.0)
        slope /= np.maximum(np.linalg.norm(slope, axis=1, keepdims=True), 0.3)
        points = points + (depth_mm - template.sample("depth_mm", points.T))[:, None] * slope
    return points


def _sinuses(
    template: Template, parameters: Mapping[str, float], rng: np.random.Generator
) -> list[Tree]:
    """Return the superior sagittal sinus, then the transverse and sigmoid sinuses."""
    size = parameters["sinus_calibre"]
    angles = np.deg2rad(np.linspace(-20, 188, 40))
    rays = np.stack([np.sin(angles), np.cos(angles), 0 * angles], axis=-1)
    centre = np.array([*MIDLINE_CENTRE_MM, 0.0])
    reach = np.arange(20.0, 110.0)
    rows = (centre + reach[:, None, None] * rays).reshape(-1, 3)
    depth = template.sample("depth_mm", rows.T).reshape(len(reach), -1)
    edge = reach[np.argmax(depth < 0.5, axis=0)]
    edge = np.convolve(np.pad(edge, 2, mode="edge"), np.ones(5) / 5, mode="valid")
    sagittal = _polyline(centre + edge[:, None] * rays, 1.2 * size, 3.6 * size)
    right = parameters["right_transverse"]
    trees = [sagittal]
    for sign, share in ((1.0, right), (-1.0, 1 - right)):
        for course in (TRANSVERSE, SIGMOID):
            points = np.array(course, dtype=float)[:, ::-1] * (1, 1, sign)
            points[1:-1] += rng.normal(0, 0.8, points[1:-1].shape)
            radius = 3.9 * size * float(np.sqrt(share))
            line, radii = _polyline(_onto_hull(template, points, -0.5), radius, radius)
            trees.append((line, radii))
    return trees


def _seeds_along(tree: Tree, count: int, rng: np.random.Generator) -> Tree:
    """Return ``count`` random points of a tree, more of them towards its end."""
    places = (np.sqrt(rng.uniform(0.02, 1, count)) * (len(tree[0]) - 1)).astype(int)
    return tree[0][places].copy(), tree[1][places]


def _grow(
    template: Template,
    points: NDArray[np.floating],
    radii: NDArray[np.floating],
    rng: np.random.Generator,
    branching: float,
    *,
    surface: bool,
    side: NDArray[np.floating] | None = None,
) -> Tree:
    """Grow all branches at once: arteries in the CSF, veins on the surface of the brain."""
    heading: NDArray[np.floating] = rng.normal(size=points.shape)
    if side is not None:
        # Away from the midline and downwards; anterior veins also to the front.
        heading = np.stack([-0.4 + 0 * side, 0.012 * (points[:, 1] + 15), side], axis=1)
        heading += rng.normal(0, 0.25, heading.shape)
    walked, sizes = [], []
    for _ in range(50):
        if len(points) == 0:
            break
        heading = _steer(template, points, heading, rng, surface)
        before, points = points, points + STEP_MM * heading
        steps = np.linspace(0, 1, int(STEP_MM / POINT_SPACING_MM), endpoint=False)
        walked.append((before + steps[:, None, None] * (points - before)).reshape(-1, 3))
        sizes.append(np.tile(radii, len(steps)))
        split = rng.random(len(points)) < branching
        share = rng.uniform(0.3, 0.7, len(points))
        # Murray's law: the cubes of the radii of the two branches add up to that of the parent.
        daughter = (radii * np.cbrt(1 - share))[split]
        radii = np.where(split, radii * np.cbrt(share), radii) * 0.985
        turn = rng.normal(0, 0.8, (int(split.sum()), 3))
        points = np.concatenate([points, points[split]])
        heading = np.concatenate([heading, heading[split] + turn])
        radii = np.concatenate([radii, daughter])
        fluid, depth = (template.sample(name, points.T) for name in ("fluid", "depth_mm"))
        alive = (radii > SMALLEST_RADIUS_MM) & (depth > -3.5)
        # Veins end when they leave the surface, arteries when they enter the tissue.
        alive &= (depth < 14) if surface else (fluid + 0.2 * rng.random(len(fluid)) > 0.08)
        points, heading, radii = points[alive], heading[alive], radii[alive]
    return np.concatenate(walked), np.concatenate(sizes)


def _steer(
    template: Template,
    points: NDArray[np.floating],
    heading: NDArray[np.floating],
    rng: np.random.Generator,
    surface: bool,
) -> NDArray[np.floating]:
    """Return the next directions (unit vectors): as before, towards the sulci, plus noise."""
    pull = template.gradient("fluid", points, 1.5)
    inward = template.gradient("depth_mm", points, 2.0)
    depth = template.sample("depth_mm", points.T)[:, None]
    aim = 0.6 if surface else 2.0
    # Arteries are kept inside the hull, veins near its surface.
    hold = np.clip(0.3 * (aim - depth), -0.7, 0.7) if surface else 0.5 * (depth < aim)
    turned = heading + 2.5 * pull + hold * inward + rng.normal(0, 0.22, points.shape)
    length = np.linalg.norm(turned, axis=1, keepdims=True)
    return np.asarray(turned / np.maximum(length, 1e-6))
