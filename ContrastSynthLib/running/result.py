"""The result of a run, and how it reaches the disk: whole or not at all."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ContrastSynthLib.files.images import write_volume
from ContrastSynthLib.files.writing import whole_or_nothing
from ContrastSynthLib.volumes import Volume

PROVENANCE = "provenance.json"


@dataclass(frozen=True)
class Result:
    """Synthetic volumes by output role, what made them, and what to be careful about."""

    outputs: dict[str, Volume]
    provenance: dict[str, Any]
    warnings: list[str] = field(default_factory=list)

    def write(self, folder: str | Path, *, compress: bool = True) -> list[Path]:
        """Write ``<output role>.nrrd`` and ``provenance.json``; return their paths.

        Raises RequestError when the disk does not take the whole of it.
        """
        with whole_or_nothing(Path(folder)) as part:
            names = [path.name for path in self._write_parts(part, compress)]
        return [Path(folder) / name for name in names]

    def _write_parts(self, folder: Path, compress: bool) -> list[Path]:
        parts = []
        for name, volume in self.outputs.items():
            parts.append(folder / f"{name}.nrrd")
            write_volume(volume, parts[-1], compress=compress)
        parts.append(folder / PROVENANCE)
        text = json.dumps(self.provenance, indent=2, allow_nan=False)
        parts[-1].write_text(text + "\n", encoding="utf-8")
        return parts
