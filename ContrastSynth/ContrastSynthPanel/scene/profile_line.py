"""A markups line: where it runs in the world, and how a person draws one."""

from __future__ import annotations

from typing import Any

import slicer

Node = Any  # of MRML
LINE = "vtkMRMLMarkupsLineNode"


def ends_of(line: Node) -> list[list[float]] | None:
    """Return both ends of a line in the world, RAS in mm; None while one is not placed yet."""
    placed = [
        n
        for n in range(line.GetNumberOfControlPoints())
        if line.GetNthControlPointPositionStatus(n) == line.PositionDefined
    ]
    if len(placed) != 2:
        return None
    ends = [[0.0, 0.0, 0.0], [0.0, 0.0, 0.0]]
    for n, end in zip(placed, ends, strict=True):
        line.GetNthControlPointPositionWorld(n, end)
    return ends


def volume_in_view() -> Node | None:
    """Return the volume on which a person would draw: that of the first slice view with one."""
    composites = slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode")
    shown = (slicer.mrmlScene.GetNodeByID(one.GetBackgroundVolumeID() or "") for one in composites)
    return next(filter(None, shown), None)


def start_placing(scene: Any) -> Node:
    """Return a new line whose ends the next two clicks in a view place."""
    line = scene.AddNewNodeByClass(LINE, scene.GenerateUniqueName("Profile"))
    line.CreateDefaultDisplayNodes()
    logic = slicer.app.applicationLogic()
    selection = logic.GetSelectionNode()
    selection.SetReferenceActivePlaceNodeClassName(LINE)
    selection.SetActivePlaceNodeID(line.GetID())
    logic.GetInteractionNode().SwitchToSinglePlaceMode()
    return line


def stop_placing(line: Node) -> None:
    """Give the mouse back if it still places the ends of this line."""
    logic = slicer.app.applicationLogic()
    interaction, selection = logic.GetInteractionNode(), logic.GetSelectionNode()
    placing = interaction.GetCurrentInteractionMode() == interaction.Place
    if placing and line is not None and selection.GetActivePlaceNodeID() == line.GetID():
        interaction.SwitchToViewTransformMode()
