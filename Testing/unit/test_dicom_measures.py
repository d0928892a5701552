"""Kinetics and line profiles as a Structured Report: what it says, and what is refused."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from making_dicom import PATIENT
from making_study import study
from test_dicom_export import OF_ITS_TIME, made_of

highdicom = pytest.importorskip("highdicom")
import pydicom

from ContrastSynthLib.cli import main
from ContrastSynthLib.dicom_export.tables import KINETICS, read_table
from ContrastSynthLib.errors import RequestError
from ContrastSynthLib.files.dicom.reader import read_dicom
from ContrastSynthLib.files.images import write_volume
from ContrastSynthLib.files.series import write_series
from ContrastSynthLib.phantom.breast.patient import breast_patient


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A breast as DICOM, a result beside it, and the tables of its lesions and of a line."""
    folder = tmp_path_factory.mktemp("measures")
    patient = breast_patient(5, size=(48, 48, 12), snr=60.0, lesion_types=["I", "III"], density="a")
    brightest = patient.phases[1].array.max()
    scan = patient.phases[1].with_array(np.rint(1000 * patient.phases[1].array / brightest))
    template = study(folder / "study", {"post": scan}) / "post"
    made_of(template, folder / "result")
    scans = [replace(phase, synthetic=None) for phase in patient.phases]
    write_series(scans, folder / "dce.seq.nrrd")
    labels = patient.phases[0].with_array(patient.lesion_labels.astype("f4"))
    write_volume(labels, folder / "lesions.nrrd", whole_numbers=True)
    words = ["kinetics", "--series", str(folder / "dce.seq.nrrd"), "--each-label", "--mask"]
    words += [str(folder / "lesions.nrrd"), "--csv", str(folder / "dce.csv")]
    assert main(words) == 0
    read = read_dicom(template)
    middle = read.grid.ras_from_index((np.array(read.grid.shape) - 1) / 2)
    ends = [",".join(f"{x:.3f}" for x in middle + step) for step in ((-40, 0, 0), (40, 0, 0))]
    words = ["profile", "--volume", str(template), str(folder / "result" / "pre.nrrd")]
    words += [f"--from={ends[0]}", f"--to={ends[1]}", "--csv", str(folder / "line.csv")]
    assert main(words) == 0
    return SimpleNamespace(folder=folder, template=template, ends=ends)


def exported(made, out, *more):
    words = ["dicom", str(made.folder / "result"), "--template", str(made.template)]
    for name in ("dce", "line"):
        words += ["--measures", str(made.folder / f"{name}-measures.csv")]
    return main([*words, "--out", str(out), *more])


def told(group, code):
    return [m for m in group.get_measurements() if m.name.value == code]


def test_the_report_says_what_the_tables_say(made, tmp_path):
    assert exported(made, tmp_path / "out") == 0
    report = highdicom.sr.srread(tmp_path / "out" / "measures.dcm")
    assert report.SyntheticData == "YES"
    assert str(report.PatientName) == PATIENT
    groups = report.content.get_image_measurement_groups()
    regions = read_table(made.folder / "dce-measures.csv")
    lines = read_table(made.folder / "line-measures.csv")
    assert len(groups) == len(regions) + len(lines) == 4
    for row, group in zip(regions, groups, strict=False):
        assert group.tracking_identifier == row.name
        for column in ("ml", "delayed_change", "signal_enhancement_ratio", "functional_tumour_ml"):
            (measure,) = told(group, KINETICS[column].code)
            assert measure.value == pytest.approx(row.number(column), rel=1e-6), column
        kinds = {e.name.value: e.value.value for e in group.get_qualitative_evaluations()}
        assert kinds == {
            "MEASURED_ON": "REAL",
            "CURVE_TYPE": {"I": "130597", "III": "130599"}[row.cells["type"]],
        }
    for row, group in zip(lines, groups[2:], strict=True):
        (place,), (width,) = told(group, "EDGE_AT"), told(group, "EDGE_WIDTH")
        assert place.value == pytest.approx(row.number("edge_at_mm"), rel=1e-6)
        assert width.value == pytest.approx(row.number("edge_width_mm"), rel=1e-6)
        assert len(told(group, "SIGNAL_ON_LINE")) == 3
        coordinates = place.referenced_coordinates[0]
        expected = [[float(x) for x in end.split(",")] for end in made.ends]
        np.testing.assert_allclose(coordinates.value * [-1, -1, 1], expected, atol=1e-3)
        assert (
            coordinates.frame_of_reference_uid
            == pydicom.dcmread(next(made.template.glob("*.dcm"))).FrameOfReferenceUID
        )
    on = [
        e.value.value
        for group in groups[2:]
        for e in group.get_qualitative_evaluations()
        if e.name.value == "MEASURED_ON"
    ]
    assert on == ["REAL", "SYNTHETIC"]


@pytest.mark.skipif(not shutil.which("dciodvfy"), reason="dciodvfy (dicom3tools) is not there")
@pytest.mark.parametrize("more", [(), ("--deidentify", "--keep-faces")])
def test_a_validator_finds_no_error(made, tmp_path, more):
    if more:
        pytest.importorskip("dicomanonymizer")
    assert exported(made, tmp_path / "out", *more) == 0
    path = tmp_path / "out" / "measures.dcm"
    done = subprocess.run(["dciodvfy", "-new", path], capture_output=True, text=True)
    lines = done.stderr.splitlines()
    assert [line for line in lines if line.startswith("Error") and OF_ITS_TIME not in line] == []
    assert len(highdicom.sr.srread(path).content.get_image_measurement_groups()) == 4


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (("region,", "regions,"), "is no table of measures"),
        ((",real,", ",SYNTHETIK,"), "'SYNTHETIK' is no series. Expected real, SYNTHETIC"),
        ((",III,", ",IV,"), "line 3: 'IV' is no type. Expected I, II, III"),
        ((",III,", ",III,x"), "is not a finite number"),
    ],
)
def test_what_is_no_such_table_is_refused_and_nothing_is_left(
    made, tmp_path, change, reason, capsys
):
    path = tmp_path / "dce-measures.csv"
    path.write_text((made.folder / "dce-measures.csv").read_text().replace(*change))
    words = ["dicom", str(made.folder / "result"), "--template", str(made.template)]
    assert main([*words, "--measures", str(path), "--out", str(tmp_path / "out")]) == 2
    assert reason in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_line_beside_the_template_is_refused(made, tmp_path, capsys):
    text = (made.folder / "line-measures.csv").read_text()
    head, first, *_ = text.splitlines()
    cells = first.split(",")
    cells[2:8] = ["900", "0", "0", "990", "0", "0"]
    path = tmp_path / "line-measures.csv"
    path.write_text("\n".join([head, ",".join(cells)]) + "\n")
    words = ["dicom", str(made.folder / "result"), "--template", str(made.template)]
    assert main([*words, "--measures", str(path), "--out", str(tmp_path / "out")]) == 2
    assert "does not meet the volume" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_the_patient_s_name_for_a_region_is_taken_out(made, tmp_path):
    pytest.importorskip("dicomanonymizer")
    path = tmp_path / "dce-measures.csv"
    text = (made.folder / "dce-measures.csv").read_text()
    path.write_text(text.replace("label 2", PATIENT.replace("^", " ")))
    words = ["dicom", str(made.folder / "result"), "--template", str(made.template)]
    words += ["--measures", str(path), "--deidentify", "--keep-faces"]
    assert main([*words, "--out", str(tmp_path / "out")]) == 0
    report = highdicom.sr.srread(tmp_path / "out" / "measures.dcm")
    groups = report.content.get_image_measurement_groups()
    assert [group.tracking_identifier for group in groups] == ["label 1", "unknown"]


def test_a_table_without_rows_is_refused(tmp_path):
    path = tmp_path / "empty-measures.csv"
    path.write_text("")
    with pytest.raises(RequestError, match="no table of measures"):
        read_table(path)
