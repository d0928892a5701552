"""The command ``series``: what the series of a DICOM study are, and which ones make the pair."""

from __future__ import annotations

import shlex
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ContrastSynthLib.commands.printing import print_json, print_warnings
from ContrastSynthLib.running.jobs import JsonLines

if TYPE_CHECKING:
    from ContrastSynthLib.dicom_study.proposal import Part, Proposal
    from ContrastSynthLib.dicom_study.series import Series
    from ContrastSynthLib.dicom_study.study import Study

SCHEMA_VERSION = 1
HEADS = ("number", "description", "what it is", "images", "size", "voxel mm", "plane", "time")
MIXED = (
    "{role}: the files of {label} lie in one folder with others, or in several. Put each series "
    "into a folder of its own (--split DIR)."
)


def series(options: Namespace, lines: JsonLines | None) -> None:
    """List the series of a study with their roles; print the proposal as arguments of ``run``."""
    from ContrastSynthLib.dicom_study.splitting import split
    from ContrastSynthLib.dicom_study.study import read_study

    study = read_study(options.path, options.study)
    proposal = study.propose(options.roles)
    sources = [study.source(one) for one in study.series]
    if options.split is not None:
        sources = [*split(study, options.split)]
    mixed = [
        MIXED.format(role=role, label=part.series.label)
        for role, part in proposal.parts.items()
        if _argument(role, part, study, sources) is None
    ]
    of_series = [f"{one.label}: {text}" for one in study.series for text in one.warnings]
    warnings = [*study.notes, *of_series, *mixed]
    print_warnings(warnings)
    if options.json:
        print_json(_as_json(study, proposal, sources, warnings))
    else:
        _print_text(study, proposal, sources)


def _argument(role: str, part: Part, study: Study, sources: Sequence[Path | None]) -> str | None:
    """Return ``role=PATH`` for ``--in``; None where the series has no place of its own."""
    (source,) = (
        place for one, place in zip(study.series, sources, strict=True) if one is part.series
    )
    if source is None:
        return None
    return f"{role}={source}" + ("" if part.phase is None else f"@{part.phase}")


def _print_text(study: Study, proposal: Proposal, sources: Sequence[Path | None]) -> None:
    rows = [(*HEADS, "role"), *((*_row(one), proposal.role_of(one)) for one in study.series)]
    widths = [max(len(row[n]) for row in rows) for n in range(len(rows[0]))]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        print("  ".join(cells).rstrip())
    print()
    for role, part in proposal.parts.items():
        check = "" if part.sure else " (check this)"
        phase = "" if part.phase is None else f", phase {part.phase}"
        print(f"{role}: {part.series.label}{phase}{check}: {part.reason or part.series.reason}")
    for sentence in proposal.missing:
        print(f"missing: {sentence}")
    arguments = [_argument(role, part, study, sources) for role, part in proposal.parts.items()]
    if ready := [f"--in {shlex.quote(text)}" for text in arguments if text is not None]:
        print("\n" + " ".join(ready))


def _row(one: Series) -> tuple[str, ...]:
    layout = one.layout
    phases = f", {one.phases} phases" if one.is_dynamic else ""
    return (
        "?" if one.number is None else str(one.number),
        one.description,
        one.kind + phases,
        str(one.images),
        "" if layout is None else layout.size,
        "" if layout is None else layout.voxel,
        "" if layout is None else layout.plane,
        one.time,
    )


def _as_json(
    study: Study, proposal: Proposal, sources: Sequence[Path | None], warnings: Sequence[str]
) -> dict[str, Any]:
    return {
        "schema_version": SCHEMA_VERSION,
        "study_uid": study.uid,
        "series": [
            _series_as_json(one, proposal.role_of(one), source)
            for one, source in zip(study.series, sources, strict=True)
        ],
        "proposal": {
            role: {
                "number": part.series.number,
                "uid": part.series.uid,
                "phase": part.phase,
                "reason": part.reason,
                "sure": part.sure,
                "argument": _argument(role, part, study, sources),
            }
            for role, part in proposal.parts.items()
        },
        "missing": list(proposal.missing),
        "warnings": list(warnings),
    }


def _series_as_json(one: Series, role: str, source: Path | None) -> dict[str, Any]:
    layout = one.layout
    return {
        "number": one.number,
        "uid": one.uid,
        "description": one.description,
        "modality": one.modality,
        "kind": one.kind,
        "weighting": one.weighting,
        "reason": one.reason,
        "agent": one.agent.given,
        "agent_reason": one.agent.reason,
        "agent_text": one.agent_text,
        "images": one.images,
        "size": None if layout is None else [layout.rows, layout.columns, layout.slices],
        "voxel_mm": None if layout is None else list(layout.voxel_mm),
        "plane": None if layout is None else layout.plane,
        "phases": one.phases,
        "time": one.time or None,
        "role": role or None,
        "source": None if source is None else str(source),
        "warnings": list(one.warnings),
    }
