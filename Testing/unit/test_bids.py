"""BIDS: names, sessions, roles, inherited sidecars, the table of a batch, derivatives."""

from __future__ import annotations

import csv
import getpass
import json
import os
import shutil
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ContrastSynthLib.bids.cases import find_cases
from ContrastSynthLib.bids.dataset import Dataset
from ContrastSynthLib.bids.derivatives import export
from ContrastSynthLib.bids.labels import FULL, LOW, UNCLEAR, WITHOUT, dose_of_acq, dose_of_ce
from ContrastSynthLib.bids.roles import role_of
from ContrastSynthLib.cli import main
from ContrastSynthLib.errors import RequestError
from ContrastSynthLib.files.bids_names import parse_name
from ContrastSynthLib.files.images import read_volume, write_volume
from ContrastSynthLib.files.sidecars import sidecars_of
from ContrastSynthLib.geometry import Grid
from ContrastSynthLib.phantom.sample import sample_patient
from ContrastSynthLib.running.run import Request, run
from ContrastSynthLib.volumes import Volume

SIZE = (24, 28, 20)
TOYS = Path(__file__).resolve().parents[1] / "toys"
PATIENT = sample_patient(seed=1, size=SIZE).scans
TWO = {"pre": "anat/{}_T1w", "post": "anat/{}_ce-gadolinium_T1w"}
THREE = {**TWO, "low": "anat/{}_ce-lowdose_T1w"}


def described(folder, **more):
    """Make the folder of a data set with its description."""
    folder.mkdir(parents=True, exist_ok=True)
    said = {"Name": "Ward 7", "BIDSVersion": "1.9.0", "DatasetType": "raw"} | more
    (folder / "dataset_description.json").write_text(json.dumps(said))
    (folder / "README").write_text("Virtual patients, made for a test of the software.\n" * 4)
    return folder


def add(folder, session, names, patient=PATIENT):
    """Write scans of a session ("sub-01/ses-1") by role; a name's {} stands for both."""
    for role, name in names.items():
        place = folder / session / f"{name.format(session.replace('/', '_'))}.nii.gz"
        write_volume(patient.get(role, PATIENT["pre"]), place)


def put(folder, *places, volume=None):
    """Write one image at each place of a data set."""
    for place in places:
        write_volume(PATIENT["pre"] if volume is None else volume, folder / place)


def moved(mm):
    grid = PATIENT["pre"].grid
    origin = tuple(number + mm for number in grid.origin_mm)
    grid = Grid(grid.size, grid.spacing_mm, origin, grid.direction)
    return Volume(PATIENT["pre"].array, grid)


def cases(folder, method=None):
    return find_cases(Dataset.open(folder), folder.parent / "cases.csv", method)


@pytest.fixture
def raw(tmp_path):
    """Two subjects: one with two sessions, the second of them without a post scan."""
    folder = described(tmp_path / "raw")
    add(folder, "sub-01/ses-1", THREE)
    add(folder, "sub-01/ses-2", {"pre": TWO["pre"]})
    add(folder, "sub-02", TWO, sample_patient(seed=2, size=SIZE).scans)
    return folder


# Names and labels


@pytest.mark.parametrize(
    ("name", "entities", "suffix"),
    [
        ("sub-01_T1w.nii.gz", {"sub": "01"}, "T1w"),
        (
            "sub-01_ses-2_acq-spgr_ce-gd_rec-norm_run-02_echo-1_part-mag_T1w.nii",
            {"sub": "01", "ses": "2", "acq": "spgr", "ce": "gd", "rec": "norm", "run": "02"}
            | {"echo": "1", "part": "mag"},
            "T1w",
        ),
        ("T1w.json", {}, "T1w"),
    ],
)
def test_a_name_is_its_entities(name, entities, suffix):
    parsed = parse_name(name)
    assert (parsed.entities, parsed.suffix) == (entities, suffix)


@pytest.mark.parametrize(
    ("name", "right"),
    [
        ("sub-01_T1w", "extension"),
        ("sub-01.nii.gz", "suffix"),
        ("sub-01_run-1_ce-gd_T1w.nii.gz", "sub-01_ce-gd_run-1"),
        ("sub-01_run-1_run-2_T1w.nii.gz", "twice"),
        ("sub-01_run-a_T1w.nii.gz", "run-1"),
        ("sub-01_dose-1_T1w.nii.gz", "KEY-LABEL"),
        ("sub-0.1_T1w.nii.gz", "suffix"),
        ("sub-ä_T1w.nii.gz", "letters and digits"),
        ("sub-_T1w.nii.gz", "letters and digits"),
    ],
)
def test_what_is_no_name_says_what_would_be(name, right):
    with pytest.raises(RequestError, match=right):
        parse_name(name)


@pytest.mark.parametrize(
    ("label", "dose"),
    [
        *((label, FULL) for label in ("gadolinium", "gad", "gd", "post", "postGd", "prohance")),
        *((label, FULL) for label in ("100percent", "gadobutrol", "post2", "slowInfusion")),
        *((label, WITHOUT) for label in ("none", "pre", "nogad", "preContrast", "unenhanced")),
        *((label, WITHOUT) for label in ("0percent", "native", "nonenhanced")),
        *((label, LOW) for label in ("low", "lowdose", "lowDose", "10percent", "gadLow", "gdlow")),
        *((label, LOW) for label in ("halfDose", "dotaremlow", "33pct", "gadobutrol25percent")),
        *((label, UNCLEAR) for label in ("10", "doubleDose", "prepost", "dose3", "01mmol")),
    ],
)
def test_the_label_of_an_agent(label, dose):
    assert dose_of_ce(label) == dose


@pytest.mark.parametrize(
    ("label", "dose"),
    [
        *((label, None) for label in ("mprage", "lowres", "lowRes", "half", "halfFourier")),
        *((label, None) for label in ("preNorm", "highres", "3D", "space", "p2", "singleShot")),
        *((label, LOW) for label in ("low", "lowdose", "10percent", "mprageLowDose", "halfDose")),
        *((label, FULL) for label in ("postGad", "MPRAGEpost", "afterContrast")),
        *((label, WITHOUT) for label in ("pre", "mpragePre", "nogad")),
    ],
)
def test_the_label_of_an_acquisition(label, dose):
    assert dose_of_acq(label) == dose


@pytest.mark.parametrize(
    ("name", "role"),
    [
        ("sub-1_T1w", "pre"),
        ("sub-1_acq-mprage_T1w", "pre"),
        ("sub-1_ce-none_T1w", "pre"),
        ("sub-1_ce-gadolinium_T1w", "post"),
        ("sub-1_acq-spgr_ce-gad_T1w", "post"),
        ("sub-1_ce-lowdose_T1w", "low"),
        ("sub-1_acq-10percent_ce-gad_T1w", "low"),
        ("sub-1_acq-lowdose_T1w", "low"),
        ("sub-1_part-mag_T2w", "t2"),
        ("sub-1_FLAIR", "flair"),
        ("sub-1_ADC", "adc"),
        ("sub-1_dwi", None),
        ("sub-1_ce-gad_bold", None),
    ],
)
def test_the_role_of_a_scan(name, role):
    assert role_of(parse_name(f"{name}.nii.gz")) == role


@pytest.mark.parametrize(
    "name",
    [
        "sub-1_acq-postgad_T1w",
        "sub-1_acq-lowdose_ce-none_T1w",
        "sub-1_acq-fulldose_ce-low_T1w",
        "sub-1_ce-10_T1w",
        "sub-1_part-phase_T1w",
        "sub-1_inv-1_T1w",
        "sub-1_space-MNI_T1w",
        "sub-1_ce-gad_FLAIR",
    ],
)
def test_a_name_that_leaves_its_role_open_is_told(tmp_path, name):
    folder = described(tmp_path / "raw")
    add(folder, "sub-1", {"pre": "anat/{}_T1w"})
    put(folder, f"sub-1/anat/{name}.nii.gz")
    found = cases(folder)
    assert found.rows == [{"case": "sub-1", "pre": "raw/sub-1/anat/sub-1_T1w.nii.gz"}]
    assert [note for note in found.notes if f"{name}.nii.gz" in note and "left out" in note]


# The table of cases


def test_sessions_and_missing_roles(raw):
    found = cases(raw, "physics_dose")
    assert [row["case"] for row in found.rows] == ["sub-01_ses-1", "sub-02"]
    assert found.columns == ["case", "pre", "post"]
    assert found.left_out == {"sub-01_ses-2": "no 'post'"}
    assert [row["case"] for row in cases(raw, "vcm").rows] == ["sub-01_ses-1"]
    assert len(cases(raw).rows) == 3


def test_a_method_that_names_cannot_feed_is_refused(raw):
    with pytest.raises(RequestError, match="'corrupted', which names of BIDS do not tell"):
        cases(raw, "sphere_art")


def test_optional_roles_come_along(raw):
    for name in ("anat/sub-02_T2w", "anat/sub-02_FLAIR", "dwi/sub-02_ADC"):
        put(raw, f"sub-02/{name}.nii.gz")
    row = cases(raw, "hrfcn").rows[-1]
    assert set(row) == {"case", "pre", "t2", "flair", "adc"}


@pytest.mark.parametrize("runs", [("2", "10"), ("01", "02")])
def test_of_several_runs_the_last_one_counts(raw, runs):
    scans = [f"sub-03/anat/sub-03_run-{run}_T1w.nii.gz" for run in runs]
    put(raw, *scans)
    found = cases(raw)
    assert found.rows[-1]["pre"].endswith(scans[1])
    assert any(scans[0] in note for note in found.notes)


def test_scans_on_one_grid_come_before_the_last_run(raw):
    put(raw, "sub-03/anat/sub-03_run-1_T1w.nii.gz")
    put(raw, "sub-03/anat/sub-03_run-2_T1w.nii.gz", volume=moved(3.0))
    put(raw, "sub-03/anat/sub-03_ce-gd_T1w.nii.gz")
    found = cases(raw, "physics_dose")
    assert found.rows[-1]["pre"].endswith("sub-03_run-1_T1w.nii.gz")
    assert not [note for note in found.notes if "--align" in note]


def test_of_two_pairs_that_of_the_last_run_counts(raw):
    for run_, mm in (("1", 0.0), ("2", 3.0)):
        for ce in ("", "ce-gd_"):
            put(raw, f"sub-03/anat/sub-03_{ce}run-{run_}_T1w.nii.gz", volume=moved(mm))
    row = cases(raw, "physics_dose").rows[-1]
    assert [Path(row[role]).name for role in ("pre", "post")] == [
        "sub-03_run-2_T1w.nii.gz",
        "sub-03_ce-gd_run-2_T1w.nii.gz",
    ]


def test_scans_on_different_grids_are_told(raw):
    put(raw, "sub-03/anat/sub-03_T1w.nii.gz")
    put(raw, "sub-03/anat/sub-03_ce-gd_T1w.nii.gz", volume=moved(3.0))
    found = cases(raw, "physics_dose")
    assert "sub-03" in [row["case"] for row in found.rows]
    assert [note for note in found.notes if "--align" in note]


@pytest.mark.parametrize(
    "pair",
    [
        ("acq-mprage_T1w.nii.gz", "acq-spgr_T1w.nii.gz"),
        ("rec-norm_T1w.nii.gz", "T1w.nii.gz"),
        ("T1w.nii.gz", "T1w.nii"),
        ("run-1_T1w.nii.gz", "run-01_T1w.nii.gz"),
        ("echo-1_T1w.nii.gz", "echo-2_T1w.nii.gz"),
    ],
)
def test_nothing_is_guessed_between_scans_that_differ_in_more_than_their_run(raw, pair):
    put(raw, *(f"sub-03/anat/sub-03_{name}" for name in pair), "sub-03/anat/sub-03_ce-gd_T1w.nii")
    found = cases(raw, "physics_dose")
    assert "sub-03" not in [row["case"] for row in found.rows]
    assert all(name in found.left_out["sub-03"] for name in pair)


def two_kinds(raw):
    """Add a second kind of scan to a session, and a T2w that has no acq-."""
    add(raw, "sub-03", {"pre": "anat/{}_acq-se_T1w", "post": "anat/{}_acq-se_ce-gd_T1w"})
    add(raw, "sub-03", {"pre": "anat/{}_acq-mprage_T1w", "post": "anat/{}_acq-mprage_ce-gd_T1w"})
    add(raw, "sub-03", {"pre": "anat/{}_T2w"})
    return raw


def test_of_two_kinds_of_scan_one_is_chosen_by_its_name(two_kinds_table):
    told, rows = two_kinds_table()
    assert rows["sub-03"]["pre"] == ""
    assert "acq-mprage_T1w.nii.gz, " in told
    assert "choose one with --filter acq=mprage or --filter acq=se" in told
    _, rows = two_kinds_table("--filter", "acq=se")
    assert rows["sub-03"]["pre"].endswith("_acq-se_T1w.nii.gz")
    assert rows["sub-03"]["post"].endswith("_acq-se_ce-gd_T1w.nii.gz")
    assert rows["sub-03"]["t2"].endswith("_T2w.nii.gz"), "it has no acq- at all"
    assert rows["sub-02"]["pre"].endswith("sub-02_T1w.nii.gz"), "nor has that one"


@pytest.fixture
def two_kinds_table(raw, tmp_path, capsys):
    two_kinds(raw)

    def table(*more):
        path = tmp_path / f"cases{len(more)}.csv"
        words = ["bids", "cases", str(raw), "--out", str(path), *more]
        assert main(words) == 0
        with path.open(newline="") as stream:
            return capsys.readouterr().err, {row["case"]: row for row in csv.DictReader(stream)}

    return table


def test_a_scan_of_another_kind_alone_is_not_taken_for_the_wanted_one(raw):
    add(raw, "sub-04", {"pre": "anat/{}_acq-se_T1w"})
    two_kinds(raw)
    filtered = find_cases(Dataset.open(raw), raw.parent / "c.csv", None, [("acq", "mprage")])
    assert "sub-04" in filtered.left_out
    filtered = find_cases(Dataset.open(raw), raw.parent / "c.csv", None, [("acq", "none")])
    assert {row["case"] for row in filtered.rows} >= {"sub-01_ses-1", "sub-02"}


@pytest.mark.parametrize(
    ("given", "right"),
    [
        ([("acq", "mprag")], "No scan has 'acq-mprag' .* mprage, se, none"),
        ([("sub", "01")], "entity of a scan"),
        ([("acq", "se"), ("acq", "mprage")], "given twice"),
    ],
)
def test_a_filter_that_fits_nothing_says_what_would(raw, given, right):
    two_kinds(raw)
    with pytest.raises(RequestError, match=right):
        find_cases(Dataset.open(raw), raw.parent / "c.csv", None, given)


def test_a_series_is_no_scan(raw):
    place = raw / "sub-03/anat/sub-03_T1w.nii.gz"
    put(raw, "sub-03/anat/sub-03_T1w.nii.gz")
    import SimpleITK as sitk

    image = sitk.ReadImage(str(place))
    sitk.WriteImage(sitk.JoinSeries([image, image]), str(place))
    assert "sub-03" in cases(raw).left_out


def test_files_and_folders_that_are_not_of_bids_are_told(raw):
    put(raw, "sub-02/anat/t1 post.nii.gz", "sub-02/anat/sub-01_T1w.nii.gz", "sub-a_b/anat/x.nii")
    put(raw, "sub-02/anat/sub-02_ses-1_T1w.nii.gz")
    found = cases(raw, "physics_dose")
    told = " ".join(found.notes)
    assert [row["case"] for row in found.rows] == ["sub-01_ses-1", "sub-02"]
    for name in ("t1 post", "sub-02/anat/sub-01_T1w", "sub-a_b", "sub-02_ses-1_T1w"):
        assert name in told


def test_a_link_that_leaves_the_data_set_is_not_followed(raw, tmp_path):
    put(tmp_path, "elsewhere/anat/sub-03_T1w.nii.gz")
    (raw / "sub-03" / "anat").mkdir(parents=True)
    outside = tmp_path / "elsewhere/anat/sub-03_T1w.nii.gz"
    (raw / "sub-03/anat/sub-03_T1w.nii.gz").symlink_to(outside)
    (raw / "sub-03/anat/sub-03_T2w.nii.gz").symlink_to(raw / "not-fetched")
    (raw / "sub-04").mkdir()
    (raw / "sub-04/anat").symlink_to(tmp_path / "elsewhere/anat")
    (raw / ".git/annex").mkdir(parents=True)
    put(raw, ".git/annex/key.nii.gz")
    (raw / "sub-05/anat").mkdir(parents=True)
    (raw / "sub-05/anat/sub-05_T1w.nii.gz").symlink_to("../../.git/annex/key.nii.gz")
    found = cases(raw)
    named = [row["case"] for row in found.rows]
    assert "sub-05" in named
    assert set(found.left_out) == {"sub-03", "sub-04"}
    told = " ".join(found.notes)
    assert told.count("leads out of the data set") == 2
    assert "Fetch the content" in told


def test_names_that_are_one_folder_on_some_systems(raw):
    put(raw, "sub-x/anat/sub-x_T1w.nii.gz", "sub-X/anat/sub-X_T1w.nii.gz")
    if (raw / "sub-x").samefile(raw / "sub-X"):
        pytest.skip("this disk cannot hold both")
    assert set(cases(raw).left_out) == {"sub-x"}


@pytest.mark.parametrize(
    ("said", "right"),
    [
        (None, "dataset_description.json"),
        ("[]", "no JSON object"),
        ('{"Name": "x"}', "BIDSVersion"),
        ('{"Name": "x", "BIDSVersion": 1.9}', "BIDSVersion"),
        ('{"BIDSVersion": "1.9.0", "DatasetType": "derivative"}', "expected a data set of scans"),
        ('{"BIDSVersion": "1.9.0"}', "sub-01"),
    ],
)
def test_what_is_no_data_set_says_what_would_be(tmp_path, capsys, said, right):
    (tmp_path / "raw").mkdir()
    if said is not None:
        (tmp_path / "raw/dataset_description.json").write_text(said)
    table = tmp_path / "cases.csv"
    assert main(["bids", "cases", str(tmp_path / "raw"), "--out", str(table)]) == 2
    assert right in capsys.readouterr().err
    assert not table.exists()


def test_the_table_leads_to_the_files_from_where_it_lies(raw, tmp_path, capsys):
    (tmp_path / "far").mkdir()
    (tmp_path / "near").symlink_to(tmp_path / "far")
    table = tmp_path / "near" / "tables" / "cases.csv"
    command = ["bids", "cases", str(raw), "--method", "physics_dose", "--out", str(table)]
    assert main(command) == 0
    assert "sub-01_ses-2 is not in the table: no 'post'." in capsys.readouterr().err
    for row in csv.DictReader(table.open()):
        for role in ("pre", "post"):
            assert not Path(row[role]).is_absolute()
            assert (table.parent / row[role]).is_file()
    assert main(command) == 2
    assert "is there already" in capsys.readouterr().err


def test_no_table_without_rows(raw, tmp_path, capsys):
    shutil.rmtree(raw / "sub-01/ses-1")
    table = tmp_path / "cases.csv"
    assert main(["bids", "cases", str(raw), "--method", "vcm", "--out", str(table)]) == 2
    assert "no 'low'" in capsys.readouterr().err
    assert not table.exists()


# Sidecars that are inherited


def told(folder, place, **keys):
    path = folder / place
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(keys))


def test_the_nearest_sidecar_wins(raw):
    told(raw, "T1w.json", FlipAngle=10, RepetitionTimeExcitation=0.01, EchoTime=0.003)
    told(raw, "sub-01/sub-01_T1w.json", FlipAngle=20)
    told(raw, "sub-01/ses-1/anat/sub-01_ses-1_T1w.json", FlipAngle=30, EchoTime=None)
    told(raw, "T2w.json", FlipAngle=90)
    told(raw, "ce-lowdose_T1w.json", FlipAngle=80)
    told(raw, "sub-02/sub-01_T1w.json", FlipAngle=70)
    scan = read_volume(raw / "sub-01/ses-1/anat/sub-01_ses-1_T1w.nii.gz")
    assert scan.acquisition.flip_angle_deg == 30
    assert scan.acquisition.echo_time_s == 0.003
    assert scan.acquisition.repetition_time_s == 0.01
    other = read_volume(raw / "sub-01/ses-2/anat/sub-01_ses-2_T1w.nii.gz")
    assert other.acquisition.flip_angle_deg == 20


def test_two_sidecars_in_one_folder_are_told(raw):
    told(raw, "T1w.json", FlipAngle=10)
    told(raw, "ce-gadolinium_T1w.json", FlipAngle=20)
    scan = read_volume(raw / "sub-02/anat/sub-02_ce-gadolinium_T1w.nii.gz")
    assert scan.acquisition.flip_angle_deg is None
    assert "BIDS allows one" in scan.notes[-1]


def test_the_sidecar_of_another_scan_is_not_taken(raw):
    told(raw, "sub-02/anat/sub-02_T1w.json", FlipAngle=10)
    post = raw / "sub-02/anat/sub-02_ce-gadolinium_T1w.nii.gz"
    scan = read_volume(post)
    assert scan.acquisition.flip_angle_deg is None
    assert scan.notes == ("sub-02_T1w.json is beside another scan of its name; it was left out.",)
    told(raw, "sub-02/anat/sub-02_ce-gadolinium_T1w.json", FlipAngle=20)
    scan = read_volume(post)
    assert (scan.acquisition.flip_angle_deg, scan.notes) == (20, ())


def test_sidecars_elsewhere_count_for_nobody(raw, tmp_path):
    told(tmp_path, "T1w.json", FlipAngle=10)
    told(tmp_path, "outside.json", FlipAngle=11)
    (raw / "sub-02/sub-02_T1w.json").symlink_to(tmp_path / "outside.json")
    scan = raw / "sub-02/anat/sub-02_T1w.nii.gz"
    sidecars, notes = sidecars_of(scan)
    assert sidecars == [scan.with_name("sub-02_T1w.json")]
    assert "leads out" in notes[0]
    scan.with_name("sub-02_T1w.json").symlink_to(tmp_path / "outside.json")
    assert read_volume(scan).acquisition.flip_angle_deg is None
    plain = tmp_path / "plain_T1w.nii.gz"
    write_volume(PATIENT["pre"], plain)
    assert read_volume(plain).acquisition.flip_angle_deg is None


def test_what_cannot_be_is_told_with_its_file(raw):
    told(raw, "T1w.json", FlipAngle=1000)
    (raw / "sub-02/sub-02_T1w.json").write_text("not JSON")
    notes = read_volume(raw / "sub-02/anat/sub-02_T1w.nii.gz").notes
    assert any("above the scan (T1w.json)" in note for note in notes)
    assert any("above the scan (sub-02_T1w.json) is not of BIDS" in note for note in notes)


def test_an_agent_in_the_sidecar_of_a_pre_scan_is_told(raw):
    told(raw, "sub-02/anat/sub-02_T1w.json", ContrastBolusIngredient="Gadovist")
    assert any("names gadobutrol" in note for note in cases(raw).notes)


# Derivatives


@pytest.fixture
def results(raw, tmp_path):
    """A batch of physics_pre on the data set."""
    told(raw, "T1w.json", RepetitionTimeExcitation=0.0082, FlipAngle=16)
    told(raw, "sub-01/ses-1/anat/sub-01_ses-1_T1w.json", FlipAngle=17)
    table, out = tmp_path / "cases.csv", tmp_path / "results"
    assert main(["bids", "cases", str(raw), "--method", "physics_pre", "--out", str(table)]) == 0
    assert main(["batch", "physics_pre", "--cases", str(table), "--out", str(out)]) == 0
    return out


def derive(results, raw, out):
    arguments = ["bids", "derivatives", str(results), "--dataset", str(raw), "--out", str(out)]
    return main(arguments)


def all_text(folder):
    return "\n".join(
        path.read_text() for path in folder.rglob("*") if path.is_file() and path.suffix != ".gz"
    )


def test_from_a_data_set_to_its_derivatives_and_back(results, raw, tmp_path):
    out = raw / "derivatives" / "contrastsynth"
    assert derive(results, raw, out) == 0
    names = sorted(path.relative_to(out).as_posix() for path in out.rglob("*.nii.gz"))
    pre, uptake = "desc-syntheticPreByPhysicsPre_T1w", "desc-syntheticUptakeByPhysicsPre_probseg"
    first, second = "sub-01/ses-1/anat/sub-01_ses-1_", "sub-02/anat/sub-02_"
    ends = (f"{pre}.nii.gz", f"{uptake}.nii.gz")
    assert names == [*(first + end for end in ends), *(second + end for end in ends)]
    for case, start in (("sub-01_ses-1", first), ("sub-02", second)):
        for output, end in zip(("pre", "uptake"), ends, strict=True):
            stored, back = read_volume(results / case / f"{output}.nrrd"), out / f"{start}{end}"
            volume = read_volume(back)
            assert np.array_equal(volume.array, stored.array)
            assert volume.grid.corner_distance_mm(stored.grid) < 1e-5
            assert "by ContrastSynth" in volume.synthetic
            assert "research only" in volume.synthetic
            if output == "pre":
                names = ("repetition_time_s", "flip_angle_deg")
                assert [getattr(volume.acquisition, name) for name in names] == [0.0082, 16]
            parse_name(back.name)


def test_each_sidecar_says_what_the_image_is(results, raw):
    out = raw / "derivatives" / "contrastsynth"
    derive(results, raw, out)
    said = json.loads((out / "dataset_description.json").read_text())
    assert said["DatasetType"] == "derivative"
    assert said["DatasetLinks"] == {"raw": "../.."}
    assert (out / said["DatasetLinks"]["raw"] / "dataset_description.json").is_file()
    assert "research use only" in said["GeneratedBy"][0]["Description"]
    assert said["GeneratedBy"][0]["Version"]
    for path in out.rglob("*.json"):
        if path.name == "dataset_description.json":
            continue
        said = json.loads(path.read_text())
        assert said["Description"].startswith("SYNTHETIC ")
        assert said["Synthetic"] is True
        assert said["Method"] == "physics_pre"
        assert said["SkullStripped"] is True
        assert said["Sources"] == [said["SpatialReference"]]
        assert (raw / said["Sources"][0].removeprefix("bids:raw:")).is_file()
        if said["Output"] == "pre":
            assert said["DoseFraction"] == 0
            assert said["Sources"][0] in said["Units"]
            assert "ContrastBolusIngredient" not in said
        else:
            assert said["Units"] == "1"
            assert "DoseFraction" not in said


def test_nothing_tells_of_the_computer(results, raw, tmp_path):
    out = tmp_path / "derived"
    derive(results, raw, out)
    text = all_text(out)
    assert json.loads((out / "dataset_description.json").read_text())["DatasetLinks"] == {
        "raw": "../raw"
    }
    assert str(tmp_path) not in text
    assert socket.gethostname() not in text
    assert f"/{getpass.getuser()}" not in text
    assert os.uname().release not in text


def run_toy(toy, *words):
    """Run a method outside of the library, in a process that knows it."""
    subprocess.run(
        [sys.executable, "-m", "ContrastSynthLib", "run", *map(str, words)],
        env={**os.environ, "CONTRASTSYNTH_METHODS": str(TOYS / toy)},
        cwd=TOYS.parents[1],
        check=True,
        capture_output=True,
    )


def test_labels_and_maps_in_other_units(raw, tmp_path):
    post = raw / "sub-02/anat/sub-02_ce-gadolinium_T1w.nii.gz"
    result = tmp_path / "results/sub-02"
    run_toy("labels_map.py", "toy_labels_map", "--in", f"post={post}", "--out", result)
    made = export(tmp_path / "results", Dataset.open(raw), tmp_path / "derived")
    (table,) = (file for file in made.files if file.suffix == ".tsv")
    rows = list(csv.DictReader((tmp_path / "derived" / table).open(), delimiter="\t"))
    assert [(row["index"], row["name"]) for row in rows] == [
        *(("1", "dark"), ("2", "medium"), ("3", "bright"))
    ]
    labels = table.with_name(table.name.replace(".tsv", ".nii.gz"))
    assert labels.name == "sub-02_desc-syntheticClassesByToyLabelsMap_dseg.nii.gz"
    back, stored = read_volume(tmp_path / "derived" / labels), read_volume(result / "classes.nrrd")
    assert np.array_equal(back.array, stored.array)
    distance = labels.with_name("sub-02_desc-syntheticDistanceByToyLabelsMap_T1w.json")
    assert json.loads((tmp_path / "derived" / distance).read_text())["Units"] == "medians"


def test_a_series_is_an_image_for_each_time(raw, tmp_path):
    scans = [raw / f"sub-02/anat/sub-02_{end}T1w.nii.gz" for end in ("", "ce-gadolinium_")]
    words = [word for scan in scans for word in ("--in", f"phase={scan}")]
    result = tmp_path / "results/sub-02"
    words += ["--time", "0", "--time", "100", "--out", result]
    run_toy("series_times.py", "toy_series_times", *words)
    export(tmp_path / "results", Dataset.open(raw), tmp_path / "derived")
    for number, time_s in enumerate((45.0, 90.0), start=1):
        name = f"sub-02_desc-syntheticPhases{number}ByToySeriesTimes_T1w"
        said = json.loads((tmp_path / f"derived/sub-02/anat/{name}.json").read_text())
        assert said["TimeAfterInjection"] == time_s
        assert said["Sources"] == [f"bids:raw:sub-02/anat/{scan.name}" for scan in sorted(scans)]


def test_the_entities_of_the_scan_are_kept(tmp_path):
    raw = described(tmp_path / "raw")
    place = "sub-1/anat/sub-1_acq-spgr_ce-gd_rec-norm_run-02_T1w.nii.gz"
    put(raw, place, volume=PATIENT["post"])
    run(Request("physics_pre", {"post": raw / place})).write(tmp_path / "results/sub-1")
    made = export(tmp_path / "results", Dataset.open(raw), tmp_path / "derived")
    kept = "sub-1_acq-spgr_rec-norm_run-02_desc-syntheticPreByPhysicsPre_T1w.nii.gz"
    assert kept in [file.name for file in made.files]


def test_a_mask_that_is_not_in_the_data_set_is_told(raw, tmp_path):
    post = raw / "sub-02/anat/sub-02_ce-gadolinium_T1w.nii.gz"
    volume = read_volume(post)
    write_volume(volume.with_array((volume.array > 0).astype(np.float32)), tmp_path / "mask.nrrd")
    inputs = {"post": post, "mask": tmp_path / "mask.nrrd"}
    run(Request("physics_pre", inputs)).write(tmp_path / "results/sub-02")
    made = export(tmp_path / "results", Dataset.open(raw), tmp_path / "derived")
    assert any("'mask' is not in the data set" in warning for warning in made.warnings)


def spoil_mark(results, raw):
    path = results / "sub-02/pre.nrrd"
    volume = read_volume(path)
    write_volume(Volume(volume.array, volume.grid), path)


def spoil_voxels(results, raw):
    path = results / "sub-02/pre.nrrd"
    volume = read_volume(path)
    write_volume(replace(volume, array=volume.array + 1), path)


def spoil_provenance(results, raw):
    path = results / "sub-02/provenance.json"
    path.write_text(path.read_text().replace('"synthetic": true', '"synthetic": false', 1))


def spoil_name(results, raw):
    (results / "sub-02").rename(results / "anna")


def spoil_source(results, raw):
    put(raw, "sub-02/anat/sub-02_ce-gadolinium_T1w.nii.gz")


def spoil_all(results, raw):
    shutil.rmtree(results)
    results.mkdir()


@pytest.mark.parametrize(
    ("spoil", "right"),
    [
        (spoil_mark, "not marked as synthetic"),
        (spoil_voxels, "not those that the run wrote"),
        (spoil_provenance, "does not say that it is synthetic"),
        (spoil_name, "'anna' is no subject and session"),
        (spoil_source, "'post' that the result was made from is none"),
        (spoil_all, "holds no results"),
    ],
)
def test_what_is_not_what_it_should_be_is_refused_whole(results, raw, capsys, spoil, right):
    out = raw / "derivatives" / "contrastsynth"
    spoil(results, raw)
    assert derive(results, raw, out) == 2
    assert right in capsys.readouterr().err
    assert not out.exists()


def test_a_folder_that_holds_anything_is_refused(results, raw, tmp_path, capsys):
    (tmp_path / "derived").mkdir()
    (tmp_path / "derived/mine.txt").write_text("x")
    assert derive(results, raw, tmp_path / "derived") == 2
    assert "not empty" in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "derived").iterdir()] == ["mine.txt"]


@pytest.mark.parametrize("place", ["raw/sub-01/new", "raw/derivatives", "other/place/new"])
def test_a_place_whose_link_would_tell_of_folders_is_refused(results, raw, tmp_path, capsys, place):
    assert derive(results, raw, tmp_path / place) == 2
    assert "or a folder beside" in capsys.readouterr().err
    assert not (tmp_path / place).exists()


def test_a_failed_case_is_told_and_the_others_are_written(results, raw, tmp_path, capsys):
    (results / "sub-01_ses-2").mkdir(exist_ok=True)
    assert derive(results, raw, tmp_path / "derived") == 0
    assert "sub-01_ses-2: without results" in capsys.readouterr().err


def validator():
    """Return the validator and whether it knows derivatives, which the one in JavaScript does not.

    The newer one, ``pip install bids-validator-deno``, has a name of its own.
    """
    places = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    names = ("bids-validator-deno", "bids-validator")
    found = next(filter(None, (shutil.which(name, path=places) for name in names)), None)
    if found is None:
        pytest.skip("neither bids-validator-deno nor bids-validator is installed")
    told = subprocess.run([found, "--version"], capture_output=True, text=True, check=True).stdout
    return found, "1." not in told[:2]


def errors_of(command, folder):
    done = subprocess.run([command, folder, "--json"], capture_output=True, text=True, check=False)
    issues = json.loads(done.stdout)["issues"]
    if isinstance(issues, dict) and "errors" in issues:
        return [issue["key"] for issue in issues["errors"]]
    return [issue["code"] for issue in issues["issues"] if issue["severity"] == "error"]


def test_the_validator_accepts_both_data_sets(results, raw, tmp_path):
    command, knows_derivatives = validator()
    put(raw, "sub-02/anat/sub-02_FLAIR.nii.gz")
    out = raw / "derivatives" / "contrastsynth"
    assert derive(results, raw, out) == 0
    assert errors_of(command, raw) == []
    if knows_derivatives:
        assert errors_of(command, out) == []
        (out / "dataset_description.json").unlink()
        assert errors_of(command, out) != []
