"""The result of a run read back from its folder, and whether it still is what the run wrote."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ContrastSynthLib.errors import RequestError
from ContrastSynthLib.files.images import read_any_volume
from ContrastSynthLib.files.series import read_series
from ContrastSynthLib.running.result import PROVENANCE, result_file
from ContrastSynthLib.volumes import Volume


@dataclass(frozen=True)
class StoredOutput:
    """An output: what the provenance says of it, and its volumes, several for a series."""

    name: str
    described: Mapping[str, Any]
    volumes: tuple[Volume, ...]


@dataclass(frozen=True)
class StoredResult:
    """The outputs of a run, and its provenance."""

    provenance: Mapping[str, Any]
    outputs: tuple[StoredOutput, ...]

    @classmethod
    def read(cls, folder: Path) -> StoredResult:
        """Return the result in a folder.

        Raises RequestError for a folder without a result, for a volume that is missing or not
        marked as synthetic, and for one whose voxels are not those that the run wrote.
        """
        try:
            provenance = json.loads((folder / PROVENANCE).read_text(encoding="utf-8"))
            described = {str(name): dict(of) for name, of in provenance["outputs"].items()}
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise RequestError(
                f"{folder}: no result of a run. Expected a folder with {PROVENANCE} and the "
                "volumes that it names."
            ) from error
        outputs = tuple(_output(folder, name, of) for name, of in described.items())
        return cls(provenance, outputs)


def checked_output(
    name: str, described: Mapping[str, Any], volumes: Sequence[Volume], series: bool, where: object
) -> StoredOutput:
    """Return an output, of which ``where`` says where it lies.

    Raises RequestError for volumes that are not marked as synthetic, and for voxels that are not
    those of which the provenance has the hash.
    """
    if not all(volume.synthetic for volume in volumes):
        raise RequestError(f"{where}: it is not marked as synthetic. Expected what the run wrote.")
    found = [volume.sha256() for volume in volumes]
    if described.get("sha256") != (found if series else found[0]):
        raise RequestError(
            f"{where}: its voxels are not those that the run wrote. Run it again, so that the "
            "provenance tells what it is."
        )
    return StoredOutput(name, described, tuple(volumes))


def volumes_of(folder: Path, name: str) -> tuple[list[Volume], bool]:
    """Return the volumes of an output as they lie in a folder, and whether it is a series.

    Raises RequestError for what cannot be read.
    """
    path = folder / result_file(name, series=True)
    if path.is_file():
        return read_series(path), True
    # Not read_volume: a map may have one value throughout, such as no uptake at all.
    return [read_any_volume(folder / result_file(name, series=False))], False


def _output(folder: Path, name: str, described: Mapping[str, Any]) -> StoredOutput:
    places = [folder / result_file(name, series) for series in (False, True)]
    path = next((place for place in places if place.is_file()), places[0])
    if not path.is_file():
        raise RequestError(f"{path}: the provenance names this output, but it is not there.")
    return checked_output(name, described, *volumes_of(folder, name), path)
