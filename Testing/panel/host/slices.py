"""Slice views of real MRML, rendered offscreen into a PNG file: to look at a result."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

# slicer and vtk are imported where they are used: without them, tests are skipped.

if sys.platform.startswith("linux") and not os.environ.get("DISPLAY"):
    os.environ.setdefault("VTK_DEFAULT_OPENGL_WINDOW", "vtkEGLRenderWindow")
TRY = """
import vtk
window = vtk.vtkRenderWindow()
window.SetOffScreenRendering(1)
window.AddRenderer(vtk.vtkRenderer())
window.Render()
"""
LAYERS = ("Background", "Foreground", "Label")
MANAGERS = ("vtkMRMLSegmentationsDisplayableManager2D", "vtkMRMLModelSliceDisplayableManager")


@functools.cache
def can_render() -> bool:
    """Return whether OpenGL works here; tried in another process, because VTK may crash."""
    done = subprocess.run([sys.executable, "-c", TRY], capture_output=True, check=False)
    return done.returncode == 0


def render_slices(
    scene: Any,
    nodes: list[Any],
    mask: Any = None,
    path: Path | str | None = None,
    *,
    center_ras: tuple[float, float, float] | None = None,
    size: int = 300,
) -> np.ndarray:
    """Render a row of axial, sagittal and coronal views for each volume, as RGB in uint8.

    ``mask`` is a label map (drawn over the volumes) or a segmentation. All views are centred
    on ``center_ras``, or on the mask, or on each volume. The slice views end as they began.
    """
    import slicer

    if scene is not slicer.mrmlScene:
        raise ValueError("the slice views are in the host's scene")
    if not can_render():
        raise RuntimeError("no offscreen OpenGL: on Linux, Mesa's EGL is enough (libegl1)")
    if center_ras is None and mask is not None:
        center_ras = middle(mask)
    layout = slicer.app.layoutManager()
    widgets = [layout.sliceWidget(name) for name in layout.sliceViewNames()]
    rows = []
    for node in nodes:
        center = center_ras or middle(node)
        rows.append(np.hstack([one_view(one, node, mask, center, size) for one in widgets]))
    picture = np.vstack(rows)
    if path is not None:
        write_png(picture, Path(path))
    return picture


def middle(node: Any) -> tuple[float, ...]:
    """Return the middle of a label map's labels, of a segmentation or of a volume, in RAS mm."""
    import slicer.util
    import vtk

    if node.IsA("vtkMRMLLabelMapVolumeNode"):
        labels = np.argwhere(slicer.util.arrayFromVolume(node) > 0)
        if len(labels):
            matrix = vtk.vtkMatrix4x4()
            node.GetIJKToRASMatrix(matrix)
            kji = labels.mean(axis=0)
            return tuple(matrix.MultiplyPoint((*kji[::-1], 1.0))[:3])
    box = [0.0] * 6
    node.GetRASBounds(box)
    return tuple((box[2 * axis] + box[2 * axis + 1]) / 2 for axis in range(3))


def one_view(widget: Any, node: Any, mask: Any, center: Any, size: int) -> np.ndarray:
    """Render one slice view, its layers put back afterwards."""
    import vtk

    logic, view = widget.sliceLogic(), widget.mrmlSliceNode()
    layers = widget.mrmlSliceCompositeNode()
    before = [getattr(layers, f"Get{name}VolumeID")() for name in LAYERS]
    was = vtk.vtkMatrix4x4()
    was.DeepCopy(view.GetSliceToRAS())
    dimensions, field_mm = view.GetDimensions(), view.GetFieldOfView()
    label = mask.GetID() if mask is not None and mask.IsA("vtkMRMLLabelMapVolumeNode") else None
    for name, identifier in zip(LAYERS, (node.GetID(), None, label), strict=True):
        getattr(layers, f"Set{name}VolumeID")(identifier)
    view.SetDimensions(size, size, 1)
    logic.FitSliceToBackground()
    view.JumpSliceByCentering(*center)
    try:
        return render(logic, view, size)
    finally:
        for name, identifier in zip(LAYERS, before, strict=True):
            getattr(layers, f"Set{name}VolumeID")(identifier)
        view.SetDimensions(*dimensions)
        view.SetFieldOfView(*field_mm)
        view.GetSliceToRAS().DeepCopy(was)
        view.UpdateMatrices()


def render(logic: Any, view: Any, size: int) -> np.ndarray:
    """Render what a slice's logic blends, with segmentations and models on top."""
    import slicer
    import vtk
    from vtk.util.numpy_support import vtk_to_numpy

    renderer, window = vtk.vtkRenderer(), vtk.vtkRenderWindow()
    interactor = vtk.vtkGenericRenderWindowInteractor()
    interactor.SetRenderWindow(window)
    window.SetOffScreenRendering(1)
    window.SetSize(size, size)
    window.SetMultiSamples(0)
    window.AddRenderer(renderer)
    mapper, actor = vtk.vtkImageMapper(), vtk.vtkActor2D()
    mapper.SetInputConnection(logic.GetImageDataConnection())
    mapper.SetColorWindow(255)
    mapper.SetColorLevel(127.5)
    actor.SetMapper(mapper)
    renderer.AddViewProp(actor)
    renderer.GetActiveCamera().ParallelProjectionOn()
    factory = slicer.vtkMRMLSliceViewDisplayableManagerFactory.GetInstance()
    factory.SetMRMLApplicationLogic(slicer.app.applicationLogic())
    for name in MANAGERS:
        if not factory.IsDisplayableManagerRegistered(name):
            factory.RegisterDisplayableManager(name)
    group = factory.InstantiateDisplayableManagers(renderer)
    group.SetMRMLDisplayableNode(view)
    window.Render()
    grab = vtk.vtkWindowToImageFilter()
    grab.SetInput(window)
    grab.ReadFrontBufferOff()
    grab.Update()
    image = grab.GetOutput()
    pixels = vtk_to_numpy(image.GetPointData().GetScalars()).reshape(size, size, -1)
    group.SetMRMLDisplayableNode(None)
    window.Finalize()
    return pixels[::-1, :, :3].copy()


def write_png(picture: np.ndarray, path: Path) -> None:
    """Write an RGB picture, first row on top."""
    import vtk
    from vtk.util.numpy_support import numpy_to_vtk

    image = vtk.vtkImageData()
    image.SetDimensions(picture.shape[1], picture.shape[0], 1)
    flat = np.ascontiguousarray(picture[::-1]).reshape(-1, 3)
    image.GetPointData().SetScalars(numpy_to_vtk(flat, deep=True))
    writer = vtk.vtkPNGWriter()
    writer.SetFileName(str(path))
    writer.SetInputData(image)
    writer.Write()


def read_png(path: Path) -> np.ndarray:
    """Read a picture as RGB in uint8, first row on top; what is transparent is left out."""
    import vtk
    from vtk.util.numpy_support import vtk_to_numpy

    reader = vtk.vtkPNGReader()
    if not reader.CanReadFile(str(path)):
        raise OSError(f"{path} is no PNG file")
    reader.SetFileName(str(path))
    reader.Update()
    image = reader.GetOutput()
    width, height, _ = image.GetDimensions()
    pixels = vtk_to_numpy(image.GetPointData().GetScalars()).reshape(height, width, -1)
    return pixels[::-1, :, :3].copy()
