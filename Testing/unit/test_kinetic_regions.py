"""Several regions at once, maps, the curve at a point, and their tables."""

import csv
import json
from dataclasses import replace

import numpy as np
import pytest
import SimpleITK as sitk

from ContrastSynthLib.acquisition import Acquisition
from ContrastSynthLib.analysis.kinetic_maps import (
    MARK,
    TYPE_COLOURS,
    TYPE_TITLES,
    curve_at,
    kinetic_maps,
)
from ContrastSynthLib.analysis.kinetic_rows import (
    CURVE_COLUMNS,
    MEASURE_COLUMNS,
    curve_rows,
    measure_rows,
)
from ContrastSynthLib.analysis.kinetics import TYPES, mean_curve, measure_curve
from ContrastSynthLib.analysis.kinetics_report import kinetics_report, kinetics_reports
from ContrastSynthLib.cli import main
from ContrastSynthLib.errors import RequestError
from ContrastSynthLib.files.csv_rows import rows_as_csv
from ContrastSynthLib.files.images import read_volume, write_volume
from ContrastSynthLib.files.labels import read_labels
from ContrastSynthLib.files.series import write_series
from ContrastSynthLib.geometry import Grid
from ContrastSynthLib.phantom.breast.patient import breast_patient
from ContrastSynthLib.volumes import Volume, times_of

TIMES_S = [0.0, 85.0, 155.0, 225.0, 295.0]
GRID = Grid.from_index_to_lps(
    (4, 3, 2),
    np.array([[0, -2.0, 0, 10], [1.5, 0, 0, -7], [0, 0, 3.0, 5], [0, 0, 0, 1]]),
)
PERSISTENT = [100.0, 180, 200, 220, 240]
PLATEAU = [100.0, 200, 205, 200, 195]
WASHOUT = [100.0, 220, 190, 170, 150]
FLAT = [100.0, 100, 100, 100, 100]
CURVES = {1: PERSISTENT, 2: PLATEAU, 3: WASHOUT, 0: FLAT}


def pieces():
    """Return a series of four rows of voxels, each with its curve, and their label map."""
    labels = np.broadcast_to(np.arange(4, dtype=np.float32), GRID.shape)
    frames = [
        np.select([labels == n for n in CURVES], [curve[t] for curve in CURVES.values()])
        for t in range(len(TIMES_S))
    ]
    series = [
        Volume(frame, GRID, Acquisition(time_s=time))
        for frame, time in zip(frames, TIMES_S, strict=True)
    ]
    return series, Volume(labels, GRID)


@pytest.fixture(scope="module")
def patient():
    return breast_patient(
        5, size=(96, 96, 24), snr=60.0, lesion_types=["I", "II", "III"], density="a"
    )


def test_maps_are_the_closed_forms_in_every_voxel():
    series, labels = pieces()
    maps = kinetic_maps(series, labels)
    assert all(volume.grid == GRID and volume.synthetic == MARK for volume in maps.values())
    for label, curve in CURVES.items():
        at = labels.array == label
        for name, volume in maps.items():
            assert len(np.unique(volume.array[at])) == 1, name
        assert maps["type"].array[at][0] == label
        if label:
            first, peak, last = curve[0], curve[1], curve[-1]
            change = (last - peak) / peak
            ratio = (peak - first) / (last - first)
            assert maps["delayed_change"].array[at][0] == pytest.approx(change)
            assert maps["signal_enhancement_ratio"].array[at][0] == pytest.approx(ratio)
            assert maps["initial_enhancement"].array[at][0] == pytest.approx(peak / first - 1)
    assert maps["delayed_change"].array[labels.array == 0].max() == 0, "outside of the mask"
    assert set(TYPES) == set(TYPE_TITLES) == set(TYPE_COLOURS)


def test_maps_of_the_phantom_have_the_types_of_its_lesions(patient):
    maps = kinetic_maps(patient.phases)
    for number, lesion in enumerate(patient.lesions, start=1):
        inside = patient.lesion_labels == number
        found = np.bincount(maps["type"].array[inside].astype(int), minlength=4)
        assert TYPES[int(found[1:].argmax()) + 1] == lesion.tissue.type
        # Voxels at a border share it with fat, and may enhance by less than a half.
        assert found[1:].sum() > 0.5 * inside.sum()


def test_maps_in_parts_are_the_maps_of_the_whole(patient, monkeypatch):
    mask = Volume(patient.lesion_labels > 0, patient.phases[0].grid)
    whole = kinetic_maps(patient.phases, mask)
    monkeypatch.setattr("ContrastSynthLib.analysis.kinetic_maps.PART_VOXELS", 7)
    for name, volume in kinetic_maps(patient.phases, mask).items():
        np.testing.assert_array_equal(volume.array, whole[name].array)


def test_maps_without_agent_or_mask_are_refused():
    series, labels = pieces()
    with pytest.raises(RequestError, match="No agent arrives"):
        kinetic_maps(series, labels.array == 0)
    with pytest.raises(RequestError, match="0 voxels"):
        kinetic_maps(series, labels.array == 9)
    with pytest.raises(RequestError, match="different grids"):
        kinetic_maps(series, Volume(labels.array, Grid((4, 3, 2))))


def test_the_curve_at_a_point():
    series, labels = pieces()
    for kji in ((0, 0, 0), (1, 2, 3), (1, 0, 2)):
        found = curve_at(series, GRID.ras_from_index(kji) + 0.3)
        curve = CURVES[int(labels.array[kji])]
        assert found.times_s.tolist() == TIMES_S
        np.testing.assert_allclose(found.values, curve)
        np.testing.assert_allclose(found.enhancement_percent, np.subtract(curve, 100))
    later = curve_at(series, GRID.ras_from_index((0, 0, 1)), baseline_frames=2)
    assert later.enhancement_percent[0] == pytest.approx(100 * (100 / 140 - 1))
    assert curve_at(series, GRID.ras_from_index((0, 0, 4))) is None
    assert curve_at(series, GRID.ras_from_index((-1, 0, 0))) is None
    dark = [volume.with_array(0 * volume.array) for volume in series]
    assert np.isnan(curve_at(dark, GRID.ras_from_index((0, 0, 0))).enhancement_percent).all()


def regions_of(labels):
    named = {"persistent": 1, "plateau": 2, "washout": 3}
    return {name: labels.with_array(labels.array == label) for name, label in named.items()}


def test_each_region_has_the_report_that_it_would_have_alone():
    series, labels = pieces()
    regions = regions_of(labels)
    reports = kinetics_reports(series, None, regions, series)
    assert list(reports) == list(regions)
    for name, mask in regions.items():
        assert reports[name] == kinetics_report(series, None, mask, series)
    assert [report["curve"]["type"] for report in reports.values()] == ["I", "II", "III"]
    regions["nothing"] = labels.with_array(0 * labels.array)
    with pytest.raises(RequestError, match="'nothing': The mask"):
        kinetics_reports(series, None, regions)


def test_rows_of_curves_and_measures():
    series, labels = pieces()
    brighter = [volume.with_array(volume.array * 2) for volume in series[1:3]]
    reports = kinetics_reports(series, None, regions_of(labels), brighter)
    rows = curve_rows(reports)
    assert len(rows) == 3 * (5 + 2), "of the synthetic series only its own phases"
    washout = [row for row in rows if row["region"] == "washout" and row["series"] == "real"]
    assert [row["signal"] for row in washout] == WASHOUT
    assert [row["enhancement_percent"] for row in washout] == pytest.approx([0, 120, 90, 70, 50])
    made = [row for row in rows if row["series"] == "SYNTHETIC"]
    assert {row["time_s"] for row in made} == {85.0, 155.0}
    measures = measure_rows(reports)
    assert [row["type"] for row in measures[::2]] == ["I", "II", "III"]
    expected = measure_curve(TIMES_S, WASHOUT)
    last = measures[-2]
    assert tuple(last) == MEASURE_COLUMNS
    assert last["delayed_change"] == pytest.approx(expected.delayed_change)
    assert last["voxels"] == 6
    assert last["ml"] == pytest.approx(6 * 9 / 1000)
    assert last["functional_tumour_ml"] == last["ml"], "rises by 120 %, SER above 0"
    reports["washout"]["marked_synthetic"] = True
    assert {r["series"] for r in curve_rows({"w": reports["washout"]})} == {"SYNTHETIC"}


def test_a_name_is_no_formula_in_a_table():
    text = rows_as_csv([{"region": "=1+1", "series": "real", "signal": -1.5}], CURVE_COLUMNS)
    assert text.splitlines() == [",".join(CURVE_COLUMNS), "'=1+1,real,,-1.5,"]


# The command line


@pytest.fixture
def folder(tmp_path):
    series, labels = pieces()
    write_series(series, tmp_path / "dce.seq.nrrd")
    write_volume(labels, tmp_path / "labels.nrrd", whole_numbers=True)
    return tmp_path


def kinetics(folder, *more):
    words = ["kinetics", "--series", str(folder / "dce.seq.nrrd")]
    return main([*words, "--mask", str(folder / "labels.nrrd"), *more])


def test_a_table_of_times_overrides_those_of_the_file(folder, capsys):
    table = folder / "times.csv"
    table.write_text("frame;time_s\n1;-10\n2;60\n3;120,5\n4;200\n5;400\n")
    assert kinetics(folder, "--times", str(table), "--json") == 0
    report = json.loads(capsys.readouterr().out)
    assert report["curve"]["times_s"] == [-10, 60, 120.5, 200, 400]
    assert report["times_from"] == "given"
    table.write_text("frame,seconds\n1,0\n")
    assert kinetics(folder, "--times", str(table)) == 2
    assert "no column time_s" in capsys.readouterr().err
    table.write_text("time_s\n0\nsoon\n")
    assert kinetics(folder, "--times", str(table)) == 2
    assert "is not a list of seconds" in capsys.readouterr().err
    assert kinetics(folder, "--times", str(folder / "missing.csv")) == 2
    table.write_text("time_s\n0\n60\n")
    assert kinetics(folder, "--times", str(table)) == 2, "five volumes, two times"


def test_each_label_is_measured_and_tabled(folder, capsys):
    more = ("--each-label", "--csv", str(folder / "out" / "curves.csv"), "--json")
    assert kinetics(folder, *more, "--plot", str(folder / "curves.png")) == 0
    report = json.loads(capsys.readouterr().out)
    assert [one["curve"]["type"] for one in report["regions"].values()] == ["I", "II", "III"]
    assert list(report["regions"]) == ["label 1", "label 2", "label 3"]
    with (folder / "out" / "curves.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 15
    assert float(rows[-1]["enhancement_percent"]) == 50
    with (folder / "out" / "curves-measures.csv").open() as file:
        assert [row["type"] for row in csv.DictReader(file)] == ["I", "II", "III"]
    assert (folder / "curves.png").is_file()
    assert kinetics(folder, *more) == 0, "our own table may be replaced"
    (folder / "out" / "curves.csv").write_text("mine\n")
    assert kinetics(folder, *more) == 2
    assert "no such table" in capsys.readouterr().err
    assert (folder / "out" / "curves.csv").read_text() == "mine\n"
    assert kinetics(folder, "--csv", str(folder / "curves.txt")) == 2


def test_without_the_switch_the_mask_is_one_region(folder, capsys):
    assert kinetics(folder, "--json", "--csv", str(folder / "one.csv")) == 0
    report = json.loads(capsys.readouterr().out)
    series, labels = pieces()
    assert report["curve"]["values"] == pytest.approx(mean_curve(series, labels).tolist())
    with (folder / "one.csv").open() as file:
        assert {row["region"] for row in csv.DictReader(file)} == {"mask"}


def test_the_maps_of_the_command_line_cover_the_series(folder):
    assert kinetics(folder, "--maps", str(folder / "maps"), "--each-label") == 0
    types = read_volume(folder / "maps" / "type.nrrd")
    np.testing.assert_array_equal(types.array, pieces()[1].array)
    assert sitk.ReadImage(str(folder / "maps" / "type.nrrd")).GetPixelID() == sitk.sitkInt16


def test_labels_have_the_names_of_slicers_segments(folder):
    image = sitk.ReadImage(str(folder / "labels.nrrd"))
    for number, (label, name) in enumerate([(2, "Cyst"), (3, "Tumour, left")]):
        image.SetMetaData(f"Segment{number}_LabelValue", str(label))
        image.SetMetaData(f"Segment{number}_Name", name)
    sitk.WriteImage(image, str(folder / "regions.seg.nrrd"))
    regions = read_labels(folder / "regions.seg.nrrd")
    assert list(regions) == ["label 1", "Cyst", "Tumour, left"]
    assert [int(mask.array.sum()) for mask in regions.values()] == [6, 6, 6]


@pytest.mark.parametrize(("factor", "message"), [(0.0, "is empty"), (0.3, "Expected a label map")])
def test_what_is_no_label_map(folder, factor, message):
    labels = pieces()[1]
    write_volume(labels.with_array(labels.array * factor), folder / "wrong.nrrd")
    with pytest.raises(RequestError, match=message):
        read_labels(folder / "wrong.nrrd")


def test_times_of_a_series_without_them_are_asked_for():
    series = [replace(v, acquisition=Acquisition()) for v in pieces()[0]]
    with pytest.raises(RequestError, match="has no time"):
        curve_at(series, GRID.ras_from_index((0, 0, 0)))
    assert times_of(pieces()[0]).tolist() == TIMES_S
