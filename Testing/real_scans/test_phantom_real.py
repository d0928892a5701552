"""Virtual brains measured beside real ones, by the same code."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from ContrastSynthLib.files.images import read_volume
from ContrastSynthLib.phantom.brain.patient import brain_patient

pytestmark = pytest.mark.real_scans

# Figures that a method's training lives on: how bright tissues are, how much noise there is, how
# much the agent changes, how sharp the image is.
COVERED = (
    *("GM/WM pre", "CSF/WM pre", "CSF/WM post", "noise/WM pre %", "noise/WM post %"),
    *("uptake share %", "post for pre dB", "power 0.1-0.2/mm dB", "power 0.2-0.4/mm dB"),
)
# How far a few virtual patients may lie from the range of three real ones, as a factor or in dB.
NEAR_FACTOR, NEAR_DB = 2.6, 6.0


@pytest.fixture(scope="module")
def report() -> ModuleType:
    path = Path(__file__).parents[1] / "phantom_report.py"
    spec = importlib.util.spec_from_file_location("phantom_report", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def real(real_scans: Path, report: ModuleType) -> list[dict[str, float]]:
    pairs = [
        [read_volume(real_scans / case / f"{name}.nii.gz") for name in ("t1", "t1c")]
        for case in report.REAL
    ]
    return [report.figures(*pair) for pair in pairs]


def virtual(report: ModuleType, seeds: range) -> list[dict[str, float]]:
    rows = []
    for seed in seeds:
        scans = brain_patient(seed, corruption=None, doses=(), only=()).scans
        rows.append(report.figures(scans["pre"], scans["post"]))
    return rows


def test_virtual_brains_are_near_the_real_ones(report, real):
    for row in virtual(report, range(2)):
        for name in COVERED:
            known = [figures[name] for figures in real]
            low, high = min(known), max(known)
            if name.endswith("dB"):
                assert low - NEAR_DB < row[name] < high + NEAR_DB, name
            else:
                assert low / NEAR_FACTOR < row[name] < high * NEAR_FACTOR, name


@pytest.mark.slow
def test_the_ranges_of_twenty_virtual_brains_cover_the_real_values(report, real):
    rows = virtual(report, range(20))
    for name in COVERED:
        made = [row[name] for row in rows]
        known = [figures[name] for figures in real]
        assert min(made) <= min(known), name
        assert max(made) >= max(known), name
