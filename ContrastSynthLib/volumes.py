"""Files to volumes and back.

Whatever leaves :func:`read_volume` is three-dimensional, finite, of one component and on
an orthogonal grid; whatever :func:`write_volume` leaves on the disk is whole.
"""

from __future__ import annotations

import gzip
import hashlib
import math
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from numpy.typing import ArrayLike, NDArray

from ContrastSynthLib.acquisition import Acquisition
from ContrastSynthLib.errors import RequestError
from ContrastSynthLib.geometry import Grid, grid_table, refuse_shear

FloatArray = NDArray[np.float32]
BoolArray = NDArray[np.bool_]

READABLE = (".nrrd", ".nhdr", ".nii", ".nii.gz", ".mha", ".mhd", ".dcm")
WRITABLE = (".nrrd", ".nii", ".nii.gz", ".mha")
SYNTHETIC_KEY = "SYNTHETIC"
ACCEPTED_FILES = (
    "a 3D image as .nrrd, .nii, .nii.gz, .mha or multi-frame .dcm, "
    "or a folder with one DICOM series"
)


@dataclass(frozen=True)
class Volume:
    """A scan or a result in the units of its file.

    ``array`` is float32, indexed (k, j, i) and read-only; ``synthetic`` says what made the
    volume when a scanner did not, and is None for a scan.
    """

    array: FloatArray
    grid: Grid
    acquisition: Acquisition = field(default_factory=Acquisition)
    synthetic: str | None = None

    def __post_init__(self) -> None:
        array = np.asarray(self.array, dtype=np.float32).view()
        if array.shape != self.grid.shape:
            raise ValueError(f"An array of {array.shape} does not fit a grid of {self.grid.shape}.")
        array.flags.writeable = False
        object.__setattr__(self, "array", array)

    def with_array(self, array: ArrayLike, synthetic: str | None = None) -> Volume:
        """Return a volume on the same grid, with the same acquisition, holding ``array``."""
        return replace(self, array=np.asarray(array, dtype=np.float32), synthetic=synthetic)

    def sha256(self) -> str:
        """Return the SHA-256 of voxels and grid: the same however the scan was stored."""
        digest = hashlib.sha256(np.ascontiguousarray(self.array).tobytes())
        digest.update(np.round(self.grid.index_to_lps, 6).tobytes())
        return digest.hexdigest()


def read_volume(path: str | Path) -> Volume:
    """Read one 3D scan: NRRD, NIfTI, MHA, multi-frame DICOM, or a folder of DICOM slices.

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


def check_same_grid(volumes: Mapping[str, Volume]) -> None:
    """Raise RequestError with a table of what differs unless all volumes share one grid.

    The first one is the reference.
    """
    grids = {name: volume.grid for name, volume in volumes.items()}
    first = next(iter(grids.values()))
    if all(first.is_same(grid) for grid in grids.values()):
        return
    raise RequestError(
        "The volumes lie on different grids:\n\n"
        + grid_table(grids)
        + "\n\nUse --align resample if the patient did not move between the scans, --align rigid "
        "or --align affine to register them."
    )


def write_volume(volume: Volume, path: str | Path, *, compress: bool = True) -> None:
    """Write ``volume``; the file appears under its name only when it is whole.

    NRRD and MHA keep the grid exactly; NIfTI stores it in single precision (about 1e-7 of
    each number). Raises RequestError when the file cannot be written.
    """
    path = Path(path)
    suffix = file_suffix(path)
    if suffix not in WRITABLE:
        raise RequestError(f"{path.name}: cannot write this format. Use {' '.join(WRITABLE)}.")
    image = to_sitk(volume)
    if volume.synthetic:
        image.SetMetaData(SYNTHETIC_KEY, volume.synthetic)
        # ITK writes this key into the 80 bytes of NIfTI's "descrip".
        image.SetMetaData("ITK_FileNotes", f"{SYNTHETIC_KEY} {volume.synthetic}"[:79])
    for key, value in volume.acquisition.to_header().items():
        image.SetMetaData(key, value)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".partial-", dir=path.parent) as folder:
            part = Path(folder) / f"volume{suffix}"
            sitk.WriteImage(image, str(part), useCompression=compress, compressionLevel=1)
            # A full disk goes unnoticed by the NIfTI writer: what counts is what reads back.
            refuse_truncated_nifti(part)
            os.replace(part, path)
    except (OSError, RuntimeError, RequestError) as error:
        raise RequestError(f"{path}: could not be written whole ({_reason(error)}).") from error


def to_sitk(volume: Volume) -> sitk.Image:
    """Return a SimpleITK image that holds a copy of the voxels and the grid."""
    image = sitk.GetImageFromArray(volume.array)
    image.SetSpacing(volume.grid.spacing_mm)
    image.SetOrigin(volume.grid.origin_mm)
    image.SetDirection(volume.grid.direction)
    return image


def grid_of(image: sitk.Image) -> Grid:
    """Return the grid of a three-dimensional SimpleITK image."""
    direction = np.reshape(image.GetDirection(), (3, 3))
    refuse_shear(direction / np.linalg.norm(direction, axis=0))
    matrix = np.eye(4)
    matrix[:3, :3] = direction * np.asarray(image.GetSpacing())
    matrix[:3, 3] = image.GetOrigin()
    return Grid.from_index_to_lps(image.GetSize(), matrix)


def file_suffix(path: Path) -> str:
    """Return the lower-case suffix, '.nii.gz' taken as one."""
    name = path.name.lower()
    return ".nii.gz" if name.endswith(".nii.gz") else path.suffix.lower()


def _read(path: Path) -> Volume:
    if not path.exists():
        raise RequestError(f"{path}: there is no such file. Expected {ACCEPTED_FILES}.")
    if path.is_dir() or file_suffix(path) == ".dcm":
        from ContrastSynthLib.dicom import read_dicom

        volume = read_dicom(path)
    else:
        volume = _read_image_file(path)
    if not np.isfinite(volume.array).all():
        bad = int((~np.isfinite(volume.array)).sum())
        raise RequestError(
            f"{path}: {bad} voxels are not finite numbers (NaN or infinity). Replace them, for "
            "example by 0 outside the head."
        )
    return volume


def _read_image_file(path: Path) -> Volume:
    if file_suffix(path) not in READABLE:
        raise RequestError(f"{path}: not a format of volumes. Expected {ACCEPTED_FILES}.")
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
        _refuse_wrong_kind(path, reader)
        refuse_truncated_nifti(path)
        reader.SetOutputPixelType(sitk.sitkFloat32)
        image = reader.Execute()
    except RuntimeError as error:
        raise RequestError(
            f"{path}: cannot be read as an image ({_reason(error)}). Expected {ACCEPTED_FILES}."
        ) from error
    header = {key: image.GetMetaData(key) for key in image.GetMetaDataKeys()}
    if image.GetDimension() == 4:
        image = image[:, :, :, 0]
    try:
        _refuse_sheared_sform(header)
        grid = grid_of(image)
    except RequestError as error:
        raise RequestError(f"{path}: {error}") from None
    with np.errstate(over="ignore"):
        array = sitk.GetArrayFromImage(image).astype(np.float32)
    return Volume(array, grid, _acquisition(path, header), header.get(SYNTHETIC_KEY))


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


def refuse_truncated_nifti(path: Path) -> None:
    """Raise RequestError when a NIfTI file is shorter than its header says.

    ITK fills what is missing with zeros and says nothing. Other formats do notice.
    """
    suffix = file_suffix(path)
    if suffix not in (".nii", ".nii.gz"):
        return
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    reader.ReadImageInformation()
    header_bytes = int(float(reader.GetMetaData("vox_offset")))
    voxel_bytes = int(reader.GetMetaData("bitpix")) // 8
    expected = header_bytes + math.prod(reader.GetSize()) * voxel_bytes
    found = 0
    try:
        if suffix == ".nii":
            found = path.stat().st_size
        else:
            with gzip.open(path) as stream:
                while chunk := stream.read(1 << 22):
                    found += len(chunk)
    except (OSError, EOFError):
        found = min(found, expected - 1)
    if found < expected:
        raise RequestError(
            f"{path.name}: truncated, {found} of {expected} bytes. Copy or export it again."
        )


def _refuse_sheared_sform(header: Mapping[str, str]) -> None:
    """ITK may silently take the quaternion of a NIfTI file whose matrix is sheared."""
    if header.get("sform_code", "0") == "0" or "srow_x" not in header:
        return
    rows = [[float(n) for n in header[f"srow_{axis}"].split()[:3]] for axis in "xyz"]
    columns = np.array(rows)
    lengths = np.linalg.norm(columns, axis=0)
    if not np.all(lengths > 0):
        return
    # The header's numbers come as text of six digits.
    if np.abs((columns / lengths).T @ (columns / lengths) - np.eye(3)).max() > 1e-3:
        refuse_shear(columns / lengths)


def _acquisition(path: Path, header: Mapping[str, str]) -> Acquisition:
    if file_suffix(path) in (".nii", ".nii.gz"):
        stem = path.name[: -len(file_suffix(path))]
        return Acquisition.from_bids(path.with_name(f"{stem}.json"))
    return Acquisition.from_header(header)


def _reason(error: Exception) -> str:
    """Return the last line of an ITK message: the earlier ones name source files of ITK."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
