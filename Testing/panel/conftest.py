"""The test host as fixtures: ``host`` for a panel, ``scene`` for its scene."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import numpy as np
import pytest

from ContrastSynthLib.phantom.sample import sample_patient
from ContrastSynthLib.running.request import Request
from ContrastSynthLib.running.result import Result
from ContrastSynthLib.running.run import run

QUICKER_MS = {
    "panel": {"SETTLE_MS": 10, "LOOK_MS": 50},
    "widgets.run_section": {"POLL_MS": 20},
}
"""Waits of the panel for a person's sake, by module; hundreds of tests need not wait as long."""

# For "from host import press" and "from scans import add_volume".
sys.path.append(str(Path(__file__).resolve().parent))


@pytest.fixture(scope="session")
def session_host():
    """The host, made once; skipped where PySide6 or slicer-core is not installed."""
    for package, name in (("PySide6", "PySide6-Essentials"), ("slicer", "slicer-core")):
        pytest.importorskip(package, reason=f"{name} is not installed")
    from host import start

    made = start()
    for module, waits in QUICKER_MS.items():
        imported = importlib.import_module(f"ContrastSynthPanel.{module}")
        for name, milliseconds in waits.items():
            assert hasattr(imported, name), f"{module}.{name}"
            setattr(imported, name, milliseconds)
    yield made
    made.end()


@pytest.fixture(scope="session")
def patient():
    """A small sample patient: runs on it are quick, and the worker's start takes longest."""
    return sample_patient(size=(48, 56, 40))


@pytest.fixture(scope="session")
def result(patient):
    """A synthetic pre scan of the patient and its uptake map, made without a panel."""
    return run(Request("physics_pre", {"post": patient.scans["post"]}))


@pytest.fixture(scope="session")
def uncertain(patient, result):
    """The same images as by the method ``sphere``, with a map of uncertainty up to 0.4.

    It is 0 outside of the brain, and inside of it in the lowest quarter of the slices.
    """
    ramp = np.linspace(0.01, 0.4, patient.brain.shape[2], dtype=np.float32)
    error = np.where(patient.brain, ramp, np.float32(0))
    error[: error.shape[0] // 4] = 0
    outputs = result.outputs | {"uncertainty": result.outputs["uptake"].with_array(error)}
    provenance = {
        **result.provenance,
        "method": {**result.provenance["method"], "key": "sphere"},
        "outputs": {role: {} for role in outputs},
    }
    return Result(outputs, provenance)


@pytest.fixture(autouse=True)
def one_thread(monkeypatch):
    """Workers take one thread: on two cores more of them are in each other's way."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


@pytest.fixture
def host(session_host):
    """The host with an empty scene. What a slot raised, or an answer left over, fails the test."""
    session_host.activate()
    session_host.clean()
    session_host.activate()
    yield session_host
    errors, answers = list(session_host.record.errors), list(session_host.record.answers)
    session_host.activate()
    session_host.clean()
    if errors:
        raise AssertionError(f"raised in slots or observers: {errors}") from errors[0]
    assert answers == [], "nothing asked for these answers"


@pytest.fixture
def panel(host):
    """The opened panel; no folder of a run is left when it is taken down."""
    yield host.open_module().panel
    host.leave_module()
    host.app.moduleManager()._close_all()
    assert list(Path(host.app.temporaryPath).glob("contrastsynth-job-*")) == []


@pytest.fixture
def scene(host):
    """The host's scene, empty."""
    return host.scene


@pytest.fixture
def qt(host):
    """The module ``qt`` of the host."""
    return host.qt


@pytest.fixture
def ctk(host):
    """The module ``ctk`` of the host."""
    return host.ctk


@pytest.fixture
def slicer(host):
    """The module ``slicer``, completed by the host."""
    import slicer

    return slicer


@pytest.fixture
def selector(slicer):
    """A node selector as a panel has it."""
    made = slicer.qMRMLNodeComboBox()
    made.nodeTypes = ["vtkMRMLScalarVolumeNode"]
    made.addEnabled = False
    made.noneEnabled = True
    made.setMRMLScene(slicer.mrmlScene)
    made.show()
    yield made
    made.setMRMLScene(None)
    made.delete()
