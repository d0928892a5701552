"""The slice views: what lies in them, and where they look.

A ``keeper`` puts back what is changed; without one, it stays.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import slicer

from ContrastSynthPanel.scene.view_keeper import ViewKeeper

Node = Any  # of MRML
KEEP = "keep-current"  # a layer that is to stay as it is
SIDE_BY_SIDE = {2: 56012, 3: 56013}  # IDs of layouts, by the number of views in the row
VIEW_COLOURS = {"Red": "#F34A33", "Yellow": "#EDD54C", "Green": "#6EB04B"}  # as Slicer's own
ORIENTATIONS = ("Axial", "Sagittal", "Coronal")


def slice_views() -> list[tuple[Node, Node]]:
    """Return the slice node and the composite node, which holds the layers, of every slice view."""
    composites = {
        node.GetLayoutName(): node
        for node in slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode")
    }
    nodes = slicer.util.getNodesByClass("vtkMRMLSliceNode")
    return [(n, composites[n.GetLayoutName()]) for n in nodes if n.GetLayoutName() in composites]


def show_layers(
    background: Node = None,
    foreground: Node = None,
    opacity: float = 1.0,
    keeper: ViewKeeper | None = None,
) -> None:
    """Show two volumes over one another in all slice views; None leaves a layer empty.

    Views that look elsewhere, or at nothing, are turned to the volumes.
    """
    keeper = keeper or ViewKeeper()
    lower = None if background == KEEP else background
    for view, composite in slice_views():
        empty = is_empty(composite)
        if background != KEEP:
            keeper.set(composite, "background", lower)
        keeper.set(composite, "foreground", foreground)
        keeper.set(composite, "foreground_opacity", opacity)
        look_at(view, lower or foreground, keeper, empty)


def set_foreground_opacity(opacity: float, keeper: ViewKeeper | None = None) -> None:
    """Let the foreground cover the background by this share."""
    keeper = keeper or ViewKeeper()
    for _view, composite in slice_views():
        keeper.set(composite, "foreground_opacity", opacity)


def hide_labels(keeper: ViewKeeper) -> None:
    """Take what is drawn over the volumes, such as missed and invented lesions, off the views."""
    for _view, composite in slice_views():
        if composite.GetLabelVolumeID():
            keeper.set(composite, "label", None)


def show_labels(label_map: Node, opacity: float, outline: bool) -> None:
    """Show a label map, filled or as outlines, in all slice views; None shows none."""
    slicer.util.setSliceViewerLayers(label=label_map, labelOpacity=opacity)
    for view, _composite in slice_views():
        view.SetUseLabelOutline(outline)


def shows(layer: str, volume: Node) -> bool:
    """Return whether a volume is in this layer of any slice view."""
    shown = [getattr(composite, f"Get{layer}VolumeID")() for _view, composite in slice_views()]
    return volume.GetID() in shown


def is_empty(composite: Node) -> bool:
    """Return whether nothing lies in a slice view."""
    return not composite.GetBackgroundVolumeID() and not composite.GetForegroundVolumeID()


def jump(ras_mm: Sequence[float]) -> None:
    """Centre all slice views on a point of the world."""
    for view, _composite in slice_views():
        view.JumpSliceByCentering(*ras_mm)


def look_at(view: Node, volume: Node, keeper: ViewKeeper, always: bool = False) -> None:
    """Centre a slice view on a volume, and fit it, where it looks past the volume, or always."""
    logic = slicer.app.applicationLogic().GetSliceLogic(view)
    bounds = bounds_of(volume)
    if logic is None or bounds is None:
        return
    place = [view.GetSliceToRAS().GetElement(row, 3) for row in range(3)]
    ends = zip(bounds[::2], place, bounds[1::2], strict=True)
    if always or not all(low <= here <= high for low, here, high in ends):
        with keeper.changing(view, "centre", "size"):
            logic.FitSliceToVolume(volume, *view.GetDimensions()[:2])


def bounds_of(volume: Node) -> list[float] | None:
    """Return where a volume lies in the world: from and to, of R, A and S; None if nowhere."""
    bounds = [0.0] * 6
    if volume is None or volume.GetImageData() is None:
        return None
    volume.GetRASBounds(bounds)
    return bounds if bounds[0] <= bounds[1] else None


def show_side_by_side(volumes: list[Node], orientation: str, keeper: ViewKeeper) -> None:
    """Show two or three volumes beside one another, in linked views of one orientation.

    All look where the first slice view looked, at its scale.
    """
    show_row(len(volumes), keeper)
    pairs = [pair for pair in slice_views() if pair[0].GetLayoutName() in VIEW_COLOURS]
    pairs.sort(key=lambda pair: list(VIEW_COLOURS).index(pair[0].GetLayoutName()))
    first, first_layers = pairs[0]
    empty = is_empty(first_layers)
    with keeper.changing(first, "orientation"):
        first.SetOrientation(orientation)
    look_at(first, volumes[0], keeper, empty)
    field_mm, dimensions = first.GetFieldOfView(), first.GetDimensions()
    scale_mm = field_mm[0] / max(1, dimensions[0])
    for (view, composite), volume in zip(pairs, volumes, strict=False):
        keeper.set(composite, "background", volume)
        keeper.set(composite, "foreground", None)
        width, height, _one = view.GetDimensions()
        with keeper.changing(view, "orientation", "centre", "size"):
            view.SetOrientation(orientation)
            view.GetSliceToRAS().DeepCopy(first.GetSliceToRAS())
            view.UpdateMatrices()
            view.SetFieldOfView(width * scale_mm, height * scale_mm, field_mm[2])
    for _view, composite in slice_views():
        keeper.set(composite, "linked", 1)


def show_row(count: int, keeper: ViewKeeper) -> None:
    """Switch to a layout of two or three slice views in a row, where there is a main window."""
    manager, node = slicer.app.layoutManager(), layout_node()
    if node is None:
        return
    number = SIDE_BY_SIDE[count]
    if not node.IsLayoutDescription(number):
        node.AddLayoutDescription(number, row_description(list(VIEW_COLOURS)[:count]))
    with keeper.changing(node, "layout"):
        manager.setLayout(number)


def layout_node() -> Node:
    """Return the node that says which views there are; None without a main window."""
    manager = slicer.app.layoutManager()
    return manager.layoutLogic().GetLayoutNode() if manager is not None else None


def all_nodes() -> list[Node]:
    """Return all nodes of layout and slice views."""
    return [layout_node(), *(node for pair in slice_views() for node in pair)]


def row_description(names: list[str]) -> str:
    """Return the XML of a layout with these slice views in a row."""
    items = "".join(
        f'<item><view class="vtkMRMLSliceNode" singletontag="{name}">'
        f'<property name="viewlabel" action="default">{name[0]}</property>'
        f'<property name="viewcolor" action="default">{VIEW_COLOURS[name]}</property>'
        "</view></item>"
        for name in names
    )
    return f'<layout type="horizontal" split="true">{items}</layout>'
