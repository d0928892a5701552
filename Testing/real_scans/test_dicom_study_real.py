"""The study of a real patient: four series, known and proposed without help."""

from __future__ import annotations

import pytest
from making_real_study import SCANS, retagged, untagged_study

from ContrastSynthLib.cli import main
from ContrastSynthLib.dicom_study.study import read_study


@pytest.fixture
def folder(real_scans, tmp_path):
    return untagged_study(real_scans, tmp_path / "study")


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
