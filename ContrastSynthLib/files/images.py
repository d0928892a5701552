"""Image files to volumes and back.

Whatever leaves :func:`read_volume` is three-dimensional, finite, of one component and on
an orthogonal grid; whatever :func:`write_volume` leaves on the disk is whole.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from ContrastSynthLib.acquisition import Acquisition
from ContrastSynthLib.errors import RequestError
from ContrastSynthLib.files.stored_voxels import stored_voxels
from ContrastSynthLib.files.writing import partial_folder
from ContrastSynthLib.geometry import Grid, refuse_shear
from ContrastSynthLib.itk_images import grid_of, to_sitk
from ContrastSynthLib.volumes import Volume

READERS = {
    ".nrrd": "NrrdImageIO",
    ".nhdr": "NrrdImageIO",
    ".nii": "NiftiImageIO",
    ".nii.gz": "NiftiImageIO",
    ".mha": "MetaImageIO",
    ".mhd": "MetaImageIO",
}
READABLE = (*READERS, ".dcm")
WRITABLE = (".nrrd", ".nii", ".nii.gz", ".mha")
SYNTHETIC_KEY = "SYNTHETIC"
# ITK writes this key into the 80 bytes of NIfTI's "descrip", and reads it from there.
NIFTI_NOTE_KEY = "ITK_FileNotes"
ACCEPTED_FILES = (
    "a 3D image as .nrrd, .nii, .nii.gz, .mha or multi-frame .dcm, "
    "or a folder with one DICOM series"
)


def read_volume(path: str | Path) -> Volume:
    """Read one 3D scan: NRRD, NIfTI, MHA, multi-frame DICOM, or a folder of DICOM slices.

    Of two differing matrices in a NIfTI file the one counts that Slicer takes.

    Raises RequestError for a missing, unreadable, truncated, two-dimensional,
    time-resolved, multi-component, non-finite or constant image and for a sheared grid.
    """
    volume = _read(Path(path))
    low, high = float(volume.array.min()), float(volume.array.max())
    if low == high:
        raise RequestError(
            f"{path}: every voxel is {low:g}. A scan has contrast; was the right file exported?"
        )
    return volume


def read_mask(path: str | Path) -> Volume:
    """Read a mask: every voxel above 0 belongs to it. Raises RequestError when it is empty."""
    volume = _read(Path(path))
    inside = volume.array > 0
    if not inside.any():
        raise RequestError(
            f"{path}: the mask is empty, no voxel is above 0. Draw the region, or leave the "
            "mask out."
        )
    return volume.with_array(inside, volume.synthetic)


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
            sitk.WriteImage(image, str(part), useCompression=compress, compressionLevel=1)
            # ITK's writers may not notice a full disk: what counts is what reads back.
            stored = stored_voxels(part, open_image(part))
            if not stored.whole:
                raise OSError(f"not all of its {stored.expected_bytes} bytes reached the disk")
            os.replace(part, path)
    except (OSError, RuntimeError) as error:
        raise RequestError(
            f"{path}: could not be written whole ({_reason(error)}). Is the disk full, or the "
            "folder not yours to write into?"
        ) from error


def file_suffix(path: Path) -> str:
    """Return the lower-case suffix, '.nii.gz' taken as one."""
    name = path.name.lower()
    return ".nii.gz" if name.endswith(".nii.gz") else path.suffix.lower()


def _read(path: Path) -> Volume:
    if not path.exists():
        raise RequestError(f"{path}: there is no such file. Expected {ACCEPTED_FILES}.")
    if path.is_dir() or file_suffix(path) == ".dcm" or _is_dicom_by_any_name(path):
        from ContrastSynthLib.files.dicom import read_dicom

        volume = read_dicom(path)
    else:
        volume = _read_image_file(path)
    refuse_not_finite(path, int((~np.isfinite(volume.array)).sum()))
    return volume


def refuse_not_finite(path: Path, count: int) -> None:
    """Raise RequestError when a file holds ``count`` voxels that are not finite, if any."""
    if count:
        raise RequestError(
            f"{path}: {count} voxels are not finite numbers (NaN or infinity). Replace them, for "
            "example by 0 outside the head."
        )


def open_image(path: Path) -> sitk.ImageFileReader:
    """Return the reader that the suffix asks for, with the header read; RuntimeError if it fails.

    ITK's own choice goes by capital letters and by content.
    """
    reader = sitk.ImageFileReader()
    reader.SetImageIO(READERS[file_suffix(path)])
    reader.SetFileName(str(path))
    reader.ReadImageInformation()
    return reader


def _is_dicom_by_any_name(path: Path) -> bool:
    """Scanners name their files as they like, often without a suffix."""
    if file_suffix(path) in READABLE:
        return False
    try:
        with path.open("rb") as file:
            return file.read(132)[128:] == b"DICM"
    except OSError:
        return False


def _read_image_file(path: Path) -> Volume:
    image, header = read_whole_image(path, ACCEPTED_FILES, _refuse_wrong_kind)
    if image.GetDimension() == 4:
        image = image[:, :, :, 0]
    grid = grid_in_file(path, image, header)
    array = sitk.GetArrayFromImage(image)
    return Volume(array, grid, acquisition_in_file(path, header), synthetic_in_file(header))


def read_whole_image(
    path: Path,
    expected: str,
    refuse: Callable[[Path, sitk.ImageFileReader], None] = lambda path, reader: None,
) -> tuple[sitk.Image, dict[str, str]]:
    """Return a float32 image of any dimension, and its header.

    ``expected`` tells the user which files are right; ``refuse`` may raise after a look at the
    header. Raises RequestError for a file that is no image, is damaged or is not finite.
    """
    if file_suffix(path) not in READERS:
        raise RequestError(f"{path}: not a format of images. Expected {expected}.")
    try:
        reader = open_image(path)
        refuse(path, reader)
        stored = stored_voxels(path, reader)
        if not stored.whole:
            raise RequestError(
                f"{path}: truncated or damaged, its {stored.expected_bytes} bytes of voxels "
                "cannot be read whole. Copy or export it again."
            )
        refuse_not_finite(path, stored.not_finite)
        reader.SetOutputPixelType(
            sitk.sitkFloat32 if reader.GetNumberOfComponents() == 1 else sitk.sitkVectorFloat32
        )
        image = reader.Execute()
    except (OSError, RuntimeError) as error:
        raise RequestError(
            f"{path}: cannot be read as an image ({_reason(error)}). Expected {expected}."
        ) from error
    return image, {key: image.GetMetaData(key) for key in image.GetMetaDataKeys()}


def grid_in_file(path: Path, image: sitk.Image, header: Mapping[str, str]) -> Grid:
    """Return the grid of a 3D image from a file; raises RequestError when it is sheared."""
    try:
        _refuse_sheared_sform(header)
        return grid_of(image)
    except RequestError as error:
        raise RequestError(f"{path}: {error}") from None


def _refuse_wrong_kind(path: Path, reader: sitk.ImageFileReader) -> None:
    size, components = reader.GetSize(), reader.GetNumberOfComponents()
    sizes = " x ".join(str(n) for n in size)
    if len(size) == 2:
        raise RequestError(
            f"{path}: a 2D picture of {sizes}, not a volume. Expected {ACCEPTED_FILES}; "
            "a single slice is stored as a 3D image one voxel thick."
        )
    if components != 1:
        raise RequestError(
            f"{path}: {components} values in each voxel (a colour or vector image). "
            "Expected one value a voxel; extract the component first."
        )
    if len(size) > 3 and math.prod(size[3:]) != 1:
        raise RequestError(
            f"{path}: a series of {sizes} with more than one time point. Expected one 3D volume; "
            "extract the time point first."
        )


def _refuse_sheared_sform(header: Mapping[str, str]) -> None:
    """ITK may silently take the quaternion of a NIfTI file whose matrix is sheared."""
    if "srow_x" not in header:
        return
    rows = [[float(n) for n in header[f"srow_{axis}"].split()[:3]] for axis in "xyz"]
    columns = np.array(rows)
    lengths = np.linalg.norm(columns, axis=0)
    if not np.all(lengths > 0):  # ITK's numbers for a matrix that is switched off
        return
    # The header's numbers come as text of six digits.
    if np.abs((columns / lengths).T @ (columns / lengths) - np.eye(3)).max() > 1e-3:
        refuse_shear(columns / lengths)


def acquisition_in_file(path: Path, header: Mapping[str, str]) -> Acquisition:
    """Return the acquisition parameters in our keys of a header, or in the file beside a NIfTI."""
    if file_suffix(path) in (".nii", ".nii.gz"):
        stem = path.name[: -len(file_suffix(path))]
        return Acquisition.from_bids(path.with_name(f"{stem}.json"))
    return Acquisition.from_header(header)


def synthetic_in_file(header: Mapping[str, str]) -> str | None:
    """Return what :func:`write_volume` noted about a synthetic volume, cut to 80 bytes in NIfTI."""
    kind, _, made_by = header.get(NIFTI_NOTE_KEY, "").partition(" ")
    return header.get(SYNTHETIC_KEY, made_by if kind == SYNTHETIC_KEY else None)


def _reason(error: Exception) -> str:
    """Return the last line of an ITK message that tells something.

    The earlier ones name source files of ITK; a "Reason" after it is an old error of the
    operating system that may have nothing to do with it.
    """
    lines = [line.strip() for line in str(error).splitlines()]
    telling = [line for line in lines if line and not line.startswith("Reason:")]
    if not telling:
        return type(error).__name__
    return re.sub(r"^.*\(0x[0-9a-f]+\): ", "", telling[-1])[:150]
