"""The bridge against real MRML: where things lie, what comes back, what a saved scene keeps.

What is expected is written down by hand in RAS, or asked of MRML itself, never of the library.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

pytest.importorskip("vtk", reason="slicer-core is not installed")
slicer = pytest.importorskip("slicer", reason="slicer-core is not installed")
import vtk
from ContrastSynthPanel.scene import (
    bridge,
    result_names,
    run_results,
    saved_state,
    series_names,
    tables,
)
from vtk.util.numpy_support import numpy_to_vtk

from ContrastSynthLib.acquisition import Acquisition
from ContrastSynthLib.errors import RequestError
from ContrastSynthLib.files.images import read_volume, write_volume
from ContrastSynthLib.files.series import read_series, write_series
from ContrastSynthLib.geometry import Grid
from ContrastSynthLib.running.request import Request
from ContrastSynthLib.running.result import Result
from ContrastSynthLib.running.run import run
from ContrastSynthLib.volumes import Volume

HERE = Path(__file__).resolve().parent
MARKER = (2, 0, 3)  # array[k, j, i]: above all others, at a place of no symmetry
SHAPE = (4, 5, 6)
PATIENT = "Doe^Jane 1950"
PROVENANCE = {"method": {"key": "sphere"}, "outputs": {}, "note": 'a "b" <c> & d; é:%\n'}
MARK = "by ContrastSynth 0 test, for research only"


def voxels(shape=SHAPE, seed=3):
    array = np.random.default_rng(seed).uniform(0, 50, shape).astype(np.float32)
    array[tuple(np.minimum(MARKER, np.subtract(shape, 1)))] = 100
    return array


def random_matrix(rng):
    """IJKToRAS: oblique or permuted, flipped (half of them left-handed), anisotropic."""
    axes = Rotation.random(rng=rng).as_matrix()
    if rng.random() < 0.25:
        axes = np.eye(3)[:, rng.permutation(3)]
    matrix = np.eye(4)
    matrix[:3, :3] = axes * rng.choice([-1, 1], 3) * np.exp(rng.uniform(-1.5, 1.8, 3))
    matrix[:3, 3] = rng.uniform(-300, 300, 3)
    return matrix


def random_shape(rng):
    """A third of them one slice thick."""
    return (1 if rng.random() < 1 / 3 else 3, *(int(n) for n in rng.integers(2, 6, 2)))


OBLIQUE = random_matrix(np.random.default_rng(8))


def add_volume(scene, array=None, matrix=OBLIQUE, kind="Scalar", name="scan"):
    """A volume node made with VTK alone."""
    array = voxels() if array is None else array
    node = scene.AddNewNodeByClass(f"vtkMRML{kind}VolumeNode", name)
    image = vtk.vtkImageData()
    image.SetDimensions(*array.shape[2::-1])
    image.GetPointData().SetScalars(numpy_to_vtk(array.reshape(-1, *array.shape[3:]), deep=True))
    node.SetAndObserveImageData(image)
    node.SetIJKToRASMatrix(slicer.util.vtkMatrixFromArray(matrix))
    return node


def add_transform(scene, matrix, parent=None):
    node = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    node.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(matrix))
    node.SetAndObserveTransformNodeID(parent and parent.GetID())
    return node


def add_warp(scene):
    warp = vtk.vtkThinPlateSplineTransform()
    ends = vtk.vtkPoints(), vtk.vtkPoints()
    for n, point in enumerate([(0, 0, 0), (90, 0, 0), (0, 90, 0), (0, 0, 90), (50, 50, 50)]):
        ends[0].InsertNextPoint(point)
        ends[1].InsertNextPoint(np.add(point, n))
    warp.SetBasisToR()
    warp.SetSourceLandmarks(ends[0])
    warp.SetTargetLandmarks(ends[1])
    node = scene.AddNewNodeByClass("vtkMRMLTransformNode", "warp")
    node.SetAndObserveTransformToParent(warp)
    return node


def turned(degrees, shift_mm):
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_euler("xyz", degrees, degrees=True).as_matrix()
    matrix[:3, 3] = shift_mm
    return matrix


FIRST, SECOND = turned((10, 20, 30), (5, -7, 9)), turned((-40, 5, 70), (100, 0, -20))


def matrix_of(node):
    matrix = vtk.vtkMatrix4x4()
    node.GetIJKToRASMatrix(matrix)
    return slicer.util.arrayFromVTKMatrix(matrix)


def world_matrix_of(node):
    """Ask MRML: harden a copy and look."""
    copy = node.GetScene().AddNewNodeByClass(node.GetClassName())
    copy.CopyOrientation(node)
    copy.SetAndObserveImageData(node.GetImageData())
    copy.SetAndObserveTransformNodeID(node.GetTransformNodeID())
    copy.HardenTransform()
    matrix = matrix_of(copy)
    node.GetScene().RemoveNode(copy)
    return matrix


def marker_ras(matrix):
    k, j, i = MARKER
    return matrix[:3, :3] @ (i, j, k) + matrix[:3, 3]


def assert_close(found, expected, atol=1e-9):
    np.testing.assert_allclose(found, expected, rtol=0, atol=atol)


def result_of(**arrays_by_role):
    """A Result on the grid of the first keyword ``like``, a Volume."""
    like = arrays_by_role.pop("like")
    outputs = {role: like.with_array(array, MARK) for role, array in arrays_by_role.items()}
    return Result(outputs, PROVENANCE | {"outputs": {role: {} for role in outputs}})


# Out of the scene


def test_200_random_grids_come_out_exactly(scene):
    rng = np.random.default_rng(1)
    left_handed = 0
    for _ in range(200):
        array, matrix = voxels(random_shape(rng)), random_matrix(rng)
        volume = bridge.volume_from_node(add_volume(scene, array, matrix))
        np.testing.assert_array_equal(volume.array, array)
        assert_close(volume.grid.index_to_ras, matrix)
        assert_close(np.diag([-1, -1, 1, 1]) @ volume.grid.index_to_lps, matrix)
        left_handed += np.linalg.det(matrix[:3, :3]) < 0
    assert 60 < left_handed < 140


def test_the_marker_lies_in_the_world_where_mrml_shows_it(scene):
    node = add_volume(scene)
    outer = add_transform(scene, SECOND)
    for parent, expected in (
        (None, OBLIQUE),
        (add_transform(scene, FIRST), FIRST @ OBLIQUE),
        (add_transform(scene, FIRST, outer), SECOND @ FIRST @ OBLIQUE),
    ):
        node.SetAndObserveTransformNodeID(parent and parent.GetID())
        volume = bridge.volume_from_node(node)
        found = np.unravel_index(volume.array.argmax(), volume.array.shape)
        assert found == MARKER
        assert_close(volume.grid.ras_from_index(found), marker_ras(expected))
        assert_close(volume.grid.index_to_ras, world_matrix_of(node))
        assert_close(matrix_of(node), OBLIQUE)
        assert node.GetParentTransformNode() is parent


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16, np.float32, np.float64])
def test_values_are_those_that_are_stored(scene, dtype):
    array = voxels().astype(dtype)
    node = add_volume(scene, array)
    volume = bridge.volume_from_node(node)
    assert volume.array.dtype == np.float32
    np.testing.assert_array_equal(volume.array, array.astype(np.float32))
    slicer.util.arrayFromVolume(node)[:] = 0  # the user goes on working
    assert volume.array.max() == np.float32(array.max())


def test_an_extent_that_does_not_start_at_0_counts(scene):
    node = add_volume(scene)
    image = node.GetImageData()
    image.SetExtent(7, 12, -2, 2, 3, 6)
    volume = bridge.volume_from_node(node)
    assert_close(volume.grid.ras_from_index((0, 0, 0)), (OBLIQUE @ (7, -2, 3, 1))[:3])
    added = run_results.add_result(scene, result_of(like=volume, pre=volume.array), node)["pre"]
    assert_close(matrix_of(added)[:3, 3], volume.grid.ras_from_index((0, 0, 0)))


def nothing_but_nan():
    array = voxels()
    array[0, 0, :2] = np.nan, np.inf
    return array


REFUSED = {
    "none": (lambda scene: None, "No volume is chosen"),
    "label map": (lambda s: add_volume(s, kind="LabelMap"), "scan is a label map. Choose a scan"),
    "vector": (
        lambda s: add_volume(s, np.ones((3, 4, 5, 3), np.float32), kind="Vector"),
        "scan has 3 values a voxel. Use Vector to Scalar Volume",
    ),
    "no image": (
        lambda s: s.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "scan"),
        "scan has no voxels. Load",
    ),
    "image of size 0": (
        lambda s: add_volume(s, np.ones((0, 0, 0), np.float32)),
        "scan has no voxels. Load",
    ),
    "model": (lambda s: s.AddNewNodeByClass("vtkMRMLModelNode", "scan"), "scan is a Model, not"),
    "nan": (lambda s: add_volume(s, nothing_but_nan()), "scan: 2 voxels are not finite"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_no_scan_is_refused_with_what_would_be_right(scene, case):
    make, message = REFUSED[case]
    with pytest.raises(RequestError, match=message):
        bridge.volume_from_node(make(scene))


def test_transforms_that_make_no_grid_are_refused(scene):
    node, warp = add_volume(scene), add_warp(scene)
    sheared = np.eye(4)
    sheared[0, 1] = 0.1
    for parent, message in (
        (warp, "scan: its transform is not linear. Harden or remove the transform"),
        (add_transform(scene, FIRST, warp), "not linear. Harden or remove"),
        (add_transform(scene, sheared), "The grid is sheared"),
    ):
        node.SetAndObserveTransformNodeID(parent.GetID())
        with pytest.raises(RequestError, match=message):
            bridge.volume_from_node(node)
    linear = vtk.vtkMatrixToLinearTransform()  # a general transform node may be linear
    linear.SetInput(slicer.util.vtkMatrixFromArray(FIRST))
    warp.SetAndObserveTransformToParent(linear)
    node.SetAndObserveTransformNodeID(warp.GetID())
    assert_close(bridge.volume_from_node(node).grid.index_to_ras, FIRST @ OBLIQUE)


@pytest.mark.parametrize("storage", ["vtkMRMLVolumeArchetypeStorageNode", "vtkMRMLNRRDStorageNode"])
def test_a_synthetic_file_and_its_acquisition_are_known_again(scene, tmp_path, storage):
    known = Acquisition(flip_angle_deg=12.0, agent="gadobutrol")
    path = tmp_path / "low.nrrd"
    write_volume(Volume(voxels(), Grid(SHAPE[::-1]), known, MARK), path)
    node = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "anything")
    reader = scene.AddNewNodeByClass(storage)
    reader.SetFileName(str(path))
    assert reader.ReadData(node)
    node.SetAndObserveStorageNodeID(reader.GetID())
    volume = bridge.volume_from_node(node)
    assert (volume.synthetic, volume.acquisition) == (MARK, known)
    node.SetAttribute("ContrastSynth.flip_angle_deg", "15")
    assert bridge.volume_from_node(node).acquisition == replace(known, flip_angle_deg=15.0)
    path.write_bytes(b"no image")
    assert bridge.volume_from_node(node).acquisition.flip_angle_deg == 15.0


def test_a_node_is_synthetic_by_attribute_or_name(scene):
    node = add_volume(scene)
    assert bridge.volume_from_node(node).synthetic is None
    node.SetName("T1 low SYNTHETIC")
    assert bridge.volume_from_node(node).synthetic == "as its name says"
    node.SetAttribute(bridge.SYNTHETIC, MARK)
    assert bridge.volume_from_node(node).synthetic == MARK


# Files for the worker


def test_inputs_are_written_plainly_and_anonymously(scene, tmp_path):
    pre = add_volume(scene, name=PATIENT)
    pre.SetAttribute("DICOM.PatientName", PATIENT)
    pre.SetAndObserveTransformNodeID(add_transform(scene, FIRST).GetID())
    phases = [add_volume(scene, voxels(seed=n), name=f"{PATIENT} {n}") for n in range(2)]
    labels = add_volume(scene, (voxels() > 20).astype(np.int16) * 7, kind="LabelMap")
    paths = bridge.write_inputs({"pre": pre, "phase": phases, "mask": labels}, tmp_path / "in")
    names = {role: [path.name for path in files] for role, files in paths.items()}
    assert names == {
        "pre": ["pre_0.nrrd"],
        "phase": ["phase_0.nrrd", "phase_1.nrrd"],
        "mask": ["mask_0.nrrd"],
    }
    assert len(list((tmp_path / "in").iterdir())) == 4
    for path in (tmp_path / "in").iterdir():
        content = path.read_bytes()
        assert b"encoding: raw" in content
        assert b"Doe" not in content
    again = read_volume(paths["pre"][0])
    np.testing.assert_array_equal(again.array, voxels())
    assert_close(again.grid.index_to_ras, FIRST @ OBLIQUE)
    assert_close(read_volume(paths["phase"][1]).array, voxels(seed=1), 0)
    mask = read_volume(paths["mask"][0])
    np.testing.assert_array_equal(mask.array, voxels() > 20)
    assert_close(mask.grid.index_to_ras, OBLIQUE)


def test_a_wrong_input_is_named_by_its_role(scene, tmp_path):
    labels = add_volume(scene, kind="LabelMap")
    for role, node in (("post", labels), ("pre", None)):
        with pytest.raises(RequestError, match=f"Input '{role}': "):
            bridge.write_inputs({role: node}, tmp_path)
    segmentation = scene.AddNewNodeByClass("vtkMRMLSegmentationNode")
    with pytest.raises(RequestError, match="Input 'mask': No volume is chosen"):
        bridge.write_inputs({"mask": segmentation}, tmp_path)
    with pytest.raises(RequestError, match=r"Input 'pre': .* is a Segmentation, not a volume"):
        bridge.write_inputs({"pre": segmentation}, tmp_path)


# Results


def test_200_random_results_lie_exactly_on_their_reference(scene, tmp_path):
    rng = np.random.default_rng(2)
    outer = add_transform(scene, SECOND)
    parents = [None, add_transform(scene, FIRST), add_transform(scene, FIRST, outer)]
    for n in range(200):
        array, matrix, parent = voxels(random_shape(rng)), random_matrix(rng), parents[n % 3]
        reference = add_volume(scene, array, matrix)
        reference.SetAndObserveTransformNodeID(parent and parent.GetID())
        written = bridge.write_inputs({"post": reference}, tmp_path)["post"][0]
        made = rng.normal(0, 99, array.shape).astype(np.float32)
        result = result_of(like=read_volume(written), pre=made)
        result.write(tmp_path / "out", compress=False)
        assert_close(read_volume(tmp_path / "out" / "pre.nrrd").array, made, 0)
        source = (result, tmp_path / "out", str(tmp_path / "out"))[int(rng.integers(3))]
        node = run_results.add_result(scene, source, reference)["pre"]
        np.testing.assert_array_equal(slicer.util.arrayFromVolume(node), made)
        assert_close(matrix_of(node), matrix)
        assert node.GetParentTransformNode() is parent
        assert_close(world_matrix_of(node), world_matrix_of(reference))
        for gone in (node.GetDisplayNode(), node, reference):  # a full scene is a slow one
            scene.RemoveNode(gone)


def test_a_result_moves_with_its_reference_and_else_stays(scene):
    reference, transform = add_volume(scene), add_transform(scene, FIRST)
    reference.SetAndObserveTransformNodeID(transform.GetID())
    result = result_of(like=bridge.volume_from_node(reference), pre=voxels(seed=4))
    beside = run_results.add_result(scene, result, reference)["pre"]
    transform.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(SECOND))
    assert_close(world_matrix_of(beside), SECOND @ OBLIQUE)
    # This one comes back after the user moved the reference, or made it what no run takes.
    changes = [
        lambda: None,
        lambda: reference.SetAndObserveTransformNodeID(add_warp(scene).GetID()),
    ]
    for change in changes:
        change()
        late = run_results.add_result(scene, result, reference)["pre"]
        assert late.GetParentTransformNode() is None
        assert_close(matrix_of(late), FIRST @ OBLIQUE)


def test_a_result_says_what_it_is(scene):
    reference = add_volume(scene, name=PATIENT)
    like = replace(bridge.volume_from_node(reference), acquisition=Acquisition(flip_angle_deg=9.0))
    result = result_of(like=like, pre=voxels())
    node = run_results.add_result(scene, result, reference)["pre"]
    assert node.GetName() == f"SYNTHETIC pre, sphere: {PATIENT}"
    assert node.GetAttribute("ContrastSynth.Synthetic") == MARK
    assert node.GetAttribute("ContrastSynth.Method") == "sphere"
    assert json.loads(node.GetAttribute("ContrastSynth.Provenance")) == result.provenance
    assert bridge.volume_from_node(node).synthetic == MARK
    assert bridge.volume_from_node(node).acquisition.flip_angle_deg == 9.0
    again = run_results.add_result(scene, result, reference)["pre"]
    assert again is node
    elsewhere = add_volume(scene, name=PATIENT)  # of another patient, with the same name
    second = run_results.add_result(scene, result, elsewhere)["pre"]
    assert second is not node
    assert second.GetName().startswith(f"SYNTHETIC pre, sphere: {PATIENT}, ")


def test_a_result_is_shown_as_its_reference_and_maps_from_0_to_1(scene):
    reference = add_volume(scene)
    result = result_of(
        like=bridge.volume_from_node(reference),
        pre=voxels(), uptake=np.zeros(SHAPE), hyperintensity=voxels() / 100,
    )  # fmt: skip
    bare = run_results.add_result(scene, result, reference)
    assert bare["pre"].GetDisplayNode().GetAutoWindowLevel()
    reference.CreateDefaultDisplayNodes()
    reference.GetDisplayNode().SetAutoWindowLevel(False)
    reference.GetDisplayNode().SetWindowLevel(321, 123)
    nodes = run_results.add_result(scene, result, reference)
    shown = {
        role: (display.GetWindow(), display.GetLevel(), display.GetAutoWindowLevel())
        for role, node in nodes.items()
        for display in [node.GetDisplayNode()]
    }
    assert shown == {"pre": (321, 123, 0), "uptake": (1, 0.5, 0), "hyperintensity": (1, 0.5, 0)}
    assert nodes["uptake"].GetDisplayNode().GetColorNode().GetName() == "Iron"
    assert nodes["pre"].GetDisplayNode().GetColorNode().GetName() == "Grey"
    assert bare["uptake"].GetDisplayNode().GetWindow() == 1


def test_uncertainty_has_a_window_and_colours_of_its_own(scene):
    reference = add_volume(scene)
    result = result_of(
        like=bridge.volume_from_node(reference), pre=voxels(), uncertainty=voxels() / 1000
    )
    display = run_results.add_result(scene, result, reference)["uncertainty"].GetDisplayNode()
    assert (display.GetWindow(), display.GetLevel()) == pytest.approx((0.3, 0.15))
    assert display.GetColorNode().GetName() == "Uncertainty"


def test_a_result_stands_beside_its_reference_in_the_subject_hierarchy(scene):
    reference = add_volume(scene)
    result = result_of(like=bridge.volume_from_node(reference), pre=voxels())
    tree = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    unlisted = run_results.add_result(scene, result, reference)["pre"]
    assert not tree.GetItemByDataNode(unlisted)
    study = tree.CreateStudyItem(tree.GetSceneItemID(), "study")
    tree.CreateItem(study, reference)
    node = run_results.add_result(scene, result, reference)["pre"]
    assert tree.GetItemParent(tree.GetItemByDataNode(node)) == study


def test_a_result_is_moved_to_its_reference_where_slicer_has_listed_it_already(scene):
    tree = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    reference = add_volume(scene)
    study = tree.CreateStudyItem(tree.GetSceneItemID(), "study")
    tree.CreateItem(study, reference)

    def list_it(*_):
        for node in slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode", scene):
            if not tree.GetItemByDataNode(node):
                tree.CreateItem(tree.GetSceneItemID(), node)

    scene.AddObserver(slicer.vtkMRMLScene.NodeAddedEvent, list_it)
    result = result_of(like=bridge.volume_from_node(reference), pre=voxels())
    item = tree.GetItemByDataNode(run_results.add_result(scene, result, reference)["pre"])
    assert tree.GetItemParent(item) == study
    assert tree.GetNumberOfItems() == 3


@pytest.mark.parametrize("damage", ["no provenance", "no json", "no outputs", "no file", "cut"])
def test_of_a_damaged_run_nothing_is_added(scene, tmp_path, damage):
    reference = add_volume(scene)
    result = result_of(like=bridge.volume_from_node(reference), pre=voxels(), uptake=voxels())
    result.write(tmp_path, compress=False)
    if damage == "no provenance":
        (tmp_path / "provenance.json").unlink()
    elif damage == "no json":
        (tmp_path / "provenance.json").write_text("{")
    elif damage == "no outputs":
        (tmp_path / "provenance.json").write_text("[]")
    elif damage == "no file":
        (tmp_path / "uptake.nrrd").unlink()
    else:
        os.truncate(tmp_path / "uptake.nrrd", (tmp_path / "uptake.nrrd").stat().st_size - 9)
    before = scene.GetNumberOfNodes()
    with pytest.raises(RequestError):
        run_results.add_result(scene, tmp_path, reference)
    assert scene.GetNumberOfNodes() == before


def test_a_real_run_goes_there_and_back(scene, tmp_path):
    """The whole way of a run, under a transform: the full dose comes back as the post scan."""
    pre, post = add_volume(scene), add_volume(scene, voxels() * 1.2 + 5, name="post")
    transform = add_transform(scene, FIRST)
    for node in (pre, post):
        node.SetAndObserveTransformNodeID(transform.GetID())
    mask = bridge.mask_to_segmentation(scene, pre, pre, "brain", 10.0)
    paths = bridge.write_inputs({"pre": pre, "post": post, "mask": mask}, tmp_path / "in")
    run(Request("physics_dose", paths, {"dose": 1.0})).write(tmp_path / "out")
    node = run_results.add_result(scene, tmp_path / "out", post)["low"]
    np.testing.assert_array_equal(slicer.util.arrayFromVolume(node), voxels() * 1.2 + 5)
    assert_close(world_matrix_of(node), FIRST @ OBLIQUE)
    assert node.GetAttribute(bridge.METHOD) == "physics_dose"
    assert "physics_dose" in node.GetAttribute(bridge.SYNTHETIC)


# Segments


def own_volume(scene, volume, reference, name, class_name=bridge.VOLUME):
    node = bridge.own_node(scene, class_name, name)
    bridge.fill_node(node, volume, *bridge.place_of(volume.grid, reference))
    if node.GetDisplayNode() is None:
        node.CreateDefaultDisplayNodes()
    return node


def test_a_volume_of_ones_own_is_changed_in_place(scene):
    reference = add_volume(scene)
    reference.SetAndObserveTransformNodeID(add_transform(scene, FIRST).GetID())
    like = bridge.volume_from_node(reference)
    node = own_volume(scene, like.with_array(voxels(seed=5), MARK), reference, "own")
    count = scene.GetNumberOfNodes()
    made = like.with_array(voxels(seed=6), MARK)
    assert own_volume(scene, made, reference, "own") is node
    assert scene.GetNumberOfNodes() == count
    np.testing.assert_array_equal(slicer.util.arrayFromVolume(node), voxels(seed=6))
    assert_close(matrix_of(node), OBLIQUE)
    assert node.GetParentTransformNode() is reference.GetParentTransformNode()
    assert node.GetAttribute(bridge.SYNTHETIC) == MARK
    assert own_volume(scene, made, reference, "other") is not node


def test_a_label_map_and_its_colours_are_in_a_saved_scene(scene, tmp_path):
    reference = add_volume(scene)
    labels = (voxels() > 10).astype(np.float32) * 2
    made = bridge.volume_from_node(reference).with_array(labels, MARK)
    node = own_volume(scene, made, reference, "labels", bridge.LABEL_MAP)
    assert slicer.util.arrayFromVolume(node).dtype == np.uint8
    entries = [("none", None), ("found", (0, 1, 0)), ("missed", (1, 0, 0))]
    table = bridge.colour_table(scene, "kinds", entries)
    assert bridge.colour_table(scene, "kinds", entries) is table
    node.GetDisplayNode().SetAndObserveColorNodeID(table.GetID())
    save(scene, tmp_path / "scene.mrb")
    scene.Clear(True)
    scene.ReadFromMRB(str(tmp_path / "scene.mrb"))
    node = slicer.util.getNode("labels")
    np.testing.assert_array_equal(slicer.util.arrayFromVolume(node), labels)
    colours = node.GetDisplayNode().GetColorNode()
    assert [colours.GetColorName(value) for value in range(3)] == ["none", "found", "missed"]
    assert colours.GetLookupTable().GetTableValue(2) == (1.0, 0.0, 0.0, 1.0)
    assert colours.GetLookupTable().GetTableValue(0)[3] == 0.0


def test_what_comes_from_a_synthetic_volume_is_named_so_once():
    assert result_names.synthetic_name("a", True) == "a SYNTHETIC"
    assert result_names.synthetic_name("a SYNTHETIC mask", True) == "a SYNTHETIC mask"
    assert result_names.synthetic_name("a", False) == "a"


def test_100_random_masks_become_segments_and_masks_again(scene):
    rng = np.random.default_rng(5)
    transform = add_transform(scene, FIRST, add_transform(scene, SECOND))
    for n in range(100):
        array, matrix = rng.random(random_shape(rng)).astype(np.float32), random_matrix(rng)
        soft = add_volume(scene, array, matrix)
        if n % 2:
            soft.SetAndObserveTransformNodeID(transform.GetID())
        source = soft if n % 3 else bridge.volume_from_node(soft)
        node = bridge.mask_to_segmentation(scene, source, soft, "uptake", 0.3)
        segment_id = node.GetSegmentation().GetNthSegmentID(0)
        image = slicer.vtkOrientedImageData()
        node.GetBinaryLabelmapRepresentation(segment_id, image)
        stored = vtk.vtkMatrix4x4()
        image.GetImageToWorldMatrix(stored)
        assert_close(slicer.util.arrayFromVTKMatrix(stored), matrix)
        assert node.GetParentTransformNode() is soft.GetParentTransformNode()
        mask = bridge.mask_from_segmentation(node, soft)
        np.testing.assert_array_equal(mask.array, array > np.float32(0.3))
        assert_close(mask.grid.index_to_ras, world_matrix_of(soft))
        scene.RemoveNode(soft)
    assert scene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode") == 1
    assert scene.GetNumberOfNodesByClass("vtkMRMLLabelMapVolumeNode") == 0


def test_the_threshold_itself_lies_outside_and_nothing_may_be_inside(scene):
    soft = add_volume(scene, np.full(SHAPE, 0.5, np.float32))
    node = bridge.mask_to_segmentation(scene, soft, soft, "uptake")
    assert not bridge.mask_from_segmentation(node, soft).array.any()
    bridge.mask_to_segmentation(scene, soft, soft, "uptake", 0.49)
    assert bridge.mask_from_segmentation(node, soft).array.all()


def test_a_moved_threshold_changes_the_segment_in_place(scene):
    soft = add_volume(scene)
    node = bridge.mask_to_segmentation(scene, soft, soft, "uptake", 10)
    segment = node.GetSegmentation().GetNthSegment(0)
    node.GetDisplayNode().SetSegmentOpacity2DFill(node.GetSegmentation().GetNthSegmentID(0), 0.2)
    segment.SetColor(0, 0, 1)
    node.SetName("renamed by the user")
    before = scene.GetNumberOfNodes()
    again = bridge.mask_to_segmentation(scene, soft, soft, "uptake", 40)
    assert again is node
    assert scene.GetNumberOfNodes() == before
    assert node.GetSegmentation().GetNumberOfSegments() == 1
    assert node.GetSegmentation().GetNthSegment(0).GetColor() == (0, 0, 1)
    segment_id = node.GetSegmentation().GetNthSegmentID(0)
    assert node.GetDisplayNode().GetSegmentOpacity2DFill(segment_id) == 0.2
    np.testing.assert_array_equal(bridge.mask_from_segmentation(node, soft).array, voxels() > 40)


def test_a_label_map_becomes_a_segment(scene):
    labels = add_volume(scene, (voxels() > 20).astype(np.int16) * 7, kind="LabelMap")
    node = bridge.mask_to_segmentation(scene, labels, add_volume(scene), "brain")
    mask = bridge.mask_from_segmentation(node, add_volume(scene))
    np.testing.assert_array_equal(mask.array, voxels() > 20)


def test_one_segment_of_several_is_a_mask(scene):
    scan = add_volume(scene)
    low, high = voxels() < 20, voxels() > 40
    node = bridge.mask_to_segmentation(scene, add_volume(scene, low.astype(np.uint8)), scan, "low")
    other = bridge.mask_to_segmentation(
        scene, add_volume(scene, high.astype(np.uint8)), scan, "high"
    )
    segment = slicer.vtkSegment()
    segment.DeepCopy(other.GetSegmentation().GetNthSegment(0))
    node.GetSegmentation().AddSegment(segment, "second")
    first = node.GetSegmentation().GetNthSegmentID(0)
    for segment_id, expected in ((first, low), ("second", high), ("", low | high)):
        mask = bridge.mask_from_segmentation(node, scan, segment_id)
        np.testing.assert_array_equal(mask.array > 0, expected)
    with pytest.raises(RequestError, match="low: the chosen segment is gone"):
        bridge.mask_from_segmentation(node, scan, "third")


def test_a_segmentation_without_segments_is_no_mask(scene):
    empty = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "drawn")
    before = scene.GetNumberOfNodesByClass("vtkMRMLLabelMapVolumeNode")
    with pytest.raises(RequestError, match="drawn has no voxels"):
        bridge.mask_from_segmentation(empty, add_volume(scene))
    assert scene.GetNumberOfNodesByClass("vtkMRMLLabelMapVolumeNode") == before


def test_a_segmentation_of_the_users_own_is_not_overwritten(scene):
    own = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "uptake")
    soft = add_volume(scene)
    assert bridge.mask_to_segmentation(scene, soft, soft, "uptake") is not own
    assert own.GetSegmentation().GetNumberOfSegments() == 0


def test_all_segments_together_are_the_mask_that_is_written(scene, tmp_path):
    """Drawn by the user on half of the grid, under no transform; the scan is under one."""
    scan, drawn = add_volume(scene), scene.AddNewNodeByClass("vtkMRMLSegmentationNode")
    scan.SetAndObserveTransformNodeID(add_transform(scene, FIRST).GetID())
    expected = np.zeros(SHAPE, bool)
    for part in (np.s_[:2, 1:3, :], np.s_[1:3, 2:, 4]):
        inside = np.zeros(SHAPE, np.uint8)
        inside[part] = 1
        expected |= inside > 0
        image = slicer.vtkOrientedImageData()
        image.SetDimensions(SHAPE[::-1])
        image.GetPointData().SetScalars(numpy_to_vtk(inside.ravel(), deep=True))
        image.SetImageToWorldMatrix(slicer.util.vtkMatrixFromArray(FIRST @ OBLIQUE))
        drawn.AddSegmentFromBinaryLabelmapRepresentation(image, "part", (1, 0, 0))
    paths = bridge.write_inputs({"mask": drawn, "post": scan}, tmp_path)
    mask = read_volume(paths["mask"][0])
    np.testing.assert_array_equal(mask.array, expected)
    assert_close(mask.grid.index_to_ras, FIRST @ OBLIQUE)


# Sequences


def test_a_series_becomes_a_sequence_and_a_series_again(scene, tmp_path):
    grid = bridge.volume_from_node(add_volume(scene)).grid
    times = [0.0, 85.333333333333, 1e3 / 3]
    series = [
        Volume(voxels(seed=n), grid, Acquisition(time_s=t, flip_angle_deg=9.0), MARK)
        for n, t in enumerate(times)
    ]
    node = bridge.sequence_from_series(scene, series, "phases SYNTHETIC")
    assert (node.GetIndexName(), node.GetIndexUnit()) == ("time", "s")
    assert_close(matrix_of(node.GetNthDataNode(1)), OBLIQUE)
    again = bridge.series_from_sequence_node(node)
    for one, two in zip(series, again, strict=True):
        np.testing.assert_array_equal(one.array, two.array)
        assert_close(two.grid.index_to_ras, OBLIQUE)
        assert (two.acquisition, two.synthetic) == (one.acquisition, MARK)
    (path,) = bridge.write_inputs({"phase": node}, tmp_path)["phase"]
    assert path.name == "phase.seq.nrrd"
    written = read_series(path)
    assert [volume.acquisition.time_s for volume in written] == times
    np.testing.assert_array_equal(written[2].array, series[2].array)
    browser = scene.GetFirstNodeByClass("vtkMRMLSequenceBrowserNode")
    assert browser.GetMasterSequenceNode() is node
    second = bridge.sequence_from_series(scene, series, "phases SYNTHETIC")
    assert second is not node
    assert second.GetName() == "phases SYNTHETIC_1"


def add_sequence(scene, unit, index):
    node = scene.AddNewNodeByClass("vtkMRMLSequenceNode", "dynamic")
    node.SetIndexUnit(unit)
    for n, value in enumerate(index):
        node.SetDataNodeAtValue(add_volume(scene, voxels(seed=n)), value)
    return node


def test_a_series_from_our_file_is_known_as_synthetic(scene, tmp_path):
    shared = Acquisition(flip_angle_deg=9.0)
    series = [
        Volume(voxels(seed=n), Grid(SHAPE[::-1]), replace(shared, time_s=time), MARK)
        for n, time in enumerate((1.5, 20.0))
    ]
    write_series(series, tmp_path / "phases.seq.nrrd")
    node = scene.AddNewNodeByClass("vtkMRMLSequenceNode")
    storage = scene.AddNewNodeByClass("vtkMRMLVolumeSequenceStorageNode")
    storage.SetFileName(str(tmp_path / "phases.seq.nrrd"))
    assert storage.ReadData(node)
    node.SetAndObserveStorageNodeID(storage.GetID())
    again = bridge.series_from_sequence_node(node)
    for one, two in zip(series, again, strict=True):
        np.testing.assert_array_equal(one.array, two.array)
        assert (two.acquisition, two.synthetic) == (one.acquisition, MARK)


def test_times_come_in_seconds_whatever_the_index_counts(scene):
    for unit, index, seconds in (
        ("ms", ["0", "1500"], [0, 1.5]),
        ("min", ["0.5", "2"], [30, 120]),
    ):
        series = bridge.series_from_sequence_node(add_sequence(scene, unit, index))
        assert [volume.acquisition.time_s for volume in series] == seconds


@pytest.mark.parametrize(("unit", "index"), [("", ["0", "1"]), ("mm", ["0", "1"]), ("s", [])])
def test_an_index_that_is_no_time_is_refused(scene, unit, index):
    with pytest.raises(RequestError, match=r"dynamic: . volumes, indexed in .* Sequences module"):
        bridge.series_from_sequence_node(add_sequence(scene, unit, index))


def test_an_index_of_text_is_refused(scene):
    node = scene.AddNewNodeByClass("vtkMRMLSequenceNode", "dynamic")
    node.SetIndexUnit("s")
    node.SetIndexType(node.TextIndex)
    for value in ("first", "second"):
        node.SetDataNodeAtValue(add_volume(scene), value)
    with pytest.raises(RequestError, match="dynamic: 2 volumes, indexed in 's'"):
        bridge.series_from_sequence_node(node)


def test_volumes_without_increasing_times_make_no_sequence(scene):
    volume = bridge.volume_from_node(add_volume(scene))
    before = scene.GetNumberOfNodes()
    for times in ((None, 2.0), (3.0, 2.0)):
        series = [replace(volume, acquisition=Acquisition(time_s=time)) for time in times]
        with pytest.raises(RequestError):
            bridge.sequence_from_series(scene, series, "phases")
    assert scene.GetNumberOfNodes() == before


def test_a_series_lies_where_its_browser_shows_it(scene):
    node = add_sequence(scene, "s", ["0", "1"])
    browser = scene.AddNewNodeByClass("vtkMRMLSequenceBrowserNode")
    browser.SetAndObserveMasterSequenceNodeID(node.GetID())
    proxy = add_volume(scene)
    browser.AddProxyNode(proxy, node, False)
    proxy.SetAndObserveTransformNodeID(add_transform(scene, FIRST).GetID())
    for volume in bridge.series_from_sequence_node(node):
        assert_close(volume.grid.index_to_ras, FIRST @ OBLIQUE)


# Tables and plots


def test_numbers_are_numbers_in_a_table(scene):
    rows = [
        {"lesion": "1", "volume, ml": 2.5, "voxels": 3, "found": True},
        {"lesion": None, "volume, ml": None, "voxels": np.int64(4), "found": False, "late": 1},
    ]
    table = tables.table_from_rows(scene, "lesions", rows).GetTable()
    columns = [table.GetColumn(n) for n in range(table.GetNumberOfColumns())]
    kinds = {column.GetName(): column.GetDataTypeAsString() for column in columns}
    assert kinds == {
        "lesion": "string",
        "volume, ml": "double",
        "voxels": "double",
        "found": "string",
        "late": "double",
    }
    values = {c.GetName(): [c.GetValue(n) for n in range(2)] for c in columns}
    assert values["lesion"] == ["1", ""]
    assert values["found"] == ["True", "False"]
    assert values["voxels"] == [3, 4]
    assert values["volume, ml"][0] == 2.5
    assert math.isnan(values["volume, ml"][1])
    assert math.isnan(values["late"][0])


def count_by_class(scene):
    names = ("Table", "PlotSeries", "PlotChart")
    return [scene.GetNumberOfNodesByClass(f"vtkMRML{name}Node") for name in names]


def test_a_plot_is_drawn_again_with_the_same_nodes(scene):
    x = [0, 1, 2]
    first = {"real": [1, 2, 3], "synthetic": np.array([1, 2.5, np.nan])}
    chart = tables.plot_lines(scene, "curve", x, first, "time, s", "signal")
    assert count_by_class(scene) == [1, 2, 1]
    names = [chart.GetNthPlotSeriesNode(n).GetName() for n in range(2)]
    assert names == ["real", "synthetic"]
    chart.GetNthPlotSeriesNode(0).SetColor(0.1, 0.2, 0.3)
    lines = {"other": [7, 8], "real": [5, 6]}
    assert tables.plot_lines(scene, "curve", [0, 9], lines, "time, min", "y") is chart
    assert count_by_class(scene) == [1, 2, 1]
    assert chart.GetNumberOfPlotSeriesNodes() == 2
    real = chart.GetNthPlotSeriesNode(1)
    assert (real.GetName(), real.GetColor()) == ("real", (0.1, 0.2, 0.3))
    table = real.GetTableNode().GetTable()
    column = table.GetColumnByName(real.GetYColumnName())
    assert [column.GetValue(n) for n in range(2)] == [5, 6]
    column = table.GetColumnByName(real.GetXColumnName())
    assert [column.GetValue(n) for n in range(2)] == [0, 9]
    assert (chart.GetXAxisTitle(), chart.GetYAxisTitle()) == ("time, min", "y")
    tables.plot_lines(scene, "another", x, first, "time, s", "signal")
    assert count_by_class(scene) == [2, 4, 2]


def test_lines_of_differing_length_are_refused(scene):
    with pytest.raises(ValueError, match="shorter"):
        tables.plot_lines(scene, "curve", [0, 1], {"real": [1]}, "x", "y")


# Names

NAMES = {
    "pre": [
        "T1 pre", "t1_pre_contrast", "AX T1 PRE GD", "T1w native", "3: t1_fl2d_tra nativ",
        "T1 without contrast", "T1 w/o contrast", "Ax T1 SE non-contrast", "T1 unenhanced",
        "MPRAGE pre", "t1_mprage_sag_ohne_KM", "T1 -C", "sub-01_ses-preop_T1w_precontrast",
        "T1 no gad", "T1 sans injection", "T1 pre Gadovist", "T1W plain",
    ],
    "post": [
        "T1c", "t1ce", "T1CE", "T1 post", "t1_post_contrast", "AX T1 +C", "T1+C", "T1 C+",
        "T1 Gd", "t1gd", "AX T1 FS GAD", "T1w_post", "T1_MPRAGE_CE", "Sag T1 SPGR post gado",
        "t1_mprage_sag_nach_KM", "T1W contrast enhanced", "12: AX BRAVO +Gd", "post-op T1 post Gd",
        "T1-weighted post", "T1wCE", "TCGA T1 full dose", "T1 Gadavist", "VIBE +C",
    ],
    "low": [
        "T1 low dose", "lowdose", "T1 post 10% dose", "T1 33pct", "T1_low", "T1 1/4 dose",
        "T1 half dose Gd", "T1 0.1 dose",
    ],
    "t2": ["T2", "AX T2 TSE", "t2w", "T2_BLADE_tra", "T2-weighted", "sub-01_T2w"],
    "adc": ["ADC", "ep2d_diff_3scan_trace_p2_ADC", "dADC map", "Apparent Diffusion Coefficient"],
    "t1": ["T1", "t1_mprage_sag_p2_iso", "AX T1 SE", "sub-01_T1w", "pre-op T1", "T1 lowres"],
    None: [
        "FLAIR", "T2 FLAIR", "t2_tirm_tra_dark-fluid", "AX FLAIR +C", "T2*", "T2 star GRE", "SWI",
        "DWI b1000", "eADC", "Exponential ADC", "TOF MRA", "localizer", "T1 map", "DCE", "DSC",
        "T1 pre and post", "T1 post minus pre", "subtraction T1 post", "T1-C", "T1 T2",
        "scan pre SYNTHETIC", "T1 post seg", "segmentation", "", "head", "PD", "T2 post gad",
    ],
}  # fmt: skip


@pytest.mark.parametrize("role", NAMES)
def test_what_names_tell(role):
    text = {name: series_names.role_in_name(name) for name in NAMES[role]}
    assert text == dict.fromkeys(NAMES[role], role)


def named(*names):
    return [SimpleNamespace(GetName=lambda name=name: name) for name in names]


@pytest.mark.parametrize(
    ("names", "picked"),
    [
        (["t1", "t1ce", "t2", "flair"], {"pre": "t1", "post": "t1ce", "t2": "t2"}),
        (["T1", "T1 pre", "T1 post", "ADC"], {"pre": "T1 pre", "post": "T1 post", "adc": "ADC"}),
        (["AX T1 post", "COR T1 post", "SAG T1", "AX T1"], {}),
        (["AX T1 pre", "COR T1 pre", "AX T1"], {}),
        (["T1 pre", "T1 10% dose", "T1 full dose"], {
            "pre": "T1 pre", "low": "T1 10% dose", "post": "T1 full dose"}),
        (["FLAIR"], {}),
        ([], {}),
    ],
)  # fmt: skip
def test_roles_are_picked_only_where_one_scan_fits(names, picked):
    wanted = ["pre", "post", "low", "t2", "adc", "phase"]
    nodes = series_names.pick_roles(named(*names), wanted)
    found = {role: node and node.GetName() for role, node in nodes.items()}
    assert found == dict.fromkeys(wanted) | picked


# State and saved scenes


def test_a_state_is_replaced_as_a_whole(scene):
    node = scene.AddNewNodeByClass("vtkMRMLScriptedModuleNode")
    assert saved_state.load_state(node) == {}
    scans = [add_volume(scene, name=f"scan {n}") for n in range(3)]
    node.SetNodeReferenceID("another's", scans[0].GetID())
    saved_state.save_state(node, {"in": {"pre": scans[0], "phase": scans[1:]}, "dose": 0.25})
    saved_state.save_state(
        node, {"in": {"post": scans[1]}, "text": PROVENANCE["note"], "none": None}
    )
    state = {"in": {"post": scans[1]}, "text": PROVENANCE["note"], "none": None}
    assert saved_state.load_state(node) == state
    roles = [node.GetNthNodeReferenceRole(n) for n in range(node.GetNumberOfNodeReferenceRoles())]
    assert sum(node.GetNumberOfNodeReferences(role) for role in roles) == 2
    assert node.GetNodeReference("another's") is scans[0]
    for wrong in (object(), math.nan):
        with pytest.raises((TypeError, ValueError)):
            saved_state.save_state(node, {"in": scans[0], "wrong": wrong})
        assert saved_state.load_state(node) == state
    saved_state.save_state(node, {"in": scans})
    scene.RemoveNode(scans[1])
    assert saved_state.load_state(node) == {"in": [scans[0], None, scans[2]]}


READ_AGAIN = """
import json, sys
from conftest import new_scene
import slicer
from ContrastSynthPanel.scene import bridge, run_results, saved_state, tables
scene = new_scene()
if sys.argv[1].endswith(".mrb"):
    assert scene.ReadFromMRB(sys.argv[1])
else:
    scene.SetURL(sys.argv[1])
    assert scene.Connect()
parameters = scene.GetFirstNodeByClass("vtkMRMLScriptedModuleNode")
state = saved_state.load_state(parameters)
pre, low = state["inputs"]["pre"], scene.GetFirstNodeByName("SYNTHETIC low, sphere: scan")
found = {
    "state": state | {"inputs": {role: node.GetName() for role, node in state["inputs"].items()}},
    "attributes": {name: low.GetAttribute(name) for name in low.GetAttributeNames()},
    "grid": bridge.volume_from_node(pre).grid.index_to_ras.tolist(),
    "low": bridge.volume_from_node(low).grid.index_to_ras.tolist(),
    "synthetic": bridge.volume_from_node(low).synthetic,
    "array": bridge.volume_from_node(pre).array.tolist(),
    "parent": low.GetParentTransformNode() is pre.GetParentTransformNode() is not None,
    "window": low.GetDisplayNode().GetWindow(),
}
brain = scene.GetFirstNodeByClass("vtkMRMLSegmentationNode")
found["mask"] = bridge.mask_from_segmentation(brain, pre).array.tolist()
count = scene.GetNumberOfNodes()
again = bridge.mask_to_segmentation(scene, pre, pre, "brain", 10.0)
tables.plot_lines(scene, "curve", [0, 1], {"real": [1, 2]}, "x", "y")
found["in place"] = again is brain and scene.GetNumberOfNodes() == count
sequence = scene.GetFirstNodeByClass("vtkMRMLSequenceNode")
series = bridge.series_from_sequence_node(sequence)
found["times"] = [volume.acquisition.time_s for volume in series]
found["series"] = series[1].array.tolist()
found["series synthetic"] = series[0].synthetic
print(json.dumps(found))
"""


@pytest.mark.parametrize("suffix", [".mrml", ".mrb"])
def test_a_scene_is_saved_and_read_in_another_process(scene, tmp_path, suffix):
    scan, transform = add_volume(scene), add_transform(scene, FIRST)
    scan.SetAndObserveTransformNodeID(transform.GetID())
    scan.CreateDefaultDisplayNodes()
    scan.GetDisplayNode().SetAutoWindowLevel(False)
    scan.GetDisplayNode().SetWindowLevel(77, 33)
    result = result_of(like=bridge.volume_from_node(scan), low=voxels(seed=9))
    low = run_results.add_result(scene, result, scan)["low"]
    bridge.mask_to_segmentation(scene, scan, scan, "brain", 10.0)
    tables.plot_lines(scene, "curve", [0, 1], {"real": [1, 2]}, "x", "y")
    series = [
        replace(result.outputs["low"], acquisition=Acquisition(time_s=time)) for time in (0.5, 2.25)
    ]
    bridge.sequence_from_series(scene, series, "phases SYNTHETIC")
    state = {"inputs": {"pre": scan, "low": low}, "dose": 0.25, "text": PROVENANCE["note"]}
    parameters = scene.AddNewNodeByClass("vtkMRMLScriptedModuleNode", "ContrastSynth")
    saved_state.save_state(parameters, state)
    path = tmp_path / f"scene{suffix}"
    save(scene, path)
    environment = os.environ | {
        "PYTHONPATH": f"{HERE}{os.pathsep}{HERE.parents[1] / 'ContrastSynth'}"
    }
    done = subprocess.run(
        [sys.executable, "-c", READ_AGAIN, path],
        env=environment, cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    message = json.loads(done.stdout.splitlines()[-1])
    assert message["state"] == state | {
        "inputs": {"pre": "scan", "low": "SYNTHETIC low, sphere: scan"}
    }
    expected = {name: low.GetAttribute(name) for name in low.GetAttributeNames()}
    assert expected == {name: message["attributes"][name] for name in expected}
    np.testing.assert_array_equal(message["array"], voxels())
    assert_close(message["grid"], FIRST @ OBLIQUE, 1e-6)
    assert_close(message["low"], message["grid"])
    np.testing.assert_array_equal(message["mask"], voxels() > 10)
    assert message["times"] == [0.5, 2.25]
    np.testing.assert_array_equal(message["series"], voxels(seed=9))
    assert (message["synthetic"], message["series synthetic"]) == (MARK, MARK)
    assert message["window"] == 77
    assert message["parent"]
    assert message["in place"]


def save(scene, path):
    """Save as Slicer does: what has a file first, then the scene that names the files."""
    if path.suffix == ".mrb":
        assert scene.WriteToMRB(str(path))
        return
    scene.SetURL(str(path))
    scene.SetRootDirectory(str(path.parent))
    for node in slicer.util.getNodesByClass("vtkMRMLStorableNode", scene):
        if not node.GetSaveWithScene() or node.IsA("vtkMRMLColorNode"):
            continue
        assert node.AddDefaultStorageNode()
        storage = node.GetStorageNode()
        suffix = storage.GetDefaultWriteFileExtension()
        storage.SetFileName(str(path.parent / f"{node.GetID()}.{suffix}"))
        assert storage.WriteData(node)
    assert scene.Commit(str(path))


def test_a_volume_taken_out_of_a_saved_scene_still_says_that_it_is_synthetic(scene, tmp_path):
    """Slicer writes a node's attributes into the header of its file."""
    array = np.arange(60, dtype=np.float32).reshape(3, 4, 5)
    volume = Volume(array, Grid((5, 4, 3)), synthetic="by ContrastSynth 0 toy, for research only")
    node = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "any name")
    bridge.fill_node(node, volume, volume.grid.index_to_ras, None)
    storage = slicer.vtkMRMLNRRDStorageNode()
    storage.SetFileName(str(tmp_path / "any name.nrrd"))
    assert storage.WriteData(node)
    assert read_volume(tmp_path / "any name.nrrd").synthetic == volume.synthetic
