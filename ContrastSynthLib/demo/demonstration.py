"""``python -m ContrastSynthLib.demo``: runs every installed method on virtual patients.

The patients are a virtual brain and a virtual breast. If CONTRASTSYNTH_REAL_SCANS is the path of a
folder with a ``cases.json`` ({case: {role: file}}), the pairs of scans in it are run too. The
result is a page ``index.html`` in the output folder.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ContrastSynthLib.analysis.evaluation import evaluate
from ContrastSynthLib.demo.page import Page
from ContrastSynthLib.errors import ContrastSynthError, MissingError
from ContrastSynthLib.files.images import read_volume, write_volume
from ContrastSynthLib.files.series import write_series
from ContrastSynthLib.phantom.brain.patient import brain_patient
from ContrastSynthLib.phantom.breast.patient import breast_patient
from ContrastSynthLib.registry import METHODS, ROLES, Method
from ContrastSynthLib.registry.volumes import PHASE_ROLE
from ContrastSynthLib.running.request import Request
from ContrastSynthLib.running.run import run
from ContrastSynthLib.volumes import Series, Volume, check_same_grid, times_of

REAL_SCANS = "CONTRASTSYNTH_REAL_SCANS"
SEED = 13


@dataclass(frozen=True)
class Case:
    """One patient: name, description, and scans by role."""

    name: str
    description: str
    scans: dict[str, Volume]


def main(arguments: list[str] | None = None) -> int:
    """Run the demonstration and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m ContrastSynthLib.demo", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("demo-output"))
    options = parser.parse_args(arguments)
    started = time.monotonic()
    page = Page()
    try:
        for case in cases():
            show_case(case, options.out / case.name, page)
        show_breast(options.out / "virtual-breast", page)
        page.write(options.out / "index.html", "make demo", time.monotonic() - started)
    except ContrastSynthError as error:
        print(f"demo: {error}", file=sys.stderr)
        return error.exit_code
    print(f"Open {options.out / 'index.html'}")
    return 0


def cases() -> Iterator[Case]:
    """Yield the virtual patient, then the real pairs if there are any."""
    patient = brain_patient(SEED)
    yield Case(
        "virtual-brain",
        "A virtual patient: the MNI152 anatomy with a random deformation, vessels, dura and "
        "lesions; images by the signal equations. The true tissue is known at every voxel.",
        dict(patient.scans),
    )
    if REAL_SCANS not in os.environ:
        return
    folder = Path(os.environ[REAL_SCANS])
    for name, files in json.loads((folder / "cases.json").read_text(encoding="utf-8")).items():
        if not {"pre", "post"} <= set(files):
            continue
        scans = {
            role: read_volume(folder / name / file) for role, file in files.items() if role in ROLES
        }
        yield Case(name, "A real patient.", _on_the_grid_of_pre(scans))


def show_case(case: Case, folder: Path, page: Page) -> None:
    """Run every method whose inputs and packages are there, and add the results to the page."""
    print(f"{case.name}:")
    page.start_case(case.name, case.description, case.scans)
    for role, volume in case.scans.items():
        write_volume(volume, folder / "scans" / f"{role}.nrrd")
    for method in METHODS.values():
        if not set(method.required) <= set(case.scans):
            continue
        given = {role: case.scans[role] for role in method.inputs if role in case.scans}
        preset = "fast" if "fast" in method.presets else None
        try:
            result = run(Request(method.key, given, preset=preset))
        except MissingError as error:
            print(f"  {method.key}: skipped. {error}")
            continue
        result.write(folder / method.key)
        reports = _evaluated(case, method, result.outputs)
        page.add_result(case.scans, method, result, reports)
        print(f"  {method.key}: {result.provenance['seconds']} s")


def show_breast(folder: Path, page: Page) -> None:
    """Simulate a virtual breast, make its later phases, and add the curves of its lesions."""
    print("virtual-breast:")
    patient = breast_patient(SEED, size=(192, 192, 40), lesion_types=("I", "II", "III"))
    series = folder / "scans" / "series.seq.nrrd"
    series.parent.mkdir(parents=True, exist_ok=True)
    write_series(patient.phases, series)
    page.add_kinetics("virtual-breast", patient.phases, patient.lesion_labels, ("I", "II", "III"))
    print(f"  {len(patient.phases)} phases")
    pre, first, *later = patient.phases
    times = {"times": tuple(times_of(later).tolist())}
    for method in METHODS.values():
        if set(method.required) != {"pre", PHASE_ROLE}:
            continue
        try:
            result = run(Request(method.key, {"pre": pre, PHASE_ROLE: first}, times))
        except MissingError as error:
            print(f"  {method.key}: skipped. {error}")
            continue
        result.write(folder / method.key)
        made = next(each for each in result.outputs.values() if isinstance(each, Series))
        page.add_later_phases(method, patient.phases, [*made], patient.lesion_labels)
        print(f"  {method.key}: {result.provenance['seconds']} s")


def _evaluated(
    case: Case, method: Method, outputs: Mapping[str, Volume | Series]
) -> dict[str, dict[str, Any]]:
    """Evaluate each output whose true scan is in the case and was not an input."""
    pre, post = case.scans["pre"], case.scans["post"]
    return {
        name: evaluate(case.scans[name], volume, pre=pre, post=post)
        for name, volume in outputs.items()
        if name in case.scans and name not in method.inputs and isinstance(volume, Volume)
    }


def _on_the_grid_of_pre(scans: dict[str, Volume]) -> dict[str, Volume]:
    """Return the scans on the grid of ``pre``; the demonstration does not register scans."""
    kept = {}
    for role, volume in scans.items():
        try:
            check_same_grid({"pre": scans["pre"], role: volume})
        except ContrastSynthError:
            continue
        kept[role] = volume
    return kept


if __name__ == "__main__":
    sys.exit(main())
