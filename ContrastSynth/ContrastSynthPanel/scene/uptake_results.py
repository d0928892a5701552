"""Uptake, and missed and invented enhancement: the library's, from nodes and into nodes."""

from dataclasses import dataclass

import numpy as np
import slicer
from slicer.i18n import tr as _

from ContrastSynthLib.analysis.enhancement import EnhancementReport
from ContrastSynthLib.analysis.evaluation import enhancement_of
from ContrastSynthLib.analysis.uptake import uptake
from ContrastSynthLib.errors import RequestError
from ContrastSynthLib.preprocessing.input_checks import warnings_for_pair
from ContrastSynthLib.volumes import Volume
from ContrastSynthPanel.scene import bridge, colours, run_results, tables
from ContrastSynthPanel.scene.foregrounds import brain_of, distinct_names, marked
from ContrastSynthPanel.widgets.notice import on_one_grid

PAIR = ("pre", "post")
DRAWN_FROM = 0.1  # what a soft overlay has below this lets the scan through
UPTAKE_MARK = "uptake mask by ContrastSynth, for research only"
MAP_MARK = "map of missed and invented enhancement by ContrastSynth, for research only"
KIND_ORDER = ("missed", "invented", "found")
UNITS = {
    "mean": _("means of the brain"),
    "p95": _("95th percentiles of pre"),
    "p99.9": _("99.9th percentiles of pre"),
}


@dataclass(frozen=True, eq=False)
class Scans:
    """Volumes by role, the brain (None without a pair), and what looks wrong with them."""

    volumes: dict[str, Volume]
    brain: np.ndarray | None
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class ShownUptake:
    """The nodes of the soft overlay and of its mask, and a summary in words."""

    overlay: object
    mask: object
    summary: str


def read_scans(nodes: dict, resample: bool) -> Scans:
    """Read the nodes by role: all but the map onto the grid of the post scan.

    Raises RequestError for what is no scan, and DifferingGrids unless ``resample``.
    """
    names = distinct_names(nodes)
    alone = {"map": bridge.volume_from_node(nodes["map"])} if "map" in nodes else {}
    if not set(PAIR) <= set(nodes):
        return Scans(alone, None, ())
    read = {
        names[role]: mask_volume(node, nodes["post"])
        if role == "mask"
        else bridge.volume_from_node(node)
        for role, node in nodes.items()
        if role != "map"
    }
    masks = {names["mask"]} if "mask" in nodes else ()
    aligned = on_one_grid(read, names["post"], resample, masks)
    volumes = {role: aligned[name] for role, name in names.items() if role != "map"}
    pair = [volumes[role] for role in PAIR]
    region = brain_of(pair, volumes.get("mask"))
    warnings = [region.message] if region.message else []
    warnings += warnings_for_pair(*pair, region.mask)
    return Scans(volumes | alone, region.mask, tuple(warnings))


def state_of(node) -> tuple:
    """Return what changes when a node's content, place or marks change."""
    text = node.GetID(), node.GetName(), node.GetAttribute(bridge.SYNTHETIC)
    image = node.GetImageData() if node.IsA(bridge.VOLUME) else None
    if image is None:  # a segmentation, or nothing yet
        return *text, node.GetMTime()
    return *text, image.GetMTime(), bridge.world_grid(node, mask=node.IsA(bridge.LABEL_MAP))


def mask_volume(node, reference_node) -> Volume:
    """Return a label map, or a segmentation on the grid of a scan, as a mask."""
    if node.IsA(bridge.SEGMENTATION):
        return bridge.mask_from_segmentation(node, reference_node)
    return bridge.volume_from_node(node, mask=True)


def show_uptake(scans: Scans, nodes: dict, threshold: float, level: str) -> ShownUptake:
    """Add, or change in place, the overlay and the mask of a pair or of a ready-made map."""
    if "map" in nodes:
        return of_map(scans.volumes["map"], nodes["map"], threshold)
    pre, post = (scans.volumes[role] for role in PAIR)
    found = uptake(pre, post, scans.brain, threshold=threshold, reference_level=level)
    name = "{post} - {pre}".format(**distinct_names(nodes))
    text = _(
        "{volume:.2f} ml, {share:.2%} of the brain: '{post}' exceeds '{pre}' by more than "
        "{threshold:g} {unit}."
    ).format(
        volume=found.volume_ml,
        share=found.share_of_brain,
        threshold=threshold,
        unit=UNITS.get(level, level),
        **distinct_names(nodes),
    )
    source = pre.synthetic or post.synthetic
    return added(found.soft, found.binary, (post, nodes["post"]), name, source, text)


def of_map(volume: Volume, node, threshold: float) -> ShownUptake:
    """Show a ready-made map; RequestError where its values are not from 0 to 1."""
    low, high = float(volume.array.min()), float(volume.array.max())
    if low < 0 or high > 1:
        text = _("'{name}' has values from {low:g} to {high:g}. A map of uptake has 0 to 1.")
        raise RequestError(text.format(name=node.GetName(), low=low, high=high))
    binary = volume.array > threshold
    volume_ml = float(binary.sum()) * volume.grid.voxel_volume_ml
    text = _("{volume:.2f} ml: '{name}' exceeds {threshold:g}.")
    text = text.format(volume=volume_ml, name=node.GetName(), threshold=threshold)
    place = (volume, node)
    return added(volume.array, binary, place, node.GetName(), volume.synthetic, text)


def added(soft, binary, place, name: str, source: str | None, text: str) -> ShownUptake:
    """Take a soft mask and a mask into the scene, where a volume and its node lie."""
    scene, (volume, reference_node) = slicer.mrmlScene, place
    mark = marked(UPTAKE_MARK, source)
    name = bridge.synthetic_name(_("Uptake: {name}").format(name=name), bool(source))
    made = Volume(soft, volume.grid, synthetic=mark)
    overlay = bridge.own_volume(scene, made, reference_node, name)
    display = overlay.GetDisplayNode()
    display.SetAndObserveColorNodeID(run_results.MAP_COLOURS)
    display.SetAutoWindowLevel(False)
    display.SetWindowLevel(1.0, 0.5)
    display.AutoThresholdOff()
    display.SetThreshold(DRAWN_FROM, 1.0)
    display.SetApplyThreshold(True)
    made = Volume(binary, volume.grid)
    mask = bridge.mask_to_segmentation(scene, made, reference_node, _("{n} mask").format(n=name))
    mask.SetAttribute(bridge.SYNTHETIC, mark)
    return ShownUptake(overlay, mask, text)


def synthetic_one(volumes: dict[str, Volume], names: dict[str, str]) -> str:
    """Return which of pre and post is the synthetic one that a reference is there for."""
    if volumes["reference"].synthetic:
        text = _("'{reference}' is synthetic. The reference has to be the scan itself.")
        raise RequestError(text.format(**names))
    synthetic = [role for role in PAIR if volumes[role].synthetic]
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
    raise RequestError(text.format(**names))


def show_enhancement(scans: Scans, nodes: dict, threshold: float) -> tuple:
    """Add, or change in place, the map of missed and invented enhancement; return it and rows.

    The third is a summary in words. Raises RequestError unless one of the pair is synthetic.
    """
    names = distinct_names(nodes)
    made = synthetic_one(scans.volumes, names)
    reference, synthetic = scans.volumes["reference"], scans.volumes[made]
    real = {role: scans.volumes[role] for role in PAIR} | {made: reference}
    brain = scans.brain if "mask" in nodes else None  # by default as `evaluate` has it
    report = enhancement_of(reference, synthetic, **real, brain=brain, threshold=threshold)
    name = _("Missed and invented: {name}").format(name=names[made])
    name = bridge.synthetic_name(name, True)
    volume = Volume(report.map, reference.grid, synthetic=marked(MAP_MARK, synthetic.synthetic))
    node = bridge.own_volume(
        slicer.mrmlScene, volume, nodes["post"], name, class_name=bridge.LABEL_MAP
    )
    colour_node = colours.kind_colours(slicer.mrmlScene)
    node.GetDisplayNode().SetAndObserveColorNodeID(colour_node.GetID())
    rows = lesion_rows(report)
    tables.table_from_rows(slicer.mrmlScene, _("{name} lesions").format(name=name), rows)
    return node, rows, summary_of(report)


def lesion_rows(report: EnhancementReport) -> list[dict]:
    """Return the lesions as rows of a table, those that matter most first."""
    lesions = sorted(report.lesions, key=lambda one: KIND_ORDER.index(one.kind))
    return [
        {
            "kind": one.kind,
            "volume_ml": one.volume_ml,
            "overlap": one.overlap,
            "mean_error": one.mean_error,
            **dict(zip(("r_mm", "a_mm", "s_mm"), one.inside_ras_mm, strict=True)),
        }
        for one in lesions
    ]


def summary_of(report: EnhancementReport) -> str:
    """Return how many lesions of each kind there are, and how large they are together."""
    counted = report.as_dict()
    parts = [
        _("{kind} {count} ({volume:.2f} ml)").format(
            kind=kind, count=counted[f"{kind}_count"], volume=counted[f"{kind}_ml"]
        )
        for kind in KIND_ORDER
    ]
    text = _(
        "Lesions: {parts}. Parts of found lesions: {lost:.2f} ml missing, {added:.2f} ml extra."
    )
    return text.format(parts=", ".join(parts), lost=report.lost_part_ml, added=report.added_part_ml)
