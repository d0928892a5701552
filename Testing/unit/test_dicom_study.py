"""The series of a DICOM study: what they are, and which ones are proposed for the pair."""

from __future__ import annotations

import json
import os
import shutil

import numpy as np
import pydicom
import pytest
from making_dicom import image_dataset, item, save, segmentation
from making_series import (
    AGENT,
    AXIAL,
    CORONAL,
    DIFFUSION,
    FLAIR,
    SAGITTAL,
    T1,
    T2,
    dynamic,
    frames,
    images,
    put,
    write,
)
from pydicom.fileset import FileSet
from pydicom.uid import SecondaryCaptureImageStorage, generate_uid

from ContrastSynthLib.cli import main
from ContrastSynthLib.dicom_study.names import said_by
from ContrastSynthLib.dicom_study.study import read_study
from ContrastSynthLib.errors import RequestError
from ContrastSynthLib.files.dicom.reader import read_dicom


def kinds(study):
    return {one.number: one.kind for one in study.series}


def roles(proposal):
    return {
        role: part.series.number if part.phase is None else (part.series.number, part.phase)
        for role, part in proposal.parts.items()
    }


def whole_study(folder):
    """All kinds of series in one study; some are named, some are known by tags or time only."""
    localizer = [
        image
        for axes in (AXIAL, SAGITTAL, CORONAL)
        for image in images(1, "scan 1", T1, 0, axes=axes, count=1)
    ]
    for image in localizer:
        image.SeriesInstanceUID = localizer[0].SeriesInstanceUID
    derived = {"ImageType": ["DERIVED", "PRIMARY", "M", "SUBTRACTION"]}
    adc = {"ImageType": ["DERIVED", "PRIMARY", "DIFFUSION", "ADC"]}
    b1000 = {"DiffusionBValue": 1000.0}
    return write(
        folder,
        localizer,
        images(2, "axial", T1, 2),
        images(3, "t2 tse", T2, 4),
        images(4, "dark-fluid", FLAIR, 6),
        images(5, "ep2d", DIFFUSION | b1000, 8),
        images(6, "ep2d", DIFFUSION | adc, 8),
        dynamic(7, "vibe dyn", T1 | AGENT, 10, phases=4, mm=(1.5, 1.5, 4.0)),
        images(8, "axial", T1 | AGENT, 20),
        images(9, "axial", T1 | AGENT, 40),
        images(10, "axial", T1 | AGENT | derived, 20),
        images(11, "result", T1 | {"SyntheticData": "YES"}, 20),
        images(12, "sagittal", T1 | AGENT, 25, axes=SAGITTAL),
    )


def test_every_kind_is_known_and_the_pair_proposed(tmp_path):
    study = read_study(whole_study(tmp_path))
    assert kinds(study) == {
        **{1: "localizer", 2: "pre", 3: "T2", 4: "FLAIR", 5: "DWI", 6: "ADC", 7: "phases"},
        **{8: "post", 9: "post", 10: "derived map", 11: "synthetic", 12: "post"},
    }
    assert [one.warnings for one in study.series] == [()] * 12
    proposal = study.propose()
    assert roles(proposal) == {"pre": 2, "post": 8, "t2": 3, "flair": 4, "adc": 6, "phase": 7}
    assert proposal.missing == ()
    assert all(part.sure for part in proposal.parts.values())
    dynamic_series = next(one for one in study.series if one.number == 7)
    assert (dynamic_series.phases, dynamic_series.images) == (4, 12)
    assert dynamic_series.layout.size == "4x4x3"


def test_what_is_no_scan_is_listed_as_what_it_is(tmp_path):
    write(tmp_path, images(1, "t1 post", T1 | AGENT, 1))
    mask = np.ones((3, 4, 4), np.uint8)
    segments = put(segmentation({1: mask}, [(1, k) for k in range(3)]), {"SeriesNumber": 2})
    picture = image_dataset(np.zeros((4, 4), np.uint8), SecondaryCaptureImageStorage)
    report = image_dataset(np.zeros((4, 4), np.uint8), "1.2.840.10008.5.1.4.1.1.88.22")
    for keyword in ("Rows", "Columns", "PixelData", "BitsAllocated"):
        del report[keyword]
    others = (segments, put(picture, {"SeriesNumber": 3}), put(report, {"Modality": "SR"}))
    for n, dataset in enumerate(others, start=2):
        uids = {"StudyInstanceUID": generate_uid(), "SeriesInstanceUID": f"1.2.{n}"}
        put(dataset, uids | {"SeriesNumber": n, "SeriesDescription": "t1 post"})
        dataset.StudyInstanceUID = images(1, "", T1)[0].StudyInstanceUID
        save(tmp_path / "more", [dataset], [f"{n}.dcm"])
    study = read_study(tmp_path)
    assert kinds(study) == {1: "post", 2: "segmentation", 3: "other", 4: "other"}
    assert [one.warnings for one in study.series] == [()] * 4
    assert roles(study.propose()) == {"post": 1}


@pytest.mark.parametrize(
    ("name", "weighting", "agent"),
    [
        ("AX T1 C+", "T1", True),
        ("t1_mprage_tra_KM", "T1", True),
        ("T1post", "T1", True),
        ("AXT1GD", "T1", True),
        ("t1c", "T1", True),
        ("T1 injecté", "T1", True),
        ("T1造影後", "T1", True),
        ("3D BRAVO +C", "T1", True),
        ("t1 tra nativ", "T1", False),
        ("T1 ohne KM", "T1", False),
        ("T1 sin contraste", "T1", False),
        ("SAG T1 w/o", "T1", False),
        ("T1 non-contrast", "T1", False),
        ("T1 pre GD", "T1", False),
        ("T1 W/WO", "T1", None),
        ("T1 posterior fossa", "T1", None),
        ("t1 pre-op", "T1", None),
        ("Sag T1 FLAIR", "T1", None),
        ("T1 prescan norm", "T1", None),
        ("t2_tirm_tra_dark-fluid", "FLAIR", None),
        ("AX T2 FLAIR +C", "FLAIR", True),
        ("T2* GRE", "other", None),
        ("ep2d_diff_ADC", "ADC", None),
        ("trace b1000", "DWI", None),
        ("SUB post-pre", "derived map", None),
        ("T1 MAP", "derived map", None),
        ("AAHScout", "localizer", None),
        ("3-plane loc", "localizer", None),
        ("subcortical local", None, None),
        ("T12 spine", None, None),
    ],
)
def test_names_are_read_word_by_word(name, weighting, agent):
    said = said_by(name)
    assert (said.weighting, said.agent) == (weighting, agent)


@pytest.mark.parametrize(
    ("text", "given"),
    [
        ("Dotarem", True),
        ("CONTRAST", True),
        ("Gadavist 7.5 ml, no reaction", True),
        ("Dotarem (no allergies)", True),
        ("Gadovist Lot No 123", True),
        ("Gd i.v., not eovist", True),
        ("No adverse reaction to Gadovist", True),
        ("Gadobutrol 1 mmol/ml - sin incidencias", True),
        ("NONE", False),
        ("no gadolinium", False),
        ("no Ablavar", False),
        ("contrast not given", False),
        ("Magnevist not used", False),
        ("Gd: no", False),
        ("KM: nein", False),
        ("ohne KM", False),
        ("0", False),
        ("N/A", None),
        ("n. a.", None),
        ("NA", None),
        ("not available", None),
        ("Unknown", None),
        ("", None),
    ],
)
def test_the_name_of_an_agent_may_deny_that_one_was_given(tmp_path, text, given):
    write(tmp_path, images(1, "axial", T1 | {"ContrastBolusAgent": text}, 5))
    (series,) = read_study(tmp_path).series
    assert series.agent.given is given


def test_tags_are_believed_against_names_with_a_warning(tmp_path):
    none = {"ContrastBolusAgent": "NONE"}
    study = read_study(
        write(
            tmp_path,
            images(1, "t1 pre", T1 | AGENT, 20),
            images(2, "t1 post", T1 | none, 5),
            images(3, "adc", T2, 6),
            images(4, "flair", T1, 7),
            images(5, "t1 post", T1 | AGENT | {"ImageType": ["DERIVED", "PRIMARY", "MIP"]}, 20),
        )
    )
    named = {1: "post", 2: "pre", 3: "ADC", 4: "T1, named FLAIR", 5: "derived map"}
    assert kinds(study) == named
    warned = {one.number: " ".join(one.warnings) for one in study.series if one.warnings}
    assert set(warned) == {1, 2, 4, 5}
    assert "before it (pre)" in warned[1]
    assert "after the agent (ContrastBolusAgent)" in warned[1]
    proposal = study.propose()
    assert roles(proposal) == {"pre": 2, "post": 1, "adc": 3, "flair": 4}
    assert not proposal.parts["post"].sure
    assert not proposal.parts["flair"].sure


def test_names_that_were_swapped_are_put_right(tmp_path):
    folder = write(tmp_path, images(1, "t1 post", T1, 1), images(2, "t1 pre", T1 | AGENT, 9))
    study = read_study(folder)
    assert roles(study.propose()) == {"pre": 1, "post": 2}
    assert all(one.warnings for one in study.series)
    assert not any(part.sure for part in study.propose().parts.values())


def test_settings_that_stand_in_every_header_tell_nothing(tmp_path):
    names = ("t1 pre", "t1 post", "t2", "flair")
    study = read_study(write(tmp_path, *(images(n, t, T1, n) for n, t in enumerate(names, 1))))
    assert kinds(study) == {1: "pre", 2: "post", 3: "T2", 4: "FLAIR"}
    assert {one.number for one in study.series if one.warnings} == {3, 4}


def test_an_agent_in_every_header_tells_nothing(tmp_path):
    folder = write(
        tmp_path, images(1, "t1 nativ", T1 | AGENT, 1), images(2, "t1 axial", T1 | AGENT, 9)
    )
    study = read_study(folder)
    assert roles(study.propose()) == {"pre": 1, "post": 2}
    assert study.series[0].warnings
    late = write(
        tmp_path / "b", images(1, "t1 nativ", T1 | AGENT, 9), images(2, "t1", T1 | AGENT, 1)
    )
    assert set(kinds(read_study(late)).values()) == {"post"}


@pytest.mark.parametrize("first", [3, 8])
def test_time_tells_what_neither_tag_nor_name_does(tmp_path, first):
    given = {"ContrastBolusStartTime": "100500"}
    for folder, tags in (("injection", given), ("nothing", {})):
        study = read_study(
            write(
                tmp_path / folder,
                images(first, "axial", T1 | tags, 2),
                images(5, "axial", T1 | tags, 9),
            )
        )
        proposal = study.propose()
        assert roles(proposal) == {"pre": first, "post": 5}
        assert proposal.parts["pre"].sure == bool(tags), "without any sign it is a guess"


def test_a_scan_beside_a_named_one_needs_no_time(tmp_path):
    study = read_study(write(tmp_path, images(1, "t1c", T1), images(2, "t1", T1)))
    assert [one.time for one in study.series] == ["", ""]
    proposal = study.propose()
    assert roles(proposal) == {"pre": 2, "post": 1}
    assert (proposal.parts["pre"].sure, proposal.parts["post"].sure) == (False, True)


def test_a_scan_that_goes_on_at_midnight(tmp_path):
    late, early = {"AcquisitionTime": "235500"}, {"AcquisitionTime": "000400"}
    study = read_study(
        write(tmp_path, images(1, "t1", T1 | late), images(2, "t1", T1 | AGENT | early))
    )
    assert roles(study.propose()) == {"pre": 1, "post": 2}


def test_the_best_pair_has_one_plane_and_equal_voxels(tmp_path):
    study = read_study(
        write(
            tmp_path,
            images(1, "t1 pre", T1, 1, mm=(0.5, 0.5, 5.0)),
            images(2, "t1 pre", T1, 2, mm=(1.0, 1.0, 1.0), axes=SAGITTAL),
            images(3, "t1 post", T1, 8, axes=CORONAL),
            images(4, "t1 post", T1, 9, mm=(1.0, 1.0, 1.1), axes=SAGITTAL),
            images(5, "t1 post", T1, 9, mm=(1.0, 1.0, 1.0)),
            images(6, "t1 pre", T1, 3, mm=(0.5, 0.5, 1.0), axes=SAGITTAL),
        )
    )
    planes = {one.number: one.layout.plane for one in study.series}
    assert (planes[1], planes[2], planes[3]) == ("axial", "sagittal", "coronal")
    assert roles(study.propose()) == {"pre": 2, "post": 4}


def test_phases_of_a_dynamic_series_stand_in_where_no_scan_does(tmp_path):
    study = read_study(write(tmp_path, dynamic(4, "dyn", T1, 1, phases=5)))
    proposal = study.propose()
    assert roles(proposal) == {"pre": (4, 1), "post": (4, 2), "phase": 4}
    assert not proposal.parts["pre"].sure


@pytest.mark.parametrize("how", ["injection", "tags"])
def test_the_phases_around_the_injection_are_known(tmp_path, how):
    datasets = dynamic(4, "vibe", T1, 1, phases=5)
    for dataset in datasets:
        if how == "injection":
            dataset.ContrastBolusStartTime = "100230"
        elif dataset.TemporalPositionIdentifier > 2:
            put(dataset, AGENT)
    proposal = read_study(write(tmp_path, datasets)).propose()
    assert roles(proposal) == {"pre": (4, 2), "post": (4, 3), "phase": 4}
    assert proposal.parts["pre"].sure
    assert read_dicom(tmp_path / "s4", "2").grid.size == (4, 4, 3)


def test_phases_after_the_agent_make_the_post_scan_beside_a_pre_scan(tmp_path):
    folder = write(tmp_path, images(1, "t1", T1, 1), dynamic(2, "vibe", T1 | AGENT, 9, phases=2))
    assert roles(read_study(folder).propose()) == {"pre": 1, "post": (2, 1), "phase": 2}


def test_several_echoes_are_no_phases(tmp_path):
    one = images(2, "t1 dixon", T1, 1)
    two = images(2, "t1 dixon", T1 | {"EchoTime": "5"}, 1)
    for dataset in two:
        dataset.SeriesInstanceUID = one[0].SeriesInstanceUID
    save(tmp_path / "a", one)
    save(tmp_path / "b", two)
    (series,) = read_study(tmp_path).series
    assert (series.phases, series.layout.contrasts, series.images) == (1, 2, 6)


def test_a_low_dose_only_where_the_name_says_so(tmp_path):
    study = read_study(
        write(
            tmp_path,
            images(1, "t1", T1, 1),
            images(2, "t1 low dose gd", T1, 5),
            images(3, "t1 gd low res", T1, 9),
        )
    )
    assert kinds(study)[2] == "low dose"
    assert roles(study.propose()) == {"pre": 1, "post": 3, "low": 2}
    assert said_by("T1 25% dose").low
    assert not said_by("T1 FOV 80%").low


def enhanced_study(folder):
    timing = {
        "MRTimingAndRelatedParametersSequence": {"RepetitionTime": 9.0, "FlipAngle": 12.0},
        "MREchoSequence": {"EffectiveEchoTime": 3.0},
    }
    gradient = {"EchoPulseSequence": "GRADIENT"}
    agent = {"ContrastBolusAgentSequence": [item(CodeMeaning="Gadobutrol")]}
    diffusion = {"MRDiffusionSequence": {"DiffusionBValue": 800.0}}
    datasets = [
        frames(1, "one", timing, 1, attributes=gradient),
        frames(2, "two", timing, 9, attributes=gradient | agent),
        frames(3, "three", {}, 4, attributes={"AcquisitionContrast": "FLUID_ATTENUATED"}),
        frames(4, "four", diffusion, 5),
        frames(5, "five", {}, 5, attributes={"ImageType": ["DERIVED", "PRIMARY", "X", "ADC"]}),
        frames(6, "six", {}, 3, attributes={"AcquisitionContrast": "T2"}),
    ]
    return save(folder, datasets)


def test_enhanced_files_are_known_as_classic_ones_are(tmp_path):
    study = read_study(enhanced_study(tmp_path))
    assert kinds(study) == {1: "pre", 2: "post", 3: "FLAIR", 4: "DWI", 5: "ADC", 6: "T2"}
    assert roles(study.propose()) == {"pre": 1, "post": 2, "t2": 6, "flair": 3, "adc": 5}
    assert [one.images for one in study.series] == [3] * 6
    post = study.propose().parts["post"].series
    assert read_dicom(study.source(post)).grid.size == (4, 4, 3), "one file is a source of its own"


@pytest.mark.parametrize("small_letters", [False, True])
def test_a_dicomdir_is_read_by_its_records(tmp_path, small_letters):
    medium = FileSet()
    for dataset in images(1, "t1", T1, 1) + images(2, "t1 gd", T1, 9):
        medium.add(put(dataset, {"StudyTime": "100000", "StudyID": "1", "PatientID": "4711"}))
    medium.write(tmp_path / "cd")
    if small_letters:  # as systems show the names of a CD
        for place in sorted((tmp_path / "cd").rglob("*"), reverse=True):
            if place.name != "DICOMDIR":
                place.rename(place.with_name(place.name.lower()))
    save(tmp_path / "cd" / "beside", images(3, "t2", T2, 4))
    study = read_study(tmp_path / "cd" / "DICOMDIR")
    assert roles(study.propose()) == {"pre": 1, "post": 2}
    assert study.notes == ()
    assert set(kinds(read_study(tmp_path / "cd"))) == {1, 2, 3}, "the folder itself has more"


def dicomdir_that_names(folder, *parts):
    medium = FileSet()
    for dataset in images(1, "t1", T1, 1):
        medium.add(put(dataset, {"StudyTime": "100000", "StudyID": "1"}))
    medium.write(folder)
    directory = pydicom.dcmread(folder / "DICOMDIR")
    records = [r for r in directory.DirectoryRecordSequence if "ReferencedFileID" in r]
    records[0].ReferencedFileID = list(parts)
    directory.save_as(folder / "DICOMDIR")
    return folder / "DICOMDIR"


@pytest.mark.parametrize("parts", [("..", "SECRET"), ("A", "..", "..", "SECRET"), ("../SECRET",)])
def test_a_dicomdir_reaches_nothing_outside_of_its_folder(tmp_path, parts):
    save(tmp_path, images(9, "t1 post", T1, 1), ["SECRET", "S2", "S3"])
    with pytest.raises(RequestError, match="not below its own folder"):
        read_study(dicomdir_that_names(tmp_path / "cd", *parts))


def test_a_dicomdir_follows_no_link_outside(tmp_path):
    save(tmp_path, images(9, "t1 post", T1, 1), ["SECRET", "S2", "S3"])
    path = dicomdir_that_names(tmp_path / "cd", "LINK")
    (tmp_path / "cd" / "LINK").symlink_to(tmp_path / "SECRET")
    with pytest.raises(RequestError, match="not below its own folder"):
        read_study(path)


def test_a_dicomdir_says_which_files_are_absent(tmp_path):
    study = read_study(dicomdir_that_names(tmp_path / "cd", "GONE", "IM1"))
    assert "GONE/IM1" in " ".join(study.notes)
    assert study.series[0].images == 2


def test_what_is_damaged_or_no_dicom_is_left_out_and_named(tmp_path):
    first = images(1, "t1", T1, 1)
    put(first[2], {"Rows": 64, "Columns": 64, "PixelData": bytes(8192)})
    folder = write(tmp_path, first, images(2, "t1 gd", T1, 9))
    whole = (folder / "s1" / "IM0000.dcm").read_bytes()
    short = folder / "s1" / "IM0002.dcm"
    short.write_bytes(short.read_bytes()[:-4096])
    (folder / "s1" / "cut.dcm").write_bytes(whole[: len(whole) // 2])
    strange = whole.replace(b"\x08\x00\x16\x00UI", b"\x08\x00\x16\x00UU")
    assert strange != whole
    (folder / "s1" / "strange.dcm").write_bytes(strange)
    (folder / "s1" / "notes.txt").write_text("seen by the radiologist")
    (folder / "s2" / "empty.dcm").write_bytes(b"")
    shutil.copy(folder / "s2" / "IM0000.dcm", folder / "s2" / "again.dcm")
    study = read_study(folder)
    assert [one.images for one in study.series] == [2, 3]
    assert roles(study.propose()) == {"pre": 1, "post": 2}
    notes = " ".join(study.notes)
    for name in ("s1/IM0002.dcm", "s1/cut.dcm", "s1/strange.dcm", "s1/notes.txt", "s2/empty.dcm"):
        assert name in notes
    assert "further copies" in notes


@pytest.mark.parametrize("made", [True, False])
def test_no_dicom_at_all_is_refused(tmp_path, made):
    if made:
        (tmp_path / "a").mkdir()
        (tmp_path / "a" / "t1.nii").write_bytes(b"no dicom")
    with pytest.raises(RequestError, match="Expected a folder of a study"):
        read_study(tmp_path / "a")


def test_of_two_studies_one_is_chosen(tmp_path):
    before = {"StudyDate": "20230601", "StudyDescription": "Head Theodora"}
    write(tmp_path / "b", images(1, "t1", T1, 1), images(2, "t1 gd", T1, 9))
    write(tmp_path / "a", images(7, "t1", T1 | before, 1, study="1.2.3.99"))
    with pytest.raises(RequestError, match="2 studies") as told:
        read_study(tmp_path)
    assert "1: 2023-06-01, 'Head ...', 1 series, 1.2.3.99" in str(told.value)
    assert set(kinds(read_study(tmp_path, "1"))) == {7}
    assert set(kinds(read_study(tmp_path, "1.2.3.99"))) == {7}
    assert set(kinds(read_study(tmp_path, "2"))) == {1, 2}
    with pytest.raises(RequestError, match=r"no study '3'[^$]*2023-06-01"):
        read_study(tmp_path, "3")


def test_wrong_proposals_can_be_put_right(tmp_path):
    study = read_study(whole_study(tmp_path))
    assert roles(study.propose([("post", "9"), ("flair", "none")])) == {
        **{"pre": 2, "post": 9, "t2": 3, "adc": 6, "phase": 7}
    }
    swapped = study.propose([("post", "2"), ("phase", "none")])
    assert swapped.parts["post"].series.number == 2
    assert "pre" not in swapped.parts, "one series has one role"
    assert roles(study.propose([("post", "7@3")]))["post"] == (7, 3)
    for value, said in (("77", "8: axial, post"), ("7@9", "from 1 to 4")):
        with pytest.raises(RequestError, match=said):
            study.propose([("post", value)])
    with pytest.raises(RequestError, match="Unknown role 'psot'"):
        study.propose([("psot", "8")])
    with pytest.raises(RequestError, match="twice"):
        study.propose([("post", "8"), ("post", "9")])


def test_what_is_missing_is_said(tmp_path):
    study = read_study(write(tmp_path, images(1, "axial", T1, 1), images(2, "t2", T2, 2)))
    proposal = study.propose()
    assert roles(proposal) == {"t2": 2}
    assert [sentence.split(":")[0] for sentence in proposal.missing] == ["pre", "post"]
    assert "--role post=1" in proposal.missing[1]


NUMBER = "Q4711-X"
NAMED = ("t1 Tester", "THEODORA_t1", "t1-tester^gd", "t1_TesterTheodora", "t1 Q4711")


def test_the_patient_is_named_nowhere(tmp_path, capfd):
    tags = T1 | {"PatientID": NUMBER}
    series = (images(n, name, tags, n, mm=(1, 1, n)) for n, name in enumerate(NAMED, start=1))
    folder = write(tmp_path / "study", *series)
    (folder / "Theodora Tester.txt").write_text("a letter")
    words = ["series", str(folder)]
    assert main([*words, "--split", str(tmp_path / "out")]) == 0
    assert main([*words, "--json"]) == 0
    assert main([*words, "--role", "post=99"]) == 2
    told = "".join(capfd.readouterr())
    told += " ".join(map(str, (tmp_path / "out").rglob("*")))
    for private in ("tester", "theodora", "q4711"):
        assert private not in told.replace(str(folder), "").lower()
    assert "..." in told


def test_the_command_prints_what_run_takes(tmp_path, capfd):
    folder = whole_study(tmp_path / "my study")
    assert main(["series", str(folder)]) == 0
    text = capfd.readouterr().out
    assert f"--in 'pre={folder / 's2'}' --in 'post={folder / 's8'}'" in text
    (row,) = (line for line in text.splitlines() if line.startswith("7 "))
    for cell in ("vibe dyn", "phases, 4 phases", "4x4x3", "1.5x1.5x4", "axial", "10:10:00"):
        assert cell in row
    assert row.endswith("phase")
    assert main(["series", str(folder), "--role", "post=9", "--json"]) == 0
    content = json.loads(capfd.readouterr().out)
    assert content["schema_version"] == 1
    assert content["proposal"]["post"]["argument"] == f"post={folder / 's9'}"
    assert {one["number"]: one["role"] for one in content["series"]}[9] == "post"


def mixed_folder(folder):
    """Two series in one folder, and a second half of one in another, with names of the scanner."""
    save(folder, images(1, "t1 Tester", T1, 1), ["a1", "a2", "a3"])
    post = images(2, "t1 gd / +C", T1, 9)
    save(folder, post[:2], ["b1", "b2"])
    return save(folder / "more", post[2:], ["a1"]).parent


def test_series_that_share_a_folder_are_split(tmp_path, capfd):
    folder = mixed_folder(tmp_path / "study")
    before = {file: file.read_bytes() for file in folder.rglob("*") if file.is_file()}
    assert main(["series", str(folder)]) == 0
    told = capfd.readouterr()
    assert "--split" in told.err
    assert "--in" not in told.out
    out = tmp_path / "out"
    assert main(["series", str(folder), "--split", str(out)]) == 0
    assert f"--in pre={out / '1_t1'} --in post={out / '2_t1-gd-c'}" in capfd.readouterr().out
    for name in ("1_t1", "2_t1-gd-c"):
        assert read_dicom(out / name).grid.size == (4, 4, 3)
    assert {file: file.read_bytes() for file in before} == before
    assert os.stat(out / "1_t1" / "00001.dcm").st_nlink == 2


def test_a_split_copies_where_links_cannot_be_made(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError("another disk")

    monkeypatch.setattr(os, "link", refuse)
    folder = mixed_folder(tmp_path / "study")
    assert main(["series", str(folder), "--split", str(tmp_path / "out")]) == 0
    assert len(list((tmp_path / "out").rglob("*.dcm"))) == 6


def test_a_split_is_all_or_nothing(tmp_path, monkeypatch, capfd):
    folder = mixed_folder(tmp_path / "study")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "old").write_text("here")
    for place, said in ((tmp_path / "full", "not empty"), (folder / "in", "lies in the study")):
        assert main(["series", str(folder), "--split", str(place)]) == 2
        assert said in capfd.readouterr().err

    def fail(source, place):
        if place.name == "00002.dcm":
            raise OSError(28, "No space left on device")
        shutil.copyfile(source, place)

    monkeypatch.setattr("ContrastSynthLib.dicom_study.splitting._link", fail)
    assert main(["series", str(folder), "--split", str(tmp_path / "out")]) == 2
    assert not (tmp_path / "out").exists()
