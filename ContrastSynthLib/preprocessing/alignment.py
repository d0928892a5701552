"""Bring several scans onto one grid: by their headers, or by registration to one of them.

Registration maximises Mattes' mutual information, from coarse to fine. It runs on one thread
and with a fixed seed to be reproducible: the order in which several threads sum the metric
changes its last bits, and the optimiser amplifies the difference. One thread is not slower,
because the images are small.
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import scipy.ndimage as ndi
import SimpleITK as sitk

from ContrastSynthLib.errors import RequestError, unknown_name
from ContrastSynthLib.geometry import LPS_TO_RAS, grid_table
from ContrastSynthLib.itk_images import to_sitk
from ContrastSynthLib.volumes import Volume, check_same_grid

MODES = ("none", "resample", "rigid", "affine")
REGISTERING = ("rigid", "affine")

# The two levels of the pyramid: the number of voxels along the reference's longest side (of 4 and
# 2 mm in a head; a number, so that small animals can be registered too), and the sigma of the
# smoothing in these voxels.
PYRAMID = ((64, 1.0), (128, 0.5))
HEAD_MARGIN_VOXELS = 3
SAMPLES = 60_000
SEED = 20240917
HISTOGRAM_BINS = 32
STEPS = 200

# Long first steps that shrink slowly. With steps that are halved, rotations of 10 degrees were
# recovered with an error of 2 mm at the corners of a head; with first steps of 5 voxels the
# registration of some heads failed.
FIRST_STEP_VOXELS = 2.5
RELAXATION = 0.9

# With fewer slices the rotation out of the slice plane cannot be determined.
FEWEST_SLICES = 4

# A scan that covers less than this share of the reference causes a warning.
LITTLE_COVERED = 0.5


@dataclass(frozen=True)
class _Level:
    """Both images at one level of the pyramid.

    ``mask`` is the reference's head with a margin; without it most samples would lie in air.
    ``sampled`` is the share of its voxels at which the metric is computed.
    """

    fixed: sitk.Image
    moving: sitk.Image
    mask: sitk.Image
    sampled: float
    voxel_mm: float


@dataclass(frozen=True)
class _Registration:
    """``transform`` maps points of the reference to points of the other scan, LPS mm.

    It rotates about the centre of the head. ``before`` and ``after`` are the mutual information in
    nats with the alignment by the headers and with ``transform``; ``after`` is never smaller,
    because otherwise the alignment by the headers is kept.
    """

    transform: sitk.Transform
    before: float
    after: float


def align(
    volumes: Mapping[str, Volume], reference: str, mode: str, masks: Collection[str] = ()
) -> tuple[dict[str, Volume], dict[str, dict[str, Any]]]:
    """Bring all volumes onto the grid of the one called ``reference``.

    ``mode`` is ``none`` (differing grids are refused), ``resample`` (by the headers), ``rigid``
    or ``affine`` (registered, even where the grids are the same: patients move between series).
    A scan is interpolated once, linearly, and is 0 outside its own field of view. Roles in
    ``masks`` are assumed to match the reference's anatomy: they are not registered, only
    resampled to the nearest voxel where their grid differs.

    Returns the volumes and, for each role, a JSON-able report: ``mode``; ``covered``, the share
    of the reference's bright voxels inside the scan's field of view; for a registration
    ``rotation_deg``, ``translation_mm`` (R, A, S: the displacement of the centre of the head), for
    an affine one ``stretch`` along three axes, ``reference_to_scan_ras_mm`` (4x4, from points of
    the reference to points of the scan), ``mutual_information_before`` and
    ``mutual_information_after``; and ``note`` where there is a warning.

    Raises RequestError for an unknown mode or reference, for differing grids under ``none``,
    for a scan that does not overlap the reference and for registering fewer than 4 slices.
    """
    if mode not in MODES:
        raise unknown_name("alignment", mode, MODES)
    if reference not in volumes:
        raise unknown_name("reference", reference, volumes)
    fixed = volumes[reference]
    if mode == "none":
        check_same_grid({reference: fixed, **volumes})
    aligned: dict[str, Volume] = {}
    report: dict[str, dict[str, Any]] = {}
    for role, volume in volumes.items():
        pair = {reference: fixed, role: volume}
        if role == reference:
            aligned[role], report[role] = volume, {"mode": "reference"}
        elif mode in REGISTERING and role not in masks:
            aligned[role], report[role] = _registered(pair, mode)
        elif fixed.grid.is_same(volume.grid):
            aligned[role], report[role] = replace(volume, grid=fixed.grid), {"mode": "none"}
        else:
            by_header = sitk.Transform(3, sitk.sitkIdentity)
            aligned[role], covered = _resampled(pair, by_header, nearest=role in masks)
            report[role] = {"mode": "resample", "covered": covered}
    return aligned, report


def _registered(pair: Mapping[str, Volume], mode: str) -> tuple[Volume, dict[str, Any]]:
    reference, role = pair
    for name, volume in pair.items():
        if min(volume.grid.size) < FEWEST_SLICES:
            raise RequestError(
                f"'{name}' has {min(volume.grid.size)} slice(s): too few to register in 3D "
                f"(--align {mode}), {FEWEST_SLICES} are needed. Resample it (--align resample), or "
                "register the whole series before taking the slice from it."
            )
    with _one_thread():
        found = _register(to_sitk(pair[reference]), to_sitk(pair[role]), mode)
    volume, covered = _resampled(pair, found.transform, nearest=False)
    notes = []
    if found.after == found.before:
        notes.append(
            f"No registration of '{role}' to '{reference}' was better than the alignment by the "
            "headers, which is kept. Check it by eye."
        )
    if covered < LITTLE_COVERED:
        notes.append(f"'{role}' covers only {covered:.0%} of '{reference}'; the rest is 0.")
    report = {"mode": mode, "covered": covered, **_movement(found.transform)}
    if mode == "rigid":
        report.pop("stretch", None)
    report["mutual_information_before"] = found.before
    report["mutual_information_after"] = found.after
    if notes:
        report["note"] = " ".join(notes)
    return volume, report


def _resampled(
    pair: Mapping[str, Volume], transform: sitk.Transform, *, nearest: bool
) -> tuple[Volume, float]:
    """Return the second volume on the grid of the first, and the share of the first it covers."""
    fixed, moving = pair.values()
    target, image = to_sitk(fixed), to_sitk(moving)
    how = sitk.sitkNearestNeighbor if nearest else sitk.sitkLinear
    array = sitk.GetArrayFromImage(sitk.Resample(image, target, transform, how, 0.0))
    field = sitk.Resample(image * 0 + 1, target, transform, sitk.sitkNearestNeighbor, 0.0)
    bright = fixed.array > fixed.array.mean()
    covered = float(sitk.GetArrayViewFromImage(field)[bright].mean())
    if covered == 0:
        reference, role = pair
        raise RequestError(
            f"'{role}' does not overlap '{reference}':\n\n"
            + grid_table({name: volume.grid for name, volume in pair.items()})
            + "\n\nIf both show the same region of the same patient, one header is wrong; "
            "registering (--align rigid) finds the position from the images."
        )
    return replace(moving, array=array, grid=fixed.grid), covered


def _register(fixed: sitk.Image, moving: sitk.Image, mode: str) -> _Registration:
    """Register from each start at the coarse level, and refine the best at the fine level.

    The best of the alignments by the headers, rigid and (in that mode) affine is returned.
    """
    longest = max(n * mm for n, mm in zip(fixed.GetSize(), fixed.GetSpacing(), strict=True))
    coarse, fine = (_level(fixed, moving, longest / n, s) for n, s in PYRAMID)
    starts = _starts(coarse)
    for start in starts:
        _optimise(coarse, start)
    best = max(starts, key=lambda start: _information(coarse, start))
    _refine(fine, best)
    candidates = [_moved(best.GetCenter(), (0.0, 0.0, 0.0)), best]
    if mode == "affine":
        affine = sitk.AffineTransform(best.GetMatrix(), best.GetTranslation(), best.GetCenter())
        _optimise(coarse, affine)
        _refine(fine, affine)
        candidates.append(affine)
    information = [_information(fine, candidate) for candidate in candidates]
    chosen = int(np.argmax(information))
    return _Registration(candidates[chosen], information[0], information[chosen])


def _level(fixed: sitk.Image, moving: sitk.Image, mm: float, sigma_voxels: float) -> _Level:
    small = [
        sitk.SmoothingRecursiveGaussian(_shrunk(image, mm), sigma_voxels * mm)
        for image in (fixed, moving)
    ]
    array = sitk.GetArrayViewFromImage(small[0])
    near = ndi.binary_dilation(array > array.mean(), iterations=HEAD_MARGIN_VOXELS)
    mask = sitk.GetImageFromArray(near.astype(np.uint8))
    mask.CopyInformation(small[0])
    return _Level(small[0], small[1], mask, SAMPLES / float(near.sum()), mm)


def _shrunk(image: sitk.Image, mm: float) -> sitk.Image:
    """Downsample to voxels of about ``mm`` and clip the extreme intensities.

    Otherwise a few bright vessel voxels would leave a single bin of the histogram to the brain.
    """
    low, high = np.percentile(sitk.GetArrayViewFromImage(image), (0.5, 99.5))
    factors = [
        max(1, min(round(mm / spacing), size // FEWEST_SLICES))
        for spacing, size in zip(image.GetSpacing(), image.GetSize(), strict=True)
    ]
    clamped = sitk.Clamp(image, sitk.sitkFloat32, float(low), float(high))
    return sitk.BinShrink(clamped, factors)


def _starts(level: _Level) -> list[sitk.Transform]:
    """Return three rigid starts: headers, centres of mass, centres of the fields of view."""
    shifts = [
        sitk.Euler3DTransform(
            sitk.CenteredTransformInitializer(
                level.fixed, level.moving, sitk.Euler3DTransform(), centres
            )
        )
        for centres in (
            sitk.CenteredTransformInitializerFilter.MOMENTS,
            sitk.CenteredTransformInitializerFilter.GEOMETRY,
        )
    ]
    head = shifts[0].GetCenter()
    translations = [(0.0, 0.0, 0.0), *(shift.GetTranslation() for shift in shifts)]
    return [_moved(head, translation) for translation in translations]


def _moved(centre: tuple[float, ...], translation: tuple[float, ...]) -> sitk.Transform:
    return sitk.Euler3DTransform(centre, 0.0, 0.0, 0.0, translation)


def _metric(level: _Level, share: float) -> sitk.ImageRegistrationMethod:
    method = sitk.ImageRegistrationMethod()
    method.SetMetricAsMattesMutualInformation(HISTOGRAM_BINS)
    method.SetMetricFixedMask(level.mask)
    method.SetInterpolator(sitk.sitkLinear)
    if share < 1:
        method.SetMetricSamplingStrategy(method.REGULAR)
        method.SetMetricSamplingPercentage(share, SEED)
    return method


def _refine(level: _Level, transform: sitk.Transform) -> None:
    """Optimise twice: the second run starts again with long steps."""
    for _ in range(2):
        _optimise(level, transform)


def _optimise(level: _Level, transform: sitk.Transform) -> None:
    """Optimise ``transform`` in place; it stays as it is when the images do not overlap."""
    method = _metric(level, level.sampled)
    method.SetOptimizerAsRegularStepGradientDescent(
        learningRate=1.0,
        minStep=level.voxel_mm / 1000,
        numberOfIterations=STEPS,
        relaxationFactor=RELAXATION,
        gradientMagnitudeTolerance=1e-6,
        estimateLearningRate=method.Once,
        maximumStepSizeInPhysicalUnits=FIRST_STEP_VOXELS * level.voxel_mm,
    )
    method.SetOptimizerScalesFromJacobian()
    method.SetInitialTransform(transform, inPlace=True)
    with contextlib.suppress(RuntimeError):
        method.Execute(level.fixed, level.moving)


def _information(level: _Level, transform: sitk.Transform) -> float:
    """Return the mutual information in nats over the head; 0 without any overlap."""
    method = _metric(level, 1.0)
    method.SetInitialTransform(transform)
    try:
        return -float(method.MetricEvaluate(level.fixed, level.moving))
    except RuntimeError:
        return 0.0


def _movement(transform: sitk.Transform) -> dict[str, Any]:
    """Return the movement of the scan: the inverse of the transform from reference to scan."""
    matrix = np.reshape(transform.GetMatrix(), (3, 3))
    shift, centre = np.array(transform.GetTranslation()), np.array(transform.GetCenter())
    left, stretch, right = np.linalg.svd(matrix)
    cosine = (np.trace(left @ right) - 1) / 2
    lps = np.eye(4)
    lps[:3, :3], lps[:3, 3] = matrix, shift + centre - matrix @ centre
    return {
        "rotation_deg": float(np.degrees(np.arccos(np.clip(cosine, -1, 1)))),
        "translation_mm": (LPS_TO_RAS[:3, :3] @ -shift).tolist(),
        "stretch": (1 / stretch).tolist(),
        "reference_to_scan_ras_mm": (LPS_TO_RAS @ lps @ LPS_TO_RAS).tolist(),
    }


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """Set ITK to one thread; the metric reads only this global setting."""
    before = sitk.ProcessObject.GetGlobalDefaultNumberOfThreads()
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    try:
        yield
    finally:
        sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(before)
