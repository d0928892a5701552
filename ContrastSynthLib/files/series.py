"""A dynamic series in one file: 4D images to volumes with their times, and back.

Slicer keeps a series as a sequence, `.seq.nrrd`: a NRRD file with an axis of the kind
``list`` whose values, here seconds, stand in the header. Older Slicer and its MultiVolume
module put that axis first, newer Slicer puts it last; both are read, the first is written,
because every Slicer reads it.
"""

from __future__ import annotations

import gzip
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from ContrastSynthLib.acquisition import Acquisition
from ContrastSynthLib.errors import RequestError
from ContrastSynthLib.files.images import (
    READERS,
    SYNTHETIC_KEY,
    acquisition_in_file,
    file_suffix,
    grid_in_file,
    open_image,
    read_whole_image,
    refuse_not_finite,
    synthetic_in_file,
)
from ContrastSynthLib.files.writing import partial_folder
from ContrastSynthLib.geometry import Grid
from ContrastSynthLib.volumes import FloatArray, Volume, check_same_grid, checked_times, times_of

SEQUENCE_SUFFIX = ".seq.nrrd"
ACCEPTED_SERIES = "a series of 3D volumes in one file: .seq.nrrd, .nrrd, .nii, .nii.gz or .mha"
SECONDS_PER = {"s": 1.0, "sec": 1.0, "second": 1.0, "seconds": 1.0, "ms": 1e-3, "min": 60.0}
# What readers and writers put where nothing is known.
NOMINAL_INTERVAL_S = 1.0


def read_series(path: str | Path, times_s: Sequence[float] | None = None) -> list[Volume]:
    """Read the volumes of a 4D file in their order, each with its ``acquisition.time_s``.

    The times are ``times_s`` where given; else the list in a `.seq.nrrd` or a MultiVolume
    NRRD, or the interval between frames (NIfTI's pixdim[4] in its unit, the fourth spacing of
    NRRD and MHA in seconds) from the file's own start. An interval of exactly 1 s is what
    files hold whose writer knew none: then times must be given. Raises RequestError for a
    missing, damaged, non-finite or 3D file, a sheared grid, and for times that are missing,
    not one for each volume, or not increasing.
    """
    path = Path(path)
    image, header = _read_image(path)
    array, grid = _frames(path, image, header)
    refuse_not_finite(path, int((~np.isfinite(array)).sum()))
    found = list(times_s) if times_s is not None else _times_in_file(image, header)
    if found is None:
        raise RequestError(
            f"{path}: the file does not tell when its {len(array)} volumes were taken. Give one "
            "time in seconds for each, for example --times 0,85,155."
        )
    times = checked_times(found, len(array), str(path))
    acquisition, synthetic = acquisition_in_file(path, header), synthetic_in_file(header)
    return [
        Volume(frame, grid, replace(acquisition, time_s=time), synthetic)
        for frame, time in zip(array, times.tolist(), strict=True)
    ]


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

    False, too, for a folder and for what is no image: its reader says what is wrong with it.
    """
    path = Path(path)
    if file_suffix(path) not in READERS or not path.is_file():
        return False
    try:
        reader = open_image(path)
    except RuntimeError:
        return False
    listed = {"NRRD_kinds[pixel]", "NRRD_kinds[3]"} & set(reader.GetMetaDataKeys())
    if any(reader.GetMetaData(key) == "list" for key in listed):
        return True
    return bool(reader.GetDimension() > 3 and reader.GetSize()[3] > 1)


def _read_image(path: Path) -> tuple[sitk.Image, dict[str, str]]:
    if path.is_dir():
        raise RequestError(
            f"{path}: a folder. Expected {ACCEPTED_SERIES}; a DICOM series can be loaded into 3D "
            f"Slicer and saved as {SEQUENCE_SUFFIX}."
        )
    if not path.is_file():
        raise RequestError(f"{path}: there is no such file. Expected {ACCEPTED_SERIES}.")
    return read_whole_image(path, ACCEPTED_SERIES)


def _frames(path: Path, image: sitk.Image, header: Mapping[str, str]) -> tuple[FloatArray, Grid]:
    """Return the voxels (t, k, j, i) and the grid of one volume."""
    size, components = image.GetSize(), image.GetNumberOfComponentsPerPixel()
    if len(size) == 4 and components == 1 and size[3] > 1:
        array, one = sitk.GetArrayViewFromImage(image), image[:, :, :, 0]
    elif len(size) == 3 and header.get("NRRD_kinds[pixel]") == "list":
        # ITK takes the frames for the components of one pixel; of a single one it makes none.
        view = sitk.GetArrayViewFromImage(image)
        array, one = (np.moveaxis(view, -1, 0) if components > 1 else view[None]), image
    else:
        sizes = " x ".join(str(n) for n in size)
        kind = f"{components} values in each voxel" if components > 1 else "no time axis"
        raise RequestError(
            f"{path}: an image of {sizes} voxels with {kind}, not a series. Expected "
            f"{ACCEPTED_SERIES}."
        )
    # A copy in any case: the view dies with the image.
    return np.array(array, dtype=np.float32, order="C"), grid_in_file(path, one, header)


def _times_in_file(image: sitk.Image, header: Mapping[str, str]) -> list[float] | None:
    """Return the seconds that the file tells, None where it tells none."""
    if image.GetDimension() == 4:
        start_s, interval_s = image.GetOrigin()[3], image.GetSpacing()[3]
        if interval_s == NOMINAL_INTERVAL_S:
            return None
        # NIfTI has seven digits: 16.43 s come as 16.43000031.
        return [round(start_s + interval_s * n, 4) for n in range(image.GetSize()[3])]
    unit, listed = _listed(header)
    factor = SECONDS_PER.get(unit.strip().lower())
    try:
        return [float(value) * factor for value in listed] if factor and listed else None
    except ValueError:
        return None


def _listed(header: Mapping[str, str]) -> tuple[str, list[str]]:
    """Return the unit and the values of a sequence's index or a MultiVolume's frame labels."""
    for key, text in header.items():
        if re.fullmatch(r"axis [03] index values", key):
            # An index without a name and a unit only counts the volumes.
            label = header.get("NRRD_labels[pixel]", "")
            return header.get("NRRD_units[pixel]", "s" if label == "time" else ""), text.split()
    tag = header.get("MultiVolume.FrameIdentifyingDICOMTagName", "")
    if tag.endswith("Time") and not tag.startswith(("Echo", "Inversion", "Repetition")):
        unit = header.get("MultiVolume.FrameIdentifyingDICOMTagUnits", "ms")
        return unit, header.get("MultiVolume.FrameLabels", "").split(",")
    return "", []


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
