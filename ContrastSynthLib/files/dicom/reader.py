"""DICOM to volumes: a folder of slices, a multi-frame file, a dynamic series, a segmentation.

The steps stand in modules of their own: which files are images (``dicom_folder``), what their
headers say (``dicom_header``), what they must have in common (``dicom_checks``), phases and
copies (``dicom_phases``), the wanted one (``dicom_choice``), places (``dicom_stack``), values
(``dicom_pixels``).
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from ContrastSynthLib.errors import RequestError
from ContrastSynthLib.files.dicom.acquisition import acquisition_of
from ContrastSynthLib.files.dicom.checks import (
    notes_on_kind,
    refuse_mixtures,
    refuse_other_kinds,
    refuse_several_series,
    refuse_unlike_slices,
)
from ContrastSynthLib.files.dicom.choice import choose, choose_several
from ContrastSynthLib.files.dicom.folder import find_frames
from ContrastSynthLib.files.dicom.header import Frame
from ContrastSynthLib.files.dicom.phases import Part, parts_of
from ContrastSynthLib.files.dicom.pixels import voxels
from ContrastSynthLib.files.dicom.segmentation import Segmentation, is_segmentation, segmentation_of
from ContrastSynthLib.files.dicom.stack import stack
from ContrastSynthLib.files.dicom.times import starts_at_injection
from ContrastSynthLib.files.selection import are_several
from ContrastSynthLib.volumes import Volume, checked_times


def read_dicom(path: Path, selection: str | None = None) -> Volume:
    """Read a folder that holds one series of slices, or one DICOM file.

    ``selection`` is the number of a phase or contrast where the series has several. Only a
    single slice takes its thickness from the header. Files of the folder that hold no image
    are skipped; folders in it are not searched. What was put right stands in the notes of the
    volume.

    Raises RequestError for no image, several series, patients or places, several images at one
    position without a selection, colour, no or differing geometry, gaps, uneven or sheared
    slices, slices unlike the others, damaged files, and a segmentation.
    """
    return read_with_frames(path, selection)[1]


def read_with_frames(path: Path, selection: str | None = None) -> tuple[list[Frame], Volume]:
    """Read a volume as :func:`read_dicom` does; return also its frames, in the order of k."""
    with _quietly():
        frames, notes = _frames_of_one_series(path)
        if is_segmentation(frames):
            raise RequestError(
                f"{path}: a segmentation (DICOM SEG), not a scan. Give it as the mask "
                "(--in mask=FILE)."
            )
        parts, said = parts_of(path, frames)
        return _with_frames(path, choose(path, parts, selection), [*notes, *said])


def read_dicom_series(
    path: Path, selection: str | None = None, times_s: Sequence[float] | None = None
) -> list[Volume]:
    """Read all phases of a dynamic series, each with its ``acquisition.time_s``.

    The times are ``times_s`` where given, else seconds from the injection, or from the first
    phase where its time is not known. ``selection`` chooses some phases, as in ``1,3-5``.
    Raises RequestError as :func:`read_dicom` does, for a single phase, several contrasts, and
    for times that are missing or do not increase.
    """
    with _quietly():
        frames, notes = _frames_of_one_series(path)
        if is_segmentation(frames):
            raise RequestError(f"{path}: a segmentation (DICOM SEG), not a series of scans.")
        parts, said = parts_of(path, frames)
        chosen = choose_several(path, parts, selection)
        times, on_times = _times(path, parts, chosen, times_s)
        notes = [*notes, *said, *on_times]
        volumes = [
            _volume(path, part, notes, time) for part, time in zip(chosen, times, strict=True)
        ]
        # The first volume speaks for the series.
        said_once = tuple(dict.fromkeys(note for volume in volumes for note in volume.notes))
        return [replace(volumes[0], notes=said_once), *volumes[1:]]


def _times(
    path: Path, parts: list[Part], chosen: list[Part], given_s: Sequence[float] | None
) -> tuple[list[float], list[str]]:
    """Return the seconds of each phase, and a note on where they start."""
    if given_s is not None:
        return checked_times(given_s, len(chosen), str(path)).tolist(), []
    if len(chosen) < 2:
        raise RequestError(f"{path}: one volume, not a series. Expected a folder with all phases.")
    times = [part.time_s for part in chosen if part.time_s is not None]
    if len(times) < len(chosen):
        raise RequestError(
            f"{path}: the files do not say when their {len(chosen)} phases were taken. Give one "
            "time in seconds for each, for example --times 0,85,155."
        )
    if starts_at_injection([part.frames for part in parts]):
        return times, []
    return times, ["The files do not say when the agent was given; times start at phase 1."]


def read_dicom_mask(path: Path, selection: str | None = None) -> Volume:
    """Read a mask: one segment of a DICOM segmentation, by number or label, or an image."""
    with _quietly():
        frames, notes = _frames_of_one_series(path)
        if is_segmentation(frames):
            mask: Segmentation = segmentation_of(path, frames, selection)
            return replace(mask, notes=(*notes, *mask.notes))
        parts, said = parts_of(path, frames)
        return _volume(path, choose(path, parts, selection), [*notes, *said])


def holds_dicom_series(path: Path, selection: str | None = None) -> bool:
    """Return whether a folder or file is a dynamic series; False, too, for what cannot be read.

    With a ``selection``: whether it chooses several phases.
    """
    if selection is not None:
        return are_several(selection)
    try:
        with _quietly():
            frames, _ = _frames_of_one_series(path)
            return not is_segmentation(frames) and len(parts_of(path, frames)[0]) > 1
    except RequestError:
        return False


def _frames_of_one_series(path: Path) -> tuple[list[Frame], list[str]]:
    frames, notes = find_frames(path)
    refuse_several_series(path, frames)
    refuse_mixtures(path, frames)
    refuse_other_kinds(path, frames)
    return frames, notes


def _volume(path: Path, part: Part, notes: list[str], time_s: float | None = None) -> Volume:
    """Return one volume; a ``time_s`` counts instead of what its own files say."""
    _, volume = _with_frames(path, part, notes)
    if time_s is None:
        return volume
    return replace(volume, acquisition=replace(volume.acquisition, time_s=time_s))


def _with_frames(path: Path, part: Part, notes: list[str]) -> tuple[list[Frame], Volume]:
    """Return the frames of a part in the order of k, and the volume that they make."""
    refuse_unlike_slices(path, part.frames)
    frames, grid, on_place = stack(path, part.frames)
    array, on_values = voxels(path, frames)
    notes = [*notes, *notes_on_kind(frames), *on_place, *on_values]
    mark = _synthetic_mark(frames[0])
    return frames, Volume(array, grid, acquisition_of(frames), mark, tuple(notes))


def _synthetic_mark(frame: Frame) -> str | None:
    """Return how an image describes its making, where it says that it is synthetic."""
    if frame.value("SyntheticData") != "YES":
        return None
    return str(frame.value("DerivationDescription") or "SYNTHETIC, as its file says")


@contextmanager
def _quietly() -> Iterator[None]:
    """Keep back pydicom's warnings, which are of many small faults in the headers of hospitals."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
