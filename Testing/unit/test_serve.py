"""The node: receives, runs, sends back; killed and started again; whom it turns away."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from orthanc import PROGRAM, archive_server, free_port

for package in ("highdicom", "pynetdicom"):
    pytest.importorskip(package)

import pydicom
from making_study import study

from ContrastSynthLib.archive.dimse import Node
from ContrastSynthLib.cli import main
from ContrastSynthLib.errors import Cancelled, RequestError
from ContrastSynthLib.phantom.sample import sample_patient
from ContrastSynthLib.service import command
from ContrastSynthLib.service.jobs import jobs_of
from ContrastSynthLib.service.rules import Rules

needs_an_archive = pytest.mark.skipif(not PROGRAM, reason="needs Orthanc: apt-get install orthanc")
WAIT_S = 240.0
RULES = """
[node]
title = "CONTRASTSYNTH"
host = "127.0.0.1"
port = {port}
folder = "work"
quiet_s = 0.5

[watch]
folder = "inbox"

[[peers]]
title = "ORTHANC"
host = "127.0.0.1"
port = {archive}
sends = true
receives = true

[[rules]]
name = "pre"
method = "physics_pre"
to = ["ORTHANC"]
"""


def scans(seed):
    patient = sample_patient(seed=seed, size=(32, 38, 12)).scans
    return {
        role: patient[role].with_array(np.rint(1000 * patient[role].array))
        for role in ("pre", "post")
    }


def objects_of(folder):
    """Datasets of a study of two series, with what tells them apart."""
    found = []
    for path in sorted(folder.rglob("*.dcm")):
        dataset = pydicom.dcmread(path)
        if dataset.SeriesDescription == "post":
            dataset.ContrastBolusAgent = "gadobutrol"
            dataset.AcquisitionTime = "102000"
        else:
            dataset.AcquisitionTime = "101000"
        dataset.SeriesDescription = f"t1 {dataset.SeriesDescription}"
        found.append(dataset)
    return found


class Running:
    """The node in a process of its own."""

    def __init__(self, folder, archive_port):
        self.port = free_port()
        self.path = folder / "rules.toml"
        self.path.write_text(RULES.format(port=self.port, archive=archive_port))
        self.log = folder / "log"
        self.process = None

    def start(self):
        with self.log.open("ab") as log:
            words = [sys.executable, "-m", "ContrastSynthLib", "serve", str(self.path)]
            self.process = subprocess.Popen(words, stdout=log, stderr=log)
        until(lambda: self.is_listening())

    def is_listening(self):
        assert self.process.poll() is None, self.log.read_text()
        return b"listening" in self.log.read_bytes().rpartition(b"started")[2]

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        with self.log.open("ab") as log:
            log.write(b"started\n")

    def stop(self):
        self.process.terminate()
        self.process.wait(30)


def until(holds, timeout_s=WAIT_S):
    end = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < end, "it took too long"
        time.sleep(0.2)


@pytest.fixture
def server(tmp_path):
    (tmp_path / "archive").mkdir()
    with archive_server(tmp_path / "archive") as reached:
        yield Node.parse(reached["node"])


@pytest.fixture
def node(tmp_path, server):
    running = Running(tmp_path, server.port)
    running.start()
    yield running
    if running.process.poll() is None:
        running.stop()


def made_in(archive, uid):
    series = archive.series(uid)
    return [one for one in series if "SYNTHETIC" in one.attributes["SeriesDescription"]]


@needs_an_archive
@pytest.mark.parametrize("count", [5, pytest.param(200, marks=pytest.mark.slow)])
def test_studies_are_worked_on_once_though_the_node_is_killed_twice(tmp_path, node, server, count):
    sender = Node("CONTRASTSYNTH", "127.0.0.1", node.port, "ORTHANC")
    uids = []
    for seed in range(count):
        datasets = objects_of(study(tmp_path / f"study{seed}", scans(seed)))
        server.store(datasets)
        assert sender.store(datasets) == len(datasets)
        uids.append(str(datasets[0].StudyInstanceUID))
        if seed in (count // 4, count // 2):
            until(lambda seed=seed: len(sent(tmp_path)) >= seed // 2)
            node.kill()
            node.start()
    until(lambda: len(sent(tmp_path)) == count, WAIT_S + 10 * count)
    for uid in uids:
        kinds = [one.attributes["SeriesDescription"] for one in made_in(server, uid)]
        assert len(kinds) == len(set(kinds)) >= 2, "each output once, beside the originals"
    before = {path: path.stat().st_mtime_ns for path in sent(tmp_path)}
    node.stop()
    node.start()
    time.sleep(4)
    assert {path: path.stat().st_mtime_ns for path in sent(tmp_path)} == before
    assert not list((tmp_path / "work" / "jobs").glob("*/run-*"))


def sent(folder):
    return sorted((folder / "work" / "jobs").glob("*/sent.json"))


@needs_an_archive
def test_a_folder_is_watched_and_strangers_are_turned_away(tmp_path, node, server):
    stranger = Node("CONTRASTSYNTH", "127.0.0.1", node.port, "STRANGER")
    datasets = objects_of(study(tmp_path / "study", scans(1)))
    with pytest.raises(RequestError, match="no association"):
        stranger.store(datasets)
    assert not list((tmp_path / "work" / "incoming").iterdir())
    for dataset in datasets:
        place = tmp_path / "inbox" / "patient 1" / dataset.SeriesDescription
        place.mkdir(parents=True, exist_ok=True)
        dataset.save_as(place / f"{dataset.InstanceNumber}.dcm", enforce_file_format=True)
    until(lambda: len(sent(tmp_path)) == 1)
    assert len(made_in(server, str(datasets[0].StudyInstanceUID))) >= 2


def test_an_archive_that_is_off_is_tried_again_and_what_fails_is_told(tmp_path):
    running = Running(tmp_path, free_port())
    rules = Rules.read(running.path)
    folder = tmp_path / "whole"
    for dataset in objects_of(study(tmp_path / "study", scans(2))):
        place = folder / dataset.SeriesDescription
        place.mkdir(parents=True, exist_ok=True)
        dataset.save_as(place / f"{dataset.InstanceNumber}.dcm", enforce_file_format=True)
    ((job,), reasons) = jobs_of(folder, rules)
    assert reasons == []
    shares = []
    assert job.go_on(rules, shares.append).startswith("waits: ORTHANC@127.0.0.1")
    assert shares == sorted(shares)
    assert shares[-1] == 1.0
    assert len(set(shares)) > 3
    assert not job.is_over
    made = (job.folder / "made.json").stat().st_mtime_ns
    job.go_on(rules, shares.append)
    assert (job.folder / "made.json").stat().st_mtime_ns == made, "it is not run again"
    ((again,), _) = jobs_of(folder, rules)
    assert again.folder == job.folder
    for path in (folder / "t1 post").iterdir():
        path.write_bytes(path.read_bytes()[:900])
    (job.folder / "made.json").unlink()
    assert job.go_on(rules, shares.append).startswith("failed: ")
    assert job.is_over
    assert json.loads((job.folder / "failed.json").read_text())["reason"]


def test_the_log_tells_of_a_run_some_times_only(monkeypatch):
    clock = iter(range(1000))
    monkeypatch.setattr(command.time, "monotonic", lambda: next(clock))
    said = []
    tell = command.sparingly(said.append, "pre_1 (sphere, study 1.2)")
    for share in np.linspace(0, 1, 500):
        tell(share)
    assert said[0] == "pre_1 (sphere, study 1.2): 10%"
    count = len(said)
    assert 5 < count <= 10
    monkeypatch.setattr(command.time, "monotonic", lambda: 0.0)
    tell = command.sparingly(said.append, "a quick one")
    for share in np.linspace(0, 1, 500):
        tell(share)
    assert len(said) == count


def test_a_run_ends_with_the_node_and_says_why_it_failed():
    def stop(_share):
        raise Cancelled("stopped")

    line = json.dumps({"type": "progress", "fraction": 0.5})
    sleeping = f"import time; print({line!r}, flush=True); time.sleep(600)"
    began = time.monotonic()
    with pytest.raises(Cancelled):
        command.run_command([sys.executable, "-c", sleeping], stop)
    assert time.monotonic() - began < 60
    with pytest.raises(RequestError, match="no such scan"):
        command.run_command([sys.executable, "-c", "raise SystemExit('no such scan')"], print)


def test_a_study_without_the_inputs_has_no_job(tmp_path):
    rules = Rules.read(Running(tmp_path, free_port()).path)
    only_pre = {"pre": scans(3)["pre"]}
    jobs, (reason,) = jobs_of(study(tmp_path / "study", only_pre), rules)
    assert jobs == []
    assert "no series for 'post'" in reason


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (('method = "physics_pre"', 'method = "magic"'), "method of rule 1"),
        (('to = ["ORTHANC"]', 'to = ["PACS"]'), "peer that receives"),
        (("quiet_s = 0.5", "quite_s = 0.5"), "has no 'quite_s'"),
        (('title = "ORTHANC"', ""), "peer 1 has no title"),
        (('name = "pre"', 'name = "../pre"'), "is no name"),
        (('name = "pre"', 'preset = "none"'), "preset"),
        (("[node]", "[nodes]"), "has no 'nodes'"),
        (("[[rules]]", "[[rules"), "no rule file can be read"),
    ],
)
def test_a_wrong_rule_file_is_refused(tmp_path, change, told):
    path = tmp_path / "rules.toml"
    path.write_text(RULES.format(port=1, archive=2).replace(*change))
    with pytest.raises(RequestError, match=told):
        Rules.read(path)


def test_nobody_who_may_send_and_no_folder_is_refused(tmp_path):
    text = RULES.format(port=1, archive=2).replace("sends = true", "")
    path = tmp_path / "rules.toml"
    path.write_text(text.replace('[watch]\nfolder = "inbox"', ""))
    with pytest.raises(RequestError, match="no peer may send, and no folder is watched"):
        Rules.read(path)


def test_two_nodes_do_not_share_a_folder(tmp_path, capsys):
    running = Running(tmp_path, free_port())
    running.start()
    try:
        assert main(["serve", str(running.path)]) == 2
        assert "another node works in this folder" in capsys.readouterr().err
    finally:
        running.stop()
    assert os.path.isdir(tmp_path / "work" / "incoming")
