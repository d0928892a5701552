"""A real study through a real archive: stored, found, fetched, run, sent back, found beside."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from orthanc import PROGRAM, archive_server

for package in ("highdicom", "pynetdicom", "dicomweb_client", "torch", "monai", "deepbet"):
    pytest.importorskip(package)

import pydicom
from making_real_study import SCANS, retagged, untagged_study

from ContrastSynthLib.archive.dimse import Node
from ContrastSynthLib.cli import main
from ContrastSynthLib.files.dicom.reader import read_dicom, read_dicom_mask
from ContrastSynthLib.files.images import read_volume
from ContrastSynthLib.registry.volumes import TAKEN_UP

needs_an_archive = pytest.mark.skipif(not PROGRAM, reason="needs Orthanc: apt-get install orthanc")


@pytest.fixture
def told(capsys):
    """Return what a command prints as JSON."""

    def run(*words):
        assert main([*map(str, words)]) == 0
        return capsys.readouterr().out

    return run


@pytest.fixture
def server(tmp_path):
    (tmp_path / "archive").mkdir()
    with archive_server(tmp_path / "archive") as reached:
        yield reached


def segments_in(path):
    numbers = [one.SegmentNumber for one in pydicom.dcmread(path).SegmentSequence]
    masks = [read_dicom_mask(path, str(number)) for number in numbers]
    assert all(mask.grid == masks[0].grid for mask in masks)
    return masks[0].with_array(np.sum([mask.array for mask in masks], axis=0))


@pytest.mark.slow
@needs_an_archive
def test_results_of_a_fetched_study_are_found_beside_its_series(real_scans, server, tmp_path, told):
    folder = retagged(untagged_study(real_scans, tmp_path / "study"), named=True)
    originals = [pydicom.dcmread(path) for path in sorted(folder.rglob("*.dcm"))]
    assert Node.parse(server["node"]).store(originals) == len(originals)
    node, web = ("--node", server["node"]), ("--web", server["web"])

    patient = f"PatientID={originals[0].PatientID}"
    (study,) = json.loads(told("archive", "find", *node, "--where", patient, "--json"))["found"]
    uid = study["StudyInstanceUID"]
    told("archive", "fetch", *node, "--study", uid, "--out", tmp_path / "fetched")
    proposed = json.loads(told("series", tmp_path / "fetched", "--json"))
    sources = {one["uid"]: one["description"] for one in proposed["series"]}
    for role, part in proposed["proposal"].items():
        assert (sources[part["uid"]], part["sure"]) == (SCANS[role][0], True)
    assert set(proposed["proposal"]) == set(SCANS)

    post = proposed["proposal"]["post"]["argument"]
    words = ("--preset", "fast", "--in", post, "--mask", "auto", "--out", tmp_path / "made")
    told("run", "sphere", *words)
    template = Path(post.removeprefix("post="))
    told("dicom", tmp_path / "made", "--template", template, "--out", tmp_path / "dicom")
    told("archive", "send", *web, tmp_path / "dicom")

    sent = [pydicom.dcmread(path) for path in (tmp_path / "dicom").rglob("*.dcm")]
    expected = {(one.SeriesInstanceUID, one.Modality) for one in (*originals, *sent)}
    assert {"MR", "SEG", "SR"} <= {one.Modality for one in sent}
    for place in (node, web):
        found = json.loads(told("archive", "find", *place, "--study", uid, "--json"))["found"]
        assert {(one["SeriesInstanceUID"], one["Modality"]) for one in found} == expected
        counts = [int(one["NumberOfSeriesRelatedInstances"]) for one in found]
        assert sum(counts) == len(originals) + len(sent)

    told("archive", "fetch", *web, "--study", uid, "--out", tmp_path / "whole")
    _same_values(tmp_path, read_dicom(template))


def _same_values(folder, scan):
    """Compare image and segments that come back out of the archive with what the run wrote."""
    series = {}
    for path in (folder / "whole").rglob("*.dcm"):
        header = pydicom.dcmread(path, stop_before_pixels=True)
        if header.get("SyntheticData") == "YES":
            series.setdefault((header.Modality, header.SeriesDescription.split()[1]), path)
    image, truth = read_dicom(series["MR", "pre"].parent), read_volume(folder / "made" / "pre.nrrd")
    np.testing.assert_allclose(image.grid.index_to_lps, scan.grid.index_to_lps, atol=1e-5)
    np.testing.assert_allclose(image.array, truth.array, atol=0.51)
    uptake, mask = (
        read_volume(folder / "made" / "uptake.nrrd"),
        segments_in(series["SEG", "uptake"]),
    )
    np.testing.assert_allclose(mask.grid.index_to_lps, scan.grid.index_to_lps, atol=1e-5)
    np.testing.assert_array_equal(mask.array, uptake.array >= TAKEN_UP)
