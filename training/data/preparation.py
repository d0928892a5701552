"""Cases made ready for training: aligned, masked, normalised, matched, split, checked for leaks.

``prepare_data.py`` says what is done to a case.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ContrastSynthLib.errors import RequestError
from ContrastSynthLib.files.images import write_volume
from ContrastSynthLib.files.writing import check_writable, whole_or_nothing
from ContrastSynthLib.preprocessing.alignment import align
from ContrastSynthLib.preprocessing.foreground import foreground
from ContrastSynthLib.preprocessing.normalisation import fit, radiometric_gain
from ContrastSynthLib.volumes import Volume
from data.case_table import ROLES, in_row, read_table
from data.grading import matched_and_graded
from data.leakage import Look, refuse_leakage, refuse_names_alike
from data.prepared_cases import read_image, read_list, write_list

NORMALISED = ("pre", "post", "corrupted", "low")
NOT_MATCHED = (
    "The brain is too small or too dark to bring pre into the contrast of post; the case has no "
    "target and the grade C."
)


@dataclass(frozen=True)
class Division:
    """Shares of the patients. Raises RequestError when nothing is left to train on."""

    seed: int = 0
    validation: float = 0.15
    test: float = 0.15

    def __post_init__(self) -> None:
        if not (min(self.validation, self.test) >= 0 and self.validation + self.test < 1):
            raise RequestError(
                f"Shares of {self.validation:g} for validation and {self.test:g} for the test: "
                "both must be 0 or more, and below 1 together."
            )

    def split_of(self, patient: str) -> str:
        """Return the split of a patient, by a hash of the name and the seed alone."""
        digest = hashlib.sha256(f"{self.seed}:{patient}".encode()).digest()
        place = int.from_bytes(digest[:8], "big") / 2**64
        if place < self.test:
            return "test"
        return "validation" if place < self.test + self.validation else "train"


def prepared(volumes: Mapping[str, Volume], mode: str) -> tuple[dict[str, Volume], dict[str, Any]]:
    """Return the images of one case by role, and what was done to them, ready for JSON.

    Raises RequestError when the scans cannot be aligned, masked or normalised.
    """
    if np.array_equal(volumes["pre"].array, volumes["post"].array):
        raise RequestError("pre and post are the same image. Give the scan after the agent.")
    aligned, alignment = align(volumes, "pre", mode, masks=("mask",))
    region = foreground([aligned["pre"], aligned["post"]], aligned.get("mask"))
    brain = region.mask
    means = {
        role: fit("mean", aligned[role].array, brain) for role in NORMALISED if role in aligned
    }
    images = {role: mean.apply(aligned[role].array) for role, mean in means.items()}
    gain = radiometric_gain(images["pre"], images["post"], brain)
    images["post"] = images["post"] / np.float32(gain)
    images["mask"] = brain.astype(np.float32)
    i, j, k = aligned["pre"].grid.spacing_mm
    target, grade = matched_and_graded(images["pre"], images["post"], brain, (k, j, i))
    if target is not None:
        images["target"] = target
    record = {
        "normalisation": {
            role: {"mean": mean.scale, "gain": gain if role == "post" else 1.0}
            for role, mean in means.items()
        },
        "alignment": alignment,
        "mask": {"source": region.source, "voxels": int(brain.sum())},
        "notes": [entry["note"] for entry in alignment.values() if "note" in entry]
        + ([region.message] if region.message else [])
        + ([NOT_MATCHED] if target is None else []),
        **grade.record(),
    }
    # Mask and target are made on the grid of the pre scan.
    on_grid = {role: aligned[role if role in means else "pre"] for role in images}
    return {role: volume.with_array(images[role]) for role, volume in on_grid.items()}, record


def prepare(table: Path, out: Path, mode: str, division: Division) -> dict[str, Any]:
    """Prepare all cases of the table that are not there yet; return their records by name.

    Raises RequestError for a wrong row, which it names, for a folder that was divided
    otherwise, and for patients whose images leak. What was made before stays.
    """
    rows = read_table(table)
    refuse_names_alike(rows)
    check_writable(out)
    before = read_list(out) or {"division": asdict(division), "cases": {}}
    if before["division"] != asdict(division):
        raise RequestError(
            f"{out.name} was divided with {before['division']}, not {asdict(division)}: patients "
            "would move between the splits. Keep those numbers, or choose another folder."
        )
    numbers = _numbers(rows, before["cases"])
    patients = {
        row["case"]: {
            "patient": numbers[row["patient"]],
            "split": division.split_of(row["patient"]),
        }
        for row in rows
    }
    known = {name: record for name, record in before["cases"].items() if name in patients}
    listed = {name: record | patients[name] for name, record in known.items()}
    looks: list[Look] = []
    for row in rows:
        case = row["case"]
        try:
            record = _one_case(row, out / case, mode, listed.get(case), looks)
        except RequestError as error:
            raise in_row(table, row, error) from None
        listed[case] = record | patients[case]
        write_list(
            out, asdict(division), {name: listed[name] for name in patients if name in listed}
        )
        for note in record["notes"]:
            print(f"{case}: {note}", file=sys.stderr)
        print(f"{case}: {patients[case]['split']}, grade {record['grade']}", flush=True)
    return listed


def _one_case(
    row: Mapping[str, str],
    folder: Path,
    mode: str,
    known: Mapping[str, Any] | None,
    looks: list[Look],
) -> dict[str, Any]:
    """Return the record of a case, which is made unless it is there as the record says."""
    volumes = {role: read_image(role, Path(row[role])) for role in ROLES if row.get(role)}
    inputs = {role: volume.sha256() for role, volume in volumes.items()}
    is_known = known and known["mode"] == mode and known["sha256"]["inputs"] == inputs
    stored = _stored(folder, known) if known and is_known else None
    if stored is not None:
        images, record = stored, dict(known or {})
    else:
        images, record = prepared(volumes, mode)
        outputs = {role: volume.sha256() for role, volume in images.items()}
        record |= {"mode": mode, "sha256": {"inputs": inputs, "outputs": outputs}}
    pair = ("pre", "post")
    look = Look.at(
        row["case"],
        row["patient"],
        [volumes[role] for role in pair],
        [images[role].array for role in pair],
        images["mask"].array > 0,
    )
    refuse_leakage(look, looks)
    looks.append(look)
    if stored is None:
        with whole_or_nothing(folder) as part:
            for role, volume in images.items():
                write_volume(volume, part / f"{role}.nrrd")
    return record


def _stored(folder: Path, known: Mapping[str, Any]) -> dict[str, Volume] | None:
    """Return the images of an earlier run, or None unless all are as they were written."""
    images = {}
    for role, digest in known["sha256"]["outputs"].items():
        try:
            images[role] = read_image(role, folder / f"{role}.nrrd")
        except RequestError:
            return None
        if images[role].sha256() != digest:
            return None
    return images


def _numbers(rows: Iterable[Mapping[str, str]], before: Mapping[str, Any]) -> dict[str, int]:
    """Return the number of each patient: the one of an earlier run, else the next."""
    numbers: dict[str, int] = {}
    for row in rows:
        number = before.get(row["case"], {}).get("patient")
        # A number is one patient's, also after a name in the table was put right.
        if number is not None and number not in numbers.values():
            numbers.setdefault(row["patient"], number)
    for row in rows:
        numbers.setdefault(row["patient"], max(numbers.values(), default=0) + 1)
    return numbers
