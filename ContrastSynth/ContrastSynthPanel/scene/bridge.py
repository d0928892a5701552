"""The bridge between MRML, Slicer's scene, and the library: nodes to volumes and back.

MRML counts in RAS and may hang a node under transforms; a Volume has one grid in LPS. On the
way out, linear parent transforms are multiplied into the grid: the library sees the world. On
the way back, what lies on its reference's grid gets the reference's own IJKToRAS and parent
transform: it lies where the reference lies, and moves with it. If the reference was moved or
changed meanwhile, the result stays where it lay, without a parent.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import slicer
import vtk
from vtk.util.numpy_support import numpy_to_vtk

from ContrastSynthLib.acquisition import Acquisition
from ContrastSynthLib.errors import RequestError
from ContrastSynthLib.files import images
from ContrastSynthLib.files.series import SECONDS_PER, SEQUENCE_SUFFIX, write_series
from ContrastSynthLib.geometry import LPS_TO_RAS, Grid
from ContrastSynthLib.registry import MASK_ROLE
from ContrastSynthLib.volumes import Volume, checked_times, times_of
from ContrastSynthPanel.background import Elsewhere, Task, run_through

Node = Any  # of MRML
Colour = tuple[float, float, float]
# Saved scenes hold these names: they are never changed.
SYNTHETIC, METHOD = "ContrastSynth.Synthetic", "ContrastSynth.Method"
PROVENANCE, OWN_NAME = "ContrastSynth.Provenance", "ContrastSynth.Name"
OUTPUT, UNIT = "ContrastSynth.Output", "ContrastSynth.Unit"

VOLUME, LABEL_MAP = "vtkMRMLScalarVolumeNode", "vtkMRMLLabelMapVolumeNode"
SEQUENCE, SEGMENTATION = "vtkMRMLSequenceNode", "vtkMRMLSegmentationNode"
SEGMENT_ID, SEGMENT_COLOUR = "mask", (1.0, 0.55, 0.26)


def volume_from_node(node: Node, mask: bool = False, parent_of: Node | None = None) -> Volume:
    """Return a node's voxels (k, j, i), float32 as stored, on its grid in the world, in LPS.

    The acquisition, and whether it is synthetic, come from its attributes, file or name.
    A label map is taken only as a ``mask``, whose voxels above 0 become 1. ``parent_of`` is the
    node whose parent transform counts, by default ``node``. Raises RequestError for what is no
    volume, empty, not finite, of several components, sheared or under a non-linear transform.
    """
    return run_through(reading_volume(node, mask, parent_of))


def reading_volume(node: Node, mask: bool = False, parent_of: Node | None = None) -> Task:
    """Do what volume_from_node does as a task: the voxels are copied in a thread."""
    grid = world_grid(node, mask, parent_of)
    voxels, name = slicer.util.arrayFromVolume(node), node.GetName()
    array = yield Elsewhere(copied, voxels, name, mask)
    return Volume(array, grid, *acquisition_of(node))


def copied(voxels: np.ndarray, name: str, mask: bool) -> np.ndarray:
    """Return a copy of a node's voxels: a person works on with the node."""
    array = np.array(voxels, np.float32)
    images.refuse_not_finite(name, int(array.size - np.count_nonzero(np.isfinite(array))))
    return array > 0 if mask else array


def write_inputs(nodes_by_role: Mapping, folder: str | Path) -> dict[str, list[Path]]:
    """Write the nodes of all roles as NRRD; return the files of each role.

    A role has a volume node, a list of them, or a sequence node, which becomes one file that
    holds all times; ``mask`` may be a segmentation too, taken onto the grid of the first scan, or
    a Volume. Files are named by role and number only: a node often bears the patient's name.
    Raises RequestError, naming the role.
    """
    return run_through(writing_inputs(nodes_by_role, folder))


def writing_inputs(nodes_by_role: Mapping, folder: str | Path) -> Task:
    """Do what write_inputs does as a task: read and written in threads."""
    paths: dict[str, list[Path]] = {}
    for role, given in nodes_by_role.items():
        twin = next((other for other in paths if nodes_by_role[other] is given), None)
        if twin is not None:  # one series for two roles: that it is one matters to the run
            paths[role] = paths[twin]
            continue
        try:
            found = yield from reading_role(nodes_by_role, role)
            if isinstance(given, slicer.vtkMRMLSequenceNode):
                paths[role] = [Path(folder) / f"{role}{SEQUENCE_SUFFIX}"]
                yield Elsewhere(write_series, found, paths[role][0])
                continue
            paths[role] = [Path(folder) / f"{role}_{n}.nrrd" for n in range(len(found))]
            for volume, path in zip(found, paths[role], strict=True):
                yield Elsewhere(images.write_volume, volume, path, compress=False)
        except RequestError as error:
            raise RequestError(f"Input '{role}': {error}") from None
    return paths


def reading_role(nodes_by_role: Mapping, role: str) -> Task:
    """Return, as a task, the volumes of a role as write_inputs writes them."""
    given = nodes_by_role[role]
    if isinstance(given, Volume):
        return [given]
    if role == MASK_ROLE and isinstance(given, slicer.vtkMRMLSegmentationNode):
        scan = next((node for other, node in nodes_by_role.items() if other != role), None)
        return [mask_from_segmentation(given, volume_of_sequence(scan))]
    if isinstance(given, slicer.vtkMRMLSequenceNode):
        return (yield from reading_series(given))
    volumes = []
    for node in given if isinstance(given, (list, tuple)) else [given]:
        volumes.append((yield from reading_volume(node, mask=role == MASK_ROLE)))
    return volumes


def world_grid(node: Node, mask: bool = False, parent_of: Node | None = None) -> Grid:
    """Return the grid of a volume node in the world, as :func:`volume_from_node` takes it."""
    if node is None:
        raise RequestError("No volume is chosen.")
    name, parent = node.GetName(), (parent_of or node).GetParentTransformNode()
    if not node.IsA(VOLUME):
        raise RequestError(f"{name} is a {node.GetNodeTagName()}, not a volume. Choose a scan.")
    if node.IsA(LABEL_MAP) and not mask:
        raise RequestError(f"{name} is a label map. Choose a scan, or use it as the mask.")
    image = node.GetImageData()
    if image is None or image.GetPointData().GetScalars() is None or not image.GetNumberOfPoints():
        raise RequestError(f"{name} has no voxels. Load the scan again, or choose another volume.")
    if (count := image.GetNumberOfScalarComponents()) != 1:
        raise RequestError(f"{name} has {count} values a voxel. Use Vector to Scalar Volume first.")
    if parent and not parent.IsTransformToWorldLinear():
        raise RequestError(f"{name}: its transform is not linear. Harden or remove the transform.")
    to_world = vtk.vtkMatrix4x4()
    slicer.vtkMRMLTransformNode.GetMatrixTransformBetweenNodes(parent, None, to_world)
    matrix = LPS_TO_RAS @ slicer.util.arrayFromVTKMatrix(to_world) @ _index_to_ras(node)
    return Grid.from_index_to_lps(image.GetDimensions(), matrix)


def _index_to_ras(node: Node) -> np.ndarray:
    """Return the 4x4 matrix from (i, j, k) of the array to RAS, without parent transforms."""
    ijk_to_ras = vtk.vtkMatrix4x4()
    node.GetIJKToRASMatrix(ijk_to_ras)
    matrix = slicer.util.arrayFromVTKMatrix(ijk_to_ras)
    matrix[:, 3] = matrix @ [*node.GetImageData().GetExtent()[::2], 1]  # where IJK starts
    return matrix


def acquisition_of(node: Node) -> tuple[Acquisition, str | None]:
    """Return the acquisition, and what made a synthetic volume, from node, file or name."""
    header, in_file = {}, Acquisition()
    path = Path((node.GetStorageNode() and node.GetStorageNode().GetFileName()) or "")
    if images.file_suffix(path) in images.READERS and path.is_file():
        keys, in_file = _said_by_file(path, path.stat().st_mtime_ns)
        header = dict(keys)
    header |= {name: node.GetAttribute(name) for name in node.GetAttributeNames()}
    synthetic = header.get(SYNTHETIC) or images.synthetic_in_file(header)
    by_name = "as its name says" if images.SYNTHETIC_KEY in str(node.GetName()) else None
    by_header: dict[str, Any] = Acquisition.from_header(header).known()
    return replace(in_file, **by_header), synthetic or by_name


@lru_cache(maxsize=256)
def _said_by_file(path: Path, _changed_ns: int) -> tuple[dict, Acquisition]:
    """Return what the header of a file says; it is asked for several times a second."""
    try:
        keys = dict(images.read_header(path).keys)
        return keys, images.acquisition_in_file(path, keys)
    except RequestError:  # No image any more: then there is only the node.
        return {}, Acquisition()


def place_of(grid: Grid, reference: Node) -> tuple[np.ndarray, str | None]:
    """Return IJKToRAS and the ID of the parent transform that put a grid into the scene."""
    with suppress(RequestError):  # By now the reference may be what no run would take.
        if world_grid(reference).is_same(grid):
            return _index_to_ras(reference), reference.GetTransformNodeID()
    return grid.index_to_ras, None


def fill_node(node: Node, volume: Volume, index_to_ras: np.ndarray, parent_id: str | None) -> None:
    """Give a volume node the voxels and marks of ``volume``, lying by IJKToRAS in its parent."""
    array = volume.array
    if node.IsA(LABEL_MAP):
        array = array.astype(np.uint8 if array.max() < 256 else np.int16)
    slicer.util.updateVolumeFromArray(node, array)
    node.SetIJKToRASMatrix(slicer.util.vtkMatrixFromArray(index_to_ras))
    node.SetAndObserveTransformNodeID(parent_id)
    set_attributes(node, volume.acquisition.to_header() | {SYNTHETIC: volume.synthetic})


def set_attributes(node: Node, values: dict) -> None:
    """Set attributes of a node; None sets nothing."""
    for name, value in values.items():
        if value is not None:
            node.SetAttribute(name, value)


def window_like(node: Node, *scans: Node) -> None:
    """Show a volume in the window of the first of these nodes that is shown in one."""
    displays = (scan.GetDisplayNode() for scan in scans if scan is not None and scan.GetScene())
    if like := next((d for d in displays if hasattr(d, "GetWindow")), None):
        node.GetDisplayNode().SetAutoWindowLevel(False)
        node.GetDisplayNode().SetWindowLevel(like.GetWindow(), like.GetLevel())


def own_node(scene: Any, class_name: str, name: str) -> Node:
    """Return the node made under this name before, however renamed, or a new one: never a pile."""
    for node in slicer.util.getNodesByClass(class_name, scene):
        if node.GetAttribute(OWN_NAME) == name:
            return node
    node = scene.AddNewNodeByClass(class_name, name)
    node.SetAttribute(OWN_NAME, name)
    return node


def colour_table(scene: Any, name: str, entries: list[tuple]) -> Node:
    """Return a colour table of titles and colours (red, green, blue); None is nothing to see."""
    node = own_node(scene, "vtkMRMLColorTableNode", name)
    node.SetTypeToUser()
    node.SetNumberOfColors(len(entries))
    for number, (title, colour) in enumerate(entries):
        rgba = (0.0, 0.0, 0.0, 0.0) if colour is None else (*map(float, colour), 1.0)
        node.SetColor(number, title, *rgba)
    return node


def mask_to_segmentation(
    scene: Any, mask: Node | Volume, reference_node: Node, name: str, threshold: float = 0.5
) -> Node:
    """Return a segmentation node whose one segment is where ``mask`` exceeds ``threshold``.

    ``mask`` is a node or a Volume, placed as a result is. The same ``name`` changes it in place.
    """
    node = own_node(scene, SEGMENTATION, name)
    return fill_segmentation(node, mask, reference_node, threshold)


def fill_segmentation(
    node: Node, mask: Node | Volume, reference_node: Node, threshold: float = 0.5
) -> Node:
    """Give a segmentation one segment, where ``mask`` exceeds ``threshold``, and return it."""
    volume = mask if isinstance(mask, Volume) else volume_from_node(mask, mask.IsA(LABEL_MAP))
    inside = volume.with_array((volume.array > threshold).astype(np.uint8))
    add_segment(node, inside, reference_node, node.GetName(), SEGMENT_COLOUR, SEGMENT_ID)
    return node


def add_segment(
    node: Node, mask: Volume, reference_node: Node, title: str, colour: Colour, segment_id: str = ""
) -> str:
    """Add a segment to a segmentation, or change it in place, and return its ID."""
    index_to_ras, parent_id = place_of(mask.grid, reference_node)
    labels = slicer.vtkOrientedImageData()
    labels.SetDimensions(mask.grid.size)
    inside = (mask.array > 0).astype(np.uint8)
    labels.GetPointData().SetScalars(numpy_to_vtk(inside.ravel(), deep=True))
    labels.SetImageToWorldMatrix(slicer.util.vtkMatrixFromArray(index_to_ras))
    if node.GetDisplayNode() is None:
        node.CreateDefaultDisplayNodes()
    node.SetAndObserveTransformNodeID(parent_id)
    node.SetReferenceImageGeometryParameterFromVolumeNode(reference_node)
    if not segment_id or node.GetSegmentation().GetSegment(segment_id) is None:
        segment_id = node.GetSegmentation().AddEmptySegment(segment_id, title, colour)
    logic = slicer.vtkSlicerSegmentationsModuleLogic
    logic.SetBinaryLabelmapToSegment(labels, node, segment_id, logic.MODE_REPLACE)
    return segment_id


def mask_from_segmentation(node: Node, reference_node: Node, segment_id: str = "") -> Volume:
    """Return a segment, or all as one mask, 0 or 1, on the reference's grid."""
    ids = [segment_id] if segment_id else list(node.GetSegmentation().GetSegmentIDs())
    return mask_from_segments(node, reference_node, ids)


def mask_from_segments(node: Node, reference_node: Node, ids: list[str]) -> Volume:
    """Return segments as one mask, 0 or 1, on the reference's grid. RequestError if one is gone."""
    voxels, grid = voxels_of_segments(node, reference_node, ids)
    return Volume(voxels > 0, grid)


def voxels_of_segments(node: Node, reference_node: Node, ids: list[str]) -> tuple[Any, Grid]:
    """Return segments as mask_from_segments does, above 0 where they are, and their grid."""
    world_grid(reference_node)  # Raises where it is no grid for a scan.
    if any(node.GetSegmentation().GetSegment(one) is None for one in ids):
        raise RequestError(f"{node.GetName()}: the chosen segment is gone. Choose another one.")
    labels = node.GetScene().AddNewNodeByClass(LABEL_MAP, node.GetName())
    try:
        logic = slicer.vtkSlicerSegmentationsModuleLogic
        logic.ExportSegmentsToLabelmapNode(node, ids, labels, reference_node)
        grid = world_grid(labels, mask=True)  # raises where there are no voxels
        return slicer.util.arrayFromVolume(labels), grid
    finally:
        node.GetScene().RemoveNode(labels)


def series_from_sequence_node(node: Node) -> list[Volume]:
    """Return the volumes of a sequence, lying where it is shown, each with ``acquisition.time_s``.

    Raises RequestError unless its index is an increasing time, and as volume_from_node.
    """
    return run_through(reading_series(node))


def reading_series(node: Node) -> Task:
    """Do what series_from_sequence_node does as a task."""
    times = times_of_sequence_node(node)
    shown = volume_of_sequence(node)
    # Once a scene is saved, the data nodes have no attributes any more.
    whole, synthetic = acquisition_of(node)
    series = []
    for n, time_s in enumerate(times):
        frame = yield from reading_volume(node.GetNthDataNode(n), parent_of=shown)
        known = Acquisition(**whole.known() | frame.acquisition.known() | {"time_s": time_s})
        series.append(Volume(frame.array, frame.grid, known, frame.synthetic or synthetic))
    return series


def volume_of_sequence(node: Node) -> Node | None:
    """Return the volume through which a sequence is seen, else its first, or none; others as is."""
    if node is None or not node.IsA(SEQUENCE):
        return node
    browsers = slicer.util.getNodesByClass("vtkMRMLSequenceBrowserNode", node.GetScene())
    shown = next(filter(None, (browser.GetProxyNode(node) for browser in browsers)), None)
    if shown is None and node.GetNumberOfDataNodes():
        return node.GetNthDataNode(0)
    return shown


def times_of_sequence_node(node: Node) -> list[float]:
    """Return the seconds of a sequence's volumes; RequestError unless they increase."""
    name, unit, count = node.GetName(), node.GetIndexUnit(), node.GetNumberOfDataNodes()
    if not count or unit not in SECONDS_PER or node.GetIndexType() != node.NumericIndex:
        expected = f"times in one of {', '.join(SECONDS_PER)}; the Sequences module sets the unit"
        raise RequestError(f"{name}: {count} volumes, indexed in '{unit}'. Expected {expected}.")
    index = [float(node.GetNthIndexValue(n)) * SECONDS_PER[unit] for n in range(count)]
    return checked_times(index, count, name).tolist()


def sequence_from_series(
    scene: Any,
    series: Iterable[Volume],
    name: str,
    reference_node: Node | None = None,
    marks: Mapping[str, Any] | None = None,
) -> Node:
    """Return a new sequence node, with a browser, of volumes whose times are known and increase.

    It lies in the frame of the reference, where it lies on its grid. ``marks`` are attributes
    of the sequence and of each volume. Raises RequestError where times are missing.
    """
    times_of(list(series))  # raises before there is a node
    node = scene.AddNewNodeByClass(SEQUENCE, scene.GenerateUniqueName(name))
    run_through(filling_sequence(node, series, reference_node, marks))
    return node


def filling_sequence(
    node: Node,
    series: Iterable[Volume],
    reference_node: Node | None = None,
    marks: Mapping[str, Any] | None = None,
) -> Task:
    """Do what sequence_from_series does to a new, or an old, sequence node, as a task."""
    volumes = list(series)
    times = times_of(volumes).tolist()
    node.RemoveAllDataNodes()
    node.SetIndexUnit("s")
    marks = {SYNTHETIC: next(filter(None, (v.synthetic for v in volumes)), None), **(marks or {})}
    set_attributes(node, marks)
    index_to_ras, _parent = place_of(volumes[0].grid, reference_node)
    for volume, time_s in zip(volumes, times, strict=True):
        frame = slicer.vtkMRMLScalarVolumeNode()
        fill_node(frame, volume, index_to_ras, None)
        set_attributes(frame, marks)
        node.SetDataNodeAtValue(frame, repr(time_s))
        yield
    browser_of(node)


def browser_of(sequence: Node) -> Node:
    """Return the browser that shows a sequence; a new one where none does."""
    scene = sequence.GetScene()
    for browser in slicer.util.getNodesByClass("vtkMRMLSequenceBrowserNode", scene):
        if browser.IsSynchronizedSequenceNode(sequence, True):
            return browser
    name = f"{sequence.GetName()} browser"
    browser = scene.AddNewNodeByClass("vtkMRMLSequenceBrowserNode", name)
    browser.SetAndObserveMasterSequenceNodeID(sequence.GetID())
    return browser


def shown_volume(sequence: Node) -> Node:
    """Return the volume node of the scene through which a sequence's phases are seen."""
    browser = browser_of(sequence)
    if browser.GetProxyNode(sequence) is None:
        slicer.modules.sequences.logic().UpdateProxyNodesFromSequences(browser)
    return browser.GetProxyNode(sequence)
