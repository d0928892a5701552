"""DICOM to a volume: one series of single-slice files, or one multi-frame file.

Headers are read with pydicom. A frame looks for an attribute where its kind of file keeps
it: in its own functional groups, in those that all frames share, or in the file itself.
"""

from __future__ import annotations

import tempfile
import warnings
from collections import Counter
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from ContrastSynthLib.errors import RequestError
from ContrastSynthLib.files.dicom_header import (
    DAMAGED,
    Frame,
    acquisition_of,
    frames_of,
    refuse_damaged,
)
from ContrastSynthLib.geometry import SHEAR_TOLERANCE, Grid, refuse_shear
from ContrastSynthLib.volumes import Volume

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

# Positions are written with few decimals: this much of a difference is rounding.
ROUNDING_MM = 0.01
UNEVEN_TOLERANCE = 0.01
SAME_TOLERANCE = 1e-4

# What tells images at one position apart: first contrasts, then times.
CONTRASTS = (
    *("EchoTime", "EffectiveEchoTime", "InversionTime", "InversionTimes", "FlipAngle"),
    *("DiffusionBValue", "ImageType", "FrameType"),
)
TIMES = (
    *("TemporalPositionIdentifier", "TemporalPositionIndex", "AcquisitionNumber", "TriggerTime"),
    *("NominalCardiacTriggerDelayTime", "AcquisitionTime", "AcquisitionDateTime"),
    *("FrameAcquisitionDateTime", "FrameReferenceDateTime"),
)


def read_dicom(path: Path) -> Volume:
    """Read a folder that holds one series of slices, or one DICOM file.

    Slices are sorted by where they lie along their normal; the spacing is the distance
    between them. Only a single slice takes its thickness from the header. Files of the
    folder that hold no image are skipped; folders in it are not searched.

    Raises RequestError for no image, several series, several images at one position (a
    dynamic series), colour, no or differing geometry, gaps, uneven or sheared slices, and
    damaged files.
    """
    with warnings.catch_warnings():
        # pydicom warns of many small faults in the headers of hospitals' files.
        warnings.simplefilter("ignore")
        frames = _find_frames(path)
        _refuse_several_series(path, frames)
        _refuse_other_kinds(path, frames)
        frames, grid = _stack(path, frames)
        return Volume(_voxels(frames, grid), grid, acquisition_of(frames))


def _find_frames(path: Path) -> list[Frame]:
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    frames = [frame for file in files if file.is_file() for frame in frames_of(file)]
    if not frames:
        where = "no file in this folder is" if path.is_dir() else "this file is not"
        raise RequestError(
            f"{path}: {where} a DICOM image. Expected a folder with the slices of one series "
            "(folders in it are not searched), or a multi-frame file."
        )
    return frames


def _refuse_several_series(path: Path, frames: list[Frame]) -> None:
    series = {str(frame.value("SeriesInstanceUID")): frame for frame in frames}
    if len(series) == 1:
        return
    counts = Counter(str(frame.value("SeriesInstanceUID")) for frame in frames)
    rows = []
    for uid, frame in series.items():
        # Nothing that names a patient; the description tells the user which series it is.
        description = " ".join(str(frame.value("SeriesDescription") or "").split())
        number = frame.value("SeriesNumber")
        label = f"series {'?' if number is None else number}"
        rows.append(f"  {label}, {frame.value('Modality') or 'no modality'}")
        rows[-1] += f", '{description[:64]}', {counts[uid]} images"
    raise RequestError(
        f"{path}: holds {len(series)} series, expected one. Put the one that is wanted into a "
        "folder of its own:\n" + "\n".join(sorted(rows))
    )


def _refuse_other_kinds(path: Path, frames: list[Frame]) -> None:
    """Refuse what is not one stack of images with one grey value in each pixel."""
    for frame in frames:
        interpretation = str(frame.value("PhotometricInterpretation") or "MONOCHROME2")
        if frame.number("SamplesPerPixel") not in (None, 1.0) or "MONOCHROME" not in interpretation:
            raise RequestError(
                f"{path}: '{frame.path.name}' is a colour image ({interpretation}). Expected "
                "grey values as the scanner made them."
            )
        if "MOSAIC" in (frame.value("ImageType") or ()):
            raise RequestError(
                f"{path}: '{frame.path.name}' is a mosaic, all slices as tiles of one picture. "
                "Convert it to NIfTI first."
            )
        if frame.value("ModalityLUTSequence"):
            raise RequestError(
                f"{path}: '{frame.path.name}' maps its values by a table (modality LUT). "
                "Expected stored values with a rescale slope and intercept."
            )


def _one_for_all(
    path: Path, frames: list[Frame], what: str, *attributes: tuple[str, int]
) -> NDArray[np.float64]:
    """Return the numbers of the (keyword, count) pairs, which all frames must agree upon."""
    found = []
    for frame in frames:
        numbers = [frame.numbers(keyword, count) for keyword, count in attributes]
        present = [n for n in numbers if n is not None]
        if len(present) < len(numbers):
            names = " or ".join(keyword for keyword, _ in attributes)
            raise RequestError(
                f"{path}: '{frame.path.name}' has no usable {names}, so nothing tells where its "
                "pixels lie in the patient (a screenshot or a scanned picture?). Export the "
                "original series."
            )
        found.append(np.concatenate(present))
    table = np.array(found)
    if np.abs(table - table[0]).max() > SAME_TOLERANCE:
        kinds = {" ".join(f"{n:.4g}" for n in row) for row in np.round(table, 3) + 0.0}
        raise RequestError(
            f"{path}: the images differ in {what}: {'; '.join(sorted(kinds)[:5])}. Expected one "
            "stack of parallel, equal slices (a localizer has several)."
        )
    return np.asarray(table[0])


def _stack(path: Path, frames: list[Frame]) -> tuple[list[Frame], Grid]:
    """Return the frames in the order of k, and their grid."""
    cosines = _one_for_all(path, frames, "orientation", ("ImageOrientationPatient", 6))
    row_mm, column_mm = _one_for_all(path, frames, "pixel spacing", ("PixelSpacing", 2))
    if min(row_mm, column_mm) <= 0:
        raise RequestError(f"{path}: PixelSpacing {row_mm:g}, {column_mm:g} mm is not positive.")
    rows, columns = _one_for_all(path, frames, "image size", ("Rows", 1), ("Columns", 1))
    axes = _in_plane_axes(path, cosines)
    normal = np.cross(*axes)
    positions = []
    for frame in frames:
        positions.append(_one_for_all(path, [frame], "position", ("ImagePositionPatient", 3)))
    order = np.argsort(np.array(positions) @ normal, kind="stable")
    frames = [frames[n] for n in order]
    points = np.array(positions)[order]
    _refuse_same_position(path, frames, points @ normal)
    step = _step(path, points, normal) if len(frames) > 1 else normal * _thickness(path, frames[0])
    slice_mm = float(np.linalg.norm(step))
    direction = np.column_stack([*axes, step / slice_mm])
    try:
        refuse_shear(direction)
    except RequestError as error:
        raise RequestError(f"{path}: {error}") from None
    grid = Grid(
        size=(int(columns), int(rows), len(frames)),
        # PixelSpacing names the distance between rows first, and that is a step along j.
        spacing_mm=(float(column_mm), float(row_mm), round(slice_mm, 12)),
        origin_mm=(float(points[0, 0]), float(points[0, 1]), float(points[0, 2])),
        direction=tuple(float(d) for d in direction.ravel()),
    )
    return frames, grid


def _in_plane_axes(path: Path, cosines: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the unit vectors of i and j in LPS: the header's, freed of their rounding."""
    along_row, along_column = cosines.reshape(2, 3)
    lengths = np.linalg.norm(cosines.reshape(2, 3), axis=1)
    if np.abs(lengths - 1).max() > 0.01 or abs(along_row @ along_column) > 1e-3:
        raise RequestError(
            f"{path}: ImageOrientationPatient {cosines.tolist()} is not a pair of unit vectors at "
            "a right angle. Export the original series."
        )
    along_row = along_row / lengths[0]
    along_column = along_column - (along_column @ along_row) * along_row
    return np.array([along_row, along_column / np.linalg.norm(along_column)])


def _refuse_same_position(path: Path, frames: list[Frame], along_mm: NDArray[np.float64]) -> None:
    first_of_place = np.diff(along_mm, prepend=-np.inf) > ROUNDING_MM
    place = np.cumsum(first_of_place)
    if place[-1] == len(frames):
        return
    members = [[frames[n] for n in np.flatnonzero(place == p)] for p in np.unique(place)]
    crowded = [group for group in members if len(group) > 1]
    several = f"{max(len(group) for group in crowded)} images at one position"
    shown = _listed(along_mm[first_of_place][[len(group) > 1 for group in members]])
    differing = [
        keyword
        for keyword in (*CONTRASTS, *TIMES)
        if any(len({str(frame.value(keyword)) for frame in group}) > 1 for group in crowded)
    ]
    if not differing:
        raise RequestError(
            f"{path}: duplicated slices, {several}: at {shown} mm along the normal. Remove the "
            "copies."
        )
    if differing[0] in CONTRASTS:
        raise RequestError(
            f"{path}: {several} that differ in {differing[0]}: at {shown} mm along the normal. "
            "Expected one image a position; keep those of one contrast."
        )
    raise RequestError(
        f"{path}: this is a dynamic series, {several} that differ in {differing[0]}: at {shown} "
        "mm along the normal. Expected one 3D volume; extract the time point first."
    )


def _step(
    path: Path, points: NDArray[np.float64], normal: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the vector from a slice to the next, the same for all: LPS millimetres."""
    count = len(points)
    step = np.asarray((points[-1] - points[0]) / (count - 1))
    gaps = np.diff(points @ normal)
    usual = float(np.median(gaps))
    tolerance = UNEVEN_TOLERANCE * usual + ROUNDING_MM
    off = np.flatnonzero(np.abs(gaps - usual) > tolerance)
    if len(off):
        along = points @ normal
        where = "; ".join(f"{gaps[n]:.4g} mm between {_listed(along[n : n + 2])}" for n in off[:5])
        raise RequestError(
            f"{path}: the {count} slices are not evenly spaced: {usual:.4g} mm is usual, but "
            f"{where} (mm along the normal). Is a slice missing? Export the whole series again."
        )
    lattice = points[0] + np.arange(count)[:, None] * step
    deviation = float(np.linalg.norm(points - lattice, axis=1).max())
    if deviation > tolerance:
        raise RequestError(
            f"{path}: the slices are not a regular stack, they lie up to {deviation:.3g} mm beside "
            "even steps along a line. Export the original series."
        )
    across = step - (step @ normal) * normal
    drift = float(np.linalg.norm(across))
    # A drift that is small from the first slice to the last is the rounding of the header.
    if drift > SHEAR_TOLERANCE * usual and drift * (count - 1) <= 2 * ROUNDING_MM:
        step = step - across
    return step


def _thickness(path: Path, frame: Frame) -> float:
    for keyword in ("SliceThickness", "SpacingBetweenSlices"):
        thickness = frame.number(keyword)
        if thickness is not None and thickness > 0:
            return thickness
    raise RequestError(f"{path}: a single slice whose header has no SliceThickness.")


def _listed(millimetres: Sequence[float] | NDArray[np.float64]) -> str:
    shown = ", ".join(f"{n:.2f}" for n in millimetres[:5])
    return shown + (", ..." if len(millimetres) > 5 else "")


def _voxels(frames: list[Frame], grid: Grid) -> NDArray[np.float32]:
    """Return the rescaled values, (k, j, i)."""
    array = np.empty(grid.shape, dtype=np.float32)
    by_file = sorted(enumerate(frames), key=lambda pair: pair[1].path)
    for path, members in groupby(by_file, key=lambda pair: pair[1].path):
        stored = _stored_values(path).reshape(-1, *grid.shape[1:])
        for k, frame in members:
            slope, intercept = frame.number("RescaleSlope"), frame.number("RescaleIntercept")
            values = stored[frame.index] * (1.0 if slope is None else slope)
            array[k] = values + (intercept or 0.0)
    return array


def _stored_values(path: Path) -> NDArray[Any]:
    """Return the numbers as stored, before any rescaling, (frames, rows, columns)."""
    import pydicom
    from pydicom.pixels.decoders.base import get_decoder

    try:
        dataset = pydicom.dcmread(path)
        if get_decoder(dataset.file_meta.TransferSyntaxUID).is_available:
            return np.asarray(dataset.pixel_array)
        return _decompressed(dataset)
    except DAMAGED as error:
        refuse_damaged(path, error)


def _decompressed(dataset: Dataset) -> NDArray[Any]:
    """Return the stored values of compressed pixels, (frames, rows, columns).

    For codecs that pydicom needs further packages for. ITK has them all, but applies the
    rescaling of some kinds of image and not of others: it gets nothing but the pixels.
    """
    import pydicom
    from pydicom.uid import MultiFrameGrayscaleWordSecondaryCaptureImageStorage

    copy = pydicom.Dataset()
    copy.file_meta = pydicom.dataset.FileMetaDataset()
    copy.file_meta.TransferSyntaxUID = dataset.file_meta.TransferSyntaxUID
    copy.SOPClassUID = MultiFrameGrayscaleWordSecondaryCaptureImageStorage
    copy.SOPInstanceUID = dataset.SOPInstanceUID
    for keyword in (
        *("Rows", "Columns", "SamplesPerPixel", "NumberOfFrames", "BitsAllocated"),
        *("BitsStored", "HighBit", "PixelRepresentation", "PixelData"),
    ):
        if keyword in dataset:
            copy[keyword] = dataset[keyword]
    copy.PhotometricInterpretation = "MONOCHROME2"
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "pixels.dcm"
        copy.save_as(file, enforce_file_format=True)
        return np.asarray(sitk.GetArrayFromImage(sitk.ReadImage(str(file))))
