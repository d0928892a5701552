"""DICOM segmentations (SEG): one segment of such a file, as a mask.

A SEG holds a frame for each slice of each segment, and may leave out the empty ones: what has
no frame belongs to no segment. So its frames need not fill a stack, and the mask may cover
less than the scan; :func:`fitted` puts it onto the scan's grid.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ContrastSynthLib.errors import RequestError
from ContrastSynthLib.files.dicom.header import Frame, kind_of_object
from ContrastSynthLib.files.dicom.pixels import refuse_promises, stored_frames
from ContrastSynthLib.files.dicom.stack import (
    ROUNDING_MM,
    UNEVEN_TOLERANCE,
    Plane,
    grid_along,
    plane_of,
    positions_of,
)
from ContrastSynthLib.geometry import SAME_GRID_TOLERANCE_VOXELS, Grid
from ContrastSynthLib.volumes import Volume

KINDS = ("Segmentation Storage", "Label Map Segmentation Storage")
LABEL_MAP = "LABELMAP"
INSIDE = 0.5
"""From this share on, a voxel of a fractional segmentation belongs to its segment."""
LARGEST_STACK = 20000


@dataclass(frozen=True)
class Segmentation(Volume):
    """A mask from a SEG, 0 or 1. Outside of its grid nothing belongs to it either."""


def is_segmentation(frames: list[Frame]) -> bool:
    """Return whether images are those of a SEG."""
    return kind_of_object(frames[0].header) in KINDS or frames[0].value("Modality") == "SEG"


def segmentation_of(path: Path, frames: list[Frame], selection: str | None) -> Segmentation:
    """Return the segment that was chosen by number or label, or the only one.

    Its grid reaches over the frames of all segments and, where the file says so, over the
    whole scan that was segmented. Raises RequestError for several segments without a choice,
    several files, and frames that are no slices of one stack.
    """
    if len({frame.path for frame in frames}) > 1:
        raise RequestError(
            f"{path}: holds several segmentations. Give the file of one as the mask "
            "(--in mask=FILE)."
        )
    segments = _segments(path, frames)
    number, label = _chosen_segment(path, segments, selection)
    refuse_promises(path, frames)
    plane = plane_of(path, frames)
    grid, places = _grid(path, frames, plane)
    array = np.zeros(grid.shape, dtype=np.float32)
    label_map = str(frames[0].value("SegmentationType")).strip() == LABEL_MAP
    owners = [number if label_map else frame.whole("ReferencedSegmentNumber") for frame in frames]
    if set(owners) - {known for known, _ in segments}:
        raise RequestError(
            f"{path}: frames of segments that are not listed (ReferencedSegmentNumber "
            f"{sorted(set(owners))}, SegmentSequence). Export the segmentation again."
        )
    own = [n for n, owner in enumerate(owners) if owner == number]
    _refuse_two_frames_at_one_place(path, [int(places[n]) for n in own])
    read = stored_frames(frames[0].path, [frames[n] for n in own]) if own else iter(())
    for n, words in zip(own, read, strict=True):
        array[places[n]] = words.values == number if label_map else _inside(frames[n], words.values)
    notes = []
    if str(frames[0].value("SegmentationType")).strip() == "FRACTIONAL":
        notes.append(
            f"Segment '{label}' has fractions; voxels from {INSIDE:g} on belong to the mask."
        )
    return Segmentation(array, grid, notes=tuple(notes))


def _inside(frame: Frame, values: NDArray[Any]) -> NDArray[np.bool_]:
    if str(frame.value("SegmentationType")).strip() != "FRACTIONAL":
        return np.asarray(values > 0)
    largest = frame.stated_number("MaximumFractionalValue") or 255.0
    return np.asarray(values >= INSIDE * largest)


def _segments(path: Path, frames: list[Frame]) -> list[tuple[int, str]]:
    """Return number and label of each segment."""
    segments = []
    for item in frames[0].value("SegmentSequence") or ():
        described = Frame(path, 0, (item,))
        text = str(described.value("SegmentLabel") or "")
        label = " ".join("".join(c if c.isprintable() else " " for c in text).split())
        segments.append((described.whole("SegmentNumber"), label))
    if not segments:
        raise RequestError(
            f"{path}: a segmentation without segments (SegmentSequence). Export it again."
        )
    return segments


def _chosen_segment(
    path: Path, segments: list[tuple[int, str]], selection: str | None
) -> tuple[int, str]:
    """Return number and label of the segment to read."""
    if selection is None and len(segments) == 1:
        return segments[0]
    wanted = (selection or "").casefold()
    # A number is a number first, whatever the labels are.
    for found in (
        [segment for segment in segments if str(segment[0]) == wanted],
        [segment for segment in segments if segment[1].casefold() == wanted],
    ):
        if len(found) == 1:
            return found[0]
    listed = "\n".join(f"  {number}: {label or 'no label'}" for number, label in segments)
    what = f"no segment '{selection}'" if selection else f"{len(segments)} segments"
    first = segments[0][0]
    raise RequestError(
        f"{path}: {what}. Choose one by its number or label, as in {path.name}@{first} "
        f"(--in mask=FILE@{first}):\n{listed}"
    )


def _refuse_two_frames_at_one_place(path: Path, places: list[int]) -> None:
    if len(set(places)) < len(places):
        raise RequestError(
            f"{path}: two frames of one segment lie at one position (ImagePositionPatient). Export "
            "the segmentation again."
        )


def _grid(path: Path, frames: list[Frame], plane: Plane) -> tuple[Grid, NDArray[np.intp]]:
    """Return the grid of all frames, and which of its slices each frame is."""
    points, normal = positions_of(path, frames), plane.normal
    along_mm = points @ normal
    step_mm = _step_mm(path, frames, along_mm)
    first = points[int(along_mm.argmin())]
    exact = (along_mm - along_mm.min()) / step_mm
    places = np.rint(exact).astype(np.intp)
    beside = np.linalg.norm(points - first - np.outer(places * step_mm, normal), axis=1).max()
    if places.max() >= LARGEST_STACK or beside > UNEVEN_TOLERANCE * step_mm + 2 * ROUNDING_MM:
        raise RequestError(
            f"{path}: the frames lie up to {beside:.3g} mm beside even steps of {step_mm:.4g} mm "
            "(ImagePositionPatient, SpacingBetweenSlices). Export the segmentation again."
        )
    step = normal * step_mm
    if places.max() > 0:  # over the whole stack the positions are finer than a rounded spacing
        last = points[int(along_mm.argmax())]
        step = normal * float((last - first) @ normal) / int(places.max())
    before, after = _not_drawn(frames, places)
    grid = grid_along(
        path, plane, before + int(places.max()) + 1 + after, first - before * step, step
    )
    return grid, np.asarray(places + before)


def _step_mm(path: Path, frames: list[Frame], along_mm: NDArray[np.float64]) -> float:
    """Return the distance of the slices of the scan, of which some may have no frame."""
    gaps = np.diff(np.sort(along_mm))
    gaps = gaps[gaps > 5 * ROUNDING_MM]
    stated = [frames[0].number(key) for key in ("SpacingBetweenSlices", "SliceThickness")]
    known = [mm for mm in stated if mm is not None and mm > 0]
    for mm in known:
        if not len(gaps) or (np.abs(gaps / mm - np.rint(gaps / mm)) * mm < 0.05 * mm).all():
            return _refined(gaps, mm)
    if len(gaps):
        return float(gaps.min())
    raise RequestError(f"{path}: a single frame whose header has no SpacingBetweenSlices.")


def _refined(gaps: NDArray[np.float64], mm: float) -> float:
    """Return the spacing with the digits of the positions, where the header's are fewer."""
    steps = np.rint(gaps / mm)
    return float(gaps.sum() / steps.sum()) if len(gaps) and steps.min() > 0 else mm


def _not_drawn(frames: list[Frame], places: NDArray[np.intp]) -> tuple[int, int]:
    """Return how many slices of the scan lie before the first and behind the last frame.

    From the list of images that were segmented, where the images of the frames stand in it in
    the order of their places; 0, 0 where that is not so.
    """
    listed = _referenced(frames[0].header)
    order = {uid: n for n, uid in enumerate(listed)}
    pairs = {
        (order.get(_source(frame) or ""), int(p)) for frame, p in zip(frames, places, strict=True)
    }
    known = {(n, p) for n, p in pairs if n is not None}
    if len(known) < len(pairs) or len({p for _, p in known}) < 2 or len(order) < len(listed):
        return 0, 0
    for forward in (1, -1):
        offsets = {p - forward * n for n, p in known}
        if len(offsets) == 1:
            offset = offsets.pop()
            ends = sorted(offset + forward * n for n in (0, len(listed) - 1))
            return max(-ends[0], 0), max(ends[1] - int(places.max()), 0)
    return 0, 0


def _referenced(header: Any) -> list[str]:
    """Return the identities of the images of the one series that was segmented."""
    view = Frame(Path(), 0, (header,))
    series = list(view.value("ReferencedSeriesSequence") or ())
    if len(series) != 1:
        return []
    images = Frame(Path(), 0, (series[0],)).value("ReferencedInstanceSequence") or ()
    return [str(Frame(Path(), 0, (image,)).value("ReferencedSOPInstanceUID")) for image in images]


def _source(frame: Frame) -> str | None:
    """Return the identity of the one image that a frame was drawn on."""
    images = list(frame.value("SourceImageSequence") or ())
    if len(images) != 1:
        return None
    return str(Frame(frame.path, 0, (images[0],)).value("ReferencedSOPInstanceUID"))


def fitted(mask: Volume, grid: Grid) -> Volume:
    """Return a SEG's mask on ``grid`` when their voxels coincide; anything else as it is.

    Frames that were left out are 0. The axes may have another order or direction. A mask that
    would lose a voxel, because it reaches beyond the grid, stays as it is.
    """
    if not isinstance(mask, Segmentation) or mask.grid.is_same(grid):
        return mask
    onto = np.linalg.inv(grid.index_to_lps) @ mask.grid.index_to_lps
    turned = np.rint(onto)
    corners = np.array([*np.ndindex(2, 2, 2)]) * (np.array(mask.grid.size) - 1)
    corners = np.column_stack([corners, np.ones(8)])
    apart = np.abs(corners @ (onto - turned).T).max()
    if apart > 10 * SAME_GRID_TOLERANCE_VOXELS or np.abs(turned[:3, :3]).sum() != 3:
        return mask
    kji = np.argwhere(mask.array > 0)
    ijk = kji[:, ::-1] @ turned[:3, :3].T.astype(int) + turned[:3, 3].astype(int)
    if ((ijk < 0) | (ijk >= np.array(grid.size))).any():
        return mask
    array = np.zeros(grid.shape, dtype=np.float32)
    array[tuple(ijk[:, ::-1].T)] = 1.0
    return Segmentation(array, grid, notes=mask.notes)
