"""A dynamic series in one file: 4D images to volumes with their times, and back.

Slicer keeps a series as a sequence, `.seq.nrrd`: a NRRD file with an axis of the kind
``list`` whose values, here seconds, stand in the header. Older Slicer and its MultiVolume
module put that axis first, newer Slicer puts it last; both are read, the first is written,
because every Slicer reads it.
"""

from __future__ import annotations

import gzip
import os
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ContrastSynthLib.acquisition import Acquisition
from ContrastSynthLib.errors import RequestError
from ContrastSynthLib.files.headers.image import ImageHeader
from ContrastSynthLib.files.images import (
    READERS,
    SYNTHETIC_KEY,
    acquisition_and_notes,
    file_suffix,
    is_dicom,
    read_header,
    read_volume,
    refuse_absent,
    refuse_constant,
    refuse_not_finite,
    synthetic_in_file,
)
from ContrastSynthLib.files.selection import are_several, numbers_in, split_selection
from ContrastSynthLib.files.series_times import SECONDS_PER, times_in_file
from ContrastSynthLib.files.stored_voxels import read_voxels
from ContrastSynthLib.files.writing import partial_folder
from ContrastSynthLib.volumes import Volume, check_same_grid, checked_times, times_of

__all__ = [
    "ACCEPTED_SERIES",
    "SECONDS_PER",
    "SEQUENCE_SUFFIX",
    "holds_phases",
    "holds_series",
    "read_one",
    "read_series",
    "write_series",
]

SEQUENCE_SUFFIX = ".seq.nrrd"
ACCEPTED_SERIES = "a series of 3D volumes in one file: .seq.nrrd, .nrrd, .nii, .nii.gz or .mha"


def read_series(path: str | Path, times_s: Sequence[float] | None = None) -> list[Volume]:
    """Read the volumes of a 4D file in their order, each with its ``acquisition.time_s``.

    ``FILE#2-4`` or ``FILE@1,3`` chooses some of them; ``times_s`` are then theirs.

    DICOM is read too, a folder with all phases or a multi-frame file: see
    :func:`ContrastSynthLib.files.dicom.reader.read_dicom_series`.

    The times are ``times_s`` where given; else the list in a `.seq.nrrd` or a MultiVolume
    NRRD, or the interval between frames (NIfTI's pixdim[4] in its unit, the fourth spacing of
    NRRD and MHA in seconds) from the file's own start, where they can be the times of whole
    volumes: see :func:`times_in_file`. Raises RequestError for a missing, damaged, non-finite or
    3D file, a sheared grid, and for times that are missing, not one for each volume, not
    increasing, or that look like something else.
    """
    path, selection = split_selection(path)
    if _is_plain(path) and is_dicom(path):
        from ContrastSynthLib.files.dicom.reader import read_dicom_series

        return read_dicom_series(path, selection, times_s)
    return _frames(path, selection, times_s)


def read_one(path: str | Path) -> Volume:
    """Read a 3D image, or one phase of a series: ``FILE#3``.

    A phase has the time that its file tells, and none where the file tells none. Raises
    RequestError as :func:`read_volume` and :func:`read_series` do, and for several phases.
    """
    plain, selection = split_selection(path)
    if selection is None or is_dicom(plain) or not holds_series(plain):
        return read_volume(path)
    if are_several(selection):
        raise RequestError(f"{plain}: '{selection}' chooses several phases; expected one volume.")
    (volume,) = _frames(plain, selection, None, timed=False)
    refuse_constant(plain, volume)
    return volume


def _frames(
    path: Path, selection: str | None, times_s: Sequence[float] | None, *, timed: bool = True
) -> list[Volume]:
    """Return the chosen volumes of a file that is not DICOM; without ``timed`` times may lack."""
    header = _read_header(path)
    count = _frame_count(path, header)
    chosen = _chosen_frames(path, selection, count)
    grid, grid_notes = header.grid()
    acquisition, acquisition_notes = acquisition_and_notes(path, header.keys)
    times: list[float] | list[None] = [None] * len(chosen)
    time_notes: tuple[str, ...] = ()
    try:
        times, time_notes = _times(header, count, chosen, times_s, acquisition)
    except RequestError:
        if timed:
            raise
    voxels, voxel_notes = read_voxels(header)
    if header.is_list:
        # The axis of the frames to the front; of the last axis of the file it is already there.
        voxels = np.moveaxis(voxels, voxels.ndim - 1 - (header.value_axis or 0), 0)
    frames = voxels.reshape(count, *grid.shape)
    array = np.ascontiguousarray(frames if len(chosen) == count else frames[chosen])
    refuse_not_finite(path, int((~np.isfinite(array)).sum()))
    notes = (*header.notes, *grid_notes, *voxel_notes, *acquisition_notes, *time_notes)
    synthetic = synthetic_in_file(header.keys)
    return [
        Volume(frame, grid, replace(acquisition, time_s=time), synthetic, notes)
        for frame, time in zip(array, times, strict=True)
    ]


def _chosen_frames(path: Path, selection: str | None, count: int) -> list[int]:
    """Return the indices of the frames of a file that a selection such as 1,3-5 chooses."""
    if selection is None:
        return list(range(count))
    try:
        numbers = numbers_in(selection)
    except ValueError:
        numbers = []
    if not numbers or numbers[-1] > count:
        raise RequestError(
            f"{path}: there is no phase '{selection}'; expected numbers from 1 to {count} in their "
            "order, as in 1,3-5."
        )
    return [number - 1 for number in numbers]


def _times(
    header: ImageHeader,
    count: int,
    chosen: list[int],
    times_s: Sequence[float] | None,
    acquisition: Acquisition,
) -> tuple[list[float], tuple[str, ...]]:
    """Return the seconds of the chosen frames, as given or as the file has them, and notes."""
    if times_s is not None:
        return checked_times(times_s, len(chosen), str(header.path)).tolist(), ()
    found, notes = times_in_file(header, count, acquisition.repetition_time_s)
    return checked_times(found, count, str(header.path))[chosen].tolist(), notes


def write_series(volumes: Iterable[Volume], path: str | Path) -> None:
    """Write volumes of one grid as a `.seq.nrrd` that Slicer opens as a sequence.

    Their ``acquisition.time_s`` becomes the index, in seconds; what else all acquisitions
    share goes into the header, and if one volume is synthetic, the file says so. The file
    appears under its name only when it is whole. Raises RequestError for no volume, differing
    grids, missing or not increasing times, another suffix, and when the file cannot be written.
    """
    path = Path(path)
    if not path.name.lower().endswith(SEQUENCE_SUFFIX):
        raise RequestError(f"{path.name}: a series is written as {SEQUENCE_SUFFIX}.")
    volumes = list(volumes)
    if not volumes:
        raise RequestError(f"{path.name}: a series has one volume at least; there is none.")
    check_same_grid({f"volume {n}": volume for n, volume in enumerate(volumes)})
    header = _sequence_header(volumes, times_of(volumes)).encode()
    voxels = np.stack([volume.array for volume in volumes], axis=-1).astype("<f4", copy=False)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with partial_folder(path.parent) as folder:
            part = folder / path.name
            with part.open("wb") as file:
                file.write(header)
                with gzip.GzipFile("", "wb", compresslevel=1, fileobj=file, mtime=0) as packed:
                    packed.write(voxels.tobytes())
            os.replace(part, path)
    except OSError as error:
        raise RequestError(
            f"{path}: could not be written whole ({error.strerror or error}). Is the disk full, or "
            "the folder not yours to write into?"
        ) from error


def holds_series(path: str | Path) -> bool:
    """Return whether a file is an image with more than three axes, or a sequence of volumes.

    True, too, for DICOM with several phases, and False for what is no image: its
    reader says what is wrong with it.
    """
    path, selection = split_selection(path)
    if _is_plain(path) and is_dicom(path):
        from ContrastSynthLib.files.dicom.reader import holds_dicom_series

        return holds_dicom_series(path, selection)
    if file_suffix(path) not in READERS or not _is_file(path):
        return False
    if selection is not None and not are_several(selection):
        return False
    try:
        header = read_header(path)
    except RequestError:
        return False
    return header.is_list or (len(header.size) > 3 and header.size[3] > 1)


def holds_phases(path: str | Path) -> bool:
    """Return whether a source holds several phases: a series, but not one of a single volume."""
    if not holds_series(path):
        return False
    plain, selection = split_selection(path)
    if selection is not None or is_dicom(plain):
        return True
    header = read_header(plain)
    return _frame_count(plain, header) > 1


def _is_plain(path: Path) -> bool:
    """Return whether there is a file or a folder; a pipe or a device could block its reader."""
    try:
        return path.is_file() or path.is_dir()
    except OSError:
        return False


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:
        return False


def _read_header(path: Path) -> ImageHeader:
    refuse_absent(path, ACCEPTED_SERIES)
    if path.is_dir():
        raise RequestError(
            f"{path}: a folder. Expected {ACCEPTED_SERIES}; a DICOM series can be loaded into 3D "
            f"Slicer and saved as {SEQUENCE_SUFFIX}."
        )
    return read_header(path, ACCEPTED_SERIES)


def _frame_count(path: Path, header: ImageHeader) -> int:
    """Return the number of volumes; RequestError for a file that is no series."""
    size, values = header.size, header.values
    if header.is_list and len(size) == 3:
        return values
    if len(size) == 4 and values == 1 and size[3] > 1:
        return size[3]
    sizes = " x ".join(str(n) for n in size)
    kind = f"{values} values in each voxel" if values > 1 else "no time axis"
    raise RequestError(
        f"{path}: an image of {sizes} voxels with {kind}, not a series. Expected {ACCEPTED_SERIES}."
    )


def _sequence_header(volumes: Sequence[Volume], times_s: NDArray[np.float64]) -> str:
    grid = volumes[0].grid
    columns = grid.index_to_lps[:3, :3].T.tolist()
    lines = [
        "NRRD0005",
        "type: float",
        "dimension: 4",
        "space: left-posterior-superior",
        f"sizes: {len(volumes)} {' '.join(str(n) for n in grid.size)}",
        f"space directions: none {' '.join(_vector(column) for column in columns)}",
        "kinds: list domain domain domain",
        'labels: "time" "" "" ""',
        'units: "s" "" "" ""',
        "endian: little",
        "encoding: gzip",
        f"space origin: {_vector(grid.origin_mm)}",
        "axis 0 index type:=numeric",
        f"axis 0 index values:={' '.join(repr(time) for time in times_s.tolist())}",
        "DataNodeClassName:=vtkMRMLScalarVolumeNode",
    ]
    synthetic = [volume.synthetic for volume in volumes if volume.synthetic]
    if synthetic:
        lines.append(f"{SYNTHETIC_KEY}:={synthetic[0]}")
    known = [set(replace(v.acquisition, time_s=None).known().items()) for v in volumes]
    shared = Acquisition.from_values(dict(set.intersection(*known)))
    lines += [f"{key}:={value}" for key, value in shared.to_header().items()]
    return "\n".join(lines) + "\n\n"


def _vector(numbers: Sequence[float]) -> str:
    return f"({','.join(repr(float(number)) for number in numbers)})"
