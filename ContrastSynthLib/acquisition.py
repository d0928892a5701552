"""Acquisition parameters of a scan, in SI units.

They are read from DICOM, from the BIDS files of a NIfTI, or from an NRRD written by
ContrastSynth. They belong to a volume and prefill the parameters of methods.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from ContrastSynthLib.agents import generic_agent_name

HEADER_PREFIX = "ContrastSynth."
"""Prefix of ContrastSynth's keys in the header of an NRRD file."""

BIDS_KEYS = {
    "RepetitionTime": "repetition_time_s",
    # Between two excitations, which is what the signal equation needs. In MPRAGE RepetitionTime is
    # the much longer time between two inversions. It stands behind, and so wins.
    "RepetitionTimeExcitation": "repetition_time_s",
    "EchoTime": "echo_time_s",
    "InversionTime": "inversion_time_s",
    "FlipAngle": "flip_angle_deg",
    "MagneticFieldStrength": "field_strength_t",
    "ContrastBolusIngredient": "agent",
}
"""Keys of the Brain Imaging Data Structure (BIDS) with the same meaning and unit."""

PLAUSIBLE = {
    "repetition_time_s": (1e-4, 100.0),
    "echo_time_s": (1e-6, 10.0),
    "inversion_time_s": (1e-4, 100.0),
    "flip_angle_deg": (1e-3, 360.0),
    "field_strength_t": (1e-3, 30.0),
    "dose_mmol_per_kg": (0.0, 10.0),
    "dose_fraction": (0.0, 100.0),
    "time_s": (-1e6, 1e6),
}
"""Lowest and highest possible value of each parameter; others are unknown. Scanners write 0 for
unknown values."""

LARGEST_SIDECAR_BYTES = 2 << 20
# A name is short; more is no name.
LONGEST_AGENT = 1000


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
        return cls.from_sidecar(path)[0]

    @classmethod
    def from_sidecar(cls, *paths: Path) -> tuple[Acquisition, tuple[str, ...]]:
        """Return the parameters in BIDS files, and notes on those that are impossible.

        Of several files the last one, which is beside the scan, wins over those above it.
        """
        content: dict[str, Any] = {}
        places: dict[str, str] = {}
        notes = []
        for path in paths:
            where = "beside the scan" if path == paths[-1] else f"above the scan ({path.name})"
            said = json_object(path)
            if said is None:
                notes.append(f"The .json {where} is not of BIDS; it was left out.")
            for key, value in (said or {}).items():
                # An empty value takes nothing back that stands above.
                if value is not None:
                    content[key], places[key] = value, where
        found: dict[str, Any] = {}
        # In the order of BIDS_KEYS: of two keys for one parameter the later one counts.
        for key in (key for key in BIDS_KEYS if key in content):
            clean = _clean(BIDS_KEYS[key], content[key])
            if clean is not None:
                found[BIDS_KEYS[key]] = clean
            elif content[key] != 0 and BIDS_KEYS[key] != "agent":
                notes.append(
                    f"'{key}' in the .json {places[key]} is {repr(content[key])[:40]}, which "
                    "cannot be; it was left out."
                )
        return cls(**found), tuple(notes)

    @classmethod
    def from_values(cls, values: Mapping[str, Any]) -> Acquisition:
        """Return the parameters from untyped values; invalid or impossible ones are unknown."""
        clean = {name: _clean(name, value) for name, value in values.items()}
        return cls(**clean)


def _clean(name: str, value: Any) -> Any:
    """Return a parameter in its type, None where it is of another type or cannot be."""
    if name == "agent":
        return generic_agent_name(str(value)[:LONGEST_AGENT])
    if isinstance(value, bool):
        return None
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    low, high = PLAUSIBLE[name]
    return number if low <= number <= high else None


def json_object(path: Path) -> dict[str, Any] | None:
    """Return the object in a JSON file, empty if there is no file, None if it is no object."""
    try:
        if not path.is_file():
            return {}
        with path.open("rb") as file:
            text = file.read(LARGEST_SIDECAR_BYTES + 1)
        content = json.loads(text.decode("utf-8")) if len(text) <= LARGEST_SIDECAR_BYTES else None
    # Of thousands of brackets in one another the reader gives up with a RecursionError.
    except (OSError, ValueError, RecursionError):
        return None
    return content if isinstance(content, dict) else None
