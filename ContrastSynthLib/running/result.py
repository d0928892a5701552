"""The result of a run, and how it reaches the disk: whole or not at all."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ContrastSynthLib.files.images import write_volume
from ContrastSynthLib.files.series import SEQUENCE_SUFFIX, write_series
from ContrastSynthLib.files.writing import whole_or_nothing
from ContrastSynthLib.registry.volumes import LABELS, Output
from ContrastSynthLib.volumes import Series, Volume

PROVENANCE = "provenance.json"


def output_role(path: Path) -> str:
    """Return the output that a file of a result holds: ``phases`` of ``phases.seq.nrrd``."""
    return path.name.removesuffix(".nrrd").removesuffix(".seq")


@dataclass(frozen=True)
class Result:
    """Synthetic volumes by output role, what made them, and what to be careful about."""

    outputs: dict[str, Volume | Series]
    provenance: dict[str, Any]
    warnings: list[str] = field(default_factory=list)
    declared: Mapping[str, Output] = field(default_factory=dict)

    def write(self, folder: str | Path, *, compress: bool = True) -> list[Path]:
        """Write ``<output role>.nrrd`` and ``provenance.json``; return their paths.

        A series becomes ``<output role>.seq.nrrd``, and labels are written as whole numbers.

        Raises RequestError when the disk does not take the whole of it.
        """
        with whole_or_nothing(Path(folder)) as part:
            names = [path.name for path in self._write_parts(part, compress)]
        return [Path(folder) / name for name in names]

    def _write_parts(self, folder: Path, compress: bool) -> list[Path]:
        parts = []
        for name, output in self.outputs.items():
            if isinstance(output, Series):
                parts.append(folder / f"{name}{SEQUENCE_SUFFIX}")
                write_series(output, parts[-1])
                continue
            parts.append(folder / f"{name}.nrrd")
            labels = name in self.declared and self.declared[name].kind == LABELS
            write_volume(output, parts[-1], compress=compress, whole_numbers=labels)
        parts.append(folder / PROVENANCE)
        text = json.dumps(self.provenance, indent=2, allow_nan=False)
        parts[-1].write_text(text + "\n", encoding="utf-8")
        return parts
