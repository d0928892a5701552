"""A dynamic series and its lesion in the tab "Kinetics"."""

from __future__ import annotations

import pytest

from ContrastSynthLib.phantom.sample import sample_patient


@pytest.fixture(scope="module")
def patient():
    return sample_patient(size=(24, 28, 20))


@pytest.fixture
def tab(panel):
    from scans import show_tab

    return show_tab(panel, "kinetics")


@pytest.fixture
def series(panel, tab, patient):
    """A real series that washes out, and the lesion, which are chosen by themselves."""
    from dynamic import WASHOUT, add_mask, add_series
    from scans import settled

    node = add_series(patient, "dynamic", WASHOUT)
    add_mask(patient, "lesion")
    settled(panel)
    return node
