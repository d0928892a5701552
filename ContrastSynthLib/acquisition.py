"""Acquisition parameters of a scan, in SI units.

They are read from DICOM, from the BIDS file next to a NIfTI, or from an NRRD written by
ContrastSynth. They belong to a volume and prefill the parameters of methods.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

HEADER_PREFIX = "ContrastSynth."
"""Prefix of ContrastSynth's keys in the header of an NRRD file."""

BIDS_KEYS = {
    "RepetitionTime": "repetition_time_s",
    "EchoTime": "echo_time_s",
    "InversionTime": "inversion_time_s",
    "FlipAngle": "flip_angle_deg",
    "MagneticFieldStrength": "field_strength_t",
    "ContrastBolusIngredient": "agent",
}
"""Keys of the Brain Imaging Data Structure (BIDS) with the same meaning and unit."""

AGENT_NAMES = {
    "gadobenate": ("gadobenic", "multihance"),
    "gadobutrol": ("gadavist", "gadovist"),
    "gadodiamide": ("omniscan",),
    "gadopentetate": ("gadopentetic", "magnevist"),
    "gadopiclenol": ("elucirem", "vueway"),
    "gadoterate": ("gadoteric", "clariscan", "dotarem"),
    "gadoteridol": ("prohance",),
    "gadoversetamide": ("optimark",),
    "gadoxetate": ("gadoxetic", "eovist", "primovist"),
}
"""Generic names of gadolinium agents, each with the names of its acid and its brands."""

# Scanners write 0 for unknown values of these.
POSITIVE = (
    *("repetition_time_s", "echo_time_s", "inversion_time_s"),
    *("flip_angle_deg", "field_strength_t"),
)


def generic_agent_name(text: str) -> str | None:
    """Return the generic name of the agent in ``text``: gadobutrol for "Gadovist 1.0".

    None if the text contains no known agent, or more than one.
    """
    words = set(re.findall("[a-z]+", text.lower()))
    named = [name for name, others in AGENT_NAMES.items() if words & {name, *others}]
    return named[0] if len(named) == 1 else None


@dataclass(frozen=True)
class Acquisition:
    """The acquisition parameters of a scan; None for unknown ones.

    ``agent`` is the contrast agent's generic name in lower case, ``dose_mmol_per_kg`` what
    was given of it, ``dose_fraction`` that as a share of the full dose, ``time_s`` the seconds
    from the injection to the scan.
    """

    repetition_time_s: float | None = None
    echo_time_s: float | None = None
    inversion_time_s: float | None = None
    flip_angle_deg: float | None = None
    field_strength_t: float | None = None
    agent: str | None = None
    dose_mmol_per_kg: float | None = None
    dose_fraction: float | None = None
    time_s: float | None = None

    def known(self) -> dict[str, float | str]:
        """Return the parameters that are known, by name."""
        pairs = ((field.name, getattr(self, field.name)) for field in fields(self))
        return {name: value for name, value in pairs if value is not None}

    def to_header(self) -> dict[str, str]:
        """Return keys and values for the header of an NRRD file."""
        return {HEADER_PREFIX + name: str(value) for name, value in self.known().items()}

    @classmethod
    def from_header(cls, header: Mapping[str, str]) -> Acquisition:
        """Return the parameters in the header of :meth:`to_header`; other keys are ignored."""
        values = {
            name: header[HEADER_PREFIX + name]
            for name in (field.name for field in fields(cls))
            if HEADER_PREFIX + name in header
        }
        return cls.from_values(values)

    @classmethod
    def from_bids(cls, path: Path) -> Acquisition:
        """Return the parameters in a BIDS file; empty if it does not exist or is not JSON."""
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return cls()
        if not isinstance(content, dict):
            return cls()
        return cls.from_values({BIDS_KEYS[k]: v for k, v in content.items() if k in BIDS_KEYS})

    @classmethod
    def from_values(cls, values: Mapping[str, Any]) -> Acquisition:
        """Return the parameters from untyped values; invalid or impossible ones are unknown."""
        clean: dict[str, Any] = {}
        for name, value in values.items():
            if name == "agent":
                clean[name] = generic_agent_name(str(value))
                continue
            try:
                number = float(value)
            except (TypeError, ValueError):
                continue
            if math.isfinite(number) and (number > 0 or name not in POSITIVE):
                clean[name] = number
        return cls(**clean)
