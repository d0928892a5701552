"""The other side of the panel: JSON lines that nothing else writes to, and being stopped."""

import io
import json
import os
import signal
import subprocess
import sys
import time

import pytest

from ContrastSynthLib.cli import main
from ContrastSynthLib.files.images import write_volume
from ContrastSynthLib.phantom.sample import sample_patient
from ContrastSynthLib.running.jobs import JsonLines


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scans")
    given = []
    scans = sample_patient(seed=2, size=(32, 38, 26)).scans
    for role in ("pre", "post"):
        write_volume(scans[role], folder / f"{role}.nrrd")
        given.append(f"--in={role}={folder / role}.nrrd")
    return given


NOISY = """
import os, sys
import ContrastSynthLib.running.inputs as module
from ContrastSynthLib.cli import main
kept = module.foreground
def loud(*given):
    print("a library that prints")
    os.write(1, b"and one in C\\n")
    return kept(*given)
module.foreground = loud
sys.exit(main(sys.argv[1:]))
"""


def lines_of(arguments, code=NOISY):
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False
    )
    return done, [json.loads(line) for line in done.stdout.splitlines()]


def test_stdout_holds_json_lines_and_nothing_else(inputs, tmp_path):
    out = tmp_path / "out"
    done, lines = lines_of(["run", "physics_dose", *inputs, f"--out={out}", "--progress=json"])
    assert done.returncode == 0, done.stderr
    assert "a library that prints" in done.stderr
    assert "and one in C" in done.stderr
    assert {line["schema_version"] for line in lines} == {1}
    (estimate,) = [line for line in lines if line["type"] == "estimate"]
    assert estimate["seconds"] > 0
    assert estimate["bytes"] > 1e7
    reports = [line for line in lines[:-1] if line is not estimate]
    assert {line["type"] for line in reports} == {"progress"}
    fractions = [line["fraction"] for line in reports]
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1
    assert lines[-1]["type"] == "result"
    assert lines[-1]["outputs"] == {"low": "low.nrrd"}
    assert (out / lines[-1]["provenance"]).is_file()


def test_a_measurement_speaks_the_same_protocol(inputs):
    pre, post = (given.partition("=")[2].partition("=")[2] for given in inputs)
    arguments = [f"--reference={pre}", f"--synthetic={post}", f"--pre={pre}", f"--post={post}"]
    done, lines = lines_of(["evaluate", *arguments, "--progress=json"])
    assert done.returncode == 0, done.stderr
    *before, last = lines
    assert {line["type"] for line in before} == {"progress"}
    fractions = [line["fraction"] for line in before]
    assert fractions == sorted(fractions)
    assert (fractions[0], fractions[-1]) == (0, 1)
    assert any("uptake" in line["message"] for line in before)
    assert (last["type"], last["outputs"]) == ("result", {})
    printed, _ = lines_of(["evaluate", *arguments, "--json", "--progress=none"], AS_TEXT)
    assert last["report"] == json.loads(printed.stderr)


AS_TEXT = """
import sys
sys.stdout = sys.stderr  # so that what is printed is not taken for lines
from ContrastSynthLib.cli import main
sys.exit(main(sys.argv[1:]))
"""


def test_measures_go_with_the_next_line_of_progress_and_only_what_json_can_hold():
    stream = io.StringIO()
    lines = JsonLines(stream)
    lines.measured({"objective": 2.0, "change": float("inf")})
    lines.progress(0.5, "Iteration 1")
    lines.progress(0.6, "Writing")
    first, second = map(json.loads, stream.getvalue().splitlines())
    assert first["measures"] == {"objective": 2.0}
    assert set(second) == {"schema_version", "type", "fraction", "message"}


def test_an_error_is_a_line_too(inputs, tmp_path):
    done, lines = lines_of(
        ["run", "physics_dose", *inputs, f"--out={tmp_path}", "--progress=json", "--set=dose=9"]
    )
    assert done.returncode == 2
    assert lines[-1]["type"] == "error"
    assert lines[-1]["exit_code"] == 2
    assert "Expected 0 to 2" in lines[-1]["message"]
    assert "Expected 0 to 2" in done.stderr


SLOW = """
import sys, time
import ContrastSynthLib.running.inputs as module
from ContrastSynthLib.cli import main
kept = module.foreground
def slow(*given):
    print("here", file=sys.stderr, flush=True)
    time.sleep(60)
    return kept(*given)
module.foreground = slow
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stopped_run_leaves_nothing(inputs, tmp_path, number):
    out = tmp_path / "out"
    arguments = ["run", "physics_dose", *inputs, f"--out={out}", "--progress=json"]
    with subprocess.Popen(
        [sys.executable, "-c", SLOW, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr.readline() == "here\n"
        started = time.monotonic()
        process.send_signal(number)
        said, error = process.communicate(timeout=20)
    assert time.monotonic() - started < 10
    assert process.returncode == 1
    assert "Cancelled" in error
    assert "Traceback" not in error
    assert json.loads(said.splitlines()[-1])["type"] == "error"
    assert not out.exists()


def test_a_closed_pipe_is_no_traceback(tmp_path):
    code = f"{sys.executable} -m ContrastSynthLib env | head -c 1"
    done = subprocess.run(["bash", "-c", code], capture_output=True, text=True, check=False)
    assert "Traceback" not in done.stderr


def test_json_report_of_a_run(inputs, tmp_path, capsys):
    out = tmp_path / "out"
    assert main(["run", "physics_pre", inputs[1], f"--out={out}", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["synthetic"] is True
    assert report["outputs"] == {"pre": "pre.nrrd", "uptake": "uptake.nrrd"}
    assert os.sep not in json.dumps(report["outputs"])
    assert report["schema_version"] == 1


def test_methods_and_env_are_json(capsys):
    assert main(["methods", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert {"physics_dose", "physics_pre"} <= {entry["key"] for entry in listed["methods"]}
    assert main(["env"]) == 0
    environment = json.loads(capsys.readouterr().out)
    assert environment["devices"][0] == {"device": "cpu", "usable": True, "reason": None}
