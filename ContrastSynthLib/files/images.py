"""Image files to volumes and back.

Whatever leaves :func:`read_volume` is three-dimensional, finite, of one component and on
an orthogonal grid; whatever :func:`write_volume` leaves on the disk is whole.
"""

from __future__ import annotations

import math
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from ContrastSynthLib.acquisition import Acquisition
from ContrastSynthLib.errors import RequestError
from ContrastSynthLib.files.headers.image import ImageHeader
from ContrastSynthLib.files.headers.meta import parse_meta
from ContrastSynthLib.files.headers.nifti import NOTE_KEY as NIFTI_NOTE_KEY
from ContrastSynthLib.files.headers.nifti import parse_nifti
from ContrastSynthLib.files.headers.nrrd import parse_nrrd
from ContrastSynthLib.files.selection import refuse_selection, split_selection
from ContrastSynthLib.files.sidecars import sidecars_of
from ContrastSynthLib.files.stored_voxels import check_whole, read_voxels
from ContrastSynthLib.files.writing import partial_folder
from ContrastSynthLib.itk_images import to_sitk
from ContrastSynthLib.volumes import Volume

READERS: dict[str, Callable[[Path], ImageHeader]] = {
    ".nrrd": parse_nrrd,
    ".nhdr": parse_nrrd,
    ".nii": parse_nifti,
    ".nii.gz": parse_nifti,
    ".mha": parse_meta,
    ".mhd": parse_meta,
}
"""What understands the header of a file, by its suffix."""

READABLE = (*READERS, ".dcm")
WRITABLE = (".nrrd", ".nii", ".nii.gz", ".mha")
SYNTHETIC_KEY = "SYNTHETIC"
SYNTHETIC_ATTRIBUTE = "ContrastSynth.Synthetic"
"""Attribute of a node in Slicer, which writes it into the header of the NRRD in a saved scene."""
ACCEPTED_FILES = (
    "a 3D image as .nrrd, .nii, .nii.gz, .mha or multi-frame .dcm, "
    "or a folder with one DICOM series"
)


def read_volume(path: str | Path) -> Volume:
    """Read one 3D scan: NRRD, NIfTI, MHA, multi-frame DICOM, or a folder of DICOM slices.

    Of two differing matrices in a NIfTI file the one counts that Slicer takes. What was assumed
    about the file, and what is odd in it, is in the ``notes`` of the volume.

    Raises RequestError for a missing, unreadable, truncated, two-dimensional, time-resolved,
    multi-component, non-finite or constant image, for a sheared grid and a voxel spacing that
    cannot be.
    """
    volume = read_any_volume(path)
    refuse_constant(path, volume)
    return volume


def refuse_constant(path: str | Path, volume: Volume) -> None:
    """Raise RequestError for a scan of one value throughout."""
    low, high = float(volume.array.min()), float(volume.array.max())
    if low == high:
        raise RequestError(
            f"{path}: every voxel is {low:g}. A scan has contrast; was the right file exported?"
        )


def read_mask(path: str | Path) -> Volume:
    """Read a mask: every voxel above 0 belongs to it. Raises RequestError when it is empty.

    ``FILE@2`` or ``FILE@Tumour`` chooses a segment of a DICOM segmentation.
    """
    volume = read_any_volume(path, mask=True)
    inside = volume.array > 0
    if not inside.any():
        raise RequestError(
            f"{path}: the mask is empty, no voxel is above 0. Draw the region, or leave the "
            "mask out."
        )
    return replace(volume, array=inside.astype(np.float32))


def read_any_volume(path: str | Path, *, mask: bool = False) -> Volume:
    """Read a 3D image of any content, such as a map that is 0 everywhere.

    Raises RequestError as :func:`read_volume` does, but not for a constant image.
    """
    path, selection = split_selection(path)
    refuse_absent(path, ACCEPTED_FILES)
    if is_dicom(path):
        from ContrastSynthLib.files.dicom.reader import read_dicom, read_dicom_mask

        volume = (read_dicom_mask if mask else read_dicom)(path, selection)
    else:
        refuse_selection(path, selection)
        volume = _read_image_file(path)
    refuse_not_finite(path, int((~np.isfinite(volume.array)).sum()))
    return volume


def refuse_absent(path: Path, expected: str) -> None:
    """Raise RequestError unless there is a file or a folder at ``path``."""
    try:
        there = path.exists()
    except OSError as error:
        raise RequestError(
            f"{path}: cannot be opened ({error.strerror}). Expected {expected}."
        ) from None
    if not there:
        raise RequestError(f"{path}: there is no such file. Expected {expected}.")
    if not (path.is_file() or path.is_dir()):
        raise RequestError(f"{path}: not a plain file. Expected {expected}.")


def write_volume(
    volume: Volume, path: str | Path, *, compress: bool = True, whole_numbers: bool = False
) -> None:
    """Write ``volume``; the file appears under its name only when it is whole.

    NRRD and MHA keep the grid exactly; NIfTI stores it in single precision (about 1e-7 of
    each number). Voxels are float32, and with ``whole_numbers`` int16, as labels
    need. Raises RequestError when the file cannot be written.
    """
    path = Path(path)
    suffix = file_suffix(path)
    if suffix not in WRITABLE:
        raise RequestError(f"{path.name}: cannot write this format. Use {' '.join(WRITABLE)}.")
    image = to_sitk(volume)
    if whole_numbers:
        image = sitk.Cast(image, sitk.sitkInt16)
    if volume.synthetic:
        image.SetMetaData(SYNTHETIC_KEY, volume.synthetic)
        image.SetMetaData(NIFTI_NOTE_KEY, f"{SYNTHETIC_KEY} {volume.synthetic}"[:79])
    for key, value in volume.acquisition.to_header().items():
        image.SetMetaData(key, value)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with partial_folder(path.parent) as folder:
            part = folder / f"volume{suffix}"
            _write_image(image, part, compress)
            # ITK's writers may not notice a full disk: what counts is what reads back.
            check_whole(READERS[suffix](part))
            os.replace(part, path)
    except (OSError, RuntimeError, RequestError) as error:
        raise RequestError(
            f"{path}: could not be written whole ({_reason(error)}). Is the disk full, or the "
            "folder not yours to write into?"
        ) from error


def _write_image(image: sitk.Image, part: Path, compress: bool) -> None:
    """Write with ITK, which takes only names that are UTF-8: under another name, then moved."""
    try:
        str(part).encode()
    except UnicodeEncodeError:
        with tempfile.TemporaryDirectory() as folder:
            plain = Path(folder) / part.name
            _write_image(image, plain, compress)
            shutil.copyfile(plain, part)
        return
    sitk.WriteImage(image, str(part), useCompression=compress, compressionLevel=1)


def file_suffix(path: Path) -> str:
    """Return the lower-case suffix, '.nii.gz' taken as one."""
    name = path.name.lower()
    return ".nii.gz" if name.endswith(".nii.gz") else path.suffix.lower()


def refuse_not_finite(source: Path | str, count: int) -> None:
    """Raise RequestError if ``count`` voxels of what is named so are NaN or infinite."""
    if count:
        raise RequestError(
            f"{source}: {count} voxels are not finite numbers (NaN or infinity). Replace them, for "
            "example by 0 outside the head."
        )


def read_header(path: Path, expected: str = ACCEPTED_FILES) -> ImageHeader:
    """Return the header of an image file, by its suffix, without its voxels.

    Raises RequestError for a file that is no image, or whose header is not whole; ``expected`` says
    which files are right.
    """
    parse = READERS.get(file_suffix(path))
    if parse is None:
        raise RequestError(f"{path}: not a format of images. Expected {expected}.")
    try:
        return parse(path)
    except OSError as error:
        raise RequestError(f"{path}: cannot be opened ({error.strerror}).") from None


def is_dicom(path: Path) -> bool:
    """Return whether a path is read as DICOM: a folder, or a file by its suffix or its content."""
    return path.is_dir() or file_suffix(path) == ".dcm" or _is_dicom_by_any_name(path)


def _is_dicom_by_any_name(path: Path) -> bool:
    """Scanners name their files as they like, often without a suffix."""
    if file_suffix(path) in READABLE or not path.is_file():
        return False
    try:
        with path.open("rb") as file:
            return file.read(132)[128:] == b"DICM"
    except OSError:
        return False


def _read_image_file(path: Path) -> Volume:
    header = read_header(path)
    _refuse_wrong_kind(path, header)
    grid, grid_notes = header.grid()
    voxels, voxel_notes = read_voxels(header)
    acquisition, acquisition_notes = acquisition_and_notes(path, header.keys)
    return Volume(
        voxels.reshape(grid.shape),
        grid,
        acquisition,
        synthetic_in_file(header.keys),
        (*header.notes, *grid_notes, *voxel_notes, *acquisition_notes),
    )


def _refuse_wrong_kind(path: Path, header: ImageHeader) -> None:
    size = header.size
    sizes = " x ".join(str(n) for n in size)
    if len(size) < 3:
        raise RequestError(
            f"{path}: a 2D picture of {sizes}, not a volume. Expected {ACCEPTED_FILES}; "
            "a single slice is stored as a 3D image one voxel thick."
        )
    times = [header.values] if header.is_list else list(size[3:])
    if math.prod(times) != 1:
        shown = " x ".join(str(n) for n in (*size[:3], *times))
        raise RequestError(
            f"{path}: a series of {shown} with more than one time point. Expected one 3D volume; "
            f"choose a time point by its number, as in {path.name}#1."
        )
    if header.values != 1:
        raise RequestError(
            f"{path}: {header.values} values in each voxel (a colour or vector image). "
            "Expected one value a voxel; extract the component first."
        )


def acquisition_in_file(path: Path, header: Mapping[str, str]) -> Acquisition:
    """Return the acquisition parameters in our keys of a header, or in the files of a NIfTI."""
    return acquisition_and_notes(path, header)[0]


def acquisition_and_notes(
    path: Path, header: Mapping[str, str]
) -> tuple[Acquisition, tuple[str, ...]]:
    """Return the acquisition parameters, and notes on those that cannot be."""
    if file_suffix(path) in (".nii", ".nii.gz"):
        sidecars, notes = sidecars_of(path)
        acquisition, more = Acquisition.from_sidecar(*sidecars)
        return acquisition, (*notes, *more)
    return Acquisition.from_header(header), ()


def synthetic_in_file(header: Mapping[str, str]) -> str | None:
    """Return what :func:`write_volume`, or Slicer, noted about a synthetic volume, else None.

    NIfTI keeps the first 80 bytes of it.
    """
    kind, _, made_by = header.get(NIFTI_NOTE_KEY, "").partition(" ")
    in_nifti = made_by if kind == SYNTHETIC_KEY else None
    return header.get(SYNTHETIC_KEY, header.get(SYNTHETIC_ATTRIBUTE, in_nifti))


def _reason(error: Exception) -> str:
    """Return the last line of an ITK message that says something, or of any other error.

    The earlier ones name source files of ITK; a "Reason" after it is an old error of the
    operating system that may have nothing to do with it.
    """
    if isinstance(error, RequestError):
        return "not all of its bytes reached the disk"
    lines = [line.strip() for line in str(error).splitlines()]
    saying = [line for line in lines if line and not line.startswith("Reason:")]
    if not saying:
        return type(error).__name__
    return re.sub(r"^.*\(0x[0-9a-f]+\): ", "", saying[-1])[:150]
