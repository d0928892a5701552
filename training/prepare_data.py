"""Real pairs made ready for training: aligned, masked, normalised, and split by patient.

    python training/prepare_data.py cases.csv prepared --align affine --validation 0.15 --test 0.15

The table has the columns ``case`` (a plain name, which becomes a folder), ``patient``, ``pre``
and ``post``, and may have ``mask`` (the brain), ``corrupted`` (the pre scan with artefacts) and
``low`` (after a low dose); files are taken relative to it. For each case

1. post (and corrupted, and low) are registered to the pre scan and resampled to its grid;
2. the brain is the mask that was given, else what skull-stripped scans tell, else a guess;
3. each scan is divided by its mean in the brain (SPHERE: "mean-normalised"), and the post scan
   by the radiometric gain that is left between the two as well: enhancement lifts the mean of
   the post scan, so that tissue without agent would end up too dark.

That leaves ``OUT/<case>/{pre,post,mask[,corrupted]}.nrrd`` and ``OUT/cases.json``, which holds
for each case the split, all factors (what is stored = scan / mean / gain), what the alignment
did and hashes; never a path or the name of a patient: patients are numbered.

A patient goes to train, validation or test by a hash of the name and the seed: adding patients
moves nobody. The same images under two names of patients would leak from one split into the
other, so they are an error. What is there already is not made again.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
import os
import sys
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ContrastSynthLib.files.images import read_mask, read_volume, write_volume
from ContrastSynthLib.files.writing import check_writable, whole_or_nothing
from leakage import Look, refuse_leakage, refuse_names_alike, refuse_two_splits

from ContrastSynthLib.errors import ContrastSynthError, RequestError, unknown_name
from ContrastSynthLib.preprocessing.alignment import align
from ContrastSynthLib.preprocessing.foreground import foreground
from ContrastSynthLib.preprocessing.normalisation import fit, radiometric_gain
from ContrastSynthLib.volumes import Volume

SCHEMA_VERSION = 1
LIST = "cases.json"
SPLITS = ("train", "validation", "test")
NEEDED = ("case", "patient", "pre", "post")
OPTIONAL = ("mask", "corrupted", "low")
ROLES = ("pre", "post", "mask", "corrupted", "low")
NORMALISED = ("pre", "post", "corrupted", "low")


@dataclass(frozen=True)
class Case:
    """One prepared case; its images are read when they are asked for, each time."""

    name: str
    patient: int
    split: str
    folder: Path
    roles: tuple[str, ...]

    @property
    def pre(self) -> Volume:
        """The normalised pre scan."""
        return self._read("pre")

    @property
    def post(self) -> Volume:
        """The normalised post scan, on the pre scan's grid and scale."""
        return self._read("post")

    @property
    def mask(self) -> Volume:
        """The brain, 0 or 1."""
        return self._read("mask")

    @property
    def corrupted(self) -> Volume | None:
        """The normalised pre scan with artefacts, where there is one."""
        return self._read("corrupted") if "corrupted" in self.roles else None

    @property
    def low(self) -> Volume | None:
        """The normalised low-dose scan, where there is one."""
        return self._read("low") if "low" in self.roles else None

    def _read(self, role: str) -> Volume:
        return _read(role, self.folder / f"{role}.nrrd")


def read_cases(folder: Path, split: str) -> list[Case]:
    """Return the cases of one split (train, validation or test) of a prepared folder.

    Raises RequestError when the list is missing, of another version, or has a patient in two
    splits, and for an unknown split.
    """
    if split not in SPLITS:
        raise unknown_name("split", split, SPLITS)
    listed = _read_list(folder)
    if listed is None:
        raise RequestError(f"{folder / LIST}: there is no such file. Run prepare_data.py first.")
    refuse_two_splits(listed["cases"])
    return [
        Case(name, told["patient"], split, folder / name, tuple(told["sha256"]["outputs"]))
        for name, told in listed["cases"].items()
        if told["split"] == split
    ]


def read_table(path: Path) -> list[dict[str, str]]:
    """Return the rows of the table of cases, each with its ``line``; files become absolute.

    Raises RequestError, which names the row, for unknown and missing columns, empty fields,
    names that are no folder or stand there twice, and files that are not there.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.DictReader(stream)
            columns = list(reader.fieldnames or [])
            rows = [{k: (v or "").strip() for k, v in row.items() if k} for row in reader]
    except (OSError, UnicodeDecodeError) as error:
        raise RequestError(f"{path}: cannot be read as a table of cases ({error}).") from error
    for column in columns:
        if column not in (*NEEDED, *OPTIONAL):
            raise unknown_name(f"column of {path.name}", column, (*NEEDED, *OPTIONAL))
    missing = [column for column in NEEDED if column not in columns]
    if missing or not rows:
        raise RequestError(
            f"{path.name}: expected the columns {', '.join(NEEDED)} and at least one row; "
            f"missing: {', '.join(missing) or 'rows'}."
        )
    seen: dict[str, str] = {}
    for number, row in enumerate(rows, start=1):
        row["row"] = str(number)
        _check_row(path, row)
        if row["case"] in seen:
            raise _in_row(path, row, f"the case stands in row {seen[row['case']]} already.")
        seen[row["case"]] = str(number)
    return rows


def _check_row(path: Path, row: dict[str, str]) -> None:
    for column in NEEDED:
        if not row[column]:
            raise _in_row(path, row, f"the column '{column}' is empty; each row needs it.")
    if row["case"].startswith(".") or set(row["case"]) & set('/\\:*?"<>|'):
        raise _in_row(path, row, "the name is no folder's. Give each case a plain name.")
    for role in ROLES:
        if row.get(role):
            file = path.parent / row[role]
            if not file.exists():
                raise _in_row(path, row, f"{role}: there is no '{row[role]}' beside the table.")
            row[role] = str(file)


def _in_row(path: Path, row: Mapping[str, str], what: object) -> RequestError:
    return RequestError(f"{path.name}, row {row['row']} (case '{row['case']}'): {what}")


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
    told = {
        "normalisation": {
            role: {"mean": mean.scale, "gain": gain if role == "post" else 1.0}
            for role, mean in means.items()
        },
        "alignment": alignment,
        "mask": {"source": region.source, "voxels": int(brain.sum())},
        "notes": [entry["note"] for entry in alignment.values() if "note" in entry]
        + ([region.message] if region.message else []),
    }
    on_grid = {role: aligned[role] for role in means} | {"mask": aligned["pre"]}
    return {role: volume.with_array(images[role]) for role, volume in on_grid.items()}, told


def prepare(table: Path, out: Path, mode: str, division: Division) -> dict[str, Any]:
    """Prepare all cases of the table that are not there yet; return their records by name.

    Raises RequestError for a wrong row, which it names, for a folder that was divided
    otherwise, and for patients whose images leak. What was made before stays.
    """
    rows = read_table(table)
    refuse_names_alike(rows)
    check_writable(out)
    before = _read_list(out) or {"division": asdict(division), "cases": {}}
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
    known = {name: told for name, told in before["cases"].items() if name in patients}
    listed = {name: told | patients[name] for name, told in known.items()}
    looks: list[Look] = []
    for row in rows:
        case = row["case"]
        try:
            told = _one_case(row, out / case, mode, listed.get(case), looks)
        except RequestError as error:
            raise _in_row(table, row, error) from None
        listed[case] = told | patients[case]
        _write_list(out, division, {name: listed[name] for name in patients if name in listed})
        for note in told["notes"]:
            print(f"{case}: {note}", file=sys.stderr)
        print(f"{case}: {patients[case]['split']}", flush=True)
    return listed


def _one_case(
    row: Mapping[str, str],
    folder: Path,
    mode: str,
    known: Mapping[str, Any] | None,
    looks: list[Look],
) -> dict[str, Any]:
    """Return the record of a case, which is made unless it is there as the record says."""
    volumes = {role: _read(role, Path(row[role])) for role in ROLES if row.get(role)}
    inputs = {role: volume.sha256() for role, volume in volumes.items()}
    is_known = known and known["mode"] == mode and known["sha256"]["inputs"] == inputs
    stored = _stored(folder, known) if known and is_known else None
    if stored is not None:
        images, told = stored, dict(known or {})
    else:
        images, told = prepared(volumes, mode)
        outputs = {role: volume.sha256() for role, volume in images.items()}
        told |= {"mode": mode, "sha256": {"inputs": inputs, "outputs": outputs}}
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
    return told


def _stored(folder: Path, known: Mapping[str, Any]) -> dict[str, Volume] | None:
    """Return the images of an earlier run, or None unless all are as they were written."""
    images = {}
    for role, digest in known["sha256"]["outputs"].items():
        try:
            images[role] = _read(role, folder / f"{role}.nrrd")
        except RequestError:
            return None
        if images[role].sha256() != digest:
            return None
    return images


def _read(role: str, path: Path) -> Volume:
    return read_mask(path) if role == "mask" else read_volume(path)


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


def _read_list(folder: Path) -> dict[str, Any] | None:
    """Return cases.json, or None where there is none."""
    path = folder / LIST
    if not path.exists():
        return None
    try:
        listed: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        version = listed["schema_version"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RequestError(f"{path}: not a list that prepare_data.py wrote ({error}).") from error
    if version != SCHEMA_VERSION:
        raise RequestError(
            f"{path}: schema version {version}; this version reads {SCHEMA_VERSION}. Prepare the "
            "data again in another folder."
        )
    return listed


def _write_list(out: Path, division: Division, cases: Mapping[str, Any]) -> None:
    refuse_two_splits(cases)
    listed = {"schema_version": SCHEMA_VERSION, "division": asdict(division), "cases": cases}
    part = out / f".partial-{LIST}"
    part.write_text(json.dumps(listed, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    os.replace(part, out / LIST)


def main(arguments: list[str] | None = None) -> int:
    """Prepare the folder and count what is in each split."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("cases", type=Path, metavar="CASES.csv")
    parser.add_argument("out", type=Path, metavar="OUT")
    parser.add_argument("--align", default="affine", choices=("affine", "rigid", "none"))
    parser.add_argument("--validation", type=float, default=0.15, metavar="SHARE")
    parser.add_argument("--test", type=float, default=0.15, metavar="SHARE")
    parser.add_argument("--seed", type=int, default=0, help="of the split")
    chosen = parser.parse_args(arguments)
    try:
        division = Division(chosen.seed, chosen.validation, chosen.test)
        listed = prepare(chosen.cases, chosen.out, chosen.align, division)
    except ContrastSynthError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    for split in SPLITS:
        cases = [told for told in listed.values() if told["split"] == split]
        print(f"{split}: {len(cases)} cases of {len({told['patient'] for told in cases})} patients")
    return 0


if __name__ == "__main__":
    sys.exit(main())
