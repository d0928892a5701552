"""A real archive: found by query, fetched, results sent back beside the originals."""

from __future__ import annotations

import json

import numpy as np
import pytest
from orthanc import PROGRAM, archive_server, free_port

for package in ("highdicom", "pynetdicom", "dicomweb_client"):
    pytest.importorskip(package)

import pydicom
from making_study import study

from ContrastSynthLib.archive.archive import fetch, send
from ContrastSynthLib.archive.dimse import Node
from ContrastSynthLib.archive.web import Web
from ContrastSynthLib.cli import main
from ContrastSynthLib.dicom_export.export import export
from ContrastSynthLib.dicom_export.template import Template
from ContrastSynthLib.errors import RequestError
from ContrastSynthLib.files.dicom.reader import read_dicom
from ContrastSynthLib.phantom.sample import sample_patient
from ContrastSynthLib.running.request import Request
from ContrastSynthLib.running.run import run
from ContrastSynthLib.running.stored_result import StoredResult

needs_an_archive = pytest.mark.skipif(not PROGRAM, reason="needs Orthanc: apt-get install orthanc")


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with archive_server(tmp_path_factory.mktemp("archive")) as reached:
        yield reached


@pytest.fixture(scope="module", params=["node", "web"])
def archive(server, request):
    """The archive, by DIMSE and by DICOMweb."""
    if request.param == "node":
        return Node.parse(server["node"])
    return Web(server["web"])


def scans_of(seed, folder):
    patient = sample_patient(seed=seed, size=(32, 38, 12)).scans
    scans = {role: patient[role] for role in ("pre", "post")}
    return study(
        folder,
        {role: scan.with_array(np.rint(1000 * scan.array)) for role, scan in scans.items()},
    )


@pytest.fixture
def stored(archive, tmp_path, request):
    """A new study in the archive: its UID, and its folder."""
    folder = scans_of(3, tmp_path / "study")
    files = [pydicom.dcmread(path) for path in sorted(folder.rglob("*.dcm"))]
    assert archive.store(files) == len(files)
    return str(files[0].StudyInstanceUID), folder


def made_of(folder, out):
    run(Request("physics_pre", {"post": read_dicom(folder)})).write(out / "made")
    export(StoredResult.read(out / "made"), Template.read(folder), out / "dicom")
    return out / "dicom"


@needs_an_archive
def test_found_fetched_sent_back_and_found_beside_the_originals(archive, stored, tmp_path):
    uid, folder = stored
    found = archive.studies({"PatientID": "4711"})
    assert uid in [one.uid for one in found]
    before = {one.uid for one in archive.series(uid)}
    assert len(before) == 2
    assert fetch(archive, uid, tmp_path / "fetched") == 24
    by_name = {one.attributes["SeriesDescription"]: one.uid for one in archive.series(uid)}
    (post,) = (tmp_path / "fetched").glob(f"*_{by_name['post'].replace('.', '_')}")
    np.testing.assert_array_equal(read_dicom(post).array, read_dicom(folder / "post").array)
    dicom = made_of(post, tmp_path)
    count = send(archive, [dicom])
    assert count == len(list(dicom.rglob("*.dcm")))
    made = {pydicom.dcmread(path).SeriesInstanceUID for path in dicom.rglob("*.dcm")}
    after = archive.series(uid)
    assert {one.uid for one in after} == before | made
    ours = [one for one in after if one.uid not in before]
    assert all("SYNTHETIC" in one.attributes["SeriesDescription"] for one in ours)
    assert send(archive, [dicom]) == count, "the same objects once more are the same objects"
    assert len(archive.series(uid)) == len(after)
    fetch(archive, uid, tmp_path / "whole")
    back = [pydicom.dcmread(path) for path in (tmp_path / "whole").rglob("*.dcm")]
    assert sum(one.get("SyntheticData") == "YES" for one in back) == count


@needs_an_archive
def test_what_is_not_ours_is_not_sent(archive, stored, tmp_path):
    _, folder = stored
    with pytest.raises(RequestError, match="not marked as synthetic"):
        send(archive, [folder])
    with pytest.raises(RequestError, match="no DICOM file to send"):
        send(archive, [_empty(tmp_path)])
    (tmp_path / "broken.dcm").write_bytes(b"no DICOM")
    with pytest.raises(RequestError, match="no DICOM file can be read"):
        send(archive, [tmp_path / "broken.dcm"])


def _empty(folder):
    (folder / "empty").mkdir()
    return folder / "empty"


@needs_an_archive
def test_a_study_that_is_not_there_leaves_nothing(archive, tmp_path):
    with pytest.raises(RequestError, match="The archive has no study"):
        fetch(archive, "1.2.3", tmp_path / "out")
    assert not (tmp_path / "out").exists()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    with pytest.raises(RequestError, match="is not empty"):
        fetch(archive, "1.2.3", tmp_path / "mine")


@needs_an_archive
def test_the_commands(server, archive, stored, tmp_path, capsys):
    uid, _ = stored
    where = ["--web", server["web"]] if isinstance(archive, Web) else ["--node", server["node"]]
    assert main(["archive", "find", *where, "--where", "PatientID=4711", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["found"]
    assert uid in [one["StudyInstanceUID"] for one in found]
    assert main(["archive", "find", *where, "--study", uid, "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["found"]) == 2
    assert main(["archive", "fetch", *where, "--study", uid, "--out", str(tmp_path / "f")]) == 0
    dicom = made_of(next((tmp_path / "f").glob("0003_*")), tmp_path)
    assert main(["archive", "send", *where, str(dicom)]) == 0
    assert "objects stored" in capsys.readouterr().out


@pytest.mark.parametrize("kind", ["node", "web"])
def test_an_archive_that_is_off_is_told(tmp_path, kind):
    port = free_port()
    off = Node("OFF", "127.0.0.1", port) if kind == "node" else Web(f"http://127.0.0.1:{port}/d")
    with pytest.raises(RequestError, match=r"no association|does not answer"):
        off.studies({"PatientID": "1"})
    with pytest.raises(RequestError, match=r"no association|does not answer"):
        fetch(off, "1.2.3", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["find"], "Name one archive"),
        (["find", "--node", "ORTHANC"], "Expected TITLE@HOST:PORT"),
        (["find", "--node", "A@b:99999"], "Expected TITLE@HOST:PORT"),
        (["find", "--web", "ftp://x"], "Expected http"),
        (["find", "--web", "http://127.0.0.1:1"], "Say which studies"),
        (["send", "--node", "A@b:1", "--web", "http://c", "x.dcm"], "Name one archive"),
    ],
)
def test_wrong_words_are_refused(capsys, words, told):
    assert main(["archive", *words]) == 2
    assert told in capsys.readouterr().err
