"""A table of patients: one that fails stops no other, and what is done is not done again."""

import csv
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ContrastSynthLib.cli import main
from ContrastSynthLib.errors import RequestError
from ContrastSynthLib.files.images import read_volume, write_volume
from ContrastSynthLib.phantom.sample import sample_patient
from ContrastSynthLib.running.batch import read_record
from ContrastSynthLib.running.batch.lock import only_batch
from ContrastSynthLib.running.batch.process import cause_of_death, environment
from ContrastSynthLib.running.request import Request
from ContrastSynthLib.running.run import run

SIZE = (24, 28, 20)
HAZARD = """
import os, signal, time
from dataclasses import dataclass
from typing import Annotated
from ContrastSynthLib.registry import Context, Input, Output, Param, method
from ContrastSynthLib.volumes import Volume

@dataclass(frozen=True)
class Parameters:
    how: Annotated[str, Param("How it ends")] = "well"

@method(key="hazard", title="Ends as it is asked to", task="pre", inputs={"post": Input("Post")},
        outputs={"pre": Output("Pre", units_of="post", dose=0)}, parameters=Parameters,
        reference="post", citation="sphere2025", intended_use="Tests.")
def hazard(post: Volume, *, parameters: Parameters, context: Context):
    how = parameters.how
    if how == "raises":
        raise ZeroDivisionError(f"in {os.getcwd()}/anna/secret.nrrd")
    if how == "leaves":
        raise SystemExit(3)
    if how == "exits":
        os._exit(7)
    if how.startswith("SIG"):
        os.kill(os.getpid(), getattr(signal, how))
    if how == "sleeps":
        time.sleep(600)
    return {"pre": post.array * 0.5}
"""


@pytest.fixture
def table(tmp_path):
    """Three patients; the post scan of the second is missing."""
    lines = ["case,pre,post,dose"]
    for index, name in enumerate(("anna", "berta", "çelik")):
        scans = sample_patient(seed=index, size=SIZE).scans
        for role in ("pre", "post"):
            if (name, role) != ("berta", "post"):
                write_volume(scans[role], tmp_path / name / f"{role}.nrrd")
        lines.append(f"{name},{name}/pre.nrrd,{name}/post.nrrd,{'0.7' if index == 2 else ''}")
    path = tmp_path / "cases.csv"
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


@pytest.fixture
def hazards(tmp_path, monkeypatch):
    """A function that makes a table with a case for each way to end."""
    method = tmp_path / "hazard.py"
    method.write_text(HAZARD)
    monkeypatch.setenv("CONTRASTSYNTH_METHODS", str(method))
    scan = sample_patient(seed=0, size=SIZE).scans["post"]

    def made(*hows):
        lines = ["case,post,how"]
        for index, how in enumerate(hows):
            write_volume(scan, tmp_path / f"post{index}.nrrd")
            lines.append(f"c{index},post{index}.nrrd,{how}")
        path = tmp_path / "cases.csv"
        path.write_text("\n".join(lines))
        return path

    return made


def rows_of(out):
    with (out / "batch.csv").open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def batch(table, *extra, method="physics_dose"):
    out = table.with_name("out")
    code = main(["batch", method, "--cases", str(table), "--out", str(out), *extra])
    return code, out, rows_of(out)


def command(table, *extra, method="physics_dose"):
    """The same in a process of its own, which knows methods of the environment."""
    words = ["batch", method, "--cases", str(table), "--out", str(table.with_name("out")), *extra]
    return [sys.executable, "-m", "ContrastSynthLib", *words]


def run_command(table, *extra, method="hazard"):
    done = subprocess.run(
        command(table, *extra, method=method), capture_output=True, text=True, check=False
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done, {row["case"]: row for row in rows_of(table.with_name("out"))}


@pytest.mark.parametrize("workers", ["1", "2"])
def test_one_that_fails_stops_no_other(table, capsys, workers):
    if workers != "1":
        pytest.importorskip("distributed")
    code, out, rows = batch(table, "--set", "dose=0.2", "--workers", workers)
    assert code == 2
    said = capsys.readouterr().err
    assert "1 of 3 cases failed" in said
    assert "2 done, 0 left as they were, 1 failed, 0 not run." in said
    assert str(table.parent / "berta" / "post.nrrd") in said
    assert [row["case"] for row in rows] == ["anna", "berta", "çelik"]
    assert [row["status"] for row in rows] == ["done", "failed", "done"]
    assert {row["schema_version"] for row in rows} == {"2"}
    assert [json.loads(row["parameters"])["dose"] for row in rows] == [0.2, "0.2", 0.7]
    assert all(row["date_utc"] and row["seconds"] for row in rows)
    assert "the file of 'post': there is no such file" in rows[1]["message"]
    assert str(table.parent) not in (out / "batch.csv").read_text(encoding="utf-8")
    assert not (out / "berta").exists()
    for case, dose in (("anna", 0.2), ("çelik", 0.7)):
        files = {role: table.parent / case / f"{role}.nrrd" for role in ("pre", "post")}
        alone = run(Request("physics_dose", files, {"dose": dose})).outputs["low"]
        assert read_volume(out / case / "low.nrrd").array.tobytes() == alone.array.tobytes()


def test_resume_does_only_what_is_missing(table, capsys):
    batch(table)
    first = (table.with_name("out") / "anna" / "low.nrrd").stat().st_mtime_ns
    scans = sample_patient(seed=1, size=SIZE).scans
    write_volume(scans["post"], table.parent / "berta" / "post.nrrd")
    code, out, rows = batch(table, "--resume")
    assert code == 0
    assert [row["status"] for row in rows] == ["done"] * 3
    assert (out / "anna" / "low.nrrd").stat().st_mtime_ns == first
    assert "1 done, 2 left as they were, 0 failed, 0 not run." in capsys.readouterr().err
    log = [json.loads(line) for line in (out / "batch-log.jsonl").read_text().splitlines()]
    assert [line["type"] for line in log] == ["begin", *["case"] * 3, "end"] * 2


def without_record(table):
    (table.with_name("out") / "batch.csv").unlink()


def another_input(table):
    scans = sample_patient(seed=9, size=SIZE).scans
    write_volume(scans["post"], table.parent / "anna" / "post.nrrd")


def output_gone(table):
    (table.with_name("out") / "anna" / "low.nrrd").unlink()


def output_changed(table):
    low = table.with_name("out") / "anna" / "low.nrrd"
    volume = read_volume(low)
    write_volume(volume.with_array(volume.array + 1, volume.synthetic), low)


def output_cut(table):
    low = table.with_name("out") / "anna" / "low.nrrd"
    low.write_bytes(low.read_bytes()[:-50])


def provenance_broken(table):
    path = table.with_name("out") / "anna" / "provenance.json"
    path.write_text('{"synthetic": true, "method": 3, "outputs": []}')


@pytest.mark.parametrize(
    ("change", "extra", "reason"),
    [
        (None, [], None),
        (without_record, [], None),
        (None, ["--set", "dose=0.33"], None),
        (None, ["--set", "dose=0.5"], "it was made with dose = 0.33"),
        (None, ["--seed", "7"], "it was made with the seed"),
        (None, ["--align", "resample"], "it was made with --align none"),
        (another_input, [], "it was made from other inputs"),
        (output_gone, [], "the output 'low' is not there"),
        (output_changed, [], "the output 'low' was changed"),
        (output_cut, [], "the output 'low' cannot be read"),
        (provenance_broken, [], "its provenance is of another version"),
    ],
)
def test_resume_keeps_what_was_asked_for_and_nothing_else(table, change, extra, reason):
    text = table.read_text(encoding="utf-8").splitlines()
    table.write_text("\n".join(text[:2]), encoding="utf-8")
    _, out, (before,) = batch(table)
    if change:
        change(table)
    code, _, (after,) = batch(table, "--resume", *extra)
    assert code == 0
    last = json.loads((out / "batch-log.jsonl").read_text().splitlines()[-2])
    if reason is None:
        assert last["kept"] is True
        assert after == before
    else:
        assert reason in last["why"]
    code, _, _ = batch(table, "--resume", *extra)
    assert json.loads((out / "batch-log.jsonl").read_text().splitlines()[-2])["kept"] is True


def test_another_method_is_not_done(table):
    batch(table)
    text = "case,post\nanna,anna/post.nrrd"
    table.write_text(text, encoding="utf-8")
    code, out, rows = batch(table, "--resume", method="physics_pre")
    assert code == 0
    assert (rows[0]["case"], rows[0]["method"]) == ("anna", "physics_pre")
    assert (out / "anna" / "uptake.nrrd").exists()
    assert len(rows) == 3  # those of the other cases stay


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_case_that_ends_its_process_is_one_row(hazards, workers):
    if workers != "1":
        pytest.importorskip("distributed")
    ways = {
        "raises": "ZeroDivisionError: in (a path). This is a fault of the program",
        "leaves": "SystemExit: 3",
        "exits": "ended by itself, with exit code 7",
        "SIGSEGV": "crashed in native code (SIGSEGV)",
        "SIGABRT": "crashed in native code (SIGABRT)",
        "SIGKILL": "was killed (SIGKILL), most often because memory ran out",
    }
    table = hazards("well", *ways, "well")
    done, rows = run_command(table, "--workers", workers)
    assert done.returncode == 2
    assert f"2 done, 0 left as they were, {len(ways)} failed, 0 not run." in done.stderr
    for row, (how, message) in zip(list(rows.values())[1:-1], ways.items(), strict=True):
        assert row["status"] == "failed", how
        assert message in row["message"], how
    out = table.with_name("out")
    assert sorted(path.name for path in out.iterdir() if path.is_dir()) == ["c0", "c7"]
    log = (out / "batch-log.jsonl").read_text()
    assert "ZeroDivisionError" in log
    assert "Segmentation fault" in log  # the last words of the worker
    assert str(table.parent) not in log


def test_a_folder_has_one_batch_at_a_time(table, capsys, monkeypatch):
    monkeypatch.setattr("ContrastSynthLib.running.batch.lock.PATIENCE_S", 0.2)
    out = table.with_name("out")
    out.mkdir()
    with only_batch(out):
        code = main(["batch", "physics_dose", "--cases", str(table), "--out", str(out)])
        assert code == 2
        assert "another batch writes into this folder" in capsys.readouterr().err
        assert not (out / "batch.csv").exists()
    assert batch(table)[0] == 2  # berta has no scan


def test_the_table_itself_is_not_replaced(table, capsys):
    out = table.with_name("out")
    out.mkdir()
    own = table.rename(out / "batch.csv")
    before = own.read_bytes()
    assert main(["batch", "physics_dose", "--cases", str(own), "--out", str(out)]) == 2
    assert "another name" in capsys.readouterr().err
    assert own.read_bytes() == before


def test_each_case_is_a_line_of_json(table, capfd):
    code, _, _ = batch(table, "--progress", "json")
    lines = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    assert code == 2
    cases = {line["case"]: line["status"] for line in lines if line["type"] == "case"}
    assert cases == {"anna": "done", "berta": "failed", "çelik": "done"}
    assert [line["fraction"] for line in lines if line["type"] == "progress"][-1] == 1
    assert lines[-1]["type"] == "error"


def test_without_dask_one_worker_works_and_two_say_what_is_missing(table):
    code = """
import sys
class Absent:
    def find_spec(self, name, *places):
        if name.partition(".")[0] in ("distributed", "dask"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Absent())
from ContrastSynthLib.cli import main
sys.exit(main(sys.argv[1:]))
"""
    words = command(table)[3:]
    codes = {}
    for workers in ("1", "2"):
        done = subprocess.run(
            [sys.executable, "-c", code, *words, "--workers", workers],
            capture_output=True,
            text=True,
            check=False,
        )
        codes[workers] = done.returncode
        assert "Traceback" not in done.stderr
    assert codes == {"1": 2, "2": 3}
    assert "distributed, which is not installed" in done.stderr
    assert "pip install" in done.stderr


def test_a_scheduler_elsewhere_runs_the_cases(table):
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(
        n_workers=1, threads_per_worker=2, processes=True, dashboard_address=None
    ) as cluster:
        code, out, rows = batch(table, "--scheduler", cluster.scheduler_address)
    assert code == 2
    assert [row["status"] for row in rows] == ["done", "failed", "done"]
    assert (out / "anna" / "low.nrrd").exists()


def test_a_scheduler_that_is_not_there_is_an_error(table, capsys, monkeypatch):
    pytest.importorskip("distributed")
    monkeypatch.setattr("ContrastSynthLib.running.batch.engines.CONNECT_TIMEOUT_S", 1)
    words = command(table)[3:]
    assert main([*words, "--scheduler", "tcp://127.0.0.1:9"]) == 2
    assert "does not answer" in capsys.readouterr().err


def test_a_worker_has_its_share_of_threads(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    monkeypatch.delenv("MKL_NUM_THREADS", raising=False)
    assert environment(None, {})["OMP_NUM_THREADS"] == "2"
    assert environment(1, {})["OMP_NUM_THREADS"] == "1"
    assert environment(4, {})["OMP_NUM_THREADS"] == "2"
    assert environment(4, {})["MKL_NUM_THREADS"] == "4"


def test_causes_of_death():
    assert "memory" in cause_of_death(-9)
    assert "SIGBUS" in cause_of_death(128 + 7) if sys.platform == "linux" else True
    assert "exit code 1;" in cause_of_death(1)
    assert "0xc0000005" in cause_of_death(0xC0000005)


def test_a_network_stays_loaded_and_gives_the_same_bits(tmp_path):
    """Two equal cases in one worker, the second with the network that the first loaded."""
    pytest.importorskip("torch")
    pytest.importorskip("monai")
    scans = sample_patient(seed=3, size=(32, 36, 3)).scans
    write_volume(scans["post"], tmp_path / "post.nrrd")
    table = tmp_path / "cases.csv"
    table.write_text("case,post\na,post.nrrd\nb,post.nrrd\n")
    code, out, _ = batch(table, "--preset", "fast", "--device", "cpu", method="sphere")
    assert code == 0
    first, second = (read_volume(out / case / "pre.nrrd").array for case in "ab")
    request = Request("sphere", {"post": tmp_path / "post.nrrd"}, preset="fast", device="cpu")
    alone = run(request).outputs["pre"].array
    assert first.tobytes() == second.tobytes() == alone.tobytes()


def test_an_older_record_goes_on(table):
    out = table.with_name("out")
    out.mkdir()
    (out / "batch.csv").write_text(
        "schema_version,case,method,status,seconds,message\n"
        "1,old,physics_pre,failed,,why\n1,anna,physics_dose,failed,,x\n"
        "1,old,physics_pre,done,2.5,\n",
        encoding="utf-8",
    )
    _, _, rows = batch(table)
    assert [row["case"] for row in rows] == ["anna", "berta", "çelik", "old"]
    assert (rows[-1]["status"], rows[-1]["seconds"]) == ("done", "2.5")
    assert {row["schema_version"] for row in rows} == {"2"}


def test_a_file_that_is_no_record_is_not_replaced(table, capsys):
    out = table.with_name("out")
    out.mkdir()
    (out / "batch.csv").write_text("my,own,notes\n1,2,3\n")
    assert main(["batch", "physics_dose", "--cases", str(table), "--out", str(out)]) == 2
    assert "is no record of a batch" in capsys.readouterr().err
    with pytest.raises(RequestError, match="is no record"):
        read_record(out)


def worker_processes(parent):
    """The processes that a process started, by their numbers in /proc."""
    listed = Path(f"/proc/{parent}/task")
    return [int(child) for task in listed.glob("*/children") for child in task.read_text().split()]


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="needs Linux' /proc")
@pytest.mark.parametrize("workers", ["1", "2"])
def test_workers_end_with_a_batch_that_is_killed(hazards, workers):
    if workers != "1":
        pytest.importorskip("distributed")
    table = hazards("sleeps", "sleeps")
    process = subprocess.Popen(
        command(table, "--workers", workers, method="hazard"), stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 60
    children = []
    while time.monotonic() < deadline and len(children) < int(workers):
        children = worker_processes(process.pid)
        time.sleep(0.1)
    time.sleep(1)
    process.kill()
    process.wait()
    ended = time.monotonic() + 10
    while time.monotonic() < ended and any(Path(f"/proc/{c}/cmdline").exists() for c in children):
        time.sleep(0.1)
    assert not any(Path(f"/proc/{child}/cmdline").exists() for child in children)
    table.write_text("case,post,how\nc0,post0.nrrd,well\n")
    done, _ = run_command(table, "--workers", workers)
    assert done.returncode == 0, done.stderr
    assert not list(table.with_name("out").rglob(".partial-*"))
