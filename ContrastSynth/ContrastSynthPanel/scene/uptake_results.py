"""Uptake, and missed and invented enhancement: measured beside Slicer's thread, shown as nodes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from slicer.i18n import tr as _

from ContrastSynthLib.analysis.enhancement import EnhancementReport
from ContrastSynthLib.analysis.evaluation import enhancement_of
from ContrastSynthLib.analysis.regions import Regions, list_regions
from ContrastSynthLib.analysis.uptake import REFERENCE_LEVELS, limited_to, uptake
from ContrastSynthLib.errors import RequestError
from ContrastSynthLib.geometry import Grid
from ContrastSynthLib.phantom.marks import is_virtual_patient
from ContrastSynthLib.physics.constants import UPTAKE_THRESHOLD
from ContrastSynthLib.preprocessing.foreground import Foreground
from ContrastSynthLib.preprocessing.input_checks import warnings_for_pair
from ContrastSynthLib.volumes import BoolArray, FloatArray, Volume
from ContrastSynthPanel.background import Elsewhere
from ContrastSynthPanel.scene import uptake_nodes
from ContrastSynthPanel.scene.case import MASK, PAIR, TRUTH, Case
from ContrastSynthPanel.scene.foregrounds import brain_of
from ContrastSynthPanel.scene.one_grid import on_one_grid
from ContrastSynthPanel.scene.uncertainty import UNCERTAINTY
from ContrastSynthPanel.scene.uptake_sources import (
    DIFFERENCE,
    OWN_MAP,
    Sources,
    names_of,
    reading_source,
)

Node = Any  # of MRML
MAP_THRESHOLD = 0.5
SMALLEST_ML = 0.03
MM3_PER_ML = 1000.0


@dataclass(frozen=True)
class Settings:
    """What counts as uptake: for the uptake and for lesions alike."""

    measured: str = DIFFERENCE
    threshold: float = UPTAKE_THRESHOLD
    level: str = "mean"
    smallest_ml: float = SMALLEST_ML

    @property
    def minimum_volume_mm3(self) -> float:
        """The volume of the smallest region that counts."""
        return self.smallest_ml * MM3_PER_ML


@dataclass(frozen=True, eq=False)
class Scans:
    """Volumes by role on one grid, where they are measured (None of a map), and what looks wrong.

    ``names`` are those of the nodes that they were read from.
    """

    volumes: Mapping[str, Volume]
    names: Mapping[str, str]
    region: Foreground | None = None
    warnings: tuple[str, ...] = ()

    @property
    def brain(self) -> BoolArray:
        """The voxels that are measured, shape (k, j, i); a map of uptake is measured everywhere."""
        if self.region is None:
            raise ValueError("A map of uptake is measured everywhere.")
        return self.region.mask

    @property
    def synthetic(self) -> str | None:
        """What made the volume that the uptake is of, if a method did."""
        made = [self.volumes[role] for role in (*PAIR, OWN_MAP) if role in self.volumes]
        return next(filter(None, map(made_by, made)), None)

    @property
    def uncertainty(self) -> FloatArray | None:
        """The error to expect of the synthetic one, (k, j, i), in means of the brain, if known."""
        return self.volumes[UNCERTAINTY].array if UNCERTAINTY in self.volumes else None


@dataclass(frozen=True, eq=False)
class Measured:
    """What was found: (k, j, i) on ``grid``, with what it was compared with, and what is wrong.

    ``report`` is there with a reference, ``made`` then is the role that the result has.
    """

    grid: Grid
    soft: FloatArray
    mask: BoolArray
    regions: Regions
    share: float | None = None
    report: EnhancementReport | None = None
    made: str = ""
    troubles: tuple[str, ...] = field(default=())


def made_by(volume: Volume) -> str | None:
    """Return which method made a volume; of a scan, also of a virtual patient, nothing."""
    return None if is_virtual_patient(volume.synthetic) else volume.synthetic


def reading_scans(case: Case, sources: Sources, resample: bool) -> Any:
    """Return the sources as Scans, as a task: all on the grid of the post scan, or of the map.

    Raises RequestError for what is no scan, and DifferingGrids unless ``resample``.
    """
    names = names_of(sources)
    yield _("Reading the scans")
    read = {}
    for role, source in sources.items():
        if role == MASK:
            read[names[role]] = case.mask_volume(MASK, sources["post"].place)
        else:
            read[names[role]] = yield from reading_source(source)
        yield
    if OWN_MAP in sources:
        refuse_other_scale(read[names[OWN_MAP]], names[OWN_MAP])
    masks = {names[MASK]} if MASK in sources else set()
    first = names[OWN_MAP if OWN_MAP in sources else "post"]
    aligned = yield Elsewhere(on_one_grid, read, first, resample, masks)
    volumes = {role: aligned[name] for role, name in names.items()}
    if OWN_MAP in sources:
        return Scans(volumes, names)
    yield _("Finding where to measure")
    pair = [volumes[role] for role in PAIR]
    region = yield Elsewhere(brain_of, pair, volumes.get(MASK))
    warnings = [region.message] if region.message else []
    warnings += yield Elsewhere(warnings_for_pair, *pair, region.mask)
    return Scans(volumes, names, region, tuple(warnings))


def refuse_other_scale(volume: Volume, name: str) -> None:
    """Raise RequestError unless a map has values from 0 to 1."""
    low, high = float(volume.array.min()), float(volume.array.max())
    if low < 0 or high > 1:
        text = _("'{name}' has values from {low:g} to {high:g}. A map of uptake has 0 to 1.")
        raise RequestError(text.format(name=name, low=low, high=high))


def measuring(scans: Scans, settings: Settings) -> Any:
    """Return what was found as Measured, as a task of short steps: a newer one may take over."""
    yield _("Measuring the uptake")
    limit = {"minimum_volume_mm3": settings.minimum_volume_mm3, "uncertainty": scans.uncertainty}
    if OWN_MAP in scans.volumes:
        image = scans.volumes[OWN_MAP]
        where = image.array > np.float32(settings.threshold)
        regions = yield Elsewhere(list_regions, image.array, where, image.grid, **limit)
        return Measured(image.grid, image.array, regions.mask, regions)
    pre, post = (scans.volumes[role] for role in PAIR)
    how = {"reference_level": settings.level}
    found = yield Elsewhere(uptake, pre, post, scans.brain, threshold=settings.threshold, **how)
    yield _("Listing its regions")
    regions = yield Elsewhere(list_regions, found.difference, found.binary, pre.grid, **limit)
    found = yield Elsewhere(limited_to, found, regions.mask)
    measured = pre.grid, found.soft, found.binary, regions, found.share_of_brain
    if TRUTH not in scans.volumes:
        return Measured(*measured)
    try:
        made = synthetic_one(scans)
    except RequestError as error:  # there is the uptake all the same
        return Measured(*measured, troubles=(str(error),))
    yield _("Comparing with the reference")
    report = yield Elsewhere(compared, scans, made, settings)
    return Measured(*measured, report, made)


def compared(scans: Scans, made: str, settings: Settings) -> EnhancementReport:
    """Return missed and invented enhancement by the convention of the uptake itself."""
    reference = scans.volumes[TRUTH]
    real = {role: scans.volumes[role] for role in PAIR} | {made: reference}
    return enhancement_of(
        reference,
        scans.volumes[made],
        **real,
        brain=scans.brain,
        threshold=settings.threshold,
        convention=REFERENCE_LEVELS[settings.level],
        minimum_volume_mm3=settings.minimum_volume_mm3,
        uncertainty=scans.volumes.get(UNCERTAINTY),
    )


def synthetic_one(scans: Scans) -> str:
    """Return which of pre and post is the synthetic one that a reference is there for."""
    if made_by(scans.volumes[TRUTH]):
        text = _("'{reference}' is synthetic. The reference has to be the scan itself.")
        raise RequestError(text.format(**scans.names))
    synthetic = [role for role in PAIR if made_by(scans.volumes[role])]
    if len(synthetic) == 1:
        return synthetic[0]
    text = (
        _("Both '{pre}' and '{post}' are synthetic. One of them has to be a scan.")
        if synthetic
        else _(
            "Neither '{pre}' nor '{post}' is marked as synthetic, so there is nothing to compare "
            "by '{reference}'. If one of them is, put SYNTHETIC into its name."
        )
    )
    raise RequestError(text.format(**scans.names))


def showing(measured: Measured, scans: Scans, sources: Sources) -> Any:
    """Add, or change in place, the nodes of what was found; return them by name, as a task."""
    yield _("Showing it")
    nodes = uptake_nodes.UptakeNodes(sources, scans.names, scans.synthetic)
    try:
        nodes.add_overlay(Volume(measured.soft, measured.grid))
        yield
        nodes.add_mask(Volume(measured.mask.astype(np.float32), measured.grid))
        yield
        if measured.report is not None:
            synthetic = scans.volumes[measured.made].synthetic
            labels = Volume(measured.report.map.astype(np.float32), measured.grid)
            nodes.add_comparison(labels, measured.made, synthetic)
            yield
    except BaseException:  # it was cancelled half-way
        nodes.drop_new()
        raise
    return nodes.made
