"""The methods on real scans: skull-stripped pairs, and the whole head as it was acquired."""

import json

import numpy as np
import pytest

from ContrastSynthLib.cli import main
from ContrastSynthLib.errors import RequestError
from ContrastSynthLib.files.images import read_volume
from ContrastSynthLib.running.request import Request
from ContrastSynthLib.running.run import run

pytestmark = pytest.mark.real_scans


@pytest.fixture
def pair(real_pair):
    return {role: read_volume(path) for role, path in real_pair._asdict().items()}


def relative_error(made, reference, where):
    return np.abs(made.array - reference.array)[where].mean() / reference.array[where].mean()


def test_dose_is_exact_at_both_ends_and_monotone_in_between(pair):
    both = (pair["pre"].array > 0) & (pair["post"].array > 0)
    doses = (0.0, 0.25, 0.5, 0.75, 1.0)
    series = [run(Request("physics_dose", pair, {"dose": dose})).outputs["low"] for dose in doses]
    assert relative_error(series[0], pair["pre"], both) <= 1e-3
    assert relative_error(series[-1], pair["post"], both) <= 1e-3
    steps = np.diff(np.stack([volume.array[both] for volume in series]), axis=0)
    rising = (pair["post"].array >= pair["pre"].array)[both]
    slack = 1e-5 * pair["post"].array.max()
    assert (steps[:, rising] >= -slack).all()
    assert (steps[:, ~rising] <= slack).all()


def test_swapped_scans_are_warned_of_and_right_ones_are_not(pair):
    def swap_warnings(given):
        result = run(Request("physics_dose", given))
        return [warning for warning in result.warnings if "swap" in warning.lower()]

    assert not swap_warnings(pair)
    assert swap_warnings({"pre": pair["post"], "post": pair["pre"]})


def test_pre_from_post_and_evaluate_run_from_the_command_line(real_pair, tmp_path, capsys):
    pre, post = real_pair
    assert main(["run", "physics_pre", f"--in=post={post}", f"--out={tmp_path}", "--json"]) == 0
    capsys.readouterr()
    arguments = [f"--reference={pre}", f"--synthetic={tmp_path / 'pre.nrrd'}"]
    assert main(["evaluate", *arguments, f"--pre={pre}", f"--post={post}", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    # The baseline must not be worse than doing nothing, in dB and inside the uptake.
    assert report["scale"]["share_of_reachable"] > 0.2
    assert report["scale"]["uptake_mae_of_do_nothing"] < 0.9


def test_whole_head_on_one_grid_runs_and_says_that_its_mask_is_a_guess(real_scans):
    folder = real_scans / "tcga_fg_6692_native"
    inputs = {"pre": folder / "native_t1.nii.gz", "post": folder / "native_t1c.nii.gz"}
    result = run(Request("physics_dose", inputs))
    assert result.provenance["mask"]["source"] == "guess"
    assert any("guess" in warning for warning in result.warnings)


@pytest.mark.parametrize("mode", ["rigid"])
def test_whole_head_on_other_grids_is_refused_and_can_be_registered(real_scans, mode, capsys):
    """T2 and FLAIR of this patient lie on other oblique grids than the T1 scans."""
    folder = real_scans / "tcga_fg_6692_native"
    inputs = {"pre": folder / "native_fla.nii.gz", "post": folder / "native_t1c.nii.gz"}
    with pytest.raises(RequestError) as refused:
        run(Request("physics_dose", inputs))
    for part in ("208 256 26", "256 224 26", "<- differs", "--align rigid"):
        assert part in str(refused.value)
    result = run(Request("physics_dose", inputs, align=mode))
    assert result.outputs["low"].grid == read_volume(inputs["pre"]).grid
    assert result.provenance["alignment"]["mode"] == mode
