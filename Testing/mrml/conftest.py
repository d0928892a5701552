"""A scene of real MRML from slicer-core, with the logics that Slicer itself would bring."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace

import pytest

MODULE = Path(__file__).resolve().parents[2] / "ContrastSynth"
if str(MODULE) not in sys.path:  # Slicer puts a module's folder on its path
    sys.path.append(str(MODULE))


def new_scene():
    """Return a new scene that ``slicer.mrmlScene`` names, as Slicer's application makes it.

    Its logics live as long as the scene: it keeps them in ``scene.kept``.
    """
    import slicer
    import vtk

    vtk.vtkObject.GlobalWarningDisplayOff()  # Slicer's colour files are not in slicer-core.
    scene = slicer.vtkMRMLScene()
    application = slicer.vtkSlicerApplicationLogic()
    application.SetMRMLScene(scene)
    application.SetSliceLogics(vtk.vtkCollection())
    application.SetViewLogics(vtk.vtkCollection())
    remote, data = slicer.vtkMRMLRemoteIOLogic(), slicer.vtkDataIOManagerLogic()
    logics = {
        "Colors": slicer.vtkSlicerColorLogic(),
        "Volumes": slicer.vtkSlicerVolumesLogic(),
        "Segmentations": slicer.vtkSlicerSegmentationsModuleLogic(),
        "Sequences": slicer.vtkSlicerSequencesLogic(),
    }
    for name, logic in logics.items():
        logic.SetMRMLApplicationLogic(application)
        logic.SetMRMLScene(scene)
        application.SetModuleLogic(name, logic)
    remote.SetMRMLScene(scene)  # .mrb files are read through these two
    cache = tempfile.TemporaryDirectory(prefix="contrastsynth-scene-")
    remote.GetCacheManager().SetRemoteCacheDirectory(cache.name)
    remote.AddDataIOToScene()
    data.SetMRMLApplicationLogic(application)
    data.SetAndObserveDataIOManager(remote.GetDataIOManager())
    scene.kept = [cache, application, remote, data, *logics.values()]
    slicer.mrmlScene = scene
    slicer.modules = SimpleNamespace(
        **{name.lower(): SimpleNamespace(logic=lambda one=one: one) for name, one in logics.items()}
    )
    vtk.vtkObject.GlobalWarningDisplayOn()
    return scene


@pytest.fixture
def scene():
    """An empty scene; skipped where slicer-core is not installed."""
    pytest.importorskip("vtk", reason="slicer-core is not installed")
    pytest.importorskip("slicer", reason="slicer-core is not installed")
    made = new_scene()
    yield made
    made.Clear(True)
