"""The result of a run, and how it reaches the disk: whole or not at all."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ContrastSynthLib.files.images import write_volume
from ContrastSynthLib.files.replacing import mark_of, refuse_to_replace
from ContrastSynthLib.files.series import SEQUENCE_SUFFIX, write_series
from ContrastSynthLib.files.writing import whole_or_nothing
from ContrastSynthLib.registry.volumes import LABELS, Output
from ContrastSynthLib.volumes import Series, Volume

PROVENANCE = "provenance.json"

MARK = r"^(SYNTHETIC )?by ContrastSynth \S+ \w+, for research only"
"""The mark of a volume that a run made; NIfTI's begins with the word."""


def result_file(name: str, series: bool) -> str:
    """Return the name of the file of an output."""
    return f"{name}{SEQUENCE_SUFFIX}" if series else f"{name}.nrrd"


def refuse_to_replace_results(
    folder: Path,
    outputs: Mapping[str, Output],
    sources: Mapping[str, Sequence[str | Path]],
    by_phase: bool = False,
) -> None:
    """Raise RequestError where the outputs of a run would replace what is not theirs to replace.

    ``sources`` are the files that the run reads, by role. With ``by_phase`` each output is a
    series, whatever is declared.
    """
    files = {result_file(name, by_phase or declared.series) for name, declared in outputs.items()}
    refuse_to_replace_files(folder, files, sources)


def refuse_to_replace_files(
    folder: Path, files: Iterable[str], sources: Mapping[str, Sequence[str | Path]]
) -> None:
    """Raise RequestError for files in a folder that are an input, or no results of a run."""
    refuse_to_replace((folder / name for name in files), MARK, sources)
    refuse_to_replace([folder / PROVENANCE], r"method", sources)


def earlier_results(folder: Path) -> set[str]:
    """Return the names of the volumes in a folder that its provenance names as results."""
    try:
        listed = json.loads((folder / PROVENANCE).read_text(encoding="utf-8"))["outputs"]
        names = {result_file(str(name), series) for name in listed for series in (False, True)}
        return {
            name
            for name in names
            if Path(name).name == name and re.search(MARK, mark_of(folder / name))
        }
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return set()


def output_role(path: Path) -> str:
    """Return the output that a file of a result holds: ``phases`` of ``phases.seq.nrrd``."""
    return path.name.removesuffix(".nrrd").removesuffix(".seq")


@dataclass(frozen=True)
class Result:
    """Synthetic volumes by output role, what made them, and what to be careful about.

    ``sources`` are the files that were read, by role: none of them is ever replaced.
    """

    outputs: dict[str, Volume | Series]
    provenance: dict[str, Any]
    warnings: list[str] = field(default_factory=list)
    declared: Mapping[str, Output] = field(default_factory=dict)
    sources: Mapping[str, Sequence[Path]] = field(default_factory=dict)

    def write(self, folder: str | Path, *, compress: bool = True) -> list[Path]:
        """Write ``<output role>.nrrd`` and ``provenance.json``; return their paths.

        A series becomes ``<output role>.seq.nrrd``, and labels are written as whole numbers. All
        move into place together, the provenance last; what an earlier run left in the folder goes.

        Raises RequestError when a file is in the way that is an input, or no result of this
        program, and when the disk does not take the whole of it.
        """
        folder = Path(folder)
        series = {name for name, output in self.outputs.items() if isinstance(output, Series)}
        files = {result_file(name, name in series) for name in self.outputs}
        refuse_to_replace_files(folder, files, self.sources)
        stale = earlier_results(folder) - files
        with whole_or_nothing(folder, PROVENANCE, stale) as part:
            names = [path.name for path in self._write_parts(part, compress)]
        return [folder / name for name in names]

    def _write_parts(self, folder: Path, compress: bool) -> list[Path]:
        parts = []
        for name, output in self.outputs.items():
            if isinstance(output, Series):
                parts.append(folder / result_file(name, series=True))
                write_series(output, parts[-1])
                continue
            parts.append(folder / result_file(name, series=False))
            labels = name in self.declared and self.declared[name].kind == LABELS
            write_volume(output, parts[-1], compress=compress, whole_numbers=labels)
        parts.append(folder / PROVENANCE)
        text = json.dumps(self.provenance, indent=2, allow_nan=False)
        parts[-1].write_text(text + "\n", encoding="utf-8")
        return parts
