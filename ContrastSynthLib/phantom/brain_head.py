"""The head around a virtual brain: skull, marrow, fat, skin, eyes, and air in the face.

It is grown outwards from the hull of the brain, so it is right about the convexity and a
sketch below it: enough for what a scan of a whole head shows around a brain.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from ContrastSynthLib.volumes import FloatArray

if TYPE_CHECKING:
    from ContrastSynthLib.phantom.brain_layers import Canvas

# Layers outwards from the hull, each ending this many mm away from it.
SHELLS = (("bone", 5.5), ("marrow", 8.0), ("bone", 10.0), ("fat", 13.5), ("skin", 15.5))
INNERMOST_MM = 4.0
# Below a plane through forehead and neck there is a face instead of a vault.
FACE_MM = -22.0
EYE_MM, EYE_RADIUS_MM, ORBIT_RADIUS_MM = (-33.0, 68.0, 31.0), 12.0, 19.0
AIR_MM = (((-46.0, 62.0, 0.0), (13.0, 20.0, 13.0)), ((-62.0, 42.0, 26.0), (12.0, 14.0, 9.0)))


def paint_head(canvas: Canvas, fields: Mapping[str, FloatArray]) -> None:
    """Paint everything outside the hull; the voxels painted become part of the head."""
    voxel = canvas.box.spacing_mm
    z, y, _ = canvas.places
    # Scalp and skull are thicker here than there; the neck and the face are padded.
    thickness = 1 + 0.10 * fields["shade"] + 0.05 * fields["strip"]
    out = -canvas.depth / thickness
    face = (z < FACE_MM) & (y > -40) & (canvas.depth < -4)
    padded = np.clip((FACE_MM - z) * (y > 0) * 0.9, 0, 30)
    surface = out - padded < SHELLS[-1][1]
    canvas.inside |= surface
    previous = INNERMOST_MM
    for name, end in SHELLS:
        shift = 0.0 if name in ("bone", "marrow") else padded
        cover = np.clip((out - previous) / voxel + 0.5, 0, 1)
        canvas.paint(name, cover * (out - shift < end + voxel))
        previous = end
    _paint_face(canvas, fields, face & surface, out - padded)
    _paint_eyes(canvas, surface)
    _clear(canvas, ~surface)


def _paint_face(
    canvas: Canvas, fields: Mapping[str, FloatArray], face: np.ndarray, out: FloatArray
) -> None:
    """Fill the face with muscle, fat and mucosa, and take the air out of its cavities."""
    within = face & (out < SHELLS[-2][1])
    mixed = np.clip(1.5 * fields["strip"] + 0.5, 0, 1)
    canvas.paint("muscle", within.astype(np.float32))
    canvas.paint("fat", within * mixed)
    for centre, radii in AIR_MM:
        for sign in (-1, 1):
            offsets = [
                (p - c * s) / r
                for p, c, r, s in zip(canvas.places, centre, radii, (1, 1, sign), strict=True)
            ]
            share = np.sqrt(sum(o**2 for o in offsets)) + 0.08 * fields["rim"]
            canvas.paint("mucosa", face * np.clip((1.15 - share) * 10, 0, 1))
            _clear(canvas, face & (share < 1))


def _paint_eyes(canvas: Canvas, surface: np.ndarray) -> None:
    voxel = canvas.box.spacing_mm
    for sign in (-1, 1):
        offsets = [p - c * s for p, c, s in zip(canvas.places, EYE_MM, (1, 1, sign), strict=True)]
        away = np.sqrt(sum(o**2 for o in offsets))
        behind = away + 0.4 * np.maximum(offsets[1], 0)
        outside = surface & (canvas.depth < -4)
        canvas.paint("fat", outside * np.clip((ORBIT_RADIUS_MM - behind) / voxel + 0.5, 0, 1))
        # The straight muscles and the nerve run from the globe to the apex of the orbit.
        line = np.hypot(offsets[0], offsets[2] + sign * 0.45 * offsets[1])
        nerve = (line < 2.4) | (np.abs(line - 9 - 0.25 * offsets[1]) < 1.6)
        canvas.paint(
            "muscle", outside * (nerve & (offsets[1] < -6) & (behind < ORBIT_RADIUS_MM + 4))
        )
        globe = np.clip((EYE_RADIUS_MM - away) / voxel + 0.5, 0, 1)
        canvas.paint("skin", outside * np.clip((EYE_RADIUS_MM + 1.2 - away) / voxel + 0.5, 0, 1))
        canvas.paint("vitreous", outside * globe)


def _clear(canvas: Canvas, where: np.ndarray) -> None:
    """Make air of what is there."""
    canvas.maps[:, where] = np.array([1, 1, 0, 0, 0, 0, 0], np.float32)[:, None]
    canvas.tissue[where] = 0
