"""The study of a real patient: four series, known and proposed without help."""

from __future__ import annotations

import json

import pydicom
import pytest
from making_study import study

from ContrastSynthLib.cli import main
from ContrastSynthLib.dicom_study.study import read_study
from ContrastSynthLib.files.images import read_volume

CASE = "tcga_fg_6692_native"
T1 = {"RepetitionTime": "500", "EchoTime": "10", "ScanningSequence": "SE"}
SCANS = {
    "pre": ("Ax T1", "101500", T1),
    "t2": ("Ax T2 FSE", "102000", {"RepetitionTime": "4500", "EchoTime": "100"}),
    "flair": (
        "Ax FLAIR",
        "102500",
        {"RepetitionTime": "10000", "EchoTime": "140", "InversionTime": "2250"},
    ),
    "post": ("Ax T1 +C", "104000", T1 | {"ContrastBolusAgent": "Magnevist"}),
}


@pytest.fixture
def folder(real_scans, tmp_path):
    files = json.loads((real_scans / "cases.json").read_text("utf-8"))[CASE]
    volumes = {role: read_volume(real_scans / CASE / files[role]) for role in SCANS}
    return study(tmp_path / "study", volumes)


def retagged(folder, *, named):
    """Write what a scanner says of each series into its headers; with or without its name."""
    for role, (name, time, tags) in SCANS.items():
        for path in (folder / role).glob("*.dcm"):
            dataset = pydicom.dcmread(path)
            for keyword, value in ({"ScanningSequence": "SE"} | tags).items():
                setattr(dataset, keyword, value)
            dataset.AcquisitionTime = time
            dataset.SeriesDescription = name if named else "head"
            dataset.save_as(path)
    return folder


@pytest.mark.parametrize("named", [True, False])
def test_the_four_series_are_proposed_for_what_they_are(folder, named, capsys):
    found = read_study(retagged(folder, named=named)).propose()
    assert {role: part.series.files[0].parent.name for role, part in found.parts.items()} == {
        role: role for role in SCANS
    }
    assert all(part.sure for part in found.parts.values())
    assert found.missing == ()
    assert main(["series", str(folder)]) == 0
    told = capsys.readouterr()
    assert told.err == ""
    assert f"--in pre={folder / 'pre'} --in post={folder / 'post'}" in told.out


def test_names_alone_will_do(folder):
    """Headers that a converter made, with the settings of one scan in all of them."""
    found = read_study(folder).propose()
    assert {role: part.series.description for role, part in found.parts.items()} == {
        role: role for role in SCANS
    }
