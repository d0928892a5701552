"""Where voxels lie: by hand, by nibabel, by Slicer's own reader, and after writing and reading."""

from __future__ import annotations

from dataclasses import replace

import nibabel
import numpy as np
import pytest
import slicer
import vtk
from scipy.spatial.transform import Rotation
from vtk.util.numpy_support import vtk_to_numpy

from ContrastSynthLib.errors import RequestError
from ContrastSynthLib.files.images import READABLE, WRITABLE, read_volume, write_volume
from ContrastSynthLib.geometry import Grid, grid_table, refuse_shear
from ContrastSynthLib.volumes import Volume, check_same_grid

# One voxel above all others, at a corner of no symmetry: array[k, j, i].
SHAPE = (4, 5, 7)
MARKER = (3, 1, 5)
ROTATION = Rotation.from_euler("xyz", (17, -31, 52), degrees=True).as_matrix()
SPACING_MM = np.array([0.7, 1.3, 3.1])
ORIGIN_RAS_MM = np.array([41.5, -12.25, 7.125])
ORTHOGONAL_AXES = {
    "oblique": ROTATION,
    "flipped": ROTATION * (-1, 1, -1),
    "mirrored": ROTATION * (1, -1, 1),
    "permuted": np.eye(3)[:, [2, 0, 1]],
}
NIFTI_MM = 2e-5  # single precision at about 50 mm


def voxels():
    array = np.random.default_rng(3).uniform(0, 50, SHAPE).astype(np.float32)
    array[MARKER] = 100
    return array


def ras_matrix(axes):
    """Matrix from (i, j, k, 1) to RAS, written down without any of the library's code."""
    matrix = np.eye(4)
    matrix[:3, :3] = axes * SPACING_MM
    matrix[:3, 3] = ORIGIN_RAS_MM
    return matrix


def marker_ras(axes):
    k, j, i = MARKER
    steps = axes * SPACING_MM
    return ORIGIN_RAS_MM + i * steps[:, 0] + j * steps[:, 1] + k * steps[:, 2]


def volume_at(axes):
    """The same voxels as a Volume, whose grid is given in LPS."""
    flip = np.array([-1, -1, 1])
    grid = Grid(
        size=SHAPE[::-1],
        spacing_mm=tuple(SPACING_MM),
        origin_mm=tuple(ORIGIN_RAS_MM * flip),
        direction=tuple((axes * flip[:, None]).ravel()),
    )
    return Volume(voxels(), grid)


# Files written by others


def text_vector(values):
    return "(" + ",".join(f"{value:.17g}" for value in values) + ")"


def nrrd_header(matrix, space, data_file=""):
    lines = [
        "NRRD0004",
        "type: float",
        "dimension: 3",
        f"space: {space}",
        "sizes: " + " ".join(str(n) for n in SHAPE[::-1]),
        "space directions: " + " ".join(text_vector(column) for column in matrix[:3, :3].T),
        "kinds: domain domain domain",
        "endian: little",
        "encoding: raw",
        "space origin: " + text_vector(matrix[:3, 3]),
    ]
    return "\n".join([*lines, *([f"data file: {data_file}"] if data_file else [])]) + "\n\n"


def meta_header(matrix_lps, data_file):
    axes = matrix_lps[:3, :3]
    spacing = np.linalg.norm(axes, axis=0)
    fields = {
        "ObjectType": "Image",
        "NDims": "3",
        "BinaryData": "True",
        "BinaryDataByteOrderMSB": "False",
        "TransformMatrix": " ".join(f"{n:.17g}" for n in (axes / spacing).T.ravel()),
        "Offset": " ".join(f"{n:.17g}" for n in matrix_lps[:3, 3]),
        "ElementSpacing": " ".join(f"{n:.17g}" for n in spacing),
        "DimSize": " ".join(str(n) for n in SHAPE[::-1]),
        "ElementType": "MET_FLOAT",
        "ElementDataFile": data_file,
    }
    return "".join(f"{key} = {value}\n" for key, value in fields.items())


def write_by_hand(path, matrix_ras, space="right-anterior-superior"):
    data = voxels().tobytes()
    to_lps = np.diag([-1, -1, 1, 1])
    suffix = "".join(path.suffixes)
    if suffix in (".nii", ".nii.gz"):
        nibabel.save(nibabel.Nifti1Image(voxels().transpose(2, 1, 0), matrix_ras), path)
    elif suffix in (".nrrd", ".nhdr"):
        right_handed_as = np.eye(4) if space.startswith("right") else to_lps
        raw = "voxels.raw" if suffix == ".nhdr" else ""
        header = nrrd_header(right_handed_as @ matrix_ras, space, raw).encode()
        path.write_bytes(header if raw else header + data)
    else:
        raw = "voxels.raw" if suffix == ".mhd" else "LOCAL"
        header = meta_header(to_lps @ matrix_ras, raw).encode()
        path.write_bytes(header if suffix == ".mhd" else header + data)
    if suffix in (".nhdr", ".mhd"):
        (path.parent / "voxels.raw").write_bytes(data)


def assert_marker(volume, expected_ras, tolerance_mm):
    found = np.unravel_index(volume.array.argmax(), volume.array.shape)
    assert found == MARKER
    np.testing.assert_allclose(
        volume.grid.ras_from_index(found), expected_ras, rtol=0, atol=tolerance_mm
    )
    np.testing.assert_allclose(
        volume.grid.index_from_ras(expected_ras), MARKER, rtol=0, atol=tolerance_mm
    )


@pytest.mark.parametrize("suffix", [s for s in READABLE if s != ".dcm"])
@pytest.mark.parametrize("name", ORTHOGONAL_AXES)
def test_marker_in_a_file_of_others_is_found_where_it_is(tmp_path, suffix, name):
    axes = ORTHOGONAL_AXES[name]
    path = tmp_path / f"scan{suffix}"
    write_by_hand(path, ras_matrix(axes))
    volume = read_volume(path)
    np.testing.assert_array_equal(volume.array, voxels())
    assert_marker(volume, marker_ras(axes), NIFTI_MM if "nii" in suffix else 1e-9)


def test_both_spaces_of_nrrd_mean_the_same_place(tmp_path):
    grids = []
    for space in ("right-anterior-superior", "left-posterior-superior"):
        path = tmp_path / f"{space}.nrrd"
        write_by_hand(path, ras_matrix(ROTATION), space)
        grids.append(read_volume(path).grid)
    assert grids[0].corner_distance_mm(grids[1]) < 1e-9


# Files read by others


def read_by_slicer(path):
    scene = slicer.vtkMRMLScene()
    storage = scene.AddNewNodeByClass("vtkMRMLVolumeArchetypeStorageNode")
    node = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode")
    storage.SetFileName(str(path))
    assert storage.ReadData(node)
    matrix = vtk.vtkMatrix4x4()
    node.GetIJKToRASMatrix(matrix)
    image = node.GetImageData()
    array = vtk_to_numpy(image.GetPointData().GetScalars()).reshape(image.GetDimensions()[::-1])
    return array, np.array([[matrix.GetElement(r, c) for c in range(4)] for r in range(4)])


@pytest.mark.parametrize("suffix", WRITABLE)
@pytest.mark.parametrize("name", ORTHOGONAL_AXES)
def test_slicer_sees_our_marker_where_it_is(tmp_path, suffix, name):
    axes = ORTHOGONAL_AXES[name]
    path = tmp_path / f"result{suffix}"
    write_volume(volume_at(axes), path)
    array, matrix = read_by_slicer(path)
    tolerance = NIFTI_MM if "nii" in suffix else 1e-9
    if name != "mirrored":  # Slicer turns the slices of a left-handed grid round as it reads
        np.testing.assert_allclose(matrix, ras_matrix(axes), rtol=0, atol=tolerance)
    k, j, i = np.unravel_index(array.argmax(), array.shape)
    found = (matrix @ (i, j, k, 1))[:3]
    np.testing.assert_allclose(found, marker_ras(axes), rtol=0, atol=5 * tolerance)


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
@pytest.mark.parametrize("name", ORTHOGONAL_AXES)
def test_nibabel_sees_our_marker_where_it_is(tmp_path, suffix, name):
    axes = ORTHOGONAL_AXES[name]
    path = tmp_path / f"result{suffix}"
    write_volume(volume_at(axes), path)
    image = nibabel.load(path)
    data = np.asarray(image.dataobj)
    assert data.dtype == np.float32
    np.testing.assert_array_equal(data.transpose(2, 1, 0), voxels())
    for affine in (image.affine, image.get_qform()):
        ijk = np.unravel_index(data.argmax(), data.shape)
        np.testing.assert_allclose(
            nibabel.affines.apply_affine(affine, ijk), marker_ras(axes), rtol=0, atol=NIFTI_MM
        )


def test_header_of_our_nrrd_by_hand(tmp_path):
    path = tmp_path / "result.nrrd"
    write_volume(volume_at(ROTATION), path, compress=False)
    head, _, data = path.read_bytes().partition(b"\n\n")
    fields = dict(line.split(": ", 1) for line in head.decode().splitlines() if ": " in line)
    assert fields["space"] == "left-posterior-superior"
    numbers = fields["space directions"].replace("(", "").replace(")", "").replace(",", " ")
    directions = np.array(numbers.split(), float).reshape(3, 3).T
    origin = np.array(fields["space origin"].strip("()").split(","), float)
    array = np.frombuffer(data, "<f4").reshape(SHAPE)
    k, j, i = np.unravel_index(array.argmax(), SHAPE)
    lps = origin + directions @ (i, j, k)
    np.testing.assert_allclose(lps * (-1, -1, 1), marker_ras(ROTATION), atol=1e-9)


@pytest.mark.parametrize("codes", [(1, 1), (2, 1), (1, 2), (0, 1), (1, 0)])
def test_of_two_matrices_in_a_nifti_we_take_the_one_that_slicer_takes(tmp_path, codes):
    """Programs disagree on which counts; what stands beside it in Slicer must stay beside it."""
    path = tmp_path / "scan.nii"
    image = nibabel.Nifti1Image(voxels().transpose(2, 1, 0), ras_matrix(ROTATION))
    image.set_sform(ras_matrix(ROTATION), codes[0])
    image.set_qform(ras_matrix(np.eye(3)), codes[1])
    nibabel.save(image, path)
    _, matrix = read_by_slicer(path)
    np.testing.assert_allclose(read_volume(path).grid.index_to_ras, matrix, atol=NIFTI_MM)


# Writing and reading again


def random_grid(rng):
    """Oblique, flipped, permuted and anisotropic; every third one slice thick."""
    axes = Rotation.random(rng=rng).as_matrix()
    if rng.random() < 0.25:
        axes = np.eye(3)[:, rng.permutation(3)]
    axes = axes * rng.choice([-1, 1], 3)
    size = rng.integers(1, 6, 3)
    size[rng.integers(3)] = 5
    if rng.random() < 1 / 3:
        size[2] = 1
    return Grid(
        size=tuple(int(n) for n in size),
        spacing_mm=tuple(np.exp(rng.uniform(np.log(0.05), np.log(12), 3))),
        origin_mm=tuple(rng.uniform(-500, 500, 3)),
        direction=tuple(axes.ravel()),
    )


def random_volumes(seed, count=200):
    rng = np.random.default_rng(seed)
    for _ in range(count):
        grid = random_grid(rng)
        yield Volume(rng.normal(0, 1000, grid.shape).astype(np.float32), grid)


@pytest.mark.parametrize("suffix", [".nrrd", ".mha"])
def test_200_random_grids_come_back_exactly(tmp_path, suffix):
    path = tmp_path / f"volume{suffix}"
    slices = 0
    for n, volume in enumerate(random_volumes(11)):
        write_volume(volume, path, compress=n % 2 == 0)
        again = read_volume(path)
        np.testing.assert_array_equal(again.array, volume.array)
        assert again.grid.size == volume.grid.size
        for part in ("origin_mm", "spacing_mm", "direction"):
            np.testing.assert_allclose(
                getattr(again.grid, part), getattr(volume.grid, part), rtol=0, atol=1e-9
            )
        slices += volume.grid.size[2] == 1
    assert slices > 30


def test_200_random_grids_come_back_from_nifti_in_single_precision(tmp_path):
    path = tmp_path / "volume.nii"
    for volume in random_volumes(12):
        write_volume(volume, path)
        again = read_volume(path)
        np.testing.assert_array_equal(again.array, volume.array)
        # 24 bits of up to 500 mm, and of a quaternion's four numbers.
        assert again.grid.corner_distance_mm(volume.grid) < 2e-4
        np.testing.assert_allclose(again.grid.spacing_mm, volume.grid.spacing_mm, rtol=1e-6)
        np.testing.assert_allclose(again.grid.direction, volume.grid.direction, atol=1e-6)
        assert again.grid.is_same(volume.grid)


def test_indices_and_points_are_each_others_inverse():
    for volume in random_volumes(13, 20):
        kji = np.random.default_rng(1).uniform(-3, 9, (2, 5, 3))
        points = volume.grid.ras_from_index(kji)
        np.testing.assert_allclose(volume.grid.index_from_ras(points), kji, atol=1e-9)
        homogeneous = np.array([*kji[1, 2, ::-1], 1])
        expected = (volume.grid.index_to_ras @ homogeneous)[:3]
        np.testing.assert_allclose(points[1, 2], expected, atol=1e-9)


# Sheared grids


def sheared(amount):
    matrix = ras_matrix(ROTATION)
    matrix[:3, 1] += amount * np.linalg.norm(matrix[:3, 1]) * ROTATION[:, 0]
    return matrix


@pytest.mark.parametrize("suffix", [".nrrd", ".nhdr", ".mha"])
def test_sheared_files_are_refused(tmp_path, suffix):
    path = tmp_path / f"scan{suffix}"
    write_by_hand(path, sheared(2e-3))
    with pytest.raises(RequestError, match=rf"scan{suffix}: The grid is sheared.*0\.002"):
        read_volume(path)
    write_by_hand(path, sheared(2e-5))
    np.testing.assert_allclose(read_volume(path).grid.index_to_ras, sheared(2e-5), atol=1e-9)


@pytest.mark.parametrize("with_qform", [False, True])
@pytest.mark.parametrize("amount", [0.005, 0.1])
def test_sheared_nifti_is_refused_even_beside_an_orthogonal_qform(tmp_path, with_qform, amount):
    path = tmp_path / "scan.nii.gz"
    image = nibabel.Nifti1Image(voxels().transpose(2, 1, 0), sheared(amount))
    image.set_sform(sheared(amount), 1)
    image.set_qform(ras_matrix(ROTATION), int(with_qform))
    nibabel.save(image, path)
    with pytest.raises(RequestError, match=r"The grid is sheared|only supports orthonormal"):
        read_volume(path)


@pytest.mark.filterwarnings("error")
def test_a_sheared_matrix_that_is_switched_off_does_not_count(tmp_path):
    path = tmp_path / "scan.nii.gz"
    image = nibabel.Nifti1Image(voxels().transpose(2, 1, 0), sheared(0.1))
    image.set_sform(sheared(0.1), 0)
    image.set_qform(ras_matrix(ROTATION), 1)
    nibabel.save(image, path)
    assert_marker(read_volume(path), marker_ras(ROTATION), NIFTI_MM)


def test_shear_of_directions():
    refuse_shear(ROTATION)
    refuse_shear(ROTATION * (1, -1, 1))
    for wrong in (ROTATION * (1, 1.01, 1), np.ones((3, 3)), np.full((3, 3), np.nan)):
        with pytest.raises(RequestError, match="sheared"):
            refuse_shear(wrong)


@pytest.mark.parametrize("step", [0.0, np.nan, np.inf])
def test_axes_without_length_are_refused(step):
    matrix = np.diag([1.0, step, 1.0, 1.0])
    with pytest.raises(RequestError, match="not positive and finite"):
        Grid.from_index_to_lps((3, 3, 3), matrix)


def test_a_sheared_matrix_makes_no_grid():
    with pytest.raises(RequestError, match="sheared"):
        Grid.from_index_to_lps((7, 5, 4), sheared(0.01))
    grid = Grid.from_index_to_lps((7, 5, 4), ras_matrix(ROTATION))
    np.testing.assert_allclose(grid.index_to_lps, ras_matrix(ROTATION), atol=1e-12)


# Comparing grids


def test_known_points_of_a_plain_grid():
    grid = Grid((10, 20, 30), (2.0, 3.0, 4.0), (100.0, 200.0, 300.0))
    assert grid.shape == (30, 20, 10)
    assert grid.voxel_volume_ml == pytest.approx(0.024)
    np.testing.assert_allclose(grid.ras_from_index((5, 3, 1)), (-102, -209, 320))
    np.testing.assert_allclose(grid.index_from_ras((-102, -209, 320)), (5, 3, 1))


def test_same_grid_bears_single_precision_but_no_motion():
    grid = volume_at(ROTATION).grid
    for shift_mm, same in ((5e-5, True), (0.1, False)):
        other = replace(grid, origin_mm=tuple(np.add(grid.origin_mm, (0, shift_mm, 0))))
        assert grid.corner_distance_mm(other) == pytest.approx(shift_mm, rel=1e-6)
        assert grid.is_same(other) is same
    # A rotation keeps the first voxel, but not the far corner.
    turned = Rotation.from_euler("z", 0.5, degrees=True).as_matrix() @ ROTATION
    other = replace(grid, direction=tuple((turned * [[-1], [-1], [1]]).ravel()))
    assert not grid.is_same(other)
    assert not grid.is_same(replace(grid, size=(7, 5, 3)))


def test_the_table_marks_what_differs_and_nothing_else():
    first = Grid((10, 20, 30), (1.0, 1.0, 2.5))
    second = replace(first, origin_mm=(0.0, 0.0, 7.5))
    third = replace(first, direction=(-1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, -1.0))
    rows = {
        line.split("  ")[0]: line
        for line in grid_table({"pre": first, "post": second, "mask": third}).splitlines()
    }
    marked = {label for label, line in rows.items() if line.endswith("<- differs")}
    assert marked == {
        "origin, mm (LPS)",
        "axes point to",
        "direction, i axis",
        "direction, k axis",
        "corners from 'pre', mm",
    }
    assert rows["axes point to"].split()[3:6] == ["LPS", "LPS", "RPI"]
    assert "0 0 7.5" in rows["origin, mm (LPS)"]
    assert rows["corners from 'pre', mm"].split()[4:6] == ["0", "7.5"]


def test_volumes_on_different_grids_are_refused_with_the_table():
    pre = volume_at(ROTATION)
    moved = replace(pre.grid, origin_mm=(1.0, 2.0, 3.0))
    check_same_grid({"pre": pre, "post": pre})
    with pytest.raises(RequestError, match="--align rigid") as caught:
        check_same_grid({"pre": pre, "post": Volume(voxels(), moved)})
    assert grid_table({"pre": pre.grid, "post": moved}) in str(caught.value)
