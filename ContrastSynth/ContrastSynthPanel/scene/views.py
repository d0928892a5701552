"""The slice views: what lies in them, where they look, and how they were before."""

import numpy as np
import slicer

LAYERS = ("Background", "Foreground", "Label")
SIDE_BY_SIDE = {2: 56012, 3: 56013}  # IDs of layouts, by the number of views in the row
VIEW_COLOURS = {"Red": "#F34A33", "Yellow": "#EDD54C", "Green": "#6EB04B"}  # as Slicer's own
ORIENTATIONS = ("Axial", "Sagittal", "Coronal")


def slice_views() -> list[tuple]:
    """Return the slice node and the composite node, which holds the layers, of every slice view."""
    composites = {
        node.GetLayoutName(): node
        for node in slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode")
    }
    nodes = slicer.util.getNodesByClass("vtkMRMLSliceNode")
    return [(n, composites[n.GetLayoutName()]) for n in nodes if n.GetLayoutName() in composites]


def show_layers(background=None, foreground=None, opacity: float = 1.0) -> None:
    """Show two volumes over one another in all slice views; None leaves a layer empty."""
    slicer.util.setSliceViewerLayers(background, foreground, foregroundOpacity=opacity)


def set_foreground_opacity(opacity: float) -> None:
    """Let the foreground cover the background by this share."""
    slicer.util.setSliceViewerLayers(foregroundOpacity=opacity)


def show_labels(label_map, opacity: float, outline: bool) -> None:
    """Show a label map, filled or as outlines, in all slice views; None shows none."""
    slicer.util.setSliceViewerLayers(label=label_map, labelOpacity=opacity)
    for view, _composite in slice_views():
        view.SetUseLabelOutline(outline)


def shows(layer: str, volume) -> bool:
    """Return whether a volume is in this layer of any slice view."""
    shown = [getattr(composite, f"Get{layer}VolumeID")() for _view, composite in slice_views()]
    return volume.GetID() in shown


def jump(ras_mm) -> None:
    """Centre all slice views on a point of the world."""
    for view, _composite in slice_views():
        view.JumpSliceByCentering(*ras_mm)


def centre() -> tuple[float, float, float]:
    """Return the point of the world in the middle of the first slice view."""
    matrix = slice_views()[0][0].GetSliceToRAS()
    return tuple(matrix.GetElement(row, 3) for row in range(3))


def link(linked: bool) -> None:
    """Let all slice views of one orientation move together, or each on its own."""
    for _view, composite in slice_views():
        composite.SetLinkedControl(linked)


def show_side_by_side(volumes: list, orientation: str) -> None:
    """Show two or three volumes beside one another, in linked views of one orientation.

    All look where the first slice view looked, at its scale.
    """
    show_row(len(volumes))
    pairs = [pair for pair in slice_views() if pair[0].GetLayoutName() in VIEW_COLOURS]
    pairs.sort(key=lambda pair: list(VIEW_COLOURS).index(pair[0].GetLayoutName()))
    first = pairs[0][0]
    scale_mm = first.GetFieldOfView()[0] / max(1, first.GetDimensions()[0])
    first.SetOrientation(orientation)
    for (view, composite), volume in zip(pairs, volumes, strict=False):
        composite.SetBackgroundVolumeID(volume.GetID())
        composite.SetForegroundVolumeID(None)
        width, height, _one = view.GetDimensions()
        depth_mm = first.GetFieldOfView()[2]
        view.SetOrientation(orientation)
        copy_matrix(view, first.GetSliceToRAS())
        view.SetFieldOfView(width * scale_mm, height * scale_mm, depth_mm)
    link(True)


def show_row(count: int) -> None:
    """Switch to a layout of two or three slice views in a row, where there is a main window."""
    manager = slicer.app.layoutManager()
    if manager is None:
        return
    node, number = manager.layoutLogic().GetLayoutNode(), SIDE_BY_SIDE[count]
    if not node.IsLayoutDescription(number):
        node.AddLayoutDescription(number, row_description(list(VIEW_COLOURS)[:count]))
    manager.setLayout(number)


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


def copy_matrix(view, slice_to_ras) -> None:
    """Let a slice view look where, and in the orientation in which, another one looks."""
    view.GetSliceToRAS().DeepCopy(slice_to_ras)
    view.UpdateMatrices()


class Before:
    """How all slice views, and the layout, were: when it was made, or as in ``kept``."""

    def __init__(self, kept: dict | None = None):
        """Remember them. ``kept`` is that of an earlier one: JSON, with nodes as nodes."""
        manager = slicer.app.layoutManager()
        self.kept = kept or {
            "layout": int(manager.layout) if manager is not None else None,
            "views": {
                view.GetLayoutName(): remembered(view, composite)
                for view, composite in slice_views()
            },
        }

    def put_back(self) -> None:
        """Show the views as they were, but for volumes that are gone."""
        link(False)
        other_layout = self._put_layout_back()
        views = [(*pair, self.kept["views"].get(pair[0].GetLayoutName())) for pair in slice_views()]
        views = [(view, composite, was) for view, composite, was in views if was]
        for view, composite, was in views:
            put_layers_back(composite, was)
            view.SetUseLabelOutline(was["outline"])
            copy_matrix(view, slicer.util.vtkMatrixFromArray(np.array(was["slice_to_ras"])))
            if other_layout:  # the view gets its old size from Qt, but later
                view.SetDimensions(*was["dimensions"])
            view.SetFieldOfView(*was["field_mm"])
        for _view, composite, was in views:
            composite.SetLinkedControl(was["linked"])

    def _put_layout_back(self) -> bool:
        manager = slicer.app.layoutManager()
        if manager is None or self.kept["layout"] in (None, manager.layout):
            return False
        manager.setLayout(self.kept["layout"])
        return True


def put_layers_back(composite, was: dict) -> None:
    """Show the layers of a slice view as they were; one whose volume is gone stays empty."""
    for layer, node in was["layers"].items():
        there = node is not None and slicer.mrmlScene.IsNodePresent(node)
        getattr(composite, f"Set{layer}VolumeID")(node.GetID() if there else None)
    composite.SetForegroundOpacity(was["foreground_opacity"])
    composite.SetLabelOpacity(was["label_opacity"])


def remembered(view, composite) -> dict:
    """Return all that a comparison changes in a slice view."""
    scene = slicer.mrmlScene
    ids = {layer: getattr(composite, f"Get{layer}VolumeID")() for layer in LAYERS}
    return {
        "layers": {layer: scene.GetNodeByID(one) if one else None for layer, one in ids.items()},
        "foreground_opacity": composite.GetForegroundOpacity(),
        "label_opacity": composite.GetLabelOpacity(),
        "linked": composite.GetLinkedControl(),
        "outline": view.GetUseLabelOutline(),
        "slice_to_ras": slicer.util.arrayFromVTKMatrix(view.GetSliceToRAS()).tolist(),
        "dimensions": list(view.GetDimensions()),
        "field_mm": list(view.GetFieldOfView()),
    }
