"""SPHERE's reader study, appendix D, with virtual patients and drawn scores, from start to end.

    python Testing/study_of_the_paper.py OUTPUT_FOLDER [--seed 0]

Two readers, 15 cases, five criteria, a margin of 0.16, by the commands that a real study takes:
``study create``, then ``next`` and ``score`` for each reading, ``report``. Scores are drawn so that
those of an arm have the paper's mean and, as far as whole scores can, its standard deviation.
Prints the paper's table beside the one that comes out.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
from pathlib import Path
from typing import Any

import numpy as np

from ContrastSynthLib.cli import main
from ContrastSynthLib.files.images import write_volume
from ContrastSynthLib.phantom.sample import sample_patient
from ContrastSynthLib.reader_study.blinding import read_key
from ContrastSynthLib.reader_study.protocol import ARMS, NEW, STANDARD

PAPER = {
    "quality": {NEW: (3.96, 0.19), STANDARD: (3.64, 0.49)},
    "alignment": {NEW: (3.96, 0.19), STANDARD: (3.75, 0.52)},
    "tissue": {NEW: (3.68, 0.43), STANDARD: (3.86, 0.30)},
    "diagnostic": {NEW: (3.68, 0.55), STANDARD: (3.86, 0.36)},
    "artefacts": {NEW: (4.00, 0.00), STANDARD: (3.89, 0.31)},
}
"""Mean and standard deviation of the scores."""
BEST, CASES, READERS = 4, 15, ("reader 1", "reader 2")
SIZE = (24, 28, 20)


def drawn(mean: float, deviation: float, count: int, rng: np.random.Generator) -> list[int]:
    """Return scores in a random order, one and two below the best as the moments have it.

    With shares a and b of them a + 2b is the mean distance to the best, a + 4b its square's mean.
    """
    below = BEST - mean
    two = max(0.0, (deviation**2 + below**2 - below) / 2)
    twos = round(count * two)
    ones = round(count * below) - 2 * twos
    scores = [BEST] * (count - ones - twos) + [BEST - 1] * ones + [BEST - 2] * twos
    return [int(score) for score in rng.permutation(scores)]


def write_cases(folder: Path) -> Path:
    """Write small virtual patients and the table of cases; return the table.

    Where the synthetic image would be there is the scan once more, marked: scores are drawn.
    """
    lines = ["case,new,standard,beside"]
    for number in range(1, CASES + 1):
        scans = sample_patient(seed=number, size=SIZE).scans
        pre, post = scans["pre"], scans["post"]
        made = pre.with_array(pre.array, "SYNTHETIC: a copy of the scan, its scores are drawn")
        for name, volume in (("made", made), ("pre", pre), ("post", post)):
            write_volume(volume, folder / f"{number}_{name}.nrrd")
        lines.append(f"case {number},{number}_made.nrrd,{number}_pre.nrrd,{number}_post.nrrd")
    table = folder / "cases.csv"
    table.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return table


def command(*words: str) -> str:
    """Return what a command prints; raise RuntimeError where it fails."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        code = main([*words])
    if code:
        raise RuntimeError(f"{' '.join(words)}: ended with {code}")
    return printed.getvalue()


def drawn_scores(seed: int) -> dict[tuple[str, str], dict[tuple[str, str], int]]:
    """Return the score of each criterion and arm, by reader and case."""
    rng = np.random.default_rng(seed)
    places = [(reader, f"case {n}") for reader in READERS for n in range(1, CASES + 1)]
    return {
        (criterion, arm): dict(
            zip(places, drawn(*PAPER[criterion][arm], len(places), rng), strict=True)
        )
        for criterion in PAPER
        for arm in ARMS
    }


def create(folder: Path, seed: int) -> Path:
    """Make the patients and the study in a new folder; return the folder of the study."""
    folder.mkdir(parents=True)
    table, study = write_cases(folder), folder / "study"
    words = ["study", "create", "--cases", str(table), "--out", str(study), "--seed", str(seed)]
    readers = [word for reader in READERS for word in ("--reader", reader)]
    command(*words, *readers, "--title", "SPHERE, appendix D, with drawn scores")
    return study


def read_all(study: Path, seed: int) -> None:
    """Have the readers score every reading."""
    given, key = drawn_scores(seed), read_key(study / "key.json")
    for reader in READERS:
        asked = ["study", "next", str(study), "--reader", reader, "--json"]
        while "number" in (told := json.loads(command(*asked))):
            case, arm = key.images[Path(told["images"][0]).stem]
            values = [f"{one}={given[one, arm][reader, case]}" for one in told["criteria"]]
            sets = [word for value in values for word in ("--set", value)]
            line = ["study", "score", str(study), "--reader", reader, "--seconds", "40"]
            command(*line, "--number", str(told["number"]), *sets)


def compared(summary: dict[str, Any]) -> str:
    """Return the paper's means beside those of the study, and the pooled p values."""
    arms = {(arm["criterion"], arm["arm"]): arm for arm in summary["arms"]}
    p_values = {
        (test["criterion"], test["unit"]): test["p_value"]
        for test in summary["tests"]
        if test["test"] == "wilcoxon"
    }
    lines = ["criterion    arm       paper        study        p, pooled  p, by case"]
    for criterion, of in PAPER.items():
        for arm, (mean, deviation) in of.items():
            found = arms[criterion, arm]
            told = f"{mean:.2f} ± {deviation:.2f}  {found['mean']:.2f} ± {found['deviation']:.2f}"
            units = [p_values[criterion, unit] for unit in ("pooled", "by case")]
            tested = "  ".join(f"{p:9.4f}" for p in units) if arm == NEW else ""
            lines.append(f"{criterion:12s} {arm:9s} {told}  {tested}".rstrip())
    return "\n".join(lines)


def rerun(folder: Path, seed: int = 0) -> dict[str, Any]:
    """Do the whole study in a new folder; return the report's summary."""
    study, report = create(folder, seed), folder / "report"
    read_all(study, seed)
    command("study", "report", str(study), "--out", str(report))
    return json.loads((report / "summary.json").read_text(encoding="utf-8"))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    print(compared(rerun(chosen.folder, chosen.seed)))
