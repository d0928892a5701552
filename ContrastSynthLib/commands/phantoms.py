"""The command ``phantom``: write a virtual patient's scans, true maps and parameters."""

from __future__ import annotations

import json
from argparse import Namespace
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ContrastSynthLib.errors import RequestError
from ContrastSynthLib.files.images import write_volume
from ContrastSynthLib.files.replacing import refuse_to_replace
from ContrastSynthLib.files.writing import check_writable, whole_or_nothing
from ContrastSynthLib.geometry import Grid
from ContrastSynthLib.running.jobs import JsonLines
from ContrastSynthLib.volumes import Volume

PARAMETERS = "phantom.json"
TRUTH = "truth"
DEFAULT_DOSE = 0.33
DEFAULT_SPACING_MM = 1.0
MARK = "truth of a virtual patient by ContrastSynth, for research only"


def phantom(options: Namespace, lines: JsonLines | None) -> None:
    """Write one virtual patient; the same seed gives the same bits."""
    check_writable(options.out)
    with whole_or_nothing(options.out) as folder:
        ANATOMIES[options.anatomy](options, folder)
        _refuse_to_replace(folder, options.out)
    print(f"Virtual patient {options.seed}, for research only:")
    for path in sorted(options.out.rglob("*.nrrd")):
        print(f"  {path}")


def _refuse_to_replace(made: Path, out: Path) -> None:
    """Raise RequestError where a file in ``out`` is in the way that is of no virtual patient."""
    files = [path.relative_to(made) for path in made.rglob("*") if path.is_file()]
    images = [out / path for path in files if path.suffix != ".json"]
    refuse_to_replace(images, r"virtual.*research only")
    refuse_to_replace([out / PARAMETERS], "schema_version")


def _brain(options: Namespace, folder: Path) -> None:
    from ContrastSynthLib.phantom.brain.patient import brain_patient

    _refuse(options, "phases", "--phases applies to the breast only")
    doses = _doses(options.dose)
    patient = brain_patient(
        options.seed,
        kind=options.kind,
        doses=doses,
        corruption=options.corrupt,
        head=options.head,
        spacing_mm=options.spacing or DEFAULT_SPACING_MM,
    )
    for role, volume in patient.scans.items():
        write_volume(volume, folder / f"{role}.nrrd")
    grid = next(iter(patient.scans.values())).grid
    _write_truth(patient.truth, grid, folder)
    _write_parameters(patient.parameters, folder)


def _breast(options: Namespace, folder: Path) -> None:
    from ContrastSynthLib.files.series import write_series
    from ContrastSynthLib.phantom.breast.lesions import PAPER_TIMES_S
    from ContrastSynthLib.phantom.breast.patient import breast_patient

    for name in ("corrupt", "dose", "head", "spacing"):
        _refuse(options, name, f"--{name} applies to the brain only")
    # The times of the paper; further phases follow at the same interval as its last two.
    step = PAPER_TIMES_S[-1] - PAPER_TIMES_S[-2]
    wanted = options.phases or len(PAPER_TIMES_S) - 1
    later = [PAPER_TIMES_S[-1] + step * (n + 1) for n in range(wanted)]
    times = [*PAPER_TIMES_S, *later][: wanted + 1]
    patient = breast_patient(options.seed, times_s=times)
    write_series(patient.phases, folder / "series.seq.nrrd")
    write_volume(patient.phases[0], folder / "pre.nrrd")
    write_volume(patient.phases[1], folder / "phase.nrrd")
    truth = patient.truth | {"tissue": patient.tissue, "lesion": patient.lesion_labels}
    _write_truth(truth, patient.phases[0].grid, folder)
    _write_parameters(patient.parameters, folder)


def _write_truth(truth: Mapping[str, Any], grid: Grid, folder: Path) -> None:
    for name, array in truth.items():
        volume = Volume(np.asarray(array, dtype=np.float32), grid, synthetic=MARK)
        write_volume(volume, folder / TRUTH / f"{name}.nrrd")


def _write_parameters(parameters: Mapping[str, Any], folder: Path) -> None:
    text = json.dumps(parameters, indent=2, allow_nan=False)
    (folder / PARAMETERS).write_text(text + "\n", encoding="utf-8")


def _doses(text: str | None) -> list[float]:
    if text is None:
        return [DEFAULT_DOSE]
    try:
        return [float(number) for number in text.split(",")]
    except ValueError:
        raise RequestError(
            f"--dose '{text}' is not a list of doses, such as 0.1,0.33 of the full dose."
        ) from None


def _refuse(options: Namespace, name: str, why: str) -> None:
    if getattr(options, name):
        raise RequestError(f"{why}; leave --{name} out for the {options.anatomy}.")


ANATOMIES: dict[str, Callable[[Namespace, Path], None]] = {"brain": _brain, "breast": _breast}
"""What can be made, and the function that makes it."""
