"""What a scan of a virtual patient says of itself."""

from __future__ import annotations

BRAIN = "virtual brain patient, research only"
BREAST = "a virtual patient by ContrastSynth, for research only"


def is_virtual_patient(mark: str | None) -> bool:
    """Return whether a mark is that of a virtual patient's scan.

    Such a scan is computed, and says so. But no method made it: it is the truth with which the
    results of methods are compared.
    """
    return mark in (BRAIN, BREAST)
