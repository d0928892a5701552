"""A real head from DICOM to DICOM: ``sphere`` on one series, its results beside the others."""

from __future__ import annotations

import json

import numpy as np
import pytest

for package in ("highdicom", "torch", "monai", "deepbet"):
    pytest.importorskip(package)

import pydicom
from making_study import study

from ContrastSynthLib.cli import main
from ContrastSynthLib.files.dicom.reader import read_dicom, read_dicom_mask
from ContrastSynthLib.files.images import read_volume

CASE, SERIES = "tcga_fg_6692_native", ("pre", "post", "t2", "flair")


def test_results_come_back_into_the_study_they_came_from(real_scans, tmp_path, capsys):
    files = json.loads((real_scans / "cases.json").read_text("utf-8"))[CASE]
    scans = {role: read_volume(real_scans / CASE / files[role]) for role in SERIES}
    folder = study(tmp_path / "study", scans)
    words = ["run", "sphere", "--preset", "fast", "--in", f"post={folder / 'post'}"]
    assert main([*words, "--mask", "auto", "--out", str(tmp_path / "made")]) == 0
    words = ["dicom", str(tmp_path / "made"), "--template", str(folder / "post")]
    assert main([*words, "--out", str(tmp_path / "out")]) == 0
    assert "other files" not in capsys.readouterr().err, "the template is what was read"
    scan, truth = read_dicom(folder / "post"), read_volume(tmp_path / "made" / "pre.nrrd")
    back = read_dicom(tmp_path / "out" / "pre")
    np.testing.assert_allclose(back.grid.index_to_lps, scan.grid.index_to_lps, rtol=0, atol=1e-5)
    np.testing.assert_allclose(back.array, truth.array, atol=0.51)
    uptake = read_volume(tmp_path / "made" / "uptake.nrrd")
    largest = read_dicom_mask(tmp_path / "out" / "uptake_mask.dcm", "1")
    np.testing.assert_allclose(largest.grid.index_to_lps, scan.grid.index_to_lps, atol=1e-5)
    assert (uptake.array[largest.array > 0] >= 0.5).all()
    studies = {pydicom.dcmread(path).StudyInstanceUID for path in tmp_path.rglob("*.dcm")}
    assert len(studies) == 1
