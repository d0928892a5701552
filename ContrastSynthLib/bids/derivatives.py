"""A folder of results to a BIDS data set of derivatives: whole or not at all."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

from ContrastSynthLib.bids.dataset import Dataset, Session
from ContrastSynthLib.bids.describing import Made, dataset_description, readme, sidecar
from ContrastSynthLib.bids.roles import T1W
from ContrastSynthLib.bids.sources import Sources, find_sources
from ContrastSynthLib.errors import RequestError
from ContrastSynthLib.files.images import write_volume
from ContrastSynthLib.files.sidecars import DESCRIPTION
from ContrastSynthLib.files.writing import whole_or_nothing
from ContrastSynthLib.registry.volumes import LABELS, MAP
from ContrastSynthLib.running.result import PROVENANCE
from ContrastSynthLib.running.stored_result import StoredOutput, StoredResult
from ContrastSynthLib.volumes import Volume

DERIVATIVES = "derivatives"
README = "README"
DISCRETE, SHARE = "dseg", "probseg"
KEPT = ("acq", "rec", "run", "echo", "part")
"""Entities of the reference that a result keeps. ``ce-`` goes: the image shows another dose."""


@dataclass
class Exported:
    """The files that were written, relative to their folder, and what to be careful about."""

    files: list[Path] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def export(results: Path, dataset: Dataset, out: Path) -> Exported:
    """Write all results of a batch as derivatives of the data set that they were made from.

    ``results`` holds a folder for each case, named as :func:`find_cases` names them. Each output
    becomes a NIfTI file with a sidecar; labels have a table of their names, too.

    Raises RequestError for a folder ``out`` that holds anything or lies where no relative link
    leads to the data set without names of other folders, for a case that is none of the data set,
    and for results that are not synthetic, were changed, or were made from other scans.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise RequestError(f"{out}: is not empty. The derivatives need a folder of their own.")
    link = link_to(dataset.folder, out)
    exported = Exported()
    sessions = {session.case: session for session in dataset.sessions()}
    made = []
    with whole_or_nothing(out, last=DESCRIPTION) as part:
        for folder in _cases(results, exported):
            case = folder.name
            if case not in sessions:
                raise RequestError(
                    f"{folder}: '{case}' is no subject and session of {dataset.folder}. Expected a "
                    f"name such as {next(iter(sessions))}, as contrastsynth bids cases gives."
                )
            writer = _Writer(part, sessions[case], StoredResult.read(folder), exported)
            made.append(writer.write())
        described = dataset_description(dataset, (one.version for one in made), link)
        _write_json(part / DESCRIPTION, described)
        text = readme(described["Name"], (one.key for one in made))
        (part / README).write_text(text, encoding="utf-8", errors="replace")
    exported.files = [Path(DESCRIPTION), Path(README), *exported.files]
    return exported


def link_to(dataset: Path, out: Path) -> str:
    """Return the relative path from the derivatives to the data set.

    Raises RequestError unless they lie in the data set's folder of derivatives, or beside it: any
    other path would tell of the folders of this computer.
    """
    raw, place = dataset.absolute().resolve(), out.absolute().resolve()
    if place.parent == raw.parent and place != raw:
        return f"../{quote(raw.name)}"
    if place.is_relative_to(raw / DERIVATIVES) and place != raw / DERIVATIVES:
        return Path(os.path.relpath(raw, place)).as_posix()
    raise RequestError(
        f"{out}: no place for derivatives of {dataset}. Their sources are named by a relative "
        f"link, so choose {dataset / DERIVATIVES / 'contrastsynth'} or a folder beside {dataset}."
    )


def _cases(results: Path, exported: Exported) -> Iterator[Path]:
    """Yield the folders of results; a warning tells of each other one."""
    try:
        folders = sorted(path for path in results.iterdir() if path.is_dir())
    except OSError as error:
        raise RequestError(
            f"{results}: cannot be opened ({error.strerror}). Expected the folder of a batch."
        ) from None
    cases = [folder for folder in folders if (folder / PROVENANCE).is_file()]
    if not cases:
        raise RequestError(
            f"{results}: holds no results. Expected the folder of a batch, with {PROVENANCE} in "
            "the folder of each case."
        )
    others = [folder.name for folder in folders if folder not in cases]
    exported.warnings += [f"{name}: without results; it was left out." for name in others]
    yield from cases


@dataclass
class _Writer:
    folder: Path
    session: Session
    result: StoredResult
    exported: Exported

    def write(self) -> Made:
        """Write all outputs of a case, and return what made them."""
        case = self.session.case
        made = Made.of(case, self.result.provenance)
        sources = find_sources(self.session, self.result.provenance)
        if sources.missing:
            named = ", ".join(f"'{role}'" for role in sources.missing)
            self.exported.warnings.append(
                f"{case}: {named} is not in the data set, and not named among the sources."
            )
        for output in self.result.outputs:
            for place, volume in enumerate(output.volumes, start=1):
                number = str(place) if len(output.volumes) > 1 else ""
                self._write(output, volume, number, made, sources)
        return made

    def _write(
        self, output: StoredOutput, volume: Volume, number: str, made: Made, sources: Sources
    ) -> None:
        kind = output.described.get("kind")
        suffix = suffix_of(output)
        entities = sources.reference.name.entities
        kept = [f"{key}-{entities[key]}" for key in KEPT if key in entities]
        described = f"desc-synthetic{camel(output.name)}{number}By{camel(made.key)}"
        stem = "_".join([self.session.case, *kept, described, suffix])
        place = Path(*self.session.case.split("_"), "anat", f"{stem}.nii.gz")
        write_volume(volume, self.folder / place, whole_numbers=kind == LABELS)
        beside = place.with_name(f"{stem}.json")
        _write_json(self.folder / beside, sidecar(output, volume, made, sources))
        self.exported.files += [place, beside]
        if kind == LABELS:
            table = place.with_name(f"{stem}.tsv")
            labels = output.described.get("labels", {}).items()
            rows = [f"{label}\t{' '.join(str(name).split())}" for label, name in labels]
            text = "\n".join(["index\tname", *rows, ""])
            (self.folder / table).write_text(text, encoding="utf-8")
            self.exported.files.append(table)


def suffix_of(output: StoredOutput) -> str:
    """Return the suffix of BIDS for an output.

    It has none for a map in the unit of an image, such as an error to expect: that of the image.
    """
    described = output.described
    if described.get("kind") == LABELS:
        return DISCRETE
    is_share = (described.get("low"), described.get("high")) == (0, 1)
    return SHARE if described.get("kind") == MAP and is_share else T1W


def camel(name: str) -> str:
    """Return a key as part of a label, which has no underscores: SphereArt of sphere_art."""
    return "".join(word[:1].upper() + word[1:] for word in re.findall("[0-9A-Za-z]+", name))


def _write_json(path: Path, content: dict[str, Any]) -> None:
    text = json.dumps(content, indent=2, allow_nan=False)
    path.write_text(text + "\n", encoding="utf-8")
