"""Synthetic is said of every volume that is, and nothing of a patient where results are shared."""

import json
from dataclasses import replace

import pytest

from ContrastSynthLib.cli import main
from ContrastSynthLib.errors import RequestError
from ContrastSynthLib.files.images import write_volume
from ContrastSynthLib.phantom.sample import sample_patient
from ContrastSynthLib.registry import find_method, resolve_parameters
from ContrastSynthLib.running import memory
from ContrastSynthLib.running.estimate import estimate
from ContrastSynthLib.running.request import Request
from ContrastSynthLib.running.run import run


@pytest.fixture(scope="module")
def scans():
    return sample_patient(seed=3, size=(24, 28, 20)).scans


@pytest.fixture
def files(scans, tmp_path):
    """A folder with the scans, and the result of a run."""
    for role, volume in scans.items():
        write_volume(volume, tmp_path / f"{role}.nrrd")
    run(Request("physics_pre", {"post": scans["post"]})).write(tmp_path / "out")
    return tmp_path


def printed(capsys, *words):
    assert main([str(word) for word in words]) == 0
    return capsys.readouterr().out


def test_an_evaluation_says_which_volumes_are_synthetic(files, capsys):
    made = files / "out" / "pre.nrrd"
    words = ["evaluate", "--reference", files / "pre.nrrd", "--synthetic", made, "--json"]
    report = json.loads(printed(capsys, *words, "--progress=none"))
    assert report["marked_synthetic"] == ["synthetic"]
    assert not any("no scan" in note for note in report["notes"])
    swapped = ["evaluate", "--reference", made, "--synthetic", files / "pre.nrrd", "--json"]
    report = json.loads(printed(capsys, *swapped, "--progress=none"))
    assert report["marked_synthetic"] == ["reference"]
    (note,) = [note for note in report["notes"] if "no scan" in note]
    assert "by ContrastSynth" in note


def test_a_profile_says_which_volumes_are_synthetic(files, capsys):
    words = ["profile", "--volume", files / "pre.nrrd", files / "out" / "uptake.nrrd"]
    words += ["--from=-10,0,0", "--to=10,0,0"]
    text = printed(capsys, *words)
    assert "# pre.nrrd\n" in text
    assert "# uptake.nrrd SYNTHETIC\n" in text
    profiles = json.loads(printed(capsys, *words, "--json"))["profiles"]
    assert {name: found["synthetic"] for name, found in profiles.items()} == {
        "pre.nrrd": False,
        "uptake.nrrd": True,
    }


def test_the_mark_of_somebody_else_does_not_reach_the_provenance(scans):
    named = replace(scans["post"], synthetic="made for Doe^Jane by her nephew")
    provenance = run(Request("physics_pre", {"post": named})).provenance
    assert provenance["inputs"]["post"][0]["synthetic"] is True
    assert "Doe" not in json.dumps(provenance)


def test_warnings_of_readers_name_the_role_and_not_the_file(scans, monkeypatch, tmp_path):
    from ContrastSynthLib.running import inputs

    path = tmp_path / "Doe_Jane" / "post.nrrd"
    note = f"{path}: the header of post.nrrd does not contain an orientation."
    monkeypatch.setattr(
        inputs, "read_one", lambda given: replace(scans["post"], notes=(note, note))
    )
    result = run(Request("physics_pre", {"post": path}))
    (warning,) = [text for text in result.warnings if "orientation" in text]
    assert "Doe" not in warning
    assert warning.startswith("'post'")


# Memory


def test_a_run_that_cannot_fit_is_refused_before_it_starts(scans, monkeypatch):
    monkeypatch.setattr(memory, "available_bytes", lambda: 10_000_000)
    with pytest.raises(RequestError, match=r"physics_pre needs about .* GB .* 24 x 28 x 20 voxels"):
        run(Request("physics_pre", {"post": scans["post"]}))
    monkeypatch.setenv(memory.SWITCH, "off")
    run(Request("physics_pre", {"post": scans["post"]}))


def test_an_evaluation_that_cannot_fit_is_refused(files, monkeypatch, capsys):
    monkeypatch.setattr(memory, "available_bytes", lambda: 1000)
    words = ["evaluate", f"--reference={files / 'pre.nrrd'}", f"--synthetic={files / 'post.nrrd'}"]
    assert main([*words, "--progress=none"]) == 2
    assert "evaluate needs about" in capsys.readouterr().err


def test_the_estimate_is_announced_before_the_computation(scans):
    heard = []
    run(
        Request("physics_pre", {"post": scans["post"]}),
        progress=lambda share, message: heard.append(message),
        announce=heard.append,
    )
    (place,) = [n for n, one in enumerate(heard) if not isinstance(one, str)]
    assert heard[:place] == ["Reading"]
    assert heard[place].bytes > 0


def test_the_memory_of_a_method_in_parts_stops_to_grow():
    lip_car = find_method("lip_car")
    values = resolve_parameters(lip_car, {}).values
    small, large, larger = (
        estimate(lip_car, values, n * lip_car.part_voxels, "cpu").bytes for n in (0.5, 1, 10)
    )
    assert large > 1.5 * small
    per_voxel = (larger - large) / (9 * lip_car.part_voxels)
    assert per_voxel < 0.5 * (large - small) / (0.5 * lip_car.part_voxels)


def test_what_is_available_is_less_than_all_there_is():
    available = memory.available_bytes()
    assert available is None or 10**7 < available < 10**14
