"""What was measured for the page of the papers' claims: commands, and the files that they filled.

``docs/papers/measurements.toml`` names the commands. Each fills ``results/NAME.csv``, a line for a
case and a row of the table, which a later run goes on with; ``results/NAME.json`` tells by which
command, when, and in what time.
"""

from __future__ import annotations

import csv
import json
import math
import re
import resource
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ContrastSynthLib.errors import RequestError

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "docs" / "papers"
FOLDERS = ("DATA", "EVAL", "TRAIN", "RUNS")
"""Words of a command that stand for folders of the one who runs it."""


@dataclass(frozen=True)
class Measurement:
    """A command and the file that it fills; ``on`` tells of which cases.

    ``words`` are the words in capitals that stand for others.
    """

    name: str
    on: str
    command: str
    words: Mapping[str, str]

    @property
    def csv(self) -> Path:
        """The file of what was measured."""
        return FOLDER / "results" / f"{self.name}.csv"

    @property
    def record(self) -> Path:
        """The file that tells how and when it was measured."""
        return self.csv.with_suffix(".json")

    @property
    def is_there(self) -> bool:
        """Whether it was measured to the end."""
        return self.record.exists()

    @property
    def whole_command(self) -> str:
        """The command with its result file, as it is shown."""
        return f"{self.command} --csv {self.csv.relative_to(ROOT).as_posix()}"

    def recorded(self) -> dict[str, Any]:
        """Return the record. Raises RequestError where the command is not the one that ran."""
        record: dict[str, Any] = json.loads(self.record.read_text(encoding="utf-8"))
        if record["command"] != self.whole_command:
            raise RequestError(f"{self.name} has another command by now: --measure {self.name}")
        return record

    def lines(self) -> list[dict[str, str]]:
        """Return what was measured; [] where nothing was yet."""
        if not self.csv.exists():
            return []
        with self.csv.open(newline="", encoding="utf-8") as stream:
            return list(csv.DictReader(stream))


def measurements() -> dict[str, Measurement]:
    """Return all of them by name."""
    tables = tomllib.loads((FOLDER / "measurements.toml").read_text(encoding="utf-8"))
    words = tables.pop("words")
    return {name: Measurement(name, words=words, **table) for name, table in tables.items()}


def spelled_out(command: str, words: Mapping[str, str]) -> list[str]:
    """Return the words of a command, those in capitals replaced."""
    pattern = re.compile(rf"(?<![\w-])({'|'.join(words)})(?![\w-])")
    return shlex.split(pattern.sub(lambda found: words[found[1]], command))


def measure(measurement: Measurement, folders: Mapping[str, Path]) -> None:
    """Run the command and record it. Raises RequestError when it fails or lacks a folder.

    The time of the runs that filled a file which it goes on with counts too.
    """
    for name in FOLDERS:
        if re.search(rf"\b{name}\b", measurement.command) and name not in folders:
            raise RequestError(
                f"{measurement.name} needs the folder {name}: give --folder {name}=..."
            )
    places = {name: shlex.quote(str(path)) for name, path in folders.items()}
    words = spelled_out(measurement.whole_command, {**measurement.words, **places})
    before = _cpu_seconds() - _cpu_seconds_of(measurement)
    if subprocess.run([sys.executable, *words[1:]], cwd=ROOT, check=False).returncode:
        raise RequestError(f"{measurement.name}: the command failed; see above.")
    known = {
        "command": measurement.whole_command,
        "cpu_seconds": math.ceil(_cpu_seconds() - before),
    }
    known["date"] = datetime.now(UTC).date().isoformat()
    measurement.record.write_text(json.dumps(known, indent=2) + "\n", encoding="utf-8")


def _cpu_seconds_of(measurement: Measurement) -> float:
    """Return what is recorded, of a file that is still there."""
    if not (measurement.csv.exists() and measurement.is_there):
        return 0.0
    return float(json.loads(measurement.record.read_text(encoding="utf-8"))["cpu_seconds"])


def _cpu_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime
