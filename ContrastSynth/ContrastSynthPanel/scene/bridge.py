"""The bridge between MRML, Slicer's scene, and the library: nodes to volumes and back.

MRML counts in RAS and may hang a node under transforms; a Volume has one grid in LPS. On the
way out, linear parent transforms are multiplied into the grid: the library sees the world. On
the way back, what lies on its reference's grid gets the reference's own IJKToRAS and parent
transform: it lies where the reference lies, and moves with it. If the reference was moved or
changed meanwhile, the result stays where it lay, without a parent.
"""

import json
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import slicer
import vtk
from vtk.util.numpy_support import numpy_to_vtk

import ContrastSynthLib.methods  # noqa: F401  (declares them)
from ContrastSynthLib.acquisition import Acquisition
from ContrastSynthLib.errors import RequestError
from ContrastSynthLib.files import images
from ContrastSynthLib.files.series import SECONDS_PER, checked_times, times_of
from ContrastSynthLib.geometry import LPS_TO_RAS, Grid
from ContrastSynthLib.registry import METHODS
from ContrastSynthLib.running import result
from ContrastSynthLib.volumes import Volume

# Saved scenes hold these names: they are never changed.
SYNTHETIC, METHOD = "ContrastSynth.Synthetic", "ContrastSynth.Method"
PROVENANCE, OWN_NAME = "ContrastSynth.Provenance", "ContrastSynth.Name"
OUTPUT = "ContrastSynth.Output"

VOLUME, LABEL_MAP = "vtkMRMLScalarVolumeNode", "vtkMRMLLabelMapVolumeNode"
MAP_COLOURS = "vtkMRMLColorTableNodeIron"  # in every Slicer; black at 0
SEGMENT_ID, SEGMENT_COLOUR = "mask", (1.0, 0.55, 0.26)


def volume_from_node(node, mask: bool = False, parent_of=None) -> Volume:
    """Return a node's voxels (k, j, i), float32 as stored, on its grid in the world, in LPS.

    What its attributes, file or name tell of the acquisition and of being synthetic comes along.
    A label map is taken only as a ``mask``, whose voxels above 0 become 1. ``parent_of`` is the
    node whose parent transform counts, by default ``node``. Raises RequestError for what is no
    volume, empty, not finite, of several components, sheared or under a non-linear transform.
    """
    grid = world_grid(node, mask, parent_of)
    array = np.array(slicer.util.arrayFromVolume(node), np.float32)  # a copy: the user works on
    images.refuse_not_finite(node.GetName(), int((~np.isfinite(array)).sum()))
    return Volume(array > 0 if mask else array, grid, *told_by(node))


def write_inputs(nodes_by_role: dict, folder: str | Path) -> dict[str, list[Path]]:
    """Write the nodes of all roles as uncompressed NRRD; return the files of each role.

    A role has a volume node, a list of them, or a sequence node; ``mask`` may be a segmentation
    too, taken onto the grid of the first scan. Files are named by role and number only: a node
    often bears the patient's name. Raises RequestError, naming the role.
    """
    paths = {}
    for role in nodes_by_role:
        try:
            found = volumes_of_role(nodes_by_role, role)
            paths[role] = [Path(folder) / f"{role}_{n}.nrrd" for n in range(len(found))]
            for volume, path in zip(found, paths[role], strict=True):
                images.write_volume(volume, path, compress=False)
        except RequestError as error:
            raise RequestError(f"Input '{role}': {error}") from None
    return paths


def volumes_of_role(nodes_by_role: dict, role: str) -> list[Volume]:
    """Return the volumes of a role as write_inputs writes them. Raises RequestError."""
    given = nodes_by_role[role]
    if role == "mask" and isinstance(given, slicer.vtkMRMLSegmentationNode):
        scan = next((node for other, node in nodes_by_role.items() if other != role), None)
        return [mask_from_segmentation(given, scan)]
    if isinstance(given, slicer.vtkMRMLSequenceNode):
        return series_from_sequence_node(given)
    several = given if isinstance(given, (list, tuple)) else [given]
    return [volume_from_node(node, mask=role == "mask") for node in several]


def world_grid(node, mask: bool = False, parent_of=None) -> Grid:
    """Return the grid of a volume node in the world, as :func:`volume_from_node` takes it."""
    if node is None:
        raise RequestError("No volume is chosen.")
    name, parent = node.GetName(), (parent_of or node).GetParentTransformNode()
    if not node.IsA("vtkMRMLScalarVolumeNode"):
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


def _index_to_ras(node) -> np.ndarray:
    """Return the 4x4 matrix from (i, j, k) of the array to RAS, without parent transforms."""
    ijk_to_ras = vtk.vtkMatrix4x4()
    node.GetIJKToRASMatrix(ijk_to_ras)
    matrix = slicer.util.arrayFromVTKMatrix(ijk_to_ras)
    matrix[:, 3] = matrix @ [*node.GetImageData().GetExtent()[::2], 1]  # where IJK starts
    return matrix


def told_by(node) -> tuple[Acquisition, str | None]:
    """Return the acquisition, and what made a synthetic volume, as node, file or name tell."""
    import SimpleITK as sitk

    header, in_file = {}, Acquisition()
    path = Path((node.GetStorageNode() and node.GetStorageNode().GetFileName()) or "")
    if images.file_suffix(path) in images.READERS and path.is_file():
        reader = sitk.ImageFileReader()
        reader.SetFileName(str(path))
        with suppress(RuntimeError):  # No image any more: then the node alone tells.
            reader.ReadImageInformation()
            header = {key: reader.GetMetaData(key) for key in reader.GetMetaDataKeys()}
            in_file = images.acquisition_in_file(path, header)
    header |= {name: node.GetAttribute(name) for name in node.GetAttributeNames()}
    synthetic = header.get(SYNTHETIC) or images.synthetic_in_file(header)
    by_name = "as its name says" if images.SYNTHETIC_KEY in str(node.GetName()) else None
    return replace(in_file, **Acquisition.from_header(header).known()), synthetic or by_name


def add_result(scene, source: str | Path | result.Result, reference_node) -> dict:
    """Add the outputs of a run, its folder or its Result, as volume nodes; return them by role.

    They are named "<name of the reference> <role> SYNTHETIC", lie where the reference lies, get
    its window and level (maps: 0 to 1 in colours) and its place in the subject hierarchy;
    attributes tell what made them. Raises RequestError, adding nothing, unless the run is whole.
    """
    outputs, provenance = _read_run(source)
    key = provenance.get("method", {}).get("key", "")
    declared = METHODS[key].outputs if key in METHODS else {}
    nodes = {}
    for role, volume in outputs.items():
        name = scene.GenerateUniqueName(f"{reference_node.GetName()} {role} SYNTHETIC")
        node = nodes[role] = scene.AddNewNodeByClass(VOLUME, name)
        fill_node(node, volume, *_place(volume.grid, reference_node))
        node.SetAttribute(METHOD, key)
        node.SetAttribute(OUTPUT, role)
        node.SetAttribute(PROVENANCE, json.dumps(provenance))
        _show(node, reference_node, role in declared and declared[role].units_of is None)
    return nodes


def _read_run(source: str | Path | result.Result) -> tuple[dict[str, Volume], dict]:
    """Return outputs and provenance. A map may be all 0, which ``read_volume`` would refuse."""
    import SimpleITK as sitk

    if isinstance(source, result.Result):
        return source.outputs, source.provenance
    outputs = {}
    try:
        provenance = json.loads((Path(source) / result.PROVENANCE).read_text(encoding="utf-8"))
        paths = {role: Path(source) / f"{role}.nrrd" for role in provenance["outputs"]}
    except (OSError, ValueError, KeyError, TypeError):
        raise RequestError(f"{source}: no {result.PROVENANCE} of a whole run; run again.") from None
    for role, path in paths.items():
        image, header = images.read_whole_image(path, f"the output '{role}' of a run")
        array, grid = sitk.GetArrayFromImage(image), images.grid_in_file(path, image, header)
        told = Acquisition.from_header(header), images.synthetic_in_file(header)
        outputs[role] = Volume(array, grid, *told)
    return outputs, provenance


def _place(grid: Grid, reference) -> tuple[np.ndarray, str | None]:
    """Return IJKToRAS and the ID of the parent transform that put a grid into the scene."""
    with suppress(RequestError):  # By now the reference may be what no run would take.
        if world_grid(reference).is_same(grid):
            return _index_to_ras(reference), reference.GetTransformNodeID()
    return grid.index_to_ras, None


def fill_node(node, volume: Volume, index_to_ras: np.ndarray, parent_id: str | None) -> None:
    """Give a volume node the voxels and marks of ``volume``, lying by IJKToRAS in its parent."""
    array = volume.array.astype(np.uint8) if node.IsA(LABEL_MAP) else volume.array
    slicer.util.updateVolumeFromArray(node, array)
    node.SetIJKToRASMatrix(slicer.util.vtkMatrixFromArray(index_to_ras))
    node.SetAndObserveTransformNodeID(parent_id)
    for name, value in (volume.acquisition.to_header() | {SYNTHETIC: volume.synthetic}).items():
        node.SetAttribute(name, value)  # None sets nothing


def _show(node, reference, is_map: bool) -> None:
    """Show a node as its reference is shown, and list it beside it, where Slicer lists them."""
    node.CreateDefaultDisplayNodes()
    display, like = node.GetDisplayNode(), reference.GetDisplayNode()
    if is_map:
        display.SetAndObserveColorNodeID(MAP_COLOURS)
    if is_map or like:
        display.SetAutoWindowLevel(False)
        display.SetWindowLevel(*((1.0, 0.5) if is_map else (like.GetWindow(), like.GetLevel())))
    tree = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(node.GetScene())
    if item := tree.GetItemByDataNode(reference):
        tree.CreateItem(tree.GetItemParent(item), node)


def window_like(node, *scans) -> None:
    """Show a volume in the window of the first of these nodes that is shown in one."""
    displays = (scan.GetDisplayNode() for scan in scans if scan is not None and scan.GetScene())
    if like := next((d for d in displays if hasattr(d, "GetWindow")), None):
        node.GetDisplayNode().SetAutoWindowLevel(False)
        node.GetDisplayNode().SetWindowLevel(like.GetWindow(), like.GetLevel())


def _own_node(scene, class_name: str, name: str):
    """Return the node made under this name before, however renamed, or a new one: never a pile."""
    for node in slicer.util.getNodesByClass(class_name, scene):
        if node.GetAttribute(OWN_NAME) == name:
            return node
    node = scene.AddNewNodeByClass(class_name, name)
    node.SetAttribute(OWN_NAME, name)
    return node


def own_volume(scene, volume: Volume, reference_node, name: str, class_name: str = VOLUME):
    """Return a node of ``volume``, placed as a result is. The same ``name`` changes it in place."""
    node = _own_node(scene, class_name, name)
    fill_node(node, volume, *_place(volume.grid, reference_node))
    if node.GetDisplayNode() is None:
        node.CreateDefaultDisplayNodes()
    return node


def colour_table(scene, name: str, entries: list[tuple]):
    """Return a colour table of titles and colours (red, green, blue); None is nothing to see."""
    node = _own_node(scene, "vtkMRMLColorTableNode", name)
    node.SetTypeToUser()
    node.SetNumberOfColors(len(entries))
    for number, (title, colour) in enumerate(entries):
        rgba = (0.0, 0.0, 0.0, 0.0) if colour is None else (*map(float, colour), 1.0)
        node.SetColor(number, title, *rgba)
    return node


def synthetic_name(name: str, synthetic: bool) -> str:
    """Return the name of what was computed, marked where it comes from a synthetic volume."""
    marked = not synthetic or images.SYNTHETIC_KEY in name
    return name if marked else f"{name} {images.SYNTHETIC_KEY}"


def mask_to_segmentation(scene, mask, reference_node, name: str, threshold: float = 0.5):
    """Return a segmentation node whose one segment is where ``mask`` exceeds ``threshold``.

    ``mask`` is a node or a Volume, placed as a result is. The same ``name`` changes it in place.
    """
    volume = mask if isinstance(mask, Volume) else volume_from_node(mask, mask.IsA(LABEL_MAP))
    index_to_ras, parent_id = _place(volume.grid, reference_node)
    labels = slicer.vtkOrientedImageData()
    labels.SetDimensions(volume.grid.size)
    inside = (volume.array > threshold).astype(np.uint8)
    labels.GetPointData().SetScalars(numpy_to_vtk(inside.ravel(), deep=True))
    labels.SetImageToWorldMatrix(slicer.util.vtkMatrixFromArray(index_to_ras))
    node = _own_node(scene, "vtkMRMLSegmentationNode", name)
    node.CreateDefaultDisplayNodes()
    node.SetAndObserveTransformNodeID(parent_id)
    node.SetReferenceImageGeometryParameterFromVolumeNode(reference_node)
    if node.GetSegmentation().GetSegment(SEGMENT_ID) is None:
        node.GetSegmentation().AddEmptySegment(SEGMENT_ID, name, SEGMENT_COLOUR)
    logic = slicer.vtkSlicerSegmentationsModuleLogic
    logic.SetBinaryLabelmapToSegment(labels, node, SEGMENT_ID, logic.MODE_REPLACE)
    return node


def mask_from_segmentation(node, reference_node, segment_id: str = "") -> Volume:
    """Return a segment, or all as one mask, 0 or 1, on the reference's grid."""
    world_grid(reference_node)  # Raises where it is no grid for a scan.
    ids = [segment_id] if segment_id else list(node.GetSegmentation().GetSegmentIDs())
    if segment_id and node.GetSegmentation().GetSegment(segment_id) is None:
        raise RequestError(f"{node.GetName()}: the chosen segment is gone. Choose another one.")
    labels = node.GetScene().AddNewNodeByClass(LABEL_MAP, node.GetName())
    try:
        logic = slicer.vtkSlicerSegmentationsModuleLogic
        logic.ExportSegmentsToLabelmapNode(node, ids, labels, reference_node)
        return volume_from_node(labels, mask=True)
    finally:
        node.GetScene().RemoveNode(labels)


def series_from_sequence_node(node) -> list[Volume]:
    """Return the volumes of a sequence, lying where it is shown, each with ``acquisition.time_s``.

    Raises RequestError unless its index is an increasing time, and as volume_from_node.
    """
    times = times_of_sequence_node(node)
    browsers = slicer.util.getNodesByClass("vtkMRMLSequenceBrowserNode", node.GetScene())
    shown = next(filter(None, (browser.GetProxyNode(node) for browser in browsers)), None)
    told, synthetic = told_by(node)  # Once saved, its data nodes do not tell any more.
    series = []
    for n, time_s in enumerate(times):
        frame = volume_from_node(node.GetNthDataNode(n), parent_of=shown)
        known = Acquisition(**told.known() | frame.acquisition.known() | {"time_s": time_s})
        series.append(Volume(frame.array, frame.grid, known, frame.synthetic or synthetic))
    return series


def times_of_sequence_node(node) -> list[float]:
    """Return the seconds of a sequence's volumes; RequestError unless they increase."""
    name, unit, count = node.GetName(), node.GetIndexUnit(), node.GetNumberOfDataNodes()
    if not count or unit not in SECONDS_PER or node.GetIndexType() != node.NumericIndex:
        expected = f"times in one of {', '.join(SECONDS_PER)}; the Sequences module sets the unit"
        raise RequestError(f"{name}: {count} volumes, indexed in '{unit}'. Expected {expected}.")
    index = [float(node.GetNthIndexValue(n)) * SECONDS_PER[unit] for n in range(count)]
    return checked_times(index, count, name).tolist()


def sequence_from_series(scene, series: list[Volume], name: str):
    """Return a new sequence node, with a browser, of volumes whose times are known and increase."""
    times = times_of(series).tolist()  # raises RequestError where they are not
    node = scene.AddNewNodeByClass("vtkMRMLSequenceNode", scene.GenerateUniqueName(name))
    node.SetIndexUnit("s")
    node.SetAttribute(SYNTHETIC, next(filter(None, (v.synthetic for v in series)), None))
    for volume, time_s in zip(series, times, strict=True):
        frame = slicer.vtkMRMLScalarVolumeNode()
        fill_node(frame, volume, volume.grid.index_to_ras, None)
        node.SetDataNodeAtValue(frame, repr(time_s))
    browser = scene.AddNewNodeByClass("vtkMRMLSequenceBrowserNode", f"{name} browser")
    browser.SetAndObserveMasterSequenceNodeID(node.GetID())
    return node


def table_from_rows(scene, name: str, rows: list[dict]):
    """Return a table node with a column for each key; numbers are numbers, None is NaN or ""."""
    table = vtk.vtkTable()
    for key in dict.fromkeys(key for row in rows for key in row):
        values = [row.get(key) for row in rows]
        if any(isinstance(value, (str, bool, np.bool_)) for value in values):
            column = vtk.vtkStringArray()
            for value in values:
                column.InsertNextValue("" if value is None else str(value))
        else:
            column = numpy_to_vtk(np.array(values, dtype=np.float64), deep=True)
        column.SetName(key)
        table.AddColumn(column)
    node = _own_node(scene, "vtkMRMLTableNode", name)
    node.SetAndObserveTable(table)
    return node


def plot_lines(
    scene, name: str, x, lines: dict, x_title: str, y_title: str, *, markers: bool = True
):
    """Return a chart node of ``lines``, label to values, over ``x``; no label is ``x_title``.

    What the label calls SYNTHETIC is dashed. Without ``markers`` there are only the lines.
    """
    columns = [x_title, *lines]
    rows = [dict(zip(columns, row, strict=True)) for row in zip(x, *lines.values(), strict=True)]
    table = table_from_rows(scene, name, rows)
    chart = _own_node(scene, "vtkMRMLPlotChartNode", name)
    chart.SetTitle(name)
    chart.SetXAxisTitle(x_title)
    chart.SetYAxisTitle(y_title)
    chart.RemoveAllPlotSeriesNodeIDs()
    for label in lines:
        series = _own_node(scene, "vtkMRMLPlotSeriesNode", f"{name}: {label}")
        if series.GetTableNode() is None:  # New: later the user may have chosen a colour.
            series.SetUniqueColor()
            dashed = images.SYNTHETIC_KEY in label
            series.SetLineStyle(series.LineStyleDash if dashed else series.LineStyleSolid)
            series.SetMarkerStyle(series.MarkerStyleCircle if markers else series.MarkerStyleNone)
        series.SetName(label)
        series.SetPlotType(series.PlotTypeScatter)
        series.SetAndObserveTableNodeID(table.GetID())
        series.SetXColumnName(x_title)
        series.SetYColumnName(label)
        chart.AddAndObservePlotSeriesNodeID(series.GetID())
    for series in slicer.util.getNodesByClass("vtkMRMLPlotSeriesNode", scene):
        if series.GetTableNode() is table and series.GetYColumnName() not in lines:
            scene.RemoveNode(series)
    return chart
