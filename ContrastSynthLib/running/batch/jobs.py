"""What a worker is asked to do for one case, as text that can travel to another machine."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ContrastSynthLib.registry import AUTO_MASK, MASK_ROLE, declared_parameters, find_method
from ContrastSynthLib.running.batch.table import CASE, case_inputs, is_choice, seed_in, times_in
from ContrastSynthLib.running.request import Request

Job = dict[str, Any]
"""``case``, ``request`` (the fields of Request), ``folder`` of its results, and ``resume``."""
Outcome = dict[str, Any]
"""``status``, ``message`` and what else a row of the record holds; ``kept`` where nothing was run;
``took_s`` where it was, the seconds with reading and writing; ``detail`` for the log."""


def make_job(
    method_key: str,
    row: Mapping[str, str],
    folder: Path,
    out: Path,
    *,
    parameters: Mapping[str, Any],
    common: Mapping[str, Any],
    resume: bool,
) -> Job:
    """Return the job of a row of the table, which lies in ``folder``.

    A parameter in the row comes before the same one in ``parameters``, and a seed before that of
    ``common``, the fields of Request that all cases share. All paths are full.
    """
    chosen = find_method(method_key)
    own = {
        name: row[name]
        for name in declared_parameters(chosen)
        if row.get(name) and (name not in chosen.inputs or is_choice(chosen, name, row[name]))
    }
    inputs = {
        role: [os.path.abspath(path) for path in paths]
        for role, paths in case_inputs(method_key, row, folder).items()
    }
    if row.get(MASK_ROLE) == AUTO_MASK:
        inputs[MASK_ROLE] = [AUTO_MASK]
    fields = dict(common)
    if (seed := seed_in(row)) is not None:
        fields["seed"] = seed
    request = Request(method_key, inputs, {**parameters, **own}, times_s=times_in(row), **fields)
    return {
        "case": row[CASE],
        "request": asdict(request),
        "folder": os.path.abspath(out / row[CASE]),
        "resume": resume,
    }


def request_of(job: Job) -> Request:
    """Return the request of a job."""
    return Request(**job["request"])


def paths_of(job: Job) -> dict[str, str]:
    """Return the paths that messages about a job may hold, and what each of them is."""
    inputs: Mapping[str, Sequence[str]] = job["request"]["inputs"]
    known = {path: f"the file of '{role}'" for role, paths in inputs.items() for path in paths}
    known.pop(AUTO_MASK, None)  # a word, which messages may well hold
    weights = job["request"]["weights"] or {}
    for path in [weights] if isinstance(weights, str) else weights.values():
        if os.sep in path:
            known[path] = "the weights"
    return known | {job["folder"]: "the folder of the case"}
