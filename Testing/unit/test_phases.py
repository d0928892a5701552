"""A series in, a series out: each phase as a run of its own, to the bit."""

import csv
import json
from dataclasses import replace
from importlib.util import find_spec

import numpy as np
import pytest
from slabs_of_scans import shrunk

from ContrastSynthLib.cli import main
from ContrastSynthLib.errors import Cancelled, RequestError
from ContrastSynthLib.files.images import read_volume, write_volume
from ContrastSynthLib.files.selection import numbers_in, split_selection
from ContrastSynthLib.files.series import holds_phases, read_one, read_series, write_series
from ContrastSynthLib.geometry import Grid
from ContrastSynthLib.phantom.breast.patient import breast_patient
from ContrastSynthLib.registry import METHODS
from ContrastSynthLib.running.batch import run_batch
from ContrastSynthLib.running.request import Request
from ContrastSynthLib.running.run import run
from ContrastSynthLib.volumes import Series

TIMES_S = (0.0, 85.0, 155.0, 295.0)
SEED = 5
needs_networks = pytest.mark.skipif(
    not all(find_spec(name) for name in ("torch", "monai", "safetensors")),
    reason="needs the packages of the networks",
)


@pytest.fixture(scope="module")
def breast():
    phases = breast_patient(3, size=(40, 36, 14), times_s=TIMES_S).phases
    return [shrunk(phase, 2) for phase in phases]


@pytest.fixture
def folder(breast, tmp_path):
    write_series(breast, tmp_path / "breast.seq.nrrd")
    write_volume(breast[0], tmp_path / "pre.nrrd")
    return tmp_path


def single(key, inputs, **options):
    return run(Request(key, inputs, seed=SEED, **options))


def in_turn(key, inputs, **options):
    """Return a run of a series, checked phase by phase against ``inputs``: a list of runs."""
    result = run(Request(key, inputs, seed=SEED, **options))
    assert all(isinstance(output, Series) for output in result.outputs.values())
    return result


def assert_equal_to_single_runs(result, runs, times_s):
    for name, series in result.outputs.items():
        assert series.times_s.tolist() == list(times_s)
        for volume, made, time_s in zip(series, runs, times_s, strict=True):
            alone = made.outputs[name]
            np.testing.assert_array_equal(volume.array, alone.array)
            assert volume.grid == alone.grid
            assert volume.synthetic == alone.synthetic
            assert volume.acquisition == replace(alone.acquisition, time_s=time_s)


def test_every_phase_of_a_post_scan_has_its_pre_scan(breast):
    result = in_turn("physics_pre", {"post": Series(tuple(breast))})
    runs = [single("physics_pre", {"post": phase}) for phase in breast]
    assert_equal_to_single_runs(result, runs, TIMES_S)


def test_one_pre_scan_serves_every_phase(breast):
    given = {"pre": breast[0], "post": Series(tuple(breast[1:]))}
    result = in_turn("physics_dose", given, parameters={"dose": 0.4})
    runs = [
        single("physics_dose", {"pre": breast[0], "post": phase}, parameters={"dose": 0.4})
        for phase in breast[1:]
    ]
    assert_equal_to_single_runs(result, runs, TIMES_S[1:])
    assert not any("phase 1" in warning for warning in result.warnings)


@needs_networks
def test_a_network_sees_each_phase_as_if_it_were_alone(breast):
    result = in_turn("sphere", {"post": Series(tuple(breast))}, preset="fast", phases=(2, 4))
    chosen = [breast[1], breast[3]]
    runs = [single("sphere", {"post": phase}, preset="fast") for phase in chosen]
    assert_equal_to_single_runs(result, runs, (85.0, 295.0))


def test_random_methods_draw_the_same_numbers_in_every_phase(breast, monkeypatch):
    def noise(*, post, context, **_):
        return {"low": context.generator.random(post.array.shape)}

    chosen = replace(METHODS["physics_dose"], function=noise, measure=None, random=True)
    monkeypatch.setitem(METHODS, "physics_dose", chosen)
    made = in_turn("physics_dose", {"pre": breast[0], "post": Series(tuple(breast[1:]))})
    first, *others = made.outputs["low"]
    for other in others:
        np.testing.assert_array_equal(other.array, first.array)


def test_the_first_phase_of_one_file_is_before_the_agent(folder):
    file = folder / "breast.seq.nrrd"
    breast = read_series(file)
    result = in_turn("physics_dose", {"pre": file, "post": str(file)})
    runs = [single("physics_dose", {"pre": breast[0], "post": phase}) for phase in breast[1:]]
    assert_equal_to_single_runs(result, runs, TIMES_S[1:])
    assert "'pre' is phase 1 of the series, before the agent" in result.warnings[0]
    told = result.provenance["record"]["phases"]
    assert [entry["inputs"] for entry in told] == [{"pre": 1, "post": n} for n in (2, 3, 4)]
    assert len(result.provenance["inputs"]["pre"]) == 1
    with pytest.raises(RequestError, match=r"from 2 to 4\. Phase 1 is 'pre'"):
        run(Request("physics_dose", {"pre": file, "post": file}, phases=(1, 2)))


def test_the_provenance_tells_every_phase(breast):
    result = in_turn("physics_pre", {"post": Series(tuple(breast))}, phases=(4, 2))
    provenance = json.loads(json.dumps(result.provenance, allow_nan=False))
    told = provenance["record"]["phases"]
    assert [(entry["phase"], entry["time_s"]) for entry in told] == [(2, 85.0), (4, 295.0)]
    assert all(entry["record"]["uptake_ml"] >= 0 for entry in told)
    assert [one["sha256"] for one in provenance["inputs"]["post"]] == [
        breast[n].sha256() for n in (1, 3)
    ]
    assert provenance["outputs"]["pre"]["times_s"] == [85.0, 295.0]
    assert len(provenance["outputs"]["pre"]["sha256"]) == 2
    assert provenance["seed"] == SEED


def test_parameters_of_a_phase_that_differ_are_told(breast):
    slower = replace(breast[2].acquisition, flip_angle_deg=12.0)
    series = Series((breast[1], replace(breast[2], acquisition=slower)))
    told = in_turn("physics_pre", {"post": series}).provenance["record"]["phases"]
    assert "parameters" not in told[0]
    assert told[1]["parameters"]["flip_angle_deg"] == 12.0


def test_warnings_of_some_phases_name_them(breast):
    mprage = replace(breast[2].acquisition, inversion_time_s=0.9)
    series = Series((breast[1], replace(breast[2], acquisition=mprage)))
    warnings = in_turn("physics_pre", {"post": series}).warnings
    assert next(w for w in warnings if "MPRAGE" in w).startswith("Phase 2: 'post'")
    assert len([w for w in warnings if "No mask was given" in w]) <= 1
    assert len(set(warnings)) == len(warnings)


def test_one_progress_over_all_phases_that_can_be_cancelled_anywhere(breast):
    request = Request("physics_pre", {"post": Series(tuple(breast))}, phases=(2, 3))
    seen = []
    run(request, lambda fraction, message: seen.append((fraction, message)))
    fractions = [fraction for fraction, _ in seen]
    assert fractions == sorted(fractions)
    assert any(message.startswith("Phase 3, 2 of 2: ") for _, message in seen)
    for last in range(len(seen)):
        left = iter(range(last))

        def give_up(fraction, message, left=left):
            if next(left, None) is None:
                raise Cancelled("stop")

        with pytest.raises(Cancelled):
            run(request, give_up)


def test_two_series_must_have_the_same_times(breast):
    other = Series(tuple(breast)).with_frames(
        np.stack([phase.array for phase in breast]), [0, 60, 120, 180]
    )
    given = {"pre": other, "post": Series(tuple(breast))}
    with pytest.raises(RequestError, match="'post' has phases at 0, 85, 155, 295 s, 'pre' at 0"):
        run(Request("physics_dose", given))
    given["pre"] = Series(tuple(breast[:3]))
    with pytest.raises(RequestError, match=r"same times.*pre=FILE#1"):
        run(Request("physics_dose", given))


def test_several_scans_before_the_agent_and_one_after_it_are_refused(breast):
    given = {"pre": Series(tuple(breast)), "post": breast[1]}
    with pytest.raises(
        RequestError, match=r"'pre' is a series.*Choose one phase, as in pre=FILE#1"
    ):
        run(Request("physics_dose", given))


def test_a_method_with_a_series_of_its_own_takes_no_other(breast, monkeypatch):
    chosen = METHODS["physics_dose"]
    inputs = {**chosen.inputs, "post": replace(chosen.inputs["post"], series=True)}
    monkeypatch.setitem(METHODS, "physics_dose", replace(chosen, inputs=inputs))
    given = {"pre": Series(tuple(breast)), "post": Series(tuple(breast))}
    with pytest.raises(RequestError, match=r"has a series of its own. Choose.*pre=FILE#1"):
        run(Request("physics_dose", given))


@needs_networks
@pytest.mark.parametrize(("phases", "number"), [((), 1), ((3,), 2)])
def test_a_method_that_makes_a_series_takes_one_phase_of_a_series(breast, phases, number):
    series, values = Series(tuple(breast)), {"times": (200.0, 400.0)}
    given = {"pre": series, "phase": series}
    made = run(Request("iter_unet", given, values, phases=phases)).outputs["phases"]
    alone = run(Request("iter_unet", {"pre": breast[0], "phase": breast[number]}, values))
    assert made.times_s.tolist() == [200, 400]
    assert made.array.tobytes() == alone.outputs["phases"].array.tobytes()
    with pytest.raises(RequestError, match="makes a series from one phase"):
        run(Request("iter_unet", given, values, phases=(2, 3)))


def test_two_series_of_the_same_times_go_hand_in_hand(breast):
    weaker = [phase.with_array(phase.array * np.float32(0.9)) for phase in breast]
    given = {"pre": Series(tuple(weaker)), "post": Series(tuple(breast))}
    result = in_turn("physics_dose", given)
    pairs = zip(weaker, breast, strict=True)
    runs = [single("physics_dose", {"pre": pre, "post": post}) for pre, post in pairs]
    assert_equal_to_single_runs(result, runs, TIMES_S)


@pytest.mark.parametrize("phases", [(5,), (0,), (1, 9)])
def test_a_phase_that_is_not_there(breast, phases):
    request = Request("physics_pre", {"post": Series(tuple(breast))}, phases=phases)
    with pytest.raises(RequestError, match=r"There is no phase .* from 1 to 4"):
        run(request)


def test_phases_need_a_series(breast):
    with pytest.raises(RequestError, match=r"Phases were chosen .* no series"):
        run(Request("physics_pre", {"post": breast[1]}, phases=(1,)))


def test_the_grid_of_an_oblique_series_stays_and_registration_is_told_by_phase(breast):
    turned = breast[0].grid.index_to_lps.copy()
    turned[:3, 3] += (4.0, 0.0, 0.0)
    moved = replace(breast[0], grid=Grid.from_index_to_lps(breast[0].grid.size, turned))
    given = {"pre": moved, "post": Series(tuple(breast[1:3]))}
    with pytest.raises(RequestError, match="differs"):
        run(Request("physics_dose", given))
    result = in_turn("physics_dose", given, align="resample")
    reference = METHODS["physics_dose"].reference
    grid = moved.grid if reference == "pre" else breast[0].grid
    assert result.outputs["low"].grid == grid
    runs = [single("physics_dose", given | {"post": p}, align="resample") for p in breast[1:3]]
    assert_equal_to_single_runs(result, runs, TIMES_S[1:3])


# One phase of a file


def test_a_number_behind_a_series_is_a_phase(folder, breast):
    file = folder / "breast.seq.nrrd"
    third = read_one(f"{file}#3")
    np.testing.assert_array_equal(third.array, breast[2].array)
    assert third.acquisition.time_s == 155.0
    assert not holds_phases(f"{file}#3")
    assert holds_phases(f"{file}#2-4")
    assert holds_phases(file)
    chosen = read_series(f"{file}#2-3")
    assert [volume.acquisition.time_s for volume in chosen] == [85.0, 155.0]
    result = single("physics_pre", {"post": f"{file}#3"})
    np.testing.assert_array_equal(
        result.outputs["pre"].array, single("physics_pre", {"post": breast[2]}).outputs["pre"].array
    )
    for wrong in ("0", "5", "99999"):
        with pytest.raises(RequestError, match=f"no phase '{wrong}'; expected numbers from 1 to 4"):
            read_one(f"{file}#{wrong}")


def test_a_file_whose_name_ends_in_a_number_is_itself(folder, breast):
    write_series(breast[:1], folder / "a.seq.nrrd")
    named = folder / "breast.seq.nrrd#3"
    named.write_bytes(b"")
    assert split_selection(named) == (named, None)
    with pytest.raises(RequestError, match="neither"):
        read_one(f"{folder / 'pre.nrrd'}#1")


def test_a_series_of_one_volume_is_a_volume(folder, breast):
    write_series(breast[1:2], folder / "one.seq.nrrd")
    result = single("physics_pre", {"post": folder / "one.seq.nrrd"})
    assert not isinstance(result.outputs["pre"], Series)


@pytest.mark.parametrize(
    ("text", "numbers"), [("1", [1]), ("1,3-5", [1, 3, 4, 5]), (" 2 - 3 ", [2, 3])]
)
def test_numbers_of_phases(text, numbers):
    assert numbers_in(text) == numbers


@pytest.mark.parametrize("text", ["", "0", "3,1", "2,2", "a", "1-", "5-3", "-1", "1.5", "1,,2"])
def test_what_is_no_number_of_a_phase(text):
    with pytest.raises(ValueError, match="is not"):
        numbers_in(text)


# The command line


def attempt(folder, *more, key="physics_dose", out="out"):
    words = ["run", key, "--out", str(folder / out), "--progress", "none", "--seed", str(SEED)]
    return main([*words, *more])


def test_the_command_line_writes_series(folder, breast, capsys):
    file = folder / "breast.seq.nrrd"
    given = ("--in", f"pre={file}", "--in", f"post={file}", "--phases", "2,4", "--json")
    assert attempt(folder, *given) == 0
    assert sorted(path.name for path in (folder / "out").iterdir()) == [
        "low.seq.nrrd",
        "provenance.json",
    ]
    told = json.loads(capsys.readouterr().out)
    assert told["outputs"] == {"low": "low.seq.nrrd"}
    assert [entry["phase"] for entry in told["record"]["phases"]] == [2, 4]
    volumes = read_series(folder / "out" / "low.seq.nrrd")
    assert [volume.acquisition.time_s for volume in volumes] == [85.0, 295.0]
    assert all("physics_dose" in volume.synthetic for volume in volumes)
    alone = single("physics_dose", {"pre": breast[0], "post": breast[3]})
    np.testing.assert_array_equal(volumes[1].array, alone.outputs["low"].array)
    text = (folder / "out" / "provenance.json").read_text("utf-8")
    assert "breast.seq" not in text
    assert str(folder) not in text
    # A single run takes the place of the series, and the other way round.
    assert attempt(folder, "--in", f"pre={folder}/pre.nrrd", "--in", f"post={file}#3") == 0
    assert not (folder / "out" / "low.seq.nrrd").exists()
    one = single("physics_dose", {"pre": breast[0], "post": breast[2]}).outputs["low"]
    np.testing.assert_array_equal(read_volume(folder / "out" / "low.nrrd").array, one.array)


@pytest.mark.parametrize(
    ("phases", "message"),
    [("9", "no phase 9"), ("x", "not numbers of phases"), ("3,1", "not numbers of phases")],
)
def test_wrong_phases_end_with_2_and_leave_nothing(folder, capsys, phases, message):
    given = ("--in", f"post={folder / 'breast.seq.nrrd'}", "--phases", phases)
    try:
        code = attempt(folder, *given, key="physics_pre")
    except SystemExit as end:
        code = end.code
    assert code == 2
    assert message in capsys.readouterr().err
    assert not (folder / "out").exists()


def test_a_failure_in_a_later_phase_leaves_nothing(folder, breast, monkeypatch, capsys):
    chosen = METHODS["physics_pre"]

    def fails_late(*, post, **rest):
        if post.acquisition.time_s == 295.0:
            raise RequestError("this phase cannot be done")
        return chosen.function(post=post, **rest)

    monkeypatch.setitem(METHODS, "physics_pre", replace(chosen, function=fails_late))
    assert attempt(folder, "--in", f"post={folder}/breast.seq.nrrd", key="physics_pre") == 2
    assert "this phase cannot be done" in capsys.readouterr().err
    assert not (folder / "out").exists()


def test_an_input_is_never_replaced(folder, breast, capsys):
    inside = folder / "out" / "low.seq.nrrd"
    write_series([replace(p, synthetic=None) for p in breast], inside)
    assert attempt(folder, "--in", f"pre={inside}#1", "--in", f"post={inside}") == 2
    assert "is the input 'pre'" in capsys.readouterr().err
    assert len(read_series(inside)) == len(TIMES_S)


def test_a_table_may_name_series_and_resumes(folder, breast):
    with (folder / "cases.csv").open("w", newline="") as file:
        csv.writer(file).writerows(
            [
                ["case", "pre", "post"],
                ["all", "breast.seq.nrrd", "breast.seq.nrrd"],
                ["third", "breast.seq.nrrd#1", "breast.seq.nrrd#3"],
            ]
        )
    options = {"parameters": {}, "common": {"seed": SEED}, "say": lambda text: None}
    counts = run_batch("physics_dose", folder / "cases.csv", folder / "out", **options)
    assert (counts.done, counts.failed) == (2, 0)
    series = read_series(folder / "out" / "all" / "low.seq.nrrd")
    one = read_volume(folder / "out" / "third" / "low.nrrd")
    np.testing.assert_array_equal(series[1].array, one.array)
    again = run_batch("physics_dose", folder / "cases.csv", folder / "out", resume=True, **options)
    assert again.kept == 2
