"""How the panel runs a method in another process: with fake workers, and once with the real one."""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).resolve().parents[2] / "ContrastSynth"))

from ContrastSynthPanel import job as module
from ContrastSynthPanel.job import Job, find_python, run_arguments, worker_environment

from ContrastSynthLib.files.images import read_volume, write_volume
from ContrastSynthLib.phantom.sample import sample_patient
from ContrastSynthLib.running import jobs
from ContrastSynthLib.running.request import Request
from ContrastSynthLib.running.run import run

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="the workers here use signals, /proc and /dev/full"
)

REQUEST = Request("physics_dose", {})
FINAL = ("finished", "failed", "cancelled")

BEGIN = """
import json, os, signal, subprocess, sys, time
from pathlib import Path
out = Path(next(a for a in sys.argv if a.startswith("--out=")).removeprefix("--out="))
def say(kind, version=1, **content):
    print(json.dumps({"schema_version": version, "type": kind, **content}), flush=True)
def done(*left):
    out.mkdir()
    for name in left or ("low.nrrd", "provenance.json"):
        (out / name).write_text("synthetic")
    say("result", outputs={"low": "low.nrrd"}, provenance="provenance.json", warnings=["a"])
"""
STUBBORN = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(60)"


@pytest.fixture(autouse=True)
def temporary(tmp_path, monkeypatch):
    """Exchange folders lie in the test's own folder, and nothing runs on behind it."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    yield folder
    if Job._latest:
        Job._latest.close()
    assert list(folder.iterdir()) == []


@pytest.fixture
def fake(tmp_path):
    """Start a job whose worker is a few lines of Python."""

    def start(code, request=REQUEST, begin=BEGIN):
        script = tmp_path / "worker.py"
        script.write_text(begin + code, encoding="utf-8")
        job = Job(sys.executable, [str(script)])
        job.start(run_arguments(request, job.results))
        return job

    return start


def play(job, handle=lambda event: None, *, limit_s=15.0, every_s=0.01):
    """Poll as the panel's timer does; return the events."""
    events = []

    def note(event):
        events.append(event)
        handle(event)

    ends = time.monotonic() + limit_s
    while job.poll(note):
        assert time.monotonic() < ends, events
        time.sleep(every_s)
    return events


def failure(job):
    (event,) = [event for event in play(job) if event.kind in FINAL]
    assert event.kind == "failed"
    return event


def wait_for(what, limit_s=5.0):
    ends = time.monotonic() + limit_s
    while not (found := what()):
        assert time.monotonic() < ends, "waited too long"
        time.sleep(0.01)
    return found


def gone(pid):
    """Tell whether a process is no more: a zombie waits only for whoever adopted it."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    stat = Path(f"/proc/{pid}/stat")
    return stat.is_file() and stat.read_text().rpartition(")")[2].split()[0] == "Z"


def test_progress_log_and_result_then_nothing(fake):
    seen = []

    def handle(event):
        if event.kind == "finished":
            seen.extend(path.read_text() for path in event.files.values())

    job = fake(
        "say('progress', fraction=0.25, message='Reading ü 日本')\n"
        "print('Lesion in ml: µ', file=sys.stderr, flush=True)\n"
        "time.sleep(0.3)\nsay('progress', fraction=1, message='Done')\ndone()"
    )
    assert job.running
    events = play(job, handle)
    text = [(e.fraction, e.text) for e in events if e.kind == "progress"]
    assert text == [(0.25, "Reading ü 日本"), (1, "Done")]
    assert [e.text for e in events if e.kind == "log"] == ["Lesion in ml: µ"]
    assert [e.kind for e in events].count("finished") == 1
    assert events[-1].files == {
        "low": job.results / "low.nrrd",
        "provenance": job.results / "provenance.json",
    }
    assert events[-1].report["warnings"] == ["a"]
    assert seen == ["synthetic", "synthetic"], "the files are there while the event is handled"
    assert not job.folder.exists(), "and gone after it"
    assert not job.running
    assert job.poll(lambda event: pytest.fail("a second final event")) is False


@pytest.mark.parametrize("code", [2, 3])
def test_what_the_worker_says_is_the_message(fake, code):
    event = failure(
        fake(
            f"print('contrastsynth: Post is missing.', file=sys.stderr)\n"
            f"say('error', message='Post is missing.', exit_code={code})\nsys.exit({code})"
        )
    )
    assert (event.text, event.exit_code) == ("Post is missing.", code)


def test_the_command_line_refuses_an_option(fake):
    """argparse speaks on stderr only."""
    event = failure(fake("print('argument --set: bad', file=sys.stderr)\nsys.exit(2)"))
    assert "exit code 2" in event.text
    assert "argument --set: bad" in event.text


def test_a_death_without_a_message_shows_the_last_lines(fake):
    event = failure(fake("print(*range(99), sep='\\n', file=sys.stderr)\nsys.exit(5)"))
    assert "ended without a result (exit code 5)" in event.text
    assert event.text.endswith("\n96\n97\n98")
    assert "\n90\n" not in event.text


def test_silence_and_exit_code_0_is_no_result(fake):
    assert failure(fake("")).text == "The worker ended without a result (exit code 0)."


@pytest.mark.parametrize(
    "code",
    [
        "os.kill(os.getpid(), signal.SIGKILL)",
        "sys.exit(137)",
        "print('error: [python-real] exit abnormally - Report the problem.', file=sys.stderr)\n"
        "sys.exit(1)",
    ],
    ids=["kill -9", "through a shell", "through Slicer's launcher"],
)
def test_killed_means_memory(fake, code):
    event = failure(fake("sys.stdout.write('{\"schema_ver')\nsys.stdout.flush()\n" + code))
    assert "was killed, most often because memory ran out: choose the CPU" in event.text


@pytest.mark.parametrize(
    ("number", "named"), [(11, "Segmentation fault"), (40, "Real-time signal")]
)
def test_a_crash_is_named(fake, number, named):
    event = failure(fake(f"os.kill(os.getpid(), {number})"))
    assert f"crashed ({named}" in event.text


@pytest.mark.parametrize(
    "line",
    [
        "free memory: 3 GB",
        "{'type': 'result'}",
        "[1, 2]",
        "7",
        '{"schema_version": 1}',
        '{"type": "result"}',
        '{"schema_version": 1, "type": "progress"}',
        '{"schema_version": 1, "type": "progress", "fraction": "1", "message": ""}',
        "[" * 100_000,
        "\\xff\\xfe\\x00",
    ],
)
def test_garbage_is_logged_and_harms_no_result(fake, line):
    code = f"sys.stdout.buffer.write(b'''{line}\\n''')\nsys.stdout.flush()\n"
    events = play(fake(code + "done()"))
    assert events[-1].kind == "finished"
    assert "not understood: " + line[:1].replace("\\", "\ufffd") in events[0].text
    assert "not understood: " in failure(fake(code)).text


def test_progress_out_of_range_is_left_out(fake):
    code = "for x in -0.1, 1.1, float('nan'): say('progress', fraction=x, message='')\ndone()"
    assert [event.kind for event in play(fake(code))] == ["finished"]


def test_what_was_measured_comes_with_the_progress_and_none_is_lost(fake):
    code = (
        "for n in range(40):\n"
        "    found = {'objective': 1 / (n + 1)}\n"
        "    say('progress', fraction=n / 40, message=str(n), measures=found)\n"
        "say('progress', fraction=1, message='x', measures='of tomorrow')\n"
        "say('progress', fraction=1, message='Done', more='of tomorrow')\ndone()"
    )
    events = play(fake(code), every_s=0.05)
    text = [event for event in events if event.kind == "progress"]
    assert len(text) < 40, "only the newest progress of a poll is reported"
    measures = [one["objective"] for event in text for one in event.measures]
    assert measures == [1 / (n + 1) for n in range(40)]
    assert text[-1].text == "Done"
    assert "not understood" in "".join(event.text for event in events if event.kind == "log")


def test_a_measurement_leaves_no_files(fake):
    events = play(fake("say('result', outputs={}, report={'mae': 0.5})"))
    assert (events[-1].kind, events[-1].files) == ("finished", {})
    assert events[-1].report["report"] == {"mae": 0.5}


def test_an_unknown_kind_of_line_is_passed_over(fake):
    events = play(fake("say('estimate', seconds=3)\ndone()"))
    assert [event.kind for event in events] == ["finished"]


def test_a_newer_protocol_is_refused_at_once(fake):
    started = time.monotonic()
    event = failure(fake("say('progress', version=2, fraction=0, message='')\ntime.sleep(60)"))
    assert "newer protocol (2)" in event.text
    assert time.monotonic() - started < 5


def test_one_protocol_on_both_sides():
    assert module.PROTOCOL == jobs.SCHEMA_VERSION


@pytest.mark.parametrize(
    "code",
    [
        "say('error', message='low.nrrd could not be written (No space left on device).')",
        "open('/dev/full', 'w').write('x' * 100_000)",
    ],
    ids=["message", "traceback"],
)
def test_a_full_disk_is_named(fake, code, temporary):
    assert f"The disk that holds '{temporary}' is full" in failure(fake(code)).text


def test_a_disk_that_is_full_without_a_word(fake, monkeypatch):
    usage = shutil.disk_usage("/")._replace(free=4096)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage)
    assert "is full" in failure(fake("sys.exit(1)")).text


def test_a_result_without_its_files(fake):
    event = failure(fake("done('provenance.json')"))
    assert event.text == "The worker said it was done, but did not leave low.nrrd."


@pytest.mark.parametrize("outputs", ["[1]", "{'low': 3}", "None"])
def test_a_result_that_names_no_files(fake, outputs):
    event = failure(fake(f"say('result', outputs={outputs}, provenance='p')"))
    assert event.text == "The worker said it was done, but did not leave any files."


def test_a_crash_after_the_result_costs_nothing(fake):
    events = play(fake("done()\nos.kill(os.getpid(), signal.SIGSEGV)"))
    assert (events[-1].kind, events[-1].exit_code) == ("finished", -signal.SIGSEGV)


def test_a_worker_that_does_not_leave_after_its_result(fake, monkeypatch):
    monkeypatch.setattr(module, "LINGER_S", 0.2)
    assert play(fake("done()\ntime.sleep(60)"), limit_s=5)[-1].kind == "finished"


def test_interpreter_not_found(tmp_path, monkeypatch):
    for python in (str(tmp_path / "PythonSlicer"), str(tmp_path)):  # none, and a folder
        job = Job(python)
        job.start(run_arguments(REQUEST, job.results))
        assert "could not be started: [Errno" in failure(job).text
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "executable", str(tmp_path / "SlicerApp-real"))
    job = Job()
    job.start(run_arguments(REQUEST, job.results))
    assert "PythonSlicer, the Python of Slicer, was not found" in failure(job).text


def test_the_interpreter_is_the_given_then_slicers_then_this(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_python("mine") == "mine"
    assert find_python() == sys.executable
    slicers = tmp_path / "PythonSlicer"
    slicers.touch(mode=0o755)
    assert find_python() == str(slicers)


def test_cancel_lets_a_worker_clean_up(fake, tmp_path):
    kept = tmp_path / "cleaned up"
    job = fake(
        f"def end(*_):\n    Path({str(kept)!r}).touch()\n    say('error', message='Cancelled')\n"
        "    sys.exit(1)\n"
        "signal.signal(signal.SIGTERM, end)\nsay('progress', fraction=0, message='')\n"
        "time.sleep(60)"
    )
    wait_for(lambda: job._progress)
    job.cancel()
    started = time.monotonic()
    events = play(job)
    assert time.monotonic() - started < module.GRACE_S
    assert [event.kind for event in events if event.kind in FINAL] == ["cancelled"]
    assert kept.exists()
    assert not job.folder.exists()


def test_cancel_ends_the_whole_tree_within_two_seconds(fake, tmp_path):
    """The worker, a child and a grandchild, none of which cares about SIGTERM."""
    pids = tmp_path / "pids"
    job = fake(
        "generation = int(os.environ.get('GENERATION', '1'))\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "if generation < 3:\n"
        "    more = {**os.environ, 'GENERATION': str(generation + 1)}\n"
        "    subprocess.Popen([sys.executable, *sys.argv], env=more)\n"
        f"with open({str(pids)!r}, 'a') as file:\n    print(os.getpid(), file=file)\n"
        "time.sleep(60)"
    )
    wait_for(lambda: pids.exists() and len(pids.read_text().split()) == 3)
    started = time.monotonic()
    job.cancel()
    job.cancel()
    events = play(job, every_s=0.2)
    numbers = [int(line) for line in pids.read_text().split()]
    wait_for(lambda: all(gone(number) for number in numbers), limit_s=1)
    assert time.monotonic() - started < 2
    assert [event.kind for event in events] == ["cancelled"]
    job.cancel()


def test_cancel_of_what_is_gone_already(fake):
    job = Job()
    job.cancel()  # not started
    job.close()
    job = fake("done()")
    job._process.wait()
    job.cancel()  # gone, but not yet reported
    assert [event.kind for event in play(job)] == ["cancelled"]
    job.cancel()


def test_cancel_between_the_result_and_its_event(fake):
    """Pressed in time is pressed: nothing appears in the scene."""
    job = fake("done()\ntime.sleep(60)")
    wait_for(lambda: job._answer)
    job.cancel()
    assert play(job)[-1].kind == "cancelled"


@pytest.mark.parametrize("pipe", ["None", "subprocess.DEVNULL"], ids=["holds the pipes", "silent"])
def test_a_child_that_the_worker_leaves_behind_ends_with_it(fake, tmp_path, monkeypatch, pipe):
    monkeypatch.setattr(module, "LINGER_S", 0.2)
    pid = tmp_path / "pid"
    job = fake(
        f"pipes = {{'stdout': {pipe}, 'stderr': {pipe}}}\n"
        f"left = subprocess.Popen([sys.executable, '-c', {STUBBORN!r}], **pipes)\n"
        f"Path({str(pid)!r}).write_text(str(left.pid))\ntime.sleep(.3)\ndone()"
    )
    events = play(job, lambda event: wait_for(lambda: gone(int(pid.read_text())), limit_s=1))
    assert [event.kind for event in events] == ["finished"]


def test_a_launcher_that_ends_first_leaves_the_worker_its_grace(fake, tmp_path):
    """PythonSlicer is one: the signal ends it at once, the interpreter behind it goes on."""
    kept = tmp_path / "cleaned up"
    job = fake(
        "if 'BEHIND' not in os.environ:\n"
        "    behind = {**os.environ, 'BEHIND': '1'}\n"
        "    sys.exit(subprocess.run([sys.executable, *sys.argv], env=behind).returncode)\n"
        f"def end(*_):\n    time.sleep(.3)\n    Path({str(kept)!r}).touch()\n    sys.exit(1)\n"
        "signal.signal(signal.SIGTERM, end)\nsay('progress', fraction=0, message='')\n"
        "time.sleep(60)"
    )
    wait_for(lambda: job._progress)
    job.cancel()
    assert play(job)[-1].kind == "cancelled"
    assert kept.exists()


def test_a_process_that_left_the_group_is_not_waited_for(fake, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "LINGER_S", 0.1)
    monkeypatch.setattr(module, "GRACE_S", 0.2)
    pids = tmp_path / "pids"
    job = fake(
        "away = subprocess.Popen(['sleep', '60'], start_new_session=True)\n"
        f"Path({str(pids)!r}).write_text(str(away.pid))\ndone()"
    )
    try:
        assert play(job, limit_s=5)[-1].kind == "finished"
    finally:
        os.kill(int(pids.read_text()), signal.SIGKILL)


def test_close_while_it_runs(fake):
    job = fake("say('progress', fraction=0, message='')\ntime.sleep(60)")
    wait_for(lambda: job._progress)
    process, threads = job._process, job._threads
    started = time.monotonic()
    job.close()
    job.close()
    assert time.monotonic() - started < 1
    assert process.returncode == -signal.SIGKILL
    assert not job.folder.exists()
    assert job.poll(lambda event: pytest.fail("an event after close")) is False
    wait_for(lambda: not any(thread.is_alive() for thread in threads))


def test_one_job_at_a_time(fake):
    job = fake("time.sleep(60)")
    with pytest.raises(RuntimeError, match="A run is under way"):
        Job()
    with pytest.raises(RuntimeError, match="runs once"):
        job.start(run_arguments(REQUEST, job.results))
    job.close()
    with pytest.raises(RuntimeError, match="runs once"):
        job.start(run_arguments(REQUEST, job.results))
    assert play(fake("done()"))[-1].kind == "finished"


def test_a_handler_that_raises_costs_neither_the_end_nor_the_clean_up(fake):
    job = fake("print('a', file=sys.stderr)\nsay('progress', fraction=0, message='')\ndone()")
    seen = []

    def handle(event):
        seen.append(event.kind)
        raise KeyError("the panel's own mistake")

    ends = time.monotonic() + 10
    while job.running and time.monotonic() < ends:
        with contextlib.suppress(KeyError):
            job.poll(handle)
    assert seen.count("finished") == 1
    assert seen[-1] == "finished"
    assert not job.folder.exists()


def test_a_handler_that_lets_the_timer_tick(fake):
    """A message box runs the event loop, and so poll(), while an event is being handled."""
    job = fake("say('progress', fraction=0, message='')\ndone()")
    wait_for(job._has_ended)
    kinds = []

    def handle(event):
        kinds.append(event.kind)
        while job.poll(handle):
            time.sleep(0.01)

    play(job, handle)
    assert kinds == ["progress", "finished"]


def test_what_is_said_while_an_event_is_handled_is_not_lost(fake):
    job = fake(
        "say('progress', fraction=0, message='')\ntime.sleep(.3)\n"
        "print('last words', file=sys.stderr)\ndone()"
    )

    def handle(event):
        if event.kind == "progress":
            wait_for(job._has_ended)

    assert [event.kind for event in play(job, handle)] == ["progress", "log", "finished"]


def test_poll_is_quick_while_ten_thousand_lines_arrive(fake):
    job = fake(
        "lines = ''.join(json.dumps({'schema_version': 1, 'type': 'progress', 'message': 'm' * 40, "
        "'fraction': i / 9999}) + '\\n' for i in range(10_000))\n"
        "say('progress', fraction=0, message='now')\nsys.stdout.write(lines)\ndone()"
    )
    wait_for(lambda: job._progress)
    events, took = [], []
    more = True
    while more and len(took) < 20_000:
        began = time.perf_counter()
        more = job.poll(events.append)
        took.append(time.perf_counter() - began)
        time.sleep(0.001)
    assert events[-1].kind == "finished"
    assert [event.fraction for event in events if event.kind == "progress"][-1] == 1
    assert max(took) < 0.02, f"{max(took) * 1000:.1f} ms"


def test_much_on_stderr_neither_blocks_nor_piles_up(fake):
    job = fake("sys.stderr.write(('x' * 99 + '\\n') * 200_000 + 'end\\n')\ndone()")
    time.sleep(1)
    events = play(job)
    assert events[-1].kind == "finished"
    log = [line for event in events if event.kind == "log" for line in event.text.splitlines()]
    assert log[-1] == "end"
    assert len(events[0].text) <= 101 * module.LOG_LINES


def test_partial_lines_and_bars(fake):
    """Lines come in pieces; a bar writes over its line; the last line may lack its end."""
    job = fake(
        "text = json.dumps({'schema_version': 1, 'type': 'progress', 'fraction': .5,"
        " 'message': 'ü'}, ensure_ascii=False).encode() + b'\\n'\n"
        "for i in range(len(text)):\n    os.write(1, text[i:i + 1])\n"
        "os.write(2, b' 10%\\r 20%\\r')\nos.write(2, b'100%\\n')\nos.write(2, b'no end')\n"
        "os.write(1, b'\\n\\n')\ndone()"
    )
    events = play(job)
    assert [(e.fraction, e.text) for e in events if e.kind == "progress"] == [(0.5, "ü")]
    assert "\n".join(e.text for e in events if e.kind == "log") == "100%\nno end"


def test_a_line_without_end_does_not_fill_the_memory(fake, monkeypatch):
    monkeypatch.setattr(module, "LONGEST_LINE", 1000)
    event = failure(fake("sys.stdout.write('x' * 100_000)\nsys.stderr.write('y' * 100_000)"))
    assert len(event.text) < 10_000


def test_a_main_thread_that_keeps_the_lock_between_polls(fake):
    """An event loop in C++ may hold Python's lock: then the readers live on what poll() gives."""
    job = fake(
        "print('y' * 1000, file=sys.stderr)\n"
        "for i in range(1000): say('progress', fraction=i / 1000, message='m')\n"
        "done()"
    )
    hold = ctypes.PyDLL(None).usleep
    polls, events = 1, []
    while job.poll(events.append):
        hold(20_000)
        polls += 1
        assert polls < 300
    assert events[-1].kind == "finished"


def test_no_folder_no_job(monkeypatch, tmp_path):
    with monkeypatch.context() as patch:
        patch.setattr(tempfile, "tempdir", str(tmp_path / "none"))
        with pytest.raises(FileNotFoundError):
            Job()
    job = Job(parent=tmp_path)
    assert job.folder.parent == tmp_path
    job.close()


def test_the_worker_finds_the_library_that_the_panel_uses(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    code = "import ContrastSynthLib, sys; sys.exit(ContrastSynthLib.__file__)"
    job = Job(sys.executable, ["-S", "-c", code])
    job.start(run_arguments(REQUEST, job.results))
    assert failure(job).text.endswith(str(Path(jobs.__file__).parents[1] / "__init__.py"))


def test_environment_of_a_worker(tmp_path):
    home = tmp_path / "Slicer" / "lib" / "Python"
    given = {
        "PATH": "p",
        "OMP_NUM_THREADS": "3",
        "CUDA_VISIBLE_DEVICES": "1",
        "CONTRASTSYNTH_WEIGHTS": "w",
        "CONTRASTSYNTH_METHODS": os.pathsep.join(["mine.py", "/yours.py"]),
        "HTTPS_PROXY": "h",
        "PYTHONNOUSERSITE": "1",
        "PYTHONSTARTUP": "s.py",
        "PYTHONINSPECT": "1",
        "PYTHONWARNINGS": "error",
        "PYTHONSAFEPATH": "1",
        "PYTHONIOENCODING": "latin-1",
        "QT_PLUGIN_PATH": "q",
        "QT_QPA_PLATFORM": "offscreen",
        "LD_PRELOAD": "libfaker.so",
        "DYLD_INSERT_LIBRARIES": "libfaker.dylib",
        "TMPDIR": "elsewhere",
    }
    slicers = {
        "PYTHONHOME": str(home),
        "PYTHONPATH": "modules",
        "LD_LIBRARY_PATH": "lib",
        "DYLD_LIBRARY_PATH": "lib",
    }
    always = {
        "PATH": "p",
        "OMP_NUM_THREADS": "3",
        "CUDA_VISIBLE_DEVICES": "1",
        "CONTRASTSYNTH_WEIGHTS": "w",
        "CONTRASTSYNTH_METHODS": os.pathsep.join([str(Path.cwd() / "mine.py"), "/yours.py"]),
        "HTTPS_PROXY": "h",
        "PYTHONNOUSERSITE": "1",
        "PYTHONIOENCODING": "utf-8",
        "PYTHONUNBUFFERED": "1",
        **dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(tmp_path)),
    }
    for own in ("/Slicer/bin/PythonSlicer", "PythonSlicer.exe", str(home / "bin" / "python-real")):
        assert worker_environment({**given, **slicers}, own, tmp_path) == {**always, **slicers}
    assert worker_environment({**given, **slicers}, "/usr/bin/python3", tmp_path) == always
    users = {"PYTHONPATH": "mine", "LD_LIBRARY_PATH": "cuda"}
    assert worker_environment({**given, **users}, "/usr/bin/python3", tmp_path) == always | users


def test_a_worker_has_the_clean_environment(fake, monkeypatch, temporary):
    monkeypatch.setenv("PYTHONINSPECT", "1")
    monkeypatch.setenv("QT_PLUGIN_PATH", "q")
    job = fake(
        "import tempfile\nprint(sorted(n for n in os.environ if n.startswith(('QT', 'PYTHON'))),"
        " tempfile.gettempdir(), sys.stdin.read(), file=sys.stderr)\ndone()"
    )
    (log,) = [event.text for event in play(job) if event.kind == "log"]
    assert log.strip().endswith(f" {job.folder}")
    assert "QT" not in log
    assert "PYTHONINSPECT" not in log


def test_left_overs_of_crashed_sessions(temporary, tmp_path):
    kept = tmp_path / "a result of somebody"
    (kept / "file").mkdir(parents=True)
    old, young, other = (
        temporary / name for name in (module.PREFIX + "old", module.PREFIX + "young", "other")
    )
    for folder in (old, young, other):
        folder.mkdir()
        (folder / "pre.nrrd").touch()
    link = temporary / (module.PREFIX + "link")
    link.symlink_to(kept)
    long_ago = time.time() - 25 * 3600
    for path in (old, other, kept):
        os.utime(path, (long_ago, long_ago))
    job = Job()
    assert not old.exists()
    assert young.exists()
    assert other.exists()
    assert (kept / "file").exists()
    assert job.folder.stat().st_mode & 0o077 == 0, "a patient's scans are for nobody else"
    job.close()
    link.unlink()
    shutil.rmtree(young)
    shutil.rmtree(other)


def test_a_request_as_the_command_line_takes_it(tmp_path):
    request = Request(
        "iter_unet",
        {"pre": "a=b c.nrrd", "phase": [tmp_path / "1.nrrd", tmp_path / "2.nrrd"]},
        {"dose": 0.25, "soft": True},
        preset="paper",
        align="rigid",
        weights="own-1",
        device="cpu",
        times_s=[-1.5, 90],
    )
    assert run_arguments(request, tmp_path / "out") == [
        "run",
        "iter_unet",
        f"--out={tmp_path / 'out'}",
        "--progress=json",
        f"--in=pre={Path.cwd() / 'a=b c.nrrd'}",
        f"--in=phase={tmp_path / '1.nrrd'}",
        f"--in=phase={tmp_path / '2.nrrd'}",
        "--set=dose=0.25",
        "--set=soft=True",
        "--time=-1.5",
        "--time=90",
        "--weights=own-1",
        "--preset=paper",
        "--align=rigid",
        "--device=cpu",
    ]


def test_a_list_a_seed_and_weights_by_network_as_the_command_line_takes_them(tmp_path):
    given = {"times": (45.0, 90.5), "typed": "30, 60"}
    weights = {"first": "own-1", "second": "own-2"}
    request = Request("any", {}, given, weights=weights, seed=0)
    assert run_arguments(request, tmp_path)[4:] == [
        "--set=times=45.0,90.5",
        "--set=typed=30, 60",
        "--weights=first=own-1",
        "--weights=second=own-2",
        "--seed=0",
        "--align=none",
        "--device=auto",
    ]


@pytest.fixture(scope="module")
def scans():
    return sample_patient(seed=2, size=(32, 38, 26)).scans


def test_the_real_worker_gives_what_the_library_gives(scans, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # nothing of the library's is found from here
    monkeypatch.setattr(module, "PREFIX", module.PREFIX + "ü and a space-")
    job = Job(sys.executable)
    inputs = {role: job.folder / f"{role} é.nrrd" for role in ("pre", "post")}
    for role, path in inputs.items():
        write_volume(scans[role], path)
    request = Request("physics_dose", inputs, {"dose": 0.25})
    expected = run(request).outputs["low"]
    found = {}

    def handle(event):
        if event.kind == "finished":
            found["low"] = read_volume(event.files["low"])
            found["provenance"] = json.loads(event.files["provenance"].read_text(encoding="utf-8"))

    job.start(run_arguments(request, job.results))
    events = play(job, handle)
    assert events[-1].kind == "finished", events[-1].text
    assert (found["low"].array == expected.array).all()
    assert found["low"].grid == expected.grid
    assert found["provenance"]["method"]["key"] == "physics_dose"
    fractions = [event.fraction for event in events if event.kind == "progress"]
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1
    assert not job.folder.exists()


def test_the_real_worker_refuses_a_request(tmp_path):
    job = Job(sys.executable)
    request = Request("physics_dose", {"pre": tmp_path / "none.nrrd"}, {"dose": 9})
    job.start(run_arguments(request, job.results))
    event = failure(job)
    assert event.exit_code == 2
    assert "post" in event.text


def test_nothing_of_qt_slicer_or_torch_is_imported():
    code = "import sys, ContrastSynthPanel.job; print(*sys.modules)"
    folders = (str(Path(file).parents[1]) for file in (module.__file__, jobs.__file__))
    done = subprocess.run(
        [sys.executable, "-S", "-c", code],
        env={"PYTHONPATH": os.pathsep.join(folders)},
        capture_output=True,
        text=True,
        check=True,
    )
    loaded = {name.split(".")[0] for name in done.stdout.split()}
    ours = {"ContrastSynthPanel", "ContrastSynthLib", "__main__"}
    assert loaded - set(sys.stdlib_module_names) <= ours


def test_threads_end_with_the_job(fake):
    before = threading.active_count()
    play(fake("done()"))
    assert threading.active_count() == before
