"""Killed and stopped at random moments: what is left is whole, and the next run completes it.

``pytest Testing/unit/test_kill.py --slow -s`` does it at 100 moments for kill -9 and at 20 for the
signals, and prints a line for each; the quick version does a few.
"""

from __future__ import annotations

import csv
import json
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from ContrastSynthLib.files.images import read_volume, write_volume
from ContrastSynthLib.phantom.sample import sample_patient

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")

CASES = 5
SIZE = (48, 56, 40)
SEED = 20
MOST_SECONDS_TO_STOP = 2.0
ON_A_BUSY_COMPUTER = 3.0
"""Factor by which other work may delay a stop, in the tests; the table says how long it took."""


@dataclass(frozen=True)
class Scans:
    """A folder of patients with its table, and what each of them gives undisturbed."""

    folder: Path
    expected: dict[str, bytes]
    seconds: dict[str, float]

    def words(self, kind: str, out: Path) -> list[str]:
        """The command line of a kind: run, batch 1 or batch 2 (workers)."""
        start = [sys.executable, "-m", "ContrastSynthLib"]
        if kind == "run":
            inputs = [f"--in={role}={self.folder / f'c0{role}.nrrd'}" for role in ("pre", "post")]
            return [*start, "run", "physics_dose", *inputs, f"--out={out / 'c0'}"]
        table = self.folder / "cases.csv"
        batch = ["batch", "physics_dose", f"--cases={table}", f"--out={out}", "--resume"]
        return [*start, *batch, f"--workers={kind[-1]}"]


@pytest.fixture(scope="module")
def scans(tmp_path_factory) -> Scans:
    folder = tmp_path_factory.mktemp("killed")
    lines = ["case,pre,post"]
    for index in range(CASES):
        patient = sample_patient(seed=index, size=SIZE).scans
        for role in ("pre", "post"):
            write_volume(patient[role], folder / f"c{index}{role}.nrrd")
        lines.append(f"c{index},c{index}pre.nrrd,c{index}post.nrrd")
    (folder / "cases.csv").write_text("\n".join(lines))
    made = Scans(folder, {}, {})
    for kind in kinds():
        started = time.monotonic()
        out = folder / f"undisturbed {kind}"
        subprocess.run(made.words(kind, out), check=True, capture_output=True)
        made.seconds[kind] = time.monotonic() - started
        for case in sorted(out.glob("c*")):
            bits = read_volume(case / "low.nrrd").array.tobytes()
            assert made.expected.setdefault(case.name, bits) == bits
    return made


def kinds() -> list[str]:
    try:
        import distributed  # noqa: F401
    except ImportError:
        return ["run", "batch 1"]
    return ["run", "batch 1", "batch 2"]


def rows_in(out: Path) -> dict[str, str]:
    """Status by case; the table, where there is one, is whole."""
    if not (out / "batch.csv").exists():
        return {}
    with (out / "batch.csv").open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert all(row["schema_version"] == "2" and row["status"] for row in rows)
    assert len({row["case"] for row in rows}) == len(rows)
    return {row["case"]: row["status"] for row in rows}


def whole_results(scans: Scans, out: Path) -> list[str]:
    """The cases with a provenance, each with its image; nothing half-written has a final name."""
    for image in out.glob("c*/low.nrrd"):
        assert read_volume(image).array.tobytes() == scans.expected[image.parent.name]
    found = []
    for provenance in out.glob("c*/provenance.json"):
        assert json.loads(provenance.read_text())["method"]["key"] == "physics_dose"
        assert (provenance.parent / "low.nrrd").exists()
        found.append(provenance.parent.name)
    return sorted(found)


def disturb(scans: Scans, kind: str, number: int, moment_s: float, out: Path) -> str:
    """Send a signal at a moment, look at what is left, go on; return a line of the table."""
    process = subprocess.Popen(
        scans.words(kind, out), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    if number != signal.SIGKILL and kind != "run":  # counted from when the first case begins
        wait_for(out / "batch-log.jsonl", process)
    time.sleep(moment_s)
    process.send_signal(number)
    sent = time.monotonic()
    _, said = process.communicate(timeout=60)
    took_s = time.monotonic() - sent
    code = process.returncode
    before = rows_in(out)
    if number != signal.SIGKILL and code not in (0, -number):
        assert took_s < MOST_SECONDS_TO_STOP * ON_A_BUSY_COMPUTER, said
        assert code == (128 + number if kind != "run" else 1), said
        assert set(before) <= set(whole_results(scans, out)), "a row without its result"
    time.sleep(0.3 if number == signal.SIGKILL else 0)
    left = whole_results(scans, out)
    partial = len(list(out.glob("c*/.partial-*")))
    again = subprocess.run(scans.words(kind, out), capture_output=True, text=True, check=False)
    assert again.returncode == 0, again.stderr
    cases = ["c0"] if kind == "run" else [f"c{index}" for index in range(CASES)]
    assert whole_results(scans, out) == cases
    assert not list(out.rglob(".partial-*")), "half-written files stay"
    if kind != "run":
        assert rows_in(out) == dict.fromkeys(cases, "done")
        kept = [case for case in left if f"{case}: left as it was" in again.stderr]
        # What was done is not done again; workers may have ended a case after the parent.
        assert kept == left, again.stderr
    summary = [line for line in again.stderr.splitlines() if " left as they were" in line]
    told = summary[0].partition(".")[0] if summary else "complete"
    return (
        f"{kind:8} {signal.Signals(number).name:8} {moment_s:5.2f} {code:5d} {took_s:6.2f}   "
        f"{len(left):4d} {len(before):4d} {partial:7d}   {told}"
    )


def wait_for(path: Path, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 60
    while not path.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)


HEADER = (
    "what     signal   at, s  exit ended, s  whole rows partial   the next run with --resume made\n"
    + "-" * 90
)


def moments(count: int, numbers: tuple[int, ...], scans: Scans) -> list[tuple[str, int, float]]:
    """Kinds, signals and moments, the same ones each time but for the speed of the computer."""
    generator = random.Random(SEED)
    drawn = []
    for index in range(count):
        kind = kinds()[index % len(kinds())]
        number = numbers[index // len(kinds()) % len(numbers)]
        most = 1.05 if number == signal.SIGKILL or kind == "run" else 0.5
        drawn.append((kind, number, generator.uniform(0.0, most) * scans.seconds[kind]))
    return drawn


def run_table(plan: list[tuple[str, int, float]], scans: Scans, folder: Path) -> None:
    print(f"\n{HEADER}")
    for index, (kind, number, moment_s) in enumerate(plan):
        print(disturb(scans, kind, number, moment_s, folder / f"out{index}"), flush=True)


def test_a_few_moments(scans, tmp_path):
    late = [(kind, signal.SIGKILL, 0.8 * scans.seconds[kind]) for kind in kinds()]
    stops = [
        (kind, number, 0.3 * scans.seconds[kind])
        for kind, number in zip(kinds()[1:], (signal.SIGINT, signal.SIGTERM), strict=False)
    ]
    run_table([*late, *stops], scans, tmp_path)


@pytest.mark.slow
def test_kill_at_100_moments(scans, tmp_path):
    run_table(moments(100, (signal.SIGKILL,), scans), scans, tmp_path)


@pytest.mark.slow
def test_signals_at_20_moments(scans, tmp_path):
    run_table(moments(20, (signal.SIGINT, signal.SIGTERM), scans), scans, tmp_path)
