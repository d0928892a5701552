"""An output never replaces an input, nor a file that this program did not make."""

import json
import shutil

import pytest

from ContrastSynthLib.cli import main
from ContrastSynthLib.errors import RequestError
from ContrastSynthLib.files.images import WRITABLE, read_volume, write_volume
from ContrastSynthLib.files.replacing import mark_of
from ContrastSynthLib.phantom.sample import sample_patient
from ContrastSynthLib.running.request import Request
from ContrastSynthLib.running.run import run


@pytest.fixture
def folder(tmp_path):
    """A folder of a patient, as people have them: the scans, and nothing else."""
    for role, volume in sample_patient(seed=3, size=(24, 28, 20)).scans.items():
        write_volume(volume, tmp_path / f"{role}.nrrd")
    pre = read_volume(tmp_path / "pre.nrrd")
    write_volume(pre.with_array(pre.array > 0), tmp_path / "mask.nrrd")
    return tmp_path


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def command(folder, *words):
    return main([str(word).replace("@", f"{folder}/") for word in words])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            [
                "run",
                "physics_pre",
                "--in",
                "post=@post.nrrd",
                "--in",
                "mask=@mask.nrrd",
                "--out=@.",
            ],
            "pre.nrrd: is there already, and is no such output of ContrastSynth",
        ),
        (
            ["run", "physics_dose", "--in=pre=@pre.nrrd", "--in=post=@low.nrrd", "--out=@."],
            "low.nrrd: is the input 'post'; an output never replaces an input",
        ),
        (
            ["uptake", "--pre=@pre.nrrd", "--post=@post.nrrd", "--out=@pre.nrrd"],
            "is the input 'pre'",
        ),
        (
            ["uptake", "--pre=@pre.nrrd", "--post=@post.nrrd", "--out=@corrupted.nrrd"],
            "is no such output",
        ),
        (
            [
                *("evaluate", "--reference=@pre.nrrd", "--synthetic=@low.nrrd"),
                *("--pre=@pre.nrrd", "--post=@post.nrrd", "--map=@pre.nrrd"),
            ],
            "is the input 'reference'",
        ),
        (["phantom", "breast", "--out=@."], "pre.nrrd: is there already"),
    ],
)
def test_a_scan_is_never_replaced(folder, capsys, words, message):
    before = contents(folder)
    if words[0] == "phantom":
        pytest.importorskip("nilearn")
    assert command(folder, *words) == 2
    assert message in capsys.readouterr().err
    assert contents(folder) == before


def test_a_plot_replaces_plots_only(folder, capsys):
    pytest.importorskip("matplotlib")
    line = ["profile", "--volume", "@pre.nrrd", "--from=-10,0,0", "--to=10,0,0"]
    (folder / "mine.png").write_bytes(b"\x89PNG\r\n\x1a\nsomebody's picture")
    assert command(folder, *line, "--plot=@mine.png") == 2
    assert "mine.png: is there already" in capsys.readouterr().err
    for _ in range(2):
        assert command(folder, *line, "--plot=@ours.png") == 0


@pytest.mark.parametrize("suffix", WRITABLE)
def test_an_uptake_mask_replaces_an_uptake_mask(folder, suffix):
    words = ["uptake", "--pre=@pre.nrrd", "--post=@post.nrrd", f"--out=@uptake{suffix}"]
    for threshold in ("0.1", "0.2"):
        assert command(folder, *words, f"--threshold={threshold}") == 0
    assert mark_of(folder / f"uptake{suffix}").removeprefix("SYNTHETIC ").startswith("uptake mask")


def test_a_result_replaces_a_result_and_nothing_of_the_older_one_stays(folder):
    out, post = folder / "out", folder / "post.nrrd"
    first = run(Request("physics_pre", {"post": post}))
    first.write(out)
    first.write(out)
    assert {path.name for path in out.iterdir()} == {"pre.nrrd", "uptake.nrrd", "provenance.json"}
    (out / "notes.txt").write_text("mine")
    run(Request("physics_dose", {"pre": folder / "pre.nrrd", "post": post})).write(out)
    assert {path.name for path in out.iterdir()} == {"low.nrrd", "provenance.json", "notes.txt"}
    assert json.loads((out / "provenance.json").read_text())["method"]["key"] == "physics_dose"


def test_an_older_result_that_somebody_replaced_stays(folder):
    out, post = folder / "out", folder / "post.nrrd"
    run(Request("physics_pre", {"post": post})).write(out)
    shutil.copy(post, out / "uptake.nrrd")
    run(Request("physics_dose", {"pre": folder / "pre.nrrd", "post": post})).write(out)
    assert (out / "uptake.nrrd").read_bytes() == post.read_bytes()
    with pytest.raises(RequestError, match=r"uptake\.nrrd: is there already"):
        run(Request("physics_pre", {"post": post})).write(out)


def test_a_result_is_not_replaced_by_what_is_made_of_it(folder):
    """low.nrrd of an earlier run is the input of the next one into the same folder."""
    out = folder / "out"
    pair = {"pre": folder / "pre.nrrd", "post": folder / "post.nrrd"}
    run(Request("physics_dose", pair)).write(out)
    before = contents(out)
    again = run(Request("physics_dose", {"pre": folder / "pre.nrrd", "post": out / "low.nrrd"}))
    with pytest.raises(RequestError, match="is the input 'post'"):
        again.write(out)
    assert contents(out) == before


def test_a_link_to_an_input_is_that_input(folder):
    out = folder / "out"
    out.mkdir()
    (out / "pre.nrrd").symlink_to(folder / "post.nrrd")
    with pytest.raises(RequestError, match="is the input 'post'"):
        run(Request("physics_pre", {"post": folder / "post.nrrd"})).write(out)


def test_the_provenance_comes_last(folder, monkeypatch):
    """A run that is killed while its files move leaves no provenance beside files of two runs."""
    import os

    out = folder / "out"
    post = folder / "post.nrrd"
    run(Request("physics_pre", {"post": post})).write(out)
    result, moved, replace = run(Request("physics_pre", {"post": post})), [], os.replace

    def watch(source, place):
        if ".partial-" in str(source) and ".partial-" not in str(place):
            moved.append((place.name, (out / "provenance.json").exists()))
        replace(source, place)

    monkeypatch.setattr(os, "replace", watch)
    result.write(out)
    assert [name for name, _ in moved] == ["pre.nrrd", "uptake.nrrd", "provenance.json"]
    assert not any(there for _, there in moved)


def test_marks_of_what_is_no_image_are_empty(tmp_path):
    for name, content in {"a.nrrd": b"", "b.nii.gz": b"\x1f\x8bno", "c.png": b"\x89PNG"}.items():
        (tmp_path / name).write_bytes(content)
        assert mark_of(tmp_path / name) == ""
    assert mark_of(tmp_path) == mark_of(tmp_path / "none") == ""
