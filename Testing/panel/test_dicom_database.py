"""Scans from Slicer's DICOM database, of which a stand-in answers as the real one is asked."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

for package in ("PySide6", "slicer", "pydicom"):
    pytest.importorskip(package)

import pydicom
import slicer
from host import press, pump
from making_dicom import PATIENT, save
from making_study import series_of, study
from scans import settled, show_tab

from ContrastSynthLib.volumes import times_of


class Database:
    """Answers as ctkDICOMDatabase does, by the functions that it has for Python."""

    isOpen = True

    def __init__(self, *folders):
        self._files = {}
        for path in sorted(path for folder in folders for path in Path(folder).rglob("*.dcm")):
            header = pydicom.dcmread(path, stop_before_pixels=True)
            keys = (header.PatientID, header.StudyInstanceUID, header.SeriesInstanceUID)
            self._files.setdefault(keys, []).append((str(path), header))

    def _unique(self, place, *known):
        found = [keys[place] for keys in self._files if keys[: len(known)] == known or not known]
        return tuple(dict.fromkeys(found))

    def patients(self):
        return self._unique(0)

    def nameForPatient(self, uid):
        return str(next(f[0][1] for k, f in self._files.items() if k[0] == uid).PatientName)

    def studiesForPatient(self, uid):
        return self._unique(1, uid)

    def descriptionForStudy(self, uid):
        return "head"

    def seriesForStudy(self, uid):
        return tuple(keys[2] for keys in self._files if keys[1] == uid)

    def filesForSeries(self, uid):
        return tuple(path for k, f in self._files.items() if k[2] == uid for path, _ in f)

    def fileValue(self, path, tag):
        group, element = (int(part, 16) for part in tag.split(","))
        return str(pydicom.dcmread(path, stop_before_pixels=True)[group, element].value)


AGENT = {"ContrastBolusAgent": "gadobutrol"}


def described(folder, **more):
    for path in folder.glob("*.dcm"):
        dataset = pydicom.dcmread(path)
        for keyword, value in more.items():
            setattr(dataset, keyword, value)
        dataset.save_as(path)


@pytest.fixture
def folder(patient, tmp_path):
    """A study of a pre scan, a post scan and a T2, all files in one folder, as databases may."""
    scans = {"pre": "pre", "post": "post", "t2": "pre"}  # what they show is not looked at
    whole = {
        role: patient.scans[one].with_array(np.rint(patient.scans[one].array))
        for role, one in scans.items()
    }
    made = study(tmp_path / "made", whole)
    described(made / "pre", AcquisitionTime="101000", SeriesDescription="t1 ax")
    described(made / "post", AcquisitionTime="102000", SeriesDescription="t1 ax gd", **AGENT)
    settings = {"RepetitionTime": "4500", "EchoTime": "100", "ScanningSequence": "SE"}
    described(made / "t2", AcquisitionTime="101500", SeriesDescription="t2 ax", **settings)
    (tmp_path / "instances").mkdir()
    for path in made.rglob("*.dcm"):
        path.rename(tmp_path / "instances" / f"{path.parent.name}_{path.name}")
    return tmp_path / "instances"


@pytest.fixture
def box(panel, folder, monkeypatch):
    monkeypatch.setattr(slicer, "dicomDatabase", Database(folder), raising=False)
    return opened(panel)


def opened(panel):
    tab = show_tab(panel, "synthesise")
    tab.studies.follow()
    tab.studies.widget.collapsed = False
    pump(lambda: not tab.studies.work.running, 60.0)
    return tab.studies


def rows(box):
    return {
        box.table.item(n, 0).text(): (box.table.item(n, 1).text(), role.currentText)
        for n, role in enumerate(box.roles)
    }


def load(box):
    press(box.action.button)
    pump(lambda: not box.work.running, 60.0)
    return box.message


def test_without_a_database_there_is_no_section(panel):
    assert not show_tab(panel, "synthesise").studies.widget.visible


def test_the_series_are_listed_with_what_they_are(box):
    assert box.widget.visible
    assert box.patient.currentText == PATIENT
    assert box.studies.currentText == "2024-01-05 head (3 series)"
    assert rows(box) == {
        "series 2 't1 ax'": ("pre", "Pre"),
        "series 4 't2 ax'": ("T2", "T2"),
        "series 3 't1 ax gd'": ("post", "Post"),
    }


def test_the_pair_is_loaded_and_picked(panel, box, patient):
    from ContrastSynthPanel.scene import bridge, relations

    message = load(box)
    assert message.kind == "done", message.text
    settled(panel)
    nodes = panel.synthesise.inputs.nodes()
    assert {role: node.GetName() for role, node in nodes.items()}["post"] == "t1 ax gd"
    post = slicer.util.getNode("t1 ax gd")
    assert relations.patient_name(post) == PATIENT
    volume = bridge.volume_from_node(post)
    truth = patient.scans["post"]
    np.testing.assert_allclose(volume.grid.index_to_lps, truth.grid.index_to_lps, atol=1e-5)
    np.testing.assert_array_equal(volume.array, np.rint(truth.array))
    assert volume.acquisition.repetition_time_s == pytest.approx(0.009)
    folders = list(Path(slicer.app.temporaryPath).glob("*/series"))
    assert folders == [], "no copy of the files is left"


def test_a_role_is_put_right_and_twice_is_refused(panel, box):
    from ContrastSynthPanel.widgets.forms import choose

    choose(box.roles[0], "post")
    box._check()
    assert not box.action.button.enabled
    assert "Two series are loaded as 'Post'" in box.action.reason.text
    choose(box.roles[2], "pre")
    choose(box.roles[1], "")
    box._check()
    assert load(box).kind == "done"
    settled(panel)
    assert panel.synthesise.inputs.nodes()["post"].GetName() == "t1 ax"
    assert slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")[-1].GetName() != "t2 ax"


def test_a_second_patient_of_the_same_name_is_another_patient(panel, box, folder, monkeypatch):
    from ContrastSynthPanel.scene import relations

    assert load(box).kind == "done"
    settled(panel)
    described(folder, PatientID="4712", StudyInstanceUID="1.2.9")
    monkeypatch.setattr(slicer, "dicomDatabase", Database(folder))
    box.follow()
    pump(lambda: not box.work.running, 60.0)
    assert load(box).kind == "done"
    settled(panel)
    first, second = slicer.util.getNode("t1 ax gd"), slicer.util.getNode("t1 ax gd_1")
    assert relations.patient_of(first) != relations.patient_of(second)
    assert panel.synthesise.inputs.nodes()["post"] is second


def test_a_dynamic_series_comes_as_its_phases(panel, patient, tmp_path, monkeypatch):
    from ContrastSynthPanel.scene import bridge

    scan = patient.scans["post"].with_array(np.rint(patient.scans["post"].array))
    shared = {
        **{"StudyInstanceUID": "1.2.1", "FrameOfReferenceUID": "1.2.2", "StudyDate": "20240105"},
        **{"SeriesInstanceUID": "1.2.3", "SeriesNumber": 7, "SeriesDescription": "dyn"},
        **{"RepetitionTime": "5", "EchoTime": "2", "ScanningSequence": "GR"},
    }
    for phase in range(3):
        images = series_of(scan, shared)
        for dataset in images:
            dataset.AcquisitionTime = f"10{phase:02d}00"
            dataset.InstanceNumber += 100 * phase
            dataset.SOPInstanceUID = f"1.2.4.{phase}.{dataset.InstanceNumber}"
        save(tmp_path / "db" / f"phase{phase}", images)
    monkeypatch.setattr(slicer, "dicomDatabase", Database(tmp_path / "db"), raising=False)
    box = opened(panel)
    assert rows(box)["series 7 'dyn'"][1] == "Phases"
    message = load(box)
    assert message.kind == "done", message.text
    (sequence,) = slicer.util.getNodesByClass("vtkMRMLSequenceNode")
    assert times_of(bridge.series_from_sequence_node(sequence)).tolist() == [0.0, 60.0, 120.0]


def test_files_that_are_gone_are_told(panel, box, folder):
    for path in folder.glob("t2_*"):
        path.unlink()
    next(folder.glob("post_*")).unlink()
    box._read()
    pump(lambda: not box.work.running, 60.0)
    assert "not there" in box.message.text
    message = load(box)
    assert message.kind == "failed"
    assert "series 3 't1 ax gd'" in message.text
    for path in folder.iterdir():
        path.unlink()
    box._read()
    pump(lambda: not box.work.running, 60.0)
    assert "files of this study is there" in box.message.text
