"""Names of files by the Brain Imaging Data Structure (BIDS): entities, a suffix, an extension.

``sub-01_ses-2_ce-gadolinium_run-1_T1w.nii.gz`` has the entities sub, ses, ce and run.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from ContrastSynthLib.errors import RequestError

ENTITIES = (
    *("sub", "tpl", "ses", "cohort", "sample", "task", "tracksys", "acq", "nuc", "voi", "ce"),
    *("trc", "stain", "rec", "dir", "run", "mod", "echo", "flip", "inv", "mt", "part", "proc"),
    *("hemi", "space", "split", "recording", "chunk", "seg", "scale", "res", "den", "label"),
    "desc",
)
"""The keys of entities, in the order in which they stand in a name."""
NUMBERED = {"run", "echo", "flip", "inv", "chunk", "split"}
"""Entities whose label is a whole number."""
LABEL = re.compile(r"[0-9A-Za-z+]+")
SUFFIX = re.compile(r"[0-9A-Za-z]+")
IMAGES = (".nii.gz", ".nii")
SIDECAR = ".json"


@dataclass(frozen=True)
class BidsName:
    """What a name says: labels by the key of their entity, in order; suffix and extension."""

    entities: Mapping[str, str]
    suffix: str
    extension: str

    def without(self, *keys: str) -> dict[str, str]:
        """Return the entities but for some."""
        return {key: label for key, label in self.entities.items() if key not in keys}

    def applies_to(self, other: BidsName) -> bool:
        """Return whether a sidecar of this name tells of an image of the other one."""
        return self.suffix == other.suffix and self.entities.items() <= other.entities.items()


def parse_name(name: str) -> BidsName:
    """Return what the name of a file says.

    Raises RequestError, with what would be right, for a name that is not of BIDS: an entity that
    BIDS does not know, that stands twice or out of order, a label of other signs than letters and
    digits, a missing suffix or extension.
    """
    stem, dot, rest = name.partition(".")
    *pairs, suffix = stem.split("_")
    entities = parse_entities(pairs, name)
    if not dot or not rest:
        raise RequestError(f"{name}: no name of BIDS: it has no extension, such as .nii.gz.")
    if not SUFFIX.fullmatch(suffix):
        raise RequestError(f"{name}: no name of BIDS: it does not end with a suffix, such as _T1w.")
    return BidsName(entities, suffix, f".{rest}")


def parse_entities(pairs: list[str], name: str) -> dict[str, str]:
    """Return labels by key of parts such as ``run-1``, which stand in ``name``, or RequestError."""
    entities: dict[str, str] = {}
    for pair in pairs:
        key, _, label = pair.partition("-")
        if key not in ENTITIES:
            raise RequestError(
                f"{name}: no name of BIDS: '{pair}' is no entity. Expected KEY-LABEL, such as "
                f"run-1, with one of the keys {', '.join(ENTITIES)}."
            )
        if not LABEL.fullmatch(label):
            raise RequestError(
                f"{name}: no name of BIDS: the label of '{pair}' is not of letters and digits."
            )
        if key in NUMBERED and not (label.isascii() and label.isdigit()):
            raise RequestError(f"{name}: no name of BIDS: '{pair}' is not a number, as in {key}-1.")
        if key in entities:
            raise RequestError(f"{name}: no name of BIDS: '{key}-' stands there twice.")
        entities[key] = label
    right = sorted(entities, key=ENTITIES.index)
    if list(entities) != right:
        shown = "_".join(f"{key}-{entities[key]}" for key in right)
        raise RequestError(f"{name}: no name of BIDS: the right order is {shown}.")
    return entities


def refuse_wrong_folder(name: BidsName, place: str) -> None:
    """Raise RequestError where a file lies in the folder of another subject or session.

    ``place`` is the path of the file in its data set, with slashes.
    """
    folders = [part for part in place.split("/")[:-1] if part.startswith(("sub-", "ses-"))]
    named = [f"{key}-{name.entities[key]}" for key in ("sub", "ses") if key in name.entities]
    if folders != named:
        raise RequestError(
            f"{place}: the name is of {'_'.join(named) or 'nobody'}, but the folder is of "
            f"{'_'.join(folders) or 'nobody'}. Give both the same subject and session."
        )
