"""The scans of a patient, and a synthetic one, in the tab "Uptake"."""

from __future__ import annotations

import pytest


@pytest.fixture
def tab(panel):
    from scans import show_tab

    return show_tab(panel, "uptake")


@pytest.fixture
def nodes(panel, tab, patient):
    from scans import add_volume, settled
    from uptakes import NAMES

    found = {role: add_volume(name, patient.scans[role]) for role, name in NAMES.items()}
    settled(panel)
    return found


@pytest.fixture
def synthetic(panel, tab, nodes, result):
    """The scene with a synthetic pre scan, which is the case's result."""
    from uptakes import add_result

    return add_result(panel, nodes["post"], result)["pre"]
