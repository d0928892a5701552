"""Virtual patients and their kinetics from the command line."""

import json

import numpy as np
import pytest

from ContrastSynthLib.cli import main
from ContrastSynthLib.files.images import read_volume, write_volume
from ContrastSynthLib.files.series import read_series


def brain(folder, *extra, seed="5"):
    arguments = ["phantom", "brain", "--seed", seed, "--spacing", "5", "--out", str(folder)]
    return main([*arguments, *extra])


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("brain") / "patient"
    assert brain(folder, "--dose", "0.1,0.33", "--corrupt", "zipper") == 0
    return folder


def test_a_brain_has_its_scans_its_truth_and_its_parameters(made):
    scans = {path.stem for path in made.glob("*.nrrd")}
    assert scans == {"pre", "low_0.1", "low_0.33", "post", "t2", "flair", "adc", "corrupted"}
    truth = {path.stem for path in (made / "truth").glob("*.nrrd")}
    assert {"t1_s", "gadolinium_mmol_per_l", "brain", "tissue", "lesion"} <= truth
    parameters = json.loads((made / "phantom.json").read_text("utf-8"))
    assert parameters["schema_version"] == 1
    assert parameters["seed"] == 5
    grids = {read_volume(made / f"{name}.nrrd").grid for name in ("pre", "post", "t2")}
    assert len(grids) == 1
    assert "virtual" in read_volume(made / "pre.nrrd").synthetic


def test_the_same_seed_gives_the_same_bits(made, tmp_path):
    assert brain(tmp_path / "again", "--dose", "0.1,0.33", "--corrupt", "zipper") == 0
    assert brain(tmp_path / "other", seed="6") == 0
    for name in ("pre", "post", "corrupted", "truth/t1_s"):
        first = read_volume(made / f"{name}.nrrd").array
        assert first.tobytes() == read_volume(tmp_path / "again" / f"{name}.nrrd").array.tobytes()
    other = read_volume(tmp_path / "other" / "pre.nrrd").array
    assert not np.array_equal(other, read_volume(made / "pre.nrrd").array)
    assert not (tmp_path / "other" / "corrupted.nrrd").exists()


@pytest.fixture(scope="module")
def breast(tmp_path_factory):
    folder = tmp_path_factory.mktemp("breast") / "patient"
    assert main(["phantom", "breast", "--seed", "2", "--phases", "3", "--out", str(folder)]) == 0
    return folder


def test_a_breast_is_a_series_whose_kinetics_can_be_read(breast, tmp_path, capsys):
    series = read_series(breast / "series.seq.nrrd")
    assert [volume.acquisition.time_s for volume in series] == [0, 85, 155, 225]
    lesion = read_volume(breast / "truth" / "lesion.nrrd")
    write_volume(lesion.with_array(lesion.array == 1), tmp_path / "lesion.nrrd")
    arguments = ["kinetics", "--series", str(breast / "series.seq.nrrd")]
    arguments += ["--mask", str(tmp_path / "lesion.nrrd"), "--plot", str(tmp_path / "curve.png")]
    capsys.readouterr()
    assert main([*arguments, "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["curve"]["baseline_frames"] == 1
    assert report["curve"]["initial_enhancement"] > 0.3
    assert (tmp_path / "curve.png").read_bytes().startswith(b"\x89PNG")
    assert main([*arguments, "--times", "-10,85,155,225", "--maps", str(tmp_path / "maps")]) == 0
    types = read_volume(tmp_path / "maps" / "type.nrrd")
    assert types.grid == series[0].grid
    assert (types.array[lesion.array == 1] > 0).mean() > 0.9
    assert set(np.unique(types.array)) <= {0, 1, 2, 3}
    assert (tmp_path / "maps" / "initial_enhancement.nrrd").is_file()
    assert main([*arguments, "--times", "0,85"]) == 2
    assert main([*arguments, "--times", "soon"]) == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["brain", "--phases", "4"], "leave --phases out"),
        (["breast", "--dose", "0.1"], "leave --dose out"),
        (["breast", "--corrupt", "motion"], "leave --corrupt out"),
        (["brain", "--dose", "3"], "0-2 of the full dose|0 to 2 of the full dose"),
        (["brain", "--dose", "a,b"], "not a list of doses"),
        (["brain", "--spacing", "50"], "out of range"),
        (["spine"], "invalid choice"),
    ],
)
def test_what_cannot_be_made_is_refused(tmp_path, capfd, arguments, message):
    out = tmp_path / "out"
    try:
        code = main(["phantom", *arguments, "--out", str(out)])
    except SystemExit as leaving:
        code = leaving.code
    assert code == 2
    assert not out.exists()
    printed = capfd.readouterr().err
    assert any(part in printed for part in message.split("|"))
