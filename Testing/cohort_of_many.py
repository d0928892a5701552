"""A batch of many small virtual patients: killed, resumed, and looked at as a cohort.

    python Testing/cohort_of_many.py OUTPUT_FOLDER [--cases 500] [--workers 2]

The batch is killed (kill -9, its workers too end with it) when half of the cases are there, and
resumed. Prints JSON: how much memory the batch and its workers took at a fifth of the cases and at
the end, how often each case was computed, and time and size of the page. Linux: it reads /proc.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ContrastSynthLib.files.images import write_volume
from ContrastSynthLib.phantom.sample import sample_patient

SIZE = (32, 38, 26)
METHOD = "physics_pre"
TICK_S = 0.05
MB_PER_KB = 1 / 1024


def write_patients(folder: Path, cases: int) -> Path:
    """Write patients and the table of cases; return the table."""
    lines = ["case,post"]
    for number in range(cases):
        file = f"scans/post{number:04d}.nrrd"
        write_volume(sample_patient(seed=number, size=SIZE).scans["post"], folder / file)
        lines.append(f"p{number:04d},{file}")
    table = folder / "cases.csv"
    table.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return table


def started(table: Path, out: Path, workers: int) -> subprocess.Popen[bytes]:
    """Start the batch in a process of its own; what is there is kept."""
    words = ["batch", METHOD, f"--cases={table}", f"--out={out}", f"--workers={workers}"]
    with (out.parent / "batch-stderr.txt").open("ab") as said:
        return subprocess.Popen(
            [sys.executable, "-m", "ContrastSynthLib", *words, "--resume"], stderr=said
        )


def computed(out: Path) -> Counter[str]:
    """Return how often the log has each case as computed, which it was not where it was kept."""
    counts: Counter[str] = Counter()
    log = out / "batch-log.jsonl"
    for line in log.read_text(encoding="utf-8").splitlines() if log.exists() else []:
        told = json.loads(line)
        if told["type"] == "case" and told["status"] == "done" and not told.get("kept"):
            counts[told["case"]] += 1
    return counts


def ended(out: Path) -> int:
    """Return how many cases have a result."""
    return sum(1 for _ in out.glob("*/provenance.json"))


def memory_mb(batch: int) -> dict[str, float] | None:
    """Return the largest memory, until now, of the batch and of its workers; None at its end."""
    try:
        workers = [_peak_mb(process) for process in _children(batch)]
        return {"batch": _peak_mb(batch), "workers": max(workers)}
    except (OSError, ValueError):  # a process has just ended
        return None


def _children(parent: int) -> list[int]:
    tasks = Path(f"/proc/{parent}/task").glob("*/children")
    return sorted({int(child) for task in tasks for child in task.read_text().split()})


def _peak_mb(process: int) -> float:
    lines = Path(f"/proc/{process}/status").read_text(encoding="utf-8").splitlines()
    (found,) = (line.split()[1] for line in lines if line.startswith("VmHWM"))
    return round(int(found) * MB_PER_KB, 1)


def wait_for(batch: subprocess.Popen[bytes], reached: Callable[[], bool]) -> None:
    """Return when something is reached, or the batch has ended."""
    while batch.poll() is None and not reached():
        time.sleep(TICK_S)


def whole_batch(table: Path, out: Path, cases: int, workers: int) -> dict[str, Any]:
    """Run the batch undisturbed; return its memory early and late, and its seconds."""
    start = time.monotonic()
    batch = started(table, out, workers)
    wait_for(batch, lambda: ended(out) >= cases // 5)
    early = memory_mb(batch.pid)
    late = early

    def over() -> bool:
        nonlocal late
        late = memory_mb(batch.pid) or late
        return ended(out) >= cases

    wait_for(batch, over)
    code = batch.wait()
    seconds = round(time.monotonic() - start, 1)
    return {"code": code, "seconds": seconds, "early_mb": early, "late_mb": late}


def killed_batch(table: Path, out: Path, cases: int, workers: int) -> dict[str, Any]:
    """Kill the batch in the middle and resume it; return how often cases were computed."""
    batch = started(table, out, workers)
    wait_for(batch, lambda: ended(out) >= cases // 2)
    os.kill(batch.pid, signal.SIGKILL)
    batch.wait()
    time.sleep(2.0)  # the workers end by themselves
    before, there = computed(out), ended(out)
    code = started(table, out, workers).wait()
    counts = computed(out)
    return {
        "code": code,
        "there_when_killed": there,
        "noted_when_killed": sum(before.values()),
        "there_at_the_end": ended(out),
        "computed_afterwards": sum(counts.values()) - sum(before.values()),
        "computed_twice": sum(count > 1 for count in counts.values()),
    }


def page(out: Path, table: Path, folder: Path) -> dict[str, Any]:
    """Make the page of the cohort, twice; return its size, the seconds and the memory."""
    words = ["cohort", str(out), f"--out={folder}", f"--cases={table}", "--json"]
    seconds = []
    for _ in range(2):
        start = time.monotonic()
        code = "import sys, resource\nfrom ContrastSynthLib.cli import main\nmain(sys.argv[1:])\n"
        code += "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, file=sys.stderr)"
        done = subprocess.run(
            [sys.executable, "-c", code, *words], capture_output=True, text=True, check=True
        )
        seconds.append(round(time.monotonic() - start, 1))
    told = json.loads(done.stdout)
    return {
        "bytes": (folder / "cohort.html").stat().st_size,
        "seconds_first_and_again": seconds,
        "peak_mb_again": round(int(done.stderr.split()[-1]) * MB_PER_KB, 1),
        **{name: told[name] for name in ("cases", "done", "failed", "damaged", "reused")},
        "outliers": len(told["outliers"]),
    }


def main() -> None:
    """Make the patients, run, kill, resume, make the page, and print what was measured."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, metavar="OUTPUT_FOLDER")
    parser.add_argument("--cases", type=int, default=500)
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    table = write_patients(options.folder, options.cases)
    whole, killed = options.folder / "whole", options.folder / "killed"
    measured = {
        "whole": whole_batch(table, whole, options.cases, options.workers),
        "killed": killed_batch(table, killed, options.cases, options.workers),
        "page": page(killed, table, options.folder / "cohort"),
    }
    print(json.dumps(measured, indent=2))


if __name__ == "__main__":
    main()
