"""Thousands of damaged files of every kind: each is read rightly or refused in words.

No traceback, no crash, no hang, no file left, no more memory than the file's own header promises.
The files are read by a process of its own, see ``fuzz_child.py``.
"""

from __future__ import annotations

import hashlib
import json
import os
import queue
import shutil
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

import ContrastSynthLib

pytest.importorskip("resource")  # limits of memory, which Windows does not have
import fuzz_dicom
import fuzz_files
from fuzz_files import NUMBERS, Case
from making_dicom import save, slices

SECONDS_FOR_ONE = 10
# A volume here takes 4 kB; a piece of a file that is unpacked, 1 MB.
MOST_BYTES = 48 << 20
# A table names what it found, which is up to 5,000 characters of one cell here.
LONGEST_REFUSAL = 8000
FEW, MANY = 500, 10_000
RIGHT = hashlib.sha256(NUMBERS.astype(np.float32).tobytes()).hexdigest()


class Child:
    """The process that reads; started again after it crashed or hung."""

    def __init__(self, home: Path):
        self.home, self.starts = home, 0
        self.start()

    def start(self):
        library = Path(ContrastSynthLib.__file__).parents[1]
        environment = os.environ | {
            **dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1"),
            "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS": "1",
            "PYTHONPATH": str(library),
            "CONTRASTSYNTH_WEIGHTS": str(self.home / "weights"),
        }
        command = [sys.executable, str(Path(__file__).with_name("fuzz_child.py"))]
        self.process = subprocess.Popen(
            [*command, str(self.home / "good")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
            text=True,
        )
        self.lines: queue.Queue[str] = queue.Queue()
        threading.Thread(target=self._listen, args=(self.process, self.lines), daemon=True).start()
        assert self.lines.get(timeout=120) == "ready\n"
        self.starts += 1
        for path in (self.home / "weights").iterdir():  # the good ones, read to import everything
            shutil.rmtree(path)

    @staticmethod
    def _listen(process, lines):
        for line in process.stdout:
            lines.put(line)
        lines.put("")

    def read(self, kind, path):
        """Return the outcome, what it was, and how many bytes of memory it took."""
        try:
            self.process.stdin.write(json.dumps([kind, str(path)]) + "\n")
            self.process.stdin.flush()
            line = self.lines.get(timeout=SECONDS_FOR_ONE)
        except queue.Empty:
            self.stop()
            self.start()
            return "hang", f"no answer in {SECONDS_FOR_ONE} s", 0
        if not line:
            code = self.process.wait()
            self.start()
            return "crash", f"exit code {code}", 0
        return json.loads(line)

    def stop(self):
        self.process.kill()
        self.process.wait()


@pytest.fixture
def child(tmp_path):
    (tmp_path / "weights").mkdir()
    for base in fuzz_files.bases():
        place = tmp_path / "good" / f"{base.kind}-{'' if base.target == '.' else base.target}"
        fuzz_dicom.write(base.files, place)
    save(tmp_path / "good" / "dicom-", slices())
    started = Child(tmp_path)
    yield started
    started.stop()


def all_cases(rng, folder):
    """Yield changed files of all kinds, a twelfth of them DICOM, which takes the longest."""
    images = fuzz_files.cases(rng)
    scans = fuzz_dicom.mutations(rng, folder)
    while True:
        for _ in range(11):
            yield next(images)
        what, files = next(scans)
        yield Case("dicom", what, files, ".")


def faults_of(child, case, folder):
    """Read one case and return how it went, and what was wrong with that."""
    fuzz_dicom.write(case.files, folder)
    outcome, said, memory = child.read(case.kind, folder / case.target)
    wrong = []
    if outcome not in ("read", "refused"):
        wrong.append(f"{outcome}: {said[-1500:]}")
    if outcome == "refused" and not 20 < len(said) < LONGEST_REFUSAL:
        wrong.append(f"a refusal of {len(said)} characters: {said[:200]}")
    if outcome == "read" and case.same and said != RIGHT:
        wrong.append("other voxels than the file has")
    if memory > MOST_BYTES and case.kind != "dicom":
        wrong.append(f"{memory >> 20} MB of memory")
    if sorted(p.name for p in folder.iterdir()) != sorted(case.files):
        wrong.append(f"files are left: {[p.name for p in folder.iterdir()]}")
    left = list((child.home / "weights").iterdir())
    if outcome == "refused" and left:
        wrong.append(f"weights are left: {left}")
    for path in left:
        shutil.rmtree(path, ignore_errors=True)
    shutil.rmtree(folder)
    return outcome, memory, wrong, said


def run(child, count, seed):
    outcomes, kinds, most, failures = Counter(), Counter(), 0, []
    cases = all_cases(np.random.default_rng(seed), child.home / "good" / "dicom-")
    for n, case in zip(range(count), cases, strict=False):
        outcome, memory, wrong, _ = faults_of(child, case, child.home / f"case{n}")
        outcomes[outcome] += 1
        kinds[case.kind] += 1
        most = max(most, memory if case.kind != "dicom" else 0)
        failures += [f"{n} {case.kind} {case.target}: {case.what}: {fault}" for fault in wrong]
        assert len(failures) < 20, "\n".join(failures)
    print(f"{dict(outcomes)} {dict(kinds)} at most {most >> 20} MB, {child.starts} starts")
    assert failures == [], "\n" + "\n".join(failures)
    assert outcomes["read"] > count // 50
    assert outcomes["refused"] > count // 4


def test_the_good_files_are_read(child):
    for base in fuzz_files.bases():
        case = Case(base.kind, "nothing", base.files, base.target, base.kind == "image")
        outcome, _, wrong, said = faults_of(child, case, child.home / "case")
        assert (outcome, wrong) == ("read", []), f"{base.target}: {said}"
    assert child.read("dicom", child.home / "good" / "dicom-")[0] == "read"


def test_some_damaged_files(child):
    run(child, FEW, seed=1)


@pytest.mark.slow
def test_many_damaged_files(child):
    run(child, MANY, seed=2)
