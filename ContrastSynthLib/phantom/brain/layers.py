"""Layers painted over the tissue of the template: dura, vessels, choroid plexus, lesions, ..."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ContrastSynthLib.phantom.brain.fields import Box
from ContrastSynthLib.phantom.brain.lesions import FURTHEST, Lesion, lesion_parts
from ContrastSynthLib.phantom.brain.template import Template
from ContrastSynthLib.phantom.brain.vessels import VesselPoints
from ContrastSynthLib.phantom.tissue import PROPERTIES, TISSUES
from ContrastSynthLib.volumes import BoolArray, FloatArray

LEAK = PROPERTIES.index("leak")
# Depth of the dura of the convexity below the hull of the brain; negative is outside.
CONVEXITY_MM = -1.5
# The lower edge of the falx is an ellipse above the corpus callosum: centre and radii (z, y).
FALX_CENTRE_MM, FALX_RADII_MM = (8.0, -14.0), (36.0, 52.0)
# Course of the choroid plexus from the temporal horn through the atrium to the foramen of Monro,
# (z, y, x) in mm on the right side.
CHOROID_COURSE_MM = np.array(
    [
        (-14, -26, 28),
        (-4, -36, 28),
        (8, -42, 24),
        (14, -40, 21),
        (17, -30, 16),
        (15, -12, 9),
        (10, 0, 4),
    ],
    dtype=np.float32,
)
CHOROID_RADII_MM = (1.6, 2.2, 4.2, 3.6, 2.0, 1.6, 1.2)
PITUITARY_MM, PITUITARY_RADII_MM = (-31.0, 3.0, 0.0), (3.5, 4.5, 6.5)
STALK_MM = ((-28.0, 2.0, 0.0), (-18.0, 0.0, 0.0))


@dataclass
class Canvas:
    """The maps on which layers are painted, see ``Anatomy``.

    ``places`` (3, k, j, i) are the positions in the template, ``depth`` is that below the hull,
    both in mm; only voxels ``inside`` are painted.
    """

    box: Box
    tissues: Mapping[str, FloatArray]
    places: FloatArray
    depth: FloatArray
    inside: BoolArray
    maps: FloatArray
    tissue: NDArray[np.uint8]

    @classmethod
    def empty(
        cls,
        box: Box,
        tissues: Mapping[str, FloatArray],
        places: FloatArray,
        depth: FloatArray,
        inside: BoolArray,
    ) -> Canvas:
        """Return a canvas of air: no protons, and rates of 1 per s to avoid divisions by 0."""
        maps = np.zeros((len(PROPERTIES), *box.shape), np.float32)
        maps[:2] = 1.0
        return cls(box, tissues, places, depth, inside, maps, np.zeros(box.shape, np.uint8))

    def paint(
        self,
        name: str,
        cover: NDArray[np.floating],
        where: Any = ...,
        leak: FloatArray | float = 1.0,
        label: int | None = None,
    ) -> None:
        """Paint a tissue over the part ``where`` of the maps with the opacity ``cover``, 0 to 1.

        ``leak`` is a factor for the tissue's leaky fraction. ``label`` replaces the tissue's label.
        """
        target = self.maps[(slice(None), *where)] if where is not ... else self.maps
        labels = self.tissue[where]
        cover = np.asarray(cover * self.inside[where], dtype=np.float32)
        for channel, value in enumerate(self.tissues[name]):
            aim = value * leak if channel == LEAK else value
            target[channel] += cover * (aim - target[channel])
        labels[cover > 0.5] = TISSUES[name].label if label is None else label

    def paint_points(
        self, name: str, flat: NDArray[np.intp], cover: FloatArray, leak: float = 1.0
    ) -> None:
        """Paint a tissue over voxels given by their flat indices."""
        cover = cover * self.inside.ravel()[flat]
        maps = self.maps.reshape(len(self.maps), -1)
        for channel, value in enumerate(self.tissues[name]):
            aim = value * leak if channel == LEAK else value
            maps[channel, flat] += cover * (aim - maps[channel, flat])
        self.tissue.ravel()[flat[cover > 0.5]] = TISSUES[name].label


def paint_dura(
    canvas: Canvas,
    template: Template,
    parameters: Mapping[str, float],
    fields: Mapping[str, FloatArray],
) -> None:
    """Paint falx, tentorium and the dura of the convexity, as sheets of varying thickness."""
    z, y, x = canvas.places.reshape(3, -1)
    depth, rim = canvas.depth.ravel(), fields["rim"].ravel()
    voxel = canvas.box.spacing_mm

    def paint(near: NDArray[np.intp], distance: FloatArray) -> None:
        thick = parameters["dura_mm"] * np.clip(0.8 + 0.6 * rim[near], 0, 2)
        share = np.clip((thick / 2 - np.abs(distance)) / voxel + 0.5, 0, 1)
        # A sheet thinner than a voxel fills only a part of it.
        cover = np.minimum(share, thick / voxel).astype(np.float32)
        canvas.paint_points("dura", near, cover, leak=parameters["dura_leak"])

    near = np.flatnonzero(np.abs(depth - CONVEXITY_MM) < 3)
    paint(near, depth[near] - CONVEXITY_MM)
    within = depth > -2
    near = np.flatnonzero((np.abs(x) < 3) & within & (z > -20))
    arch = ((z[near] - FALX_CENTRE_MM[0]) / FALX_RADII_MM[0]) ** 2
    arch += ((y[near] - FALX_CENTRE_MM[1]) / FALX_RADII_MM[1]) ** 2
    above = z[near] > np.where(y[near] < -40, template.tentorium_at(y[near], x[near]), -12)
    near = near[(arch > 1) & above]
    paint(near, x[near])
    # The free edge of the tentorium leaves an opening for the midbrain.
    tentorium = within & (y > -100) & (y < -18) & (z < 16) & (z > -36)
    near = np.flatnonzero(tentorium & (np.abs(x) > 0.75 * (y + 46)) & (np.abs(x) < 60))
    # The sheet is inclined, so the distance along its normal is smaller than along z.
    paint(near, 0.8 * (z[near] - template.tentorium_at(y[near], x[near])))


def paint_choroid(
    canvas: Canvas,
    template: Template,
    parameters: Mapping[str, float],
    fields: Mapping[str, FloatArray],
) -> None:
    """Paint the choroid plexus, irregular, along the lateral ventricles and in the fourth."""
    z, y, x = canvas.places
    near = np.flatnonzero((np.abs(x) < 36) & (y > -60) & (y < 10) & (z > -45) & (z < 26))
    if not near.size:
        return
    points = canvas.places.reshape(3, -1)[:, near].T.copy()
    points[:, 2] = np.abs(points[:, 2])
    size = np.full(len(near), -9.0, np.float32)
    radii = np.array(CHOROID_RADII_MM, dtype=np.float32) * np.float32(parameters["choroid"])
    ends = zip(CHOROID_COURSE_MM, CHOROID_COURSE_MM[1:], radii, radii[1:], strict=False)
    for first, last, start, end in ends:
        along = (last - first) / ((last - first) ** 2).sum()
        share = np.clip((points - first) @ along, 0, 1)
        away = np.linalg.norm(points - first - share[:, None] * (last - first), axis=1)
        np.maximum(size, start + share * (end - start) - away, out=size)
    fourth = np.sqrt((((points - np.array([-34, -46, 0])) / (3, 2, 5)) ** 2).sum(axis=1))
    size = np.maximum(size, (1 - fourth) * 2)
    lumps = 0.8 * fields["texture"].ravel()[near]
    fluid = template.sample("fluid", points.T)
    cover = np.clip((size + lumps) / canvas.box.spacing_mm + 0.5, 0, 1)
    cover *= np.clip(3 * (fluid - 0.35), 0, 0.9)
    canvas.paint_points("choroid", near, cover.astype(np.float32))


def paint_pituitary(canvas: Canvas) -> None:
    """Paint the pituitary gland and its stalk, as far as the skull-stripping includes them."""
    centre = np.array(PITUITARY_MM)[:, None]
    z, y, x = canvas.places
    near = np.flatnonzero((np.abs(x) < 10) & (np.abs(y - 3) < 9) & (z > -38) & (z < -14))
    if not near.size:
        return
    points = canvas.places.reshape(3, -1)[:, near]
    radii = np.array(PITUITARY_RADII_MM)[:, None]
    gland = (1 - np.sqrt((((points - centre) / radii) ** 2).sum(axis=0))) * 4.5
    low, high = (np.array(end)[:, None] for end in STALK_MM)
    share = np.clip((points - low)[0] / (high - low)[0], 0, 1)
    stalk = 1.2 - np.sqrt(((points - low - share * (high - low)) ** 2).sum(axis=0))
    cover = np.clip(np.maximum(gland, stalk) / canvas.box.spacing_mm + 0.5, 0, 1)
    canvas.paint_points("pituitary", near, cover.astype(np.float32))


def paint_vessels(canvas: Canvas, vessels: VesselPoints) -> None:
    """Paint all vessels: each point is a ball; vessels thinner than a voxel fill a part of it."""
    box, voxel = canvas.box, canvas.box.spacing_mm
    first = np.array([axis[0] for axis in box.axes])
    steps = np.array([1, -1, -1]) * voxel
    cover = np.zeros(box.shape, np.float32)
    for low, high in ((0.0, 0.7 * voxel), (0.7 * voxel, 1.6 * voxel), (1.6 * voxel, 99.0)):
        chosen = (vessels.radius_mm > low) & (vessels.radius_mm <= high)
        if not chosen.any():
            continue
        radius = vessels.radius_mm[chosen]
        position = (vessels.points_mm[chosen] - first) / steps
        reach = int(np.ceil(radius.max() / voxel + 0.5))
        inside = ((position > -reach) & (position < np.array(box.shape) + reach - 1)).all(axis=1)
        _fill_balls(cover, position[inside], radius[inside] / voxel, reach)
    flat = np.flatnonzero(cover)
    canvas.paint_points("blood", flat, cover.ravel()[flat])


def _fill_balls(
    cover: FloatArray, position: NDArray[np.floating], radius: NDArray[np.floating], reach: int
) -> None:
    """Increase ``cover`` to the shares of voxels in balls of ``radius`` at ``position`` (n, 3)."""
    base = np.round(position).astype(int)
    # A tube thinner than the voxel fills a share of it that is about the tube's cross-section.
    most = np.minimum(1.0, np.pi * radius**2)
    for offset in np.ndindex(*(2 * reach + 1,) * 3):
        voxel = base + (np.array(offset) - reach)
        away = np.sqrt(((voxel - position) ** 2).sum(axis=1))
        value = np.minimum(np.clip(radius - away + 0.5, 0, 1) * 1.0, most)
        value = np.where(radius < 0.5, most * np.clip(1.2 - away, 0, 1), value)
        kept = (value > 0.01) & ((voxel >= 0) & (voxel < cover.shape)).all(axis=1)
        flat = np.ravel_multi_index(tuple(voxel[kept].T), cover.shape)
        np.maximum.at(cover.ravel(), flat, value[kept].astype(np.float32))


def paint_oedema(canvas: Canvas, lesions: Sequence[Lesion]) -> None:
    """Paint the oedema around lesions, more in white than in grey matter."""
    white = canvas.tissues["white"][0]
    grey = canvas.tissues["grey"][0]
    for lesion in lesions:
        width = lesion.settings["oedema_mm"]
        if width < 1.5 or lesion.type in ("non_enhancing", "t1_bright", "open_ring"):
            continue
        cut = _around(canvas.box, lesion, width * 1.6 + FURTHEST)
        offsets = [
            m - c for m, c in zip(canvas.box.part(cut).mesh(), lesion.centre_mm, strict=True)
        ]
        beyond = (lesion.shape_at(offsets) - 1) * lesion.radius_mm / width
        # Oedema extends along the white matter in finger-like projections.
        fingers = 1 + 0.35 * lesion.bumps(offsets, 4, 8)
        r1 = canvas.maps[(0, *cut)]
        whiteness = np.clip((r1 - 0.9 * grey) / (white - grey), 0.08, 1)
        cover = np.clip((fingers - beyond) * 1.5, 0, 0.85) * whiteness
        canvas.paint("oedema", cover * (canvas.maps[(2, *cut)] < 0.93), cut)


def paint_lesions(canvas: Canvas, lesions: Sequence[Lesion]) -> NDArray[np.uint8]:
    """Paint the parts of all lesions; return the number of each voxel's lesion, from 1."""
    labels = np.zeros(canvas.box.shape, np.uint8)
    for number, lesion in enumerate(lesions, start=1):
        cut = _around(canvas.box, lesion, FURTHEST * lesion.radius_mm)
        if 0 in canvas.inside[cut].shape:
            continue
        parts = lesion_parts(lesion, canvas.box.part(cut))
        leak: Any = parts.pop("leak", np.float32(1)) * lesion.settings["leak"]
        body = parts.pop("body")
        for name, cover in parts.items():
            canvas.paint(name, cover, cut, leak=leak if name == "tumour" else 1.0)
        labels[cut][(body > 0.5) & canvas.inside[cut]] = number
    return labels


def _around(box: Box, lesion: Lesion, reach_mm: float) -> tuple[slice, slice, slice]:
    far = lesion.radius_mm + reach_mm
    return box.around(lesion.centre_mm - far, lesion.centre_mm + far)
