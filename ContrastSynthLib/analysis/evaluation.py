"""Evaluation of a synthetic volume: all measures of the papers, with the settings they depend on.

Two scans of one patient differ by a gain; by default intensities are therefore compared in
medians of the brain. Uptake is a small part of a brain, so it is measured separately as well.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ContrastSynthLib.analysis.enhancement import EnhancementReport, missed_and_invented
from ContrastSynthLib.analysis.measures import compare_enhancement, measure_contrast, measure_region
from ContrastSynthLib.analysis.regions import DEFAULT_MINIMUM_VOLUME_MM3
from ContrastSynthLib.analysis.uptake import UptakeResult, difference_of, uptake
from ContrastSynthLib.errors import RequestError, unknown_name
from ContrastSynthLib.metrics import mae, nps, psnr
from ContrastSynthLib.physics.constants import ROBUST_MAXIMUM_PERCENTILE, UPTAKE_THRESHOLD
from ContrastSynthLib.preprocessing.alignment import align
from ContrastSynthLib.preprocessing.foreground import Foreground, looks_stripped
from ContrastSynthLib.volumes import BoolArray, FloatArray, Volume, check_same_grid

SCHEMA_VERSION = 1

NORMALISATIONS = {
    "median": "median of the {region}: each volume divided by its own and clipped at 0",
    "none": "as in the files",
}
"""Normalisations by name, with the resulting unit of intensities and errors in a ``region``."""

BRAIN, ABOVE_ZERO = "brain", "voxels above 0"
"""What the default region is called: in scans of a whole head it is no brain."""
NOT_A_BRAIN = (
    "The scans do not look like a skull-stripped brain: all voxels above 0 were measured, with "
    "fat, bone and air. In a head have the brain found (--mask auto)."
)

# Where the synthetic volume is 0 and the real one is not, voxels are outside of the default brain.
# A note is added when they are more than this share.
LARGEST_SHARE_EXCLUDED = 0.02


@dataclass(frozen=True)
class _Pair:
    """Two normalised images, the brain to compare them in, and the data range."""

    reference: FloatArray
    synthetic: FloatArray
    brain: BoolArray
    data_range: float
    data_range_from: str
    voxel_ml: float


def evaluate(
    reference: Volume,
    synthetic: Volume,
    *,
    pre: Volume | None = None,
    post: Volume | None = None,
    mask: Volume | BoolArray | None = None,
    brain: Volume | BoolArray | Foreground | None = None,
    normalise: str = "median",
    threshold: float = UPTAKE_THRESHOLD,
    convention: str = "real_scans",
    uncertainty: Volume | None = None,
    progress: Callable[[float, str], None] = lambda share, message: None,
) -> dict[str, Any]:
    """Return every measure of the papers for ``synthetic``, compared with ``reference``.

    Regions are the brain, the uptake (when ``pre`` and ``post`` are given) and ``mask`` (when
    given). ``brain`` defaults to the voxels above 0 in pre and post, or else in reference and
    synthetic: right for skull-stripped scans. In whole heads it is no brain, and the report calls
    it "voxels above 0"; ``brain_of`` of preprocessing finds the brain. The data range is the 99.9th
    percentile, in the brain, of the reference, or of pre when it is given and ``normalise`` is
    "median". ``noise`` is the radial noise power spectrum of the residual.

    With pre and post, ``contrast`` compares the uptake with the rest of the brain, and
    ``enhancement`` lists missed and invented lesions, with the mean of ``uncertainty``, a method's
    map, in each. If the reference is the pre scan, ``scale`` compares the result with the unchanged
    post scan and with a perfect removal of the uptake.

    The report is JSON-able: a number that is not finite is None and is explained in ``notes``.
    Raises RequestError for different grids, empty regions, unknown names, only one of pre and
    post, and ``uncertainty`` without them.
    """
    given = {"reference": reference, "synthetic": synthetic, "pre": pre, "post": post}
    _check(normalise, **given, uncertainty=uncertainty)
    inside, brain_from, region, notes = _brain(brain, reference, synthetic, pre, post)
    lesions = None
    if pre is not None and post is not None:  # first, while little else is held in memory
        progress(0.0, "Looking for missed and invented enhancement")
        lesions = enhancement_of(
            reference,
            synthetic,
            pre=pre,
            post=post,
            brain=inside,
            threshold=threshold,
            uncertainty=uncertainty,
        )
    images = _pair(reference, synthetic, pre, inside, region, normalise)
    progress(0.3, f"Measuring in the {region}")
    regions = {"brain": _measured(images, inside)}
    spectrum = nps(
        images.synthetic - images.reference, spacing_mm=reference.grid.spacing_mm, mask=inside
    )
    report: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "normalisation": normalise,
        "unit": NORMALISATIONS[normalise].format(region=region),
        "data_range": images.data_range,
        "data_range_from": images.data_range_from,
        "brain_from": brain_from,
        "brain_is": region,
        "regions": regions,
        "noise": spectrum.as_dict(),
    }
    if lesions is not None and pre is not None and post is not None:
        progress(0.6, "Measuring in the uptake")
        found = _without_maps(uptake(pre, post, inside, threshold=threshold, convention=convention))
        regions["uptake"] = _measured(images, found.binary)
        report |= _with_uptake(images, found, lesions, reference, pre, post, normalise)
    if mask is not None:
        progress(0.8, "Measuring in the mask")
        regions["mask"] = _measured(images, _region(mask, "mask", reference))
    report["notes"] = notes
    return _finite(report, notes)


def enhancement_of(
    reference: Volume,
    synthetic: Volume,
    *,
    pre: Volume,
    post: Volume,
    brain: BoolArray | Foreground | None = None,
    threshold: float = UPTAKE_THRESHOLD,
    convention: str | None = None,
    minimum_volume_mm3: float = DEFAULT_MINIMUM_VOLUME_MM3,
    uncertainty: Volume | None = None,
) -> EnhancementReport:
    """Return missed and invented enhancement, with its map (k, j, i).

    ``brain`` defaults to that of :func:`evaluate`. Intensities are in medians of the brain, and
    ``threshold`` is a share of the pre scan's 99.9th percentile in the brain. With a
    ``convention`` of :func:`uptake` both differences are its own, in the unit of its threshold:
    then found and missed lesions together are the uptake of the scans. ``uncertainty`` is a
    method's map on the same grid, whose mean each lesion gets.
    """
    expected = None if uncertainty is None else uncertainty.array
    brain = _brain(brain, reference, synthetic, pre, post)[0]
    of_pre = is_pre(reference, pre)
    if convention is not None:
        real, made = (
            difference_of(*((one, post) if of_pre else (pre, one)), brain, convention)
            for one in (reference, synthetic)
        )
        return missed_and_invented(
            real,
            made,
            brain,
            reference.grid,
            threshold=threshold,
            minimum_volume_mm3=minimum_volume_mm3,
            uncertainty=expected,
        )
    scans = [_comparable(v, brain, "median", "scan") for v in (reference, synthetic, pre, post)]
    real, made, before, after = scans
    return compare_enhancement(
        real,
        made,
        other=after if of_pre else before,
        real_is_pre=of_pre,
        brain=brain,
        grid=reference.grid,
        threshold=threshold * float(np.percentile(before[brain], ROBUST_MAXIMUM_PERCENTILE)),
        minimum_volume_mm3=minimum_volume_mm3,
        uncertainty=expected,
    )


def onto_reference(
    volumes: Mapping[str, Volume], mode: str
) -> tuple[dict[str, Volume], dict[str, Any]]:
    """Return the volumes by role on the grid of ``reference``, and the report of ``align``.

    A scan that equals the reference is replaced by it, not interpolated: :func:`is_pre` must
    still recognise it.
    """
    known = volumes["reference"].sha256()
    same = [role for role, volume in volumes.items() if volume.sha256() == known]
    others = {role: volume for role, volume in volumes.items() if role not in same}
    given = {"reference": volumes["reference"], **others}
    aligned, done = align(given, "reference", mode, masks=("mask", "uncertainty"))
    return {**aligned, **dict.fromkeys(same, aligned["reference"])}, done


def is_pre(reference: Volume, pre: Volume) -> bool:
    """Return whether the reference is the pre scan itself: then a pre scan was synthesised."""
    return reference.sha256() == pre.sha256()


def _with_uptake(
    images: _Pair,
    found: UptakeResult,
    lesions: EnhancementReport,
    reference: Volume,
    pre: Volume,
    post: Volume,
    normalise: str,
) -> dict[str, Any]:
    """Return the parts of the report that need both a pre and a post scan."""
    of_pre = is_pre(reference, pre)
    # The scan of the pair that was not synthesised.
    other = _comparable(post if of_pre else pre, images.brain, normalise, "other scan")
    contrast = measure_contrast(
        images.reference,
        images.synthetic,
        native=other,
        brain=images.brain,
        uptake=found.binary,
        enhancing=uptake(pre, post, images.brain, convention="cgan").binary,
    )
    parts = {
        "uptake": _settings_and_size(found),
        "contrast": contrast,
        "enhancement": lesions.as_dict(),
    }
    if of_pre:
        parts["scale"] = _scale(images, other, found.binary)
    return parts


def _check(normalise: str, **volumes: Volume | None) -> None:
    if (volumes["pre"] is None) != (volumes["post"] is None):
        alone = "post" if volumes["pre"] is None else "pre"
        raise RequestError(f"Only the {alone} scan is given: the uptake needs both pre and post.")
    if volumes["uncertainty"] is not None and volumes["pre"] is None:
        raise RequestError(
            "The map of uncertainty is measured in lesions, which need both pre and post."
        )
    if normalise not in NORMALISATIONS:
        raise unknown_name("normalisation", normalise, NORMALISATIONS)
    check_same_grid({name: volume for name, volume in volumes.items() if volume is not None})


def _brain(
    brain: Volume | BoolArray | Foreground | None,
    reference: Volume,
    synthetic: Volume,
    pre: Volume | None,
    post: Volume | None,
) -> tuple[BoolArray, str, str, list[str]]:
    """Return the brain, its source, what it is called, and notes about it."""
    if isinstance(brain, Foreground):
        found_by = "found in '{scan}' by {package} {version}".format_map(brain.found_by)
        return _region(brain.mask, "brain mask", reference), found_by, BRAIN, [brain.message or ""]
    if brain is not None:
        return _region(brain, "brain mask", reference), "given", BRAIN, []
    if pre is not None and post is not None:
        inside, source = (pre.array > 0) & (post.array > 0), "voxels above 0 in pre and post"
    else:
        inside = (reference.array > 0) & (synthetic.array > 0)
        source = "voxels above 0 in reference and synthetic"
    if not inside.any():
        raise RequestError(f"There are no {source}. Give the brain as a mask.")
    left_out = 1 - inside.sum() / max(int((reference.array > 0).sum()), 1)
    notes = []
    if left_out > LARGEST_SHARE_EXCLUDED:
        notes.append(
            f"{left_out:.1%} of the voxels above 0 in the reference are outside of the estimated "
            "brain and were not measured. Give a brain mask to measure them."
        )
    scans = (reference, synthetic) if pre is None or post is None else (pre, post)
    if looks_stripped(inside, scans):
        return inside, source, BRAIN, notes
    return inside, source, ABOVE_ZERO, [*notes, NOT_A_BRAIN]


def _region(region: Volume | BoolArray, name: str, reference: Volume) -> BoolArray:
    """Return a region as booleans. Raises RequestError for a wrong grid or an empty region."""
    if isinstance(region, Volume):
        check_same_grid({"reference": reference, name: region})
        region = region.array > 0
    inside = np.asarray(region, dtype=bool)
    if inside.shape != reference.array.shape:
        raise RequestError(
            f"The {name} has the shape {inside.shape}, the reference {reference.array.shape}."
        )
    if not inside.any():
        raise RequestError(f"The {name} is empty: there is no voxel to measure.")
    return inside


def _pair(
    reference: Volume,
    synthetic: Volume,
    pre: Volume | None,
    inside: BoolArray,
    region: str,
    normalise: str,
) -> _Pair:
    real = _comparable(reference, inside, normalise, "reference")
    made = _comparable(synthetic, inside, normalise, "synthetic volume")
    spanned, name = real, "reference"
    if pre is not None and normalise == "median":
        spanned, name = _comparable(pre, inside, normalise, "pre scan"), "pre scan"
    return _Pair(
        reference=real,
        synthetic=made,
        brain=inside,
        data_range=float(np.percentile(spanned[inside], ROBUST_MAXIMUM_PERCENTILE)),
        data_range_from=f"{ROBUST_MAXIMUM_PERCENTILE}th percentile of the {name} in the {region}",
        voxel_ml=reference.grid.voxel_volume_ml,
    )


def _comparable(volume: Volume, inside: BoolArray, normalise: str, name: str) -> FloatArray:
    if normalise == "none":
        return volume.array
    median = float(np.median(volume.array[inside]))
    if not median > 0:
        raise RequestError(
            f"The median of the {name} in the region is {median:g}, so it cannot be "
            "normalised by it. Check that it is an image of the head, or compare the values as "
            "they are (normalisation 'none')."
        )
    return np.asarray(np.maximum(volume.array / np.float32(median), np.float32(0)))


def _measured(images: _Pair, where: BoolArray) -> dict[str, Any]:
    return measure_region(
        images.reference,
        images.synthetic,
        where,
        data_range=images.data_range,
        voxel_ml=images.voxel_ml,
    )


def _without_maps(found: UptakeResult) -> UptakeResult:
    """Return an uptake without its maps of floats, for less memory."""
    none = np.zeros((0, 0, 0), dtype=np.float32)
    return replace(found, soft=none, difference=none)


def _settings_and_size(found: UptakeResult) -> dict[str, Any]:
    return {
        "convention": found.convention,
        "threshold": found.threshold,
        "reference_level": found.reference_level,
        "volume_ml": found.volume_ml,
        "share_of_brain": found.share_of_brain,
    }


def _scale(images: _Pair, unchanged: FloatArray, where: BoolArray) -> dict[str, float]:
    """Compare a synthetic pre scan with the ``unchanged`` post scan and with a perfect result.

    The perfect result is the true pre scan inside the uptake ``where`` and the post scan outside:
    there the two scans differ only by noise and shading, which no method can predict.
    """
    true, brain = images.reference, images.brain

    def decibel(image: FloatArray) -> float:
        return psnr(true, image, mask=brain, data_range=images.data_range)

    result, none, best = (
        decibel(image) for image in (images.synthetic, unchanged, np.where(where, true, unchanged))
    )
    left = mae(true, images.synthetic, mask=where) if where.any() else math.nan
    before = mae(true, unchanged, mask=where) if where.any() else math.nan
    return {
        "do_nothing_psnr_db": none,
        "reachable_psnr_db": best,
        "gain_db": result - none,
        "share_of_reachable": (result - none) / (best - none) if best != none else math.nan,
        "uptake_mae_of_do_nothing": left / before if before else math.nan,
    }


def _finite(values: dict[str, Any], notes: list[str], name: str = "") -> dict[str, Any]:
    """Return ``values`` with None for each number that is not finite, and add notes about them."""
    result: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, dict):
            value = _finite(value, notes, f"{name}{key}.")
        elif isinstance(value, float) and not math.isfinite(value):
            why = "infinite" if math.isinf(value) else "undefined: the region is empty or too small"
            notes.append(f"{name}{key} is {why}.")
            value = None
        result[key] = value
    return result
