"""Dynamic series through files of every kind, against nibabel and Slicer's reader and writer."""

from __future__ import annotations

import gzip
from dataclasses import replace

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk
from scipy.spatial.transform import Rotation

from ContrastSynthLib.acquisition import Acquisition
from ContrastSynthLib.errors import RequestError
from ContrastSynthLib.files.images import write_volume
from ContrastSynthLib.files.series import holds_series, read_series, write_series
from ContrastSynthLib.geometry import Grid
from ContrastSynthLib.volumes import Series, Volume, times_of

TIMES_S = [0.0, 85.0, 155.0, 225.25, 1e3 / 3]
ARRAY = np.random.default_rng(3).normal(100, 20, (5, 4, 3, 6)).astype(np.float32)
TURNED = Rotation.from_euler("xyz", [20, -35, 50], degrees=True).as_matrix()
GRID = Grid((6, 3, 4), (0.9, 1.3, 2.7), (-12.3, 45.6, 1 / 3), tuple(TURNED.ravel()))
ACQUISITION = Acquisition(repetition_time_s=0.004, flip_angle_deg=12.0, agent="gadobutrol")


def series(times_s=TIMES_S, synthetic=None):
    return [
        Volume(array, GRID, replace(ACQUISITION, time_s=time), synthetic)
        for array, time in zip(ARRAY, times_s, strict=True)
    ]


def image_4d(interval_s=16.43, start_s=0.0):
    image = sitk.GetImageFromArray(ARRAY, isVector=False)
    image.SetSpacing((*GRID.spacing_mm, interval_s))
    image.SetOrigin((*GRID.origin_mm, start_s))
    direction = np.eye(4)
    direction[:3, :3] = TURNED
    image.SetDirection(direction.ravel().tolist())
    return image


def sequence_text(kinds, sizes, directions, extra, units=""):
    return (
        "NRRD0005\ntype: float\ndimension: 4\nspace: left-posterior-superior\n"
        f"sizes: {sizes}\nspace directions: {directions}\nkinds: {kinds}\n{units}endian: little\n"
        f"encoding: raw\nspace origin: (1,2,3)\n{extra}\n\n"
    ).encode()


def list_first(path, extra, units='labels: "time" "" "" ""\nunits: "s" "" "" ""\n'):
    directions = "none (0,0,-2) (1,0,0) (0,-3,0)"
    text = sequence_text("list domain domain domain", "5 6 3 4", directions, extra, units)
    path.write_bytes(text + np.ascontiguousarray(np.moveaxis(ARRAY, 0, -1)).tobytes())
    return path


def list_last(path, extra, units='labels: "" "" "" "time"\nunits: "" "" "" "s"\n'):
    directions = "(0,0,-2) (1,0,0) (0,-3,0) none"
    text = sequence_text("domain domain domain list", "6 3 4 5", directions, extra, units)
    path.write_bytes(text + ARRAY.tobytes())
    return path


def test_a_sequence_comes_back_as_it_was_written(tmp_path):
    path = tmp_path / "Série à temps.seq.nrrd"
    write_series(series(), path)
    back = read_series(path)
    for volume, original in zip(back, series(), strict=True):
        np.testing.assert_array_equal(volume.array, original.array)
        matrices = volume.grid.index_to_lps, original.grid.index_to_lps
        np.testing.assert_allclose(*matrices, rtol=0, atol=1e-12)
        assert volume.acquisition == original.acquisition
        assert type(volume.acquisition.time_s) is float
        assert volume.synthetic is None
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_one_synthetic_volume_makes_the_file_synthetic(tmp_path):
    volumes = series()
    volumes[3] = replace(volumes[3], synthetic="by a test, for research only")
    volumes[0] = replace(volumes[0], acquisition=replace(ACQUISITION, agent=None, time_s=0.0))
    write_series(volumes, tmp_path / "a.seq.nrrd")
    back = read_series(tmp_path / "a.seq.nrrd")
    assert {volume.synthetic for volume in back} == {"by a test, for research only"}
    # What the volumes do not share is left out.
    assert {volume.acquisition.agent for volume in back} == {None}
    assert {volume.acquisition.flip_angle_deg for volume in back} == {12.0}


@pytest.mark.parametrize("name", ["a.nrrd", "a.mha", "a.nii", "a.nii.gz"])
def test_the_frame_interval_of_a_4d_image(tmp_path, name):
    sitk.WriteImage(image_4d(start_s=7.5), str(tmp_path / name))
    back = read_series(tmp_path / name)
    np.testing.assert_allclose(times_of(back), 7.5 + 16.43 * np.arange(5), rtol=1e-6)
    np.testing.assert_array_equal([volume.array for volume in back], ARRAY)
    np.testing.assert_allclose(back[2].grid.index_to_lps, GRID.index_to_lps, atol=1e-4)


@pytest.mark.parametrize(("unit", "factor"), [("sec", 1), ("msec", 1e3), ("usec", 1e6)])
def test_nifti_tells_its_unit_of_time(tmp_path, unit, factor):
    image = nibabel.Nifti1Image(ARRAY.T, np.diag([1.0, 2.0, 3.0, 1.0]))
    image.header.set_xyzt_units("mm", unit)
    image.header["pixdim"][4] = 16.5 * factor
    nibabel.save(image, tmp_path / "a.nii.gz")
    back = read_series(tmp_path / "a.nii.gz")
    np.testing.assert_allclose(times_of(back), 16.5 * np.arange(5), rtol=1e-6)
    np.testing.assert_array_equal([volume.array for volume in back], ARRAY)


@pytest.mark.parametrize(("write", "axis"), [(list_first, 0), (list_last, 3)])
def test_slicers_sequences_have_their_axis_first_or_last(tmp_path, write, axis):
    index = f"axis {axis} index type:=numeric\naxis {axis} index values:=0 85 155 225.5 295"
    back = read_series(write(tmp_path / "a.seq.nrrd", index))
    assert times_of(back).tolist() == [0, 85, 155, 225.5, 295]
    np.testing.assert_array_equal([volume.array for volume in back], ARRAY)
    # Columns of the matrix are the axes i, j, k as the header gives them.
    expected = [[0, 1, 0, 1], [0, 0, -3, 2], [-2, 0, 0, 3], [0, 0, 0, 1]]
    np.testing.assert_allclose(back[0].grid.index_to_lps, expected)


@pytest.mark.parametrize(
    ("units", "expected"),
    [
        ('labels: "time" "" "" ""\nunits: "ms" "" "" ""\n', [0, 0.1, 0.2, 0.3, 0.4]),
        ('labels: "time" "" "" ""\n', [0, 100, 200, 300, 400]),
        ('labels: "frame" "" "" ""\n', None),
        ('labels: "angle" "" "" ""\nunits: "deg" "" "" ""\n', None),
    ],
)
def test_an_index_counts_only_when_it_is_a_time(tmp_path, units, expected):
    index = "axis 0 index type:=numeric\naxis 0 index values:=0 100 200 300 400"
    path = list_first(tmp_path / "a.seq.nrrd", index, units)
    if expected is None:
        with pytest.raises(RequestError, match="does not say when"):
            read_series(path)
    else:
        np.testing.assert_allclose(times_of(read_series(path)), expected)


@pytest.mark.parametrize(("tag", "told"), [("TriggerTime", True), ("EchoTime", False)])
def test_a_multivolume_lists_milliseconds(tmp_path, tag, told):
    keys = (
        f"MultiVolume.FrameIdentifyingDICOMTagName:={tag}\n"
        "MultiVolume.FrameIdentifyingDICOMTagUnits:=ms\n"
        "MultiVolume.FrameLabels:=0,16430,32860,49290,65720"
    )
    path = list_first(tmp_path / "a.nrrd", keys, units="")
    if told:
        np.testing.assert_allclose(times_of(read_series(path)), 16.43 * np.arange(5))
    else:
        with pytest.raises(RequestError, match="does not say when"):
            read_series(path)


def test_slicer_reads_what_we_write_and_we_read_what_it_writes(tmp_path):
    import slicer_core
    import vtk
    from vtk.util.numpy_support import vtk_to_numpy

    ours, theirs = tmp_path / "ours.seq.nrrd", tmp_path / "theirs.seq.nrrd"
    write_series(series(synthetic="by a test"), ours)
    scene = slicer_core.vtkMRMLScene()
    sequence = slicer_core.vtkMRMLSequenceNode()
    storage = slicer_core.vtkMRMLVolumeSequenceStorageNode()
    scene.AddNode(sequence)
    scene.AddNode(storage)
    storage.SetFileName(str(ours))
    assert storage.ReadData(sequence)
    assert (sequence.GetIndexName(), sequence.GetIndexUnit()) == ("time", "s")
    assert sequence.GetAttribute("SYNTHETIC") == "by a test"
    values = [float(sequence.GetNthIndexValue(n)) for n in range(5)]
    assert values == TIMES_S
    # Slicer may flip an axis; a voxel must stay where it is in the patient.
    node, matrix = sequence.GetNthDataNode(3), vtk.vtkMatrix4x4()
    node.GetIJKToRASMatrix(matrix)
    to_ras = np.reshape([matrix.GetElement(r, c) for r in range(4) for c in range(4)], (4, 4))
    image = node.GetImageData()
    voxels = vtk_to_numpy(image.GetPointData().GetScalars()).reshape(image.GetDimensions()[::-1])
    for kji in [(0, 0, 0), (3, 1, 5), (2, 2, 1)]:
        ras = GRID.ras_from_index(kji)
        i, j, k = np.rint(np.linalg.inv(to_ras) @ [*ras, 1])[:3].astype(int)
        assert voxels[k, j, i] == ARRAY[3][kji]

    storage.SetFileName(str(theirs))
    assert storage.WriteData(sequence)
    back = read_series(theirs)
    np.testing.assert_allclose(times_of(back), TIMES_S)
    assert back[0].synthetic == "by a test"
    at = back[3].grid.index_from_ras(GRID.ras_from_index((3, 1, 5)))
    assert back[3].array[tuple(np.rint(at).astype(int))] == ARRAY[3, 3, 1, 5]


def test_given_times_replace_those_of_the_file(tmp_path):
    sitk.WriteImage(image_4d(), str(tmp_path / "a.mha"))
    assert times_of(read_series(tmp_path / "a.mha", TIMES_S)).tolist() == TIMES_S
    with pytest.raises(RequestError, match="4 times for 5 volumes"):
        read_series(tmp_path / "a.mha", TIMES_S[:4])
    with pytest.raises(RequestError, match="do not increase"):
        read_series(tmp_path / "a.mha", [0, 85, 85, 155, 225])
    with pytest.raises(RequestError, match="do not increase"):
        read_series(tmp_path / "a.mha", [0, 85, np.nan, 155, 225])


def test_an_interval_of_one_second_is_no_interval(tmp_path):
    sitk.WriteImage(image_4d(interval_s=1.0), str(tmp_path / "a.nii"))
    with pytest.raises(RequestError, match="--times 0,85,155"):
        read_series(tmp_path / "a.nii")
    assert len(read_series(tmp_path / "a.nii", [0, 1, 2, 3, 4])) == 5


def test_what_is_no_series_is_refused(tmp_path):
    sitk.WriteImage(image_4d()[:, :, :, 0], str(tmp_path / "volume.nrrd"))
    with pytest.raises(RequestError, match="6 x 3 x 4 voxels with no time axis"):
        read_series(tmp_path / "volume.nrrd")
    colours = sitk.GetImageFromArray(np.moveaxis(ARRAY, 0, -1), isVector=True)
    sitk.WriteImage(colours, str(tmp_path / "vector.nrrd"))
    with pytest.raises(RequestError, match="5 values in each voxel"):
        read_series(tmp_path / "vector.nrrd")
    with pytest.raises(RequestError, match="no such file"):
        read_series(tmp_path / "none.nrrd")
    with pytest.raises(RequestError, match="a folder"):
        read_series(tmp_path)
    (tmp_path / "a.txt").write_text("0 1 2")
    with pytest.raises(RequestError, match="not a format of images"):
        read_series(tmp_path / "a.txt")
    (tmp_path / "text.nrrd").write_text("not an image")
    with pytest.raises(RequestError, match="cannot be read as an image"):
        read_series(tmp_path / "text.nrrd")
    bad = list_last(tmp_path / "nan.seq.nrrd", "axis 3 index values:=0 1 2 3 4.5")
    bad.write_bytes(bad.read_bytes()[:-4] + np.float32(np.nan).tobytes())
    with pytest.raises(RequestError, match="1 voxels are not finite"):
        read_series(bad)


def test_a_damaged_sequence_is_refused(tmp_path):
    path = tmp_path / "a.seq.nrrd"
    write_series(series(), path)
    content = path.read_bytes()
    start = content.index(b"\n\n") + 2
    path.write_bytes(content[:start] + gzip.compress(ARRAY.tobytes()[:-100]))
    with pytest.raises(RequestError, match="truncated or damaged"):
        read_series(path)


def test_what_cannot_be_written_is_told(tmp_path):
    with pytest.raises(RequestError, match=r"written as \.seq\.nrrd"):
        write_series(series(), tmp_path / "a.nii.gz")
    with pytest.raises(RequestError, match="one volume at least"):
        write_series([], tmp_path / "a.seq.nrrd")
    with pytest.raises(RequestError, match="do not increase"):
        write_series(series()[::-1], tmp_path / "a.seq.nrrd")
    unknown = series()
    unknown[2] = replace(unknown[2], acquisition=ACQUISITION)
    with pytest.raises(RequestError, match="Volume 2 of the series has no time"):
        write_series(unknown, tmp_path / "a.seq.nrrd")
    other = series()
    other[1] = Volume(ARRAY[1], replace(GRID, origin_mm=(0.0, 0.0, 0.0)), other[1].acquisition)
    with pytest.raises(RequestError, match="different grids"):
        write_series(other, tmp_path / "a.seq.nrrd")
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(RequestError, match="could not be written"):
        write_series(series(), tmp_path / "file" / "a.seq.nrrd")
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_a_series_of_one_volume_is_a_series(tmp_path):
    write_series(series()[3:4], tmp_path / "a.seq.nrrd")
    (back,) = read_series(tmp_path / "a.seq.nrrd")
    np.testing.assert_array_equal(back.array, ARRAY[3])
    assert back.acquisition.time_s == TIMES_S[3]
    assert holds_series(tmp_path / "a.seq.nrrd")


def test_a_series_is_known_by_its_header(tmp_path):
    write_series(series(), tmp_path / "a.seq.nrrd")
    write_volume(series()[0], tmp_path / "b.nrrd")
    (tmp_path / "c.nrrd").write_text("no image")
    found = {name: holds_series(tmp_path / name) for name in ("a.seq.nrrd", "b.nrrd", "c.nrrd", "")}
    assert found == {"a.seq.nrrd": True, "b.nrrd": False, "c.nrrd": False, "": False}


# The value


def test_a_series_holds_volumes_and_times():
    made = Series(tuple(series()))
    assert len(made) == 5
    assert made.times_s.tolist() == TIMES_S
    assert made.grid == GRID
    np.testing.assert_array_equal(made.array, ARRAY)
    assert [volume.acquisition.time_s for volume in made] == TIMES_S


def test_other_frames_at_other_times():
    made = Series(tuple(series(synthetic="by a test"))).with_frames(ARRAY[:2] * 2, [10, 20])
    assert made.times_s.tolist() == [10, 20]
    np.testing.assert_array_equal(made.array, ARRAY[:2] * 2)
    with pytest.raises(RequestError, match="do not increase"):
        made.with_frames(ARRAY[:2], [20, 10])
    with pytest.raises(RequestError, match="3 times for 2 volumes"):
        made.with_frames(ARRAY[:2], [1, 2, 3])


def test_volumes_that_make_no_series_are_refused():
    with pytest.raises(RequestError, match="there is none"):
        Series(())
    with pytest.raises(RequestError, match="do not increase"):
        Series(tuple(series()[::-1]))
    timeless = [replace(volume, acquisition=ACQUISITION) for volume in series()]
    with pytest.raises(RequestError, match="Volume 0 of the series has no time"):
        Series(tuple(timeless))
    moved = replace(series()[1], grid=replace(GRID, origin_mm=(0.0, 0.0, 0.0)))
    with pytest.raises(RequestError, match="different grids"):
        Series((series()[0], moved))
