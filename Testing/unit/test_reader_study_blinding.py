"""What readers get of a study tells nothing of the arms; the key tells all."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("sqlalchemy")

from ContrastSynthLib.acquisition import Acquisition
from ContrastSynthLib.errors import RequestError
from ContrastSynthLib.files.images import read_volume, write_volume
from ContrastSynthLib.geometry import Grid
from ContrastSynthLib.reader_study import blinding
from ContrastSynthLib.reader_study.protocol import ARMS, PREFERENCE, Protocol, StudyCase
from ContrastSynthLib.reader_study.store import Store
from ContrastSynthLib.volumes import Volume

SHAPE = (6, 10, 8)
GRID = Grid(SHAPE[::-1], spacing_mm=(1.0, 1.0, 2.0))


@pytest.fixture
def protocol(tmp_path):
    """Three cases, whose synthetic images have a mark, another unit, and no acquisition."""
    rng, cases = np.random.default_rng(0), []
    for name in ("anna", "berta", "clara"):
        brain = rng.uniform(80, 120, SHAPE)
        scans = {
            "real": Volume(brain, GRID, Acquisition(repetition_time_s=0.008, echo_time_s=0.003)),
            "made": Volume(7.5 * brain, GRID, synthetic="made by sphere"),
            "post": Volume(2 * brain, GRID, Acquisition(agent="gadoterate")),
        }
        for what, volume in scans.items():
            write_volume(volume, tmp_path / "in" / f"{name}_{what}.nrrd")
        files = {what: str(tmp_path / "in" / f"{name}_{what}.nrrd") for what in scans}
        cases.append(StudyCase(name, files["made"], files["real"], (files["post"],)))
    return Protocol("Pre-contrast", tuple(cases), ("one", "two"), seed=3)


def test_the_key_and_the_readings_are_those_of_the_protocol(protocol, tmp_path):
    made = blinding.create(protocol, tmp_path / "study")
    key = blinding.read_key(tmp_path / "study" / blinding.KEY)
    assert key == made
    store = Store(tmp_path / "study" / "readers" / "study.sqlite")
    assert store.about.protocol_sha256 == protocol.sha256()
    for reader in protocol.readers:
        shown = Counter(key.images[r.images[0]] for r in store.readings(reader))
        assert shown == {(case.name, arm): 1 for case in protocol.cases for arm in ARMS}
        for reading in store.readings(reader):
            (beside,) = reading.beside
            assert key.images[beside] == (key.images[reading.images[0]][0], "beside 1")


def test_two_images_of_a_case_differ_in_nothing_but_what_they_show(protocol, tmp_path):
    key = blinding.create(protocol, tmp_path / "study")
    folder = tmp_path / "study" / "readers" / "images"
    files = sorted(folder.iterdir())
    assert {file.stem for file in files} == set(key.images)
    assert len({file.stat().st_size for file in files}) == 1
    assert len({file.stat().st_mtime for file in files}) == 1
    for case in protocol.cases:
        new, standard = (
            read_volume(folder / f"{name}.nrrd")
            for arm in ARMS
            for name, place in key.images.items()
            if place == (case.name, arm)
        )
        # A scanner's values would be multiples of a step, and a network's would not.
        np.testing.assert_array_equal(new.array, np.round(new.array))
        np.testing.assert_allclose(new.array, standard.array, atol=1)
        assert new.acquisition == standard.acquisition == Acquisition()
        assert new.synthetic == standard.synthetic == blinding.MARK
        assert new.grid == standard.grid == GRID


@pytest.mark.parametrize("mode", ["scores", PREFERENCE])
def test_nothing_that_readers_get_tells_the_arm_or_the_patient(protocol, tmp_path, mode):
    protocol = replace(protocol, mode=mode)
    blinding.create(protocol, tmp_path / "study")
    words = [
        "anna",
        "berta",
        "clara",
        "sphere",
        "made",
        "gadoterate",
        "standard",
    ]
    words += ["_real", "_post", str(tmp_path / "in"), '"new"', "new'"]
    for file in (tmp_path / "study" / "readers").rglob("*"):
        if file.is_file():
            content = file.read_bytes().lower()
            for word in words:
                assert word.encode() not in content, (file.name, word)
                assert word.encode("utf-16-le") not in content


def test_the_key_tells_which_images_came_with_a_mark(protocol, tmp_path):
    key = blinding.create(protocol, tmp_path / "study")
    assert key.marks_of("new") == dict.fromkeys(("anna", "berta", "clara"), "made by sphere")
    assert key.marks_of("standard") == {}
    turned = [replace(case, new=case.standard, standard=case.new) for case in protocol.cases]
    key = blinding.create(replace(protocol, cases=tuple(turned)), tmp_path / "turned")
    assert [*key.marks_of("standard")] == ["anna", "berta", "clara"]


def test_names_are_drawn_anew_and_not_from_the_seed(protocol, tmp_path):
    one, two = (blinding.create(protocol, tmp_path / name) for name in ("a", "b"))
    assert not set(one.images) & set(two.images)


def test_a_changed_protocol_is_found(protocol, tmp_path):
    blinding.create(protocol, tmp_path / "study")
    path = tmp_path / "study" / blinding.KEY
    told = json.loads(path.read_text())
    told["protocol"]["analysis"]["margin"] = 0.5
    path.write_text(json.dumps(told))
    with pytest.raises(RequestError, match="changed after the study was made"):
        blinding.read_key(path)
    for text in ("{}", "[1]", "no"):
        path.write_text(text)
        with pytest.raises(RequestError, match="no key of a reader study"):
            blinding.read_key(path)


def test_what_cannot_be_made_leaves_nothing(protocol, tmp_path):
    folder = tmp_path / "study"
    other = Volume(np.ones((4, 4, 4)) + np.arange(4), Grid((4, 4, 4)))
    write_volume(other, tmp_path / "other.nrrd")
    last = replace(protocol.cases[-1], standard=str(tmp_path / "other.nrrd"))
    for case in (last, replace(last, standard=str(tmp_path / "gone.nrrd"))):
        wrong = replace(protocol, cases=(*protocol.cases[:-1], case))
        with pytest.raises(RequestError):
            blinding.create(wrong, folder)
        assert not folder.exists()
    folder.mkdir()
    (folder / "mine.txt").write_text("mine")
    with pytest.raises(RequestError, match="is not empty"):
        blinding.create(protocol, folder)
    assert [file.name for file in folder.iterdir()] == ["mine.txt"]
