"""What a node held when something was computed from it, to know when that is out of date.

The modified time of a node does not tell: editing a segment does not move it, and a change of the
window does.
"""

from __future__ import annotations

from typing import Any

import slicer
import vtk

from ContrastSynthPanel.scene.bridge import SEGMENTATION, SEQUENCE, SYNTHETIC, volume_of_sequence

Node = Any  # of MRML
LABELS = "Binary labelmap"  # the representation of a segment that is edited


def stamp(node: Node, segment: str = "") -> tuple[Any, ...]:
    """Return what changes when a node's content, place or marks do; its name does not matter.

    Of a segmentation only the ``segment`` counts; without one, all that are visible.
    """
    if node is None:
        return ()
    if node.IsA(SEQUENCE):
        count = node.GetNumberOfDataNodes()
        frames = [
            (node.GetNthIndexValue(n), *_voxels(node.GetNthDataNode(n))) for n in range(count)
        ]
        return node.GetID(), node.GetIndexUnit(), place(volume_of_sequence(node)), *frames
    content = _segments(node, segment) if node.IsA(SEGMENTATION) else _voxels(node)
    return node.GetID(), node.GetAttribute(SYNTHETIC), content, place(node)


def phase_stamp(series: Node, number: int) -> tuple[Any, ...]:
    """Return the stamp of one phase of a series, from 0, which lies where the series is shown.

    The volume through which it is shown is filled anew each time: that is no change.
    """
    frame = series.GetNthDataNode(number)
    mark = series.GetAttribute(SYNTHETIC)
    return series.GetID(), mark, _voxels(frame), place(volume_of_sequence(series))


def stamps(nodes: dict[str, Node], segments: dict[str, str] | None = None) -> dict[str, tuple]:
    """Return the stamps of nodes by role."""
    chosen = segments or {}
    return {role: stamp(node, chosen.get(role, "")) for role, node in nodes.items()}


def visible_segments(node: Node) -> list[str]:
    """Return the IDs of the segments of a segmentation that are not hidden."""
    display = node.GetDisplayNode()
    ids = list(node.GetSegmentation().GetSegmentIDs())
    return [one for one in ids if display is None or display.GetSegmentVisibility(one)]


def _segments(node: Node, segment: str) -> tuple[Any, ...]:
    ids = [segment] if segment else visible_segments(node)
    found = []
    for one in ids:
        held = node.GetSegmentation().GetSegment(one)
        labels = held.GetRepresentation(LABELS) if held is not None else None
        found.append(
            (one, None if labels is None else labels.GetMTime(), held and held.GetLabelValue())
        )
    return tuple(found)


def _voxels(node: Node) -> tuple[Any, ...]:
    image = node.GetImageData() if node is not None and hasattr(node, "GetImageData") else None
    if image is None:
        return ()
    scalars = image.GetPointData().GetScalars()
    return image.GetMTime(), 0 if scalars is None else scalars.GetMTime()


def place(node: Node) -> tuple[float, ...]:
    """Return where a node lies in the world: its own matrix within those that it hangs under."""
    if not hasattr(node, "GetParentTransformNode"):  # a series without phases has none
        return ()
    matrix, parent = vtk.vtkMatrix4x4(), node.GetParentTransformNode()
    if hasattr(node, "GetIJKToRASMatrix"):
        node.GetIJKToRASMatrix(matrix)
    linear = parent is not None and parent.IsTransformToWorldLinear()
    if linear:
        to_world = vtk.vtkMatrix4x4()
        slicer.vtkMRMLTransformNode.GetMatrixTransformBetweenNodes(parent, None, to_world)
        vtk.vtkMatrix4x4.Multiply4x4(to_world, matrix, matrix)
    numbers = list(slicer.util.arrayFromVTKMatrix(matrix).ravel())
    if parent is not None and not linear:
        numbers.append(float(parent.GetMTime()))
    return tuple(float(one) for one in numbers)
