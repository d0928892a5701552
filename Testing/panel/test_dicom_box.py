"""A result of the scene is written as DICOM by a button, beside the series that it came from."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError

import numpy as np
import pytest

for package in ("PySide6", "slicer", "highdicom"):
    pytest.importorskip(package)

import pydicom
import slicer
from host import press, pump
from making_identities import LATIN, brain, head
from making_identities import written as written_scan
from making_study import study
from scans import add_volume, settled, show_tab

from ContrastSynthLib.files.dicom.reader import read_dicom
from ContrastSynthLib.running.request import Request
from ContrastSynthLib.running.run import run


@pytest.fixture
def folder(patient, tmp_path):
    """The study of a virtual patient: whole numbers, as scanners store."""
    post = patient.scans["post"]
    return study(tmp_path / "study", {"post": post.with_array(np.rint(1000 * post.array))})


@pytest.fixture
def box(panel, folder):
    """The tab with the result of a run on that series."""
    return box_of(panel, folder / "post")


def box_of(panel, series):
    from ContrastSynthPanel.scene.run_results import add_result

    scan = read_dicom(series)
    mask = scan.with_array((scan.array > 0).astype("f4"))
    made = run(Request("physics_pre", {"post": scan, "mask": mask}))
    nodes = add_result(slicer.mrmlScene, made, add_volume("post", scan))
    tab = show_tab(panel, "synthesise")
    panel.box.case.choose("result", nodes["pre"])
    settled(panel)
    tab._follow_result()
    return tab.dicom


def written(host, box, *folders):
    host.record.answer(*(str(folder) for folder in folders))
    press(box.action.button)
    pump(lambda: not box.work.running, 60.0)
    return box.message


def test_it_is_seen_while_there_is_a_result(panel):
    tab = show_tab(panel, "synthesise")
    assert not tab.dicom.widget.visible
    tab.dicom.follow(add_volume_of_noise())
    assert not tab.dicom.widget.visible, "a scan is no result"


def add_volume_of_noise():
    from ContrastSynthLib.geometry import Grid
    from ContrastSynthLib.volumes import Volume

    return add_volume("scan", Volume(np.ones((4, 5, 6)), Grid((6, 5, 4))))


def test_a_result_is_written_into_its_study(host, box, folder, tmp_path):
    assert box.widget.visible
    message = written(host, box, folder / "post", tmp_path)
    assert message.kind == "done", message.text
    made = tmp_path / "contrastsynth_physics_pre_1"
    assert str(made) in message.text
    source = pydicom.dcmread(next((folder / "post").iterdir()))
    for path in made.rglob("*.dcm"):
        found = pydicom.dcmread(path)
        assert found.SyntheticData == "YES"
        assert found.StudyInstanceUID == source.StudyInstanceUID
    back, scan = read_dicom(made / "pre"), read_dicom(folder / "post")
    np.testing.assert_allclose(back.grid.index_to_lps, scan.grid.index_to_lps, atol=1e-5)
    assert written(host, box, folder / "post", tmp_path).kind == "done"
    assert (tmp_path / "contrastsynth_physics_pre_2").is_dir(), "nothing is written over"


def test_what_is_wrong_is_told_and_nothing_is_left(host, box, tmp_path):
    message = written(host, box, tmp_path / "study", tmp_path)
    assert message.kind == "failed"
    assert not list(tmp_path.glob("contrastsynth_*"))
    node = box._result
    slicer.util.arrayFromVolume(node)[:] += 1
    message = written(host, box, tmp_path / "study" / "post", tmp_path)
    assert "not those that the run wrote" in message.text
    assert not list(tmp_path.glob("contrastsynth_*"))


def test_who_chooses_no_folder_is_left_alone(host, box, folder, tmp_path):
    written(host, box, "")
    assert box.message.text == ""
    written(host, box, folder / "post", "")
    assert box.message.text == ""
    assert not list(tmp_path.glob("contrastsynth_*"))


@pytest.fixture
def private_box(panel, tmp_path):
    """The tab and the series, of a patient whose headers tell much; the function takes voxels."""
    pytest.importorskip("dicomanonymizer")

    def of(voxels):
        series = written_scan(tmp_path / "scans", LATIN, voxels)
        box = box_of(panel, series)
        assert not box.keep_faces.visible
        box.deidentify.checked = True
        assert box.keep_faces.visible
        return box, series

    return of


def objects_in(folder):
    return [pydicom.dcmread(path) for path in sorted(folder.rglob("*.dcm"))]


def test_the_patient_is_left_out_when_asked_for(host, private_box, tmp_path):
    box, series = private_box(brain())
    (source,) = {str(one.PatientName) for one in objects_in(series)}
    message = written(host, box, series, tmp_path)
    assert message.kind == "done", message.text
    made = objects_in(tmp_path / "contrastsynth_physics_pre_1")
    (name,) = {str(one.PatientName) for one in made}
    assert name.startswith("CS-")
    assert {one.PatientIdentityRemoved for one in made} == {"YES"}
    box.deidentify.checked = False
    assert not box.keep_faces.visible
    written(host, box, series, tmp_path)
    kept = objects_in(tmp_path / "contrastsynth_physics_pre_2")
    assert {str(one.PatientName) for one in kept} == {source}


def test_a_face_is_refused_until_it_is_asked_for(host, private_box, tmp_path):
    box, series = private_box(head())
    message = written(host, box, series, tmp_path)
    assert message.kind == "failed"
    assert "--keep-faces" in message.text
    assert "--keep-faces" in box.keep_faces.text, "that is where it is"
    assert not list(tmp_path.glob("contrastsynth_*"))
    box.keep_faces.checked = True
    assert written(host, box, series, tmp_path).kind == "done"
    (tells,) = {one.get("RecognizableVisualFeatures") for one in faces(tmp_path)}
    assert tells == "YES"


def faces(folder):
    made = objects_in(folder / "contrastsynth_physics_pre_1")
    return [one for one in made if "Rows" in one]


def test_its_package_is_asked_for_only_where_it_is_needed(box, monkeypatch):
    from ContrastSynthPanel import dependencies

    def version(name):
        if name == "dicom-anonymizer":
            raise PackageNotFoundError(name)
        return "99"

    monkeypatch.setattr(dependencies, "version", version)
    box._check()
    assert box.action.button.enabled
    box.deidentify.checked = True
    assert not box.action.button.enabled
    assert box.dependencies.label.text.startswith("Not installed: dicom-anonymizer.")
    box.deidentify.checked = False
    assert box.action.button.enabled
