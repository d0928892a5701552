"""The head around a virtual brain: skull, marrow, fat, skin, eyes, and air in the face.

The cranial vault consists of layers around the hull of the brain. The face is an ellipsoid and the
neck a cylinder: simplified, but sufficient for the surroundings of a brain in a scan.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from ContrastSynthLib.phantom.brain.layers import Canvas
from ContrastSynthLib.volumes import BoolArray, FloatArray

# Layers outside of the hull, and the distance in mm from the hull at which each ends.
VAULT = (("bone", 5.5), ("marrow", 8.0), ("bone", 10.0))
INNERMOST_MM, VAULT_MM, SCALP_MM = 4.0, 10.0, 16.0
SKIN_MM, FAT_MM = 2.0, 5.0
"""Thickness of the skin, and of the fat below it."""

# In (z, y, x) millimetres of the template.
FACE_MM, FACE_RADII_MM = (-55.0, 22.0, 0.0), (62.0, 72.0, 62.0)
NECK_MM, NECK_RADII_MM = (-35.0, 0.0), (58.0, 58.0)
NECK_TOP_MM = -45.0
EYE_MM, EYE_RADIUS_MM, ORBIT_RADIUS_MM = (-33.0, 66.0, 31.0), 12.0, 18.0
AIR_MM = (((-46.0, 58.0, 0.0), (14.0, 22.0, 11.0)), ((-62.0, 46.0, 28.0), (13.0, 15.0, 10.0)))


def paint_head(canvas: Canvas, fields: Mapping[str, FloatArray]) -> None:
    """Paint the head outside of the hull; its voxels are added to ``canvas.inside``."""
    voxel = canvas.box.spacing_mm
    # The thickness of scalp and skull varies.
    out = -canvas.depth / (1 + 0.06 * fields["shade"] + 0.015 * fields["strip"])
    below = _below_surface(canvas, out) + fields["shade"]
    canvas.inside |= below > 0
    soft = canvas.inside & (out > VAULT_MM)
    _paint_soft_tissue(canvas, fields, soft, below)
    previous = INNERMOST_MM
    for name, end in VAULT:
        cover = np.clip((out - previous) / voxel + 0.5, 0, 1) * (out < end)
        canvas.paint(name, cover * np.clip((below - 1) / voxel, 0, 1))
        previous = end
    _paint_eyes(canvas, soft)
    outside = below <= 0
    _clear(canvas, outside)
    canvas.inside &= ~outside


def _below_surface(canvas: Canvas, out: NDArray[np.floating]) -> FloatArray:
    """Return the depth in mm of each voxel below the surface of scalp, face or neck."""
    z, y, x = canvas.places
    offsets = [(p - c) / r for p, c, r in zip((z, y, x), FACE_MM, FACE_RADII_MM, strict=True)]
    face = (1 - np.sqrt(sum(o**2 for o in offsets))) * min(FACE_RADII_MM)
    offsets = [(p - c) / r for p, c, r in zip((y, x), NECK_MM, NECK_RADII_MM, strict=True)]
    neck = (1 - np.hypot(*offsets)) * min(NECK_RADII_MM)
    neck = np.minimum(neck, NECK_TOP_MM - z + 10)
    return np.asarray(np.maximum(np.maximum(SCALP_MM - out, face), neck), dtype=np.float32)


def _paint_soft_tissue(
    canvas: Canvas, fields: Mapping[str, FloatArray], soft: BoolArray, below: FloatArray
) -> None:
    """Paint muscle with layers of fat, the air of nose and sinuses, subcutaneous fat and skin."""
    voxel = canvas.box.spacing_mm
    planes = np.clip(4 * (0.22 - np.abs(fields["strip"])), 0, 1)
    canvas.paint("muscle", soft.astype(np.float32))
    canvas.paint("fat", soft * np.maximum(planes, np.clip(2 * fields["shade"] - 1.5, 0, 1)))
    lumps = np.clip(2 * np.abs(fields["rim"]) - 2.4, 0, 1)
    canvas.paint("bone", soft * lumps * (below > 12))
    for centre, radii in AIR_MM:
        for sign in (-1, 1):
            offsets = [
                (p - c * s) / r
                for p, c, r, s in zip(canvas.places, centre, radii, (1, 1, sign), strict=True)
            ]
            share = np.sqrt(sum(o**2 for o in offsets)) + 0.10 * fields["rim"]
            canvas.paint("mucosa", soft * np.clip((1.2 - share) * 8, 0, 1))
            _clear(canvas, soft & (share < 1))
    fat = np.clip((SKIN_MM + FAT_MM + 1.5 * fields["rim"] - below) / voxel + 0.5, 0, 1)
    canvas.paint("fat", soft * fat)
    canvas.paint("skin", soft * np.clip((SKIN_MM - below) / voxel + 0.5, 0, 1))


def _paint_eyes(canvas: Canvas, soft: BoolArray) -> None:
    """Paint the eyes, orbital fat, eye muscles and optic nerves."""
    voxel = canvas.box.spacing_mm
    for sign in (-1, 1):
        offsets = [p - c * s for p, c, s in zip(canvas.places, EYE_MM, (1, 1, sign), strict=True)]
        away = np.sqrt(sum(o**2 for o in offsets))
        behind = away + 0.4 * np.maximum(offsets[1], 0)
        canvas.paint("fat", soft * np.clip((ORBIT_RADIUS_MM - behind) / voxel + 0.5, 0, 1))
        line = np.hypot(offsets[0], offsets[2] + sign * 0.45 * offsets[1])
        straps = (line < 2.4) | (np.abs(line - 9 - 0.25 * offsets[1]) < 1.6)
        straps &= (offsets[1] < -6) & (behind < ORBIT_RADIUS_MM + 4)
        canvas.paint("muscle", (soft & straps).astype(np.float32))
        for name, radius in (("skin", EYE_RADIUS_MM + 1.2), ("vitreous", EYE_RADIUS_MM)):
            canvas.paint(name, soft * np.clip((radius - away) / voxel + 0.5, 0, 1))


def _clear(canvas: Canvas, where: NDArray[np.bool_]) -> None:
    """Set voxels to air."""
    canvas.maps[:, where] = np.array([1, 1, 0, 0, 0, 0, 0], np.float32)[:, None]
    canvas.tissue[where] = 0
