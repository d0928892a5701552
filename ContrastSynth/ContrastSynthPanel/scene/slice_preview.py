"""The result on the slices that are shown, while a slider moves: computed at once, never kept.

The scans are read in one step each, and what a run would measure on whole volumes is measured
in a thread, so that Slicer stays usable; then only the voxels are computed that the slice views
show. They are the same as those of a run.
"""

import threading

import numpy as np
import qt
import slicer
import vtk
from slicer.i18n import tr as _
from slicer.util import VTKObservationMixin

from ContrastSynthLib import __version__
from ContrastSynthLib.errors import RequestError
from ContrastSynthLib.registry import IMAGE, MAP, MASK_ROLE
from ContrastSynthLib.running.preview import prepare, voxels_near_plane
from ContrastSynthLib.volumes import Volume
from ContrastSynthPanel.scene import bridge, run_results
from ContrastSynthPanel.scene.views import slice_views

PAUSE_MS = 30  # between two pictures, and between two looks at the thread
NOT_COMPUTED = -1e30  # transparent: far below what any scan holds
LOWEST_SHOWN, HIGHEST_SHOWN = -1e29, 1e30
GREY = "vtkMRMLColorTableNodeGrey"


class SlicePreview(VTKObservationMixin):
    """Shows what ``show`` was last asked for as the foreground of the slice views, until ``end``.

    All is done in short steps, one each time that Slicer has nothing else to do. ``show_message``
    gets a sentence about how it goes, and nothing when it has ended.
    """

    def __init__(self, show_message):
        """Make it; nothing is shown yet."""
        VTKObservationMixin.__init__(self)
        self._show_message, self.node = show_message, None
        self._timer = qt.QTimer()
        self._timer.setSingleShot(True)
        self._timer.connect("timeout()", self._tick)
        self._forget()

    def _forget(self) -> None:
        self._method, self._nodes, self._identity, self._values = None, {}, None, None
        self._preview, self._grid, self._computed = None, None, None
        self._steps, self._wanted = None, False
        self._layers = {}  # of each slice view, as it was before

    def show(self, method, nodes: dict, values) -> None:
        """Show, in a moment, what a method makes of nodes by role with these parameters."""
        try:
            identity = identity_of(method, nodes)
        except RequestError:  # what is wrong with an input is shown where Apply is greyed out
            self.end()
            return
        if identity != self._identity:
            self.end()
            self._method, self._nodes, self._identity = method, dict(nodes), identity
            self._steps = self._prepare()
            self._timer.start(0)
            self._show_message(_("The preview is being prepared."))
        self._values = values
        self._draw_soon()

    def keep_if_of(self, method, nodes: dict) -> None:
        """End unless the preview is of this method and of these nodes, as they are now."""
        if self._identity is None:
            return
        try:
            kept = self._identity == identity_of(method, nodes)
        except RequestError:
            kept = False
        if not kept:
            self.end()

    def end(self, *_event) -> None:
        """Take the preview away and show in the slice views what they showed before."""
        self._timer.stop()
        if self._identity is None:
            return
        self.removeObservers()
        node, self.node = self.node, None
        if node is not None and slicer.mrmlScene.IsNodePresent(node):
            for composite, layers in self._layers.items():
                put_back(composite, layers, node)
            slicer.mrmlScene.RemoveNode(node.GetDisplayNode())
            slicer.mrmlScene.RemoveNode(node)
        self._forget()
        self._show_message("")

    def _draw_soon(self, *_event) -> None:
        self._wanted = True
        if self._steps is None:
            self._steps = self._draw()
            self._timer.start(PAUSE_MS)

    def _tick(self) -> None:
        """Do the next step; when all are done and another picture is wanted, begin with that."""
        try:
            pause_ms = next(self._steps, None)
        except Exception as error:  # a preview must not stop the person from working
            self.end()
            self._show_message(_("No preview: {error}").format(error=error))
            return
        if pause_ms is not None:
            self._timer.start(pause_ms)
            return
        self._steps = None
        if self._wanted:
            self._draw_soon()

    def _prepare(self):
        """Read the scans and have them measured; yields how long to pause before the next step."""
        volumes = {}
        for role in self._nodes:
            (volumes[role],) = bridge.volumes_of_role(self._nodes, role)
            yield 0
        self._grid = volumes[self._method.reference].grid
        self._add_node()
        yield 0
        thread = Preparation(self._method, volumes)
        thread.start()
        while thread.is_alive():
            yield PAUSE_MS
        self._preview = thread.answer()

    def _draw(self):
        """Compute what each slice view shows, then show all of it at once."""
        self._wanted = False
        if not slicer.mrmlScene.IsNodePresent(self.node):  # somebody deleted it
            self.end()
            return
        values, role = self._values, previewed_output(self._method)
        places, shown = [], []
        for view, _composite in slice_views():
            places.append(voxels_near_plane(self._grid, *plane_of(view)))
            shown.append(self._preview.voxels(values, places[-1])[role])
            yield 0
        array = slicer.util.arrayFromVolume(self.node)
        if self._computed is not None:
            array[self._computed] = NOT_COMPUTED
        self._computed = tuple(np.concatenate(indices) for indices in zip(*places, strict=True))
        array[self._computed] = np.concatenate(shown)
        slicer.util.arrayFromVolumeModified(self.node)
        if not self._layers:
            self._show_node()
            self._show_message(_("SYNTHETIC preview, shown until Apply."))
        declared = self._method.outputs[role]
        if declared.kind == IMAGE:
            scan, reference = declared.units_of, self._method.reference
            bridge.window_like(self.node, self._nodes.get(scan), self._nodes[reference])

    def _add_node(self) -> None:
        scene, like = slicer.mrmlScene, self._nodes[self._method.reference]
        node, display = slicer.vtkMRMLScalarVolumeNode(), slicer.vtkMRMLScalarVolumeDisplayNode()
        for one in (node, display):
            one.SetSaveWithScene(False)
            one.SetHideFromEditors(True)
        role = previewed_output(self._method)
        node.SetName(f"{like.GetName()} {role} preview SYNTHETIC")
        mark = f"preview by ContrastSynth {__version__} {self._method.key}, for research only"
        empty = np.broadcast_to(np.float32(NOT_COMPUTED), self._grid.shape)
        volume = Volume(empty, self._grid, synthetic=mark)
        bridge.fill_node(node, volume, self._grid.index_to_ras, None)
        node.SetAttribute(bridge.METHOD, self._method.key)
        display.SetAutoWindowLevel(False)
        display.SetThreshold(LOWEST_SHOWN, HIGHEST_SHOWN)
        display.SetApplyThreshold(True)
        display.SetAndObserveColorNodeID(GREY)
        declared = self._method.outputs[role]
        if declared.kind == MAP and None not in (declared.low, declared.high):
            run_results.show_as_map(display, declared, None)
        scene.AddNode(display)
        scene.AddNode(node)
        node.SetAndObserveDisplayNodeID(display.GetID())
        self.node = node

    def _show_node(self) -> None:
        """Put the node in front of the slice views, and follow where they go."""
        reference = self._nodes[self._method.reference]
        for view, composite in slice_views():
            self._layers[composite] = layers_of(composite)
            if not composite.GetBackgroundVolumeID():
                composite.SetBackgroundVolumeID(reference.GetID())
            composite.SetForegroundVolumeID(self.node.GetID())
            composite.SetForegroundOpacity(1.0)
            event = vtk.vtkCommand.ModifiedEvent  # another slice, or the view was turned
            self.addObserver(view, event, self._draw_soon)
        scene = slicer.mrmlScene
        self.addObserver(scene, scene.StartSaveEvent, self.end)


class Preparation(threading.Thread):
    """What takes seconds on whole volumes. numpy and scipy leave the interpreter free meanwhile."""

    def __init__(self, method, volumes: dict):
        """Take what is to be prepared; ``start`` begins."""
        super().__init__(daemon=True)
        self._given, self._preview, self._error = (method, volumes), None, None

    def run(self) -> None:
        """Prepare, in the thread."""
        try:
            self._preview = prepare(*self._given)
        except Exception as error:  # raised where the answer is asked for
            self._error = error

    def answer(self):
        """Return the Preview, or raise what went wrong."""
        if self._error is not None:
            raise self._error
        return self._preview


def previewed_output(method) -> str | None:
    """Return the output that is previewed: the first image, else the first map; None without."""
    series = any(one.series for one in (*method.inputs.values(), *method.outputs.values()))
    if series or method.random or not method.can_preview:
        return None
    kinds = {role: declared.kind for role, declared in method.outputs.items()}
    ordered = [role for kind in (IMAGE, MAP) for role in kinds if kinds[role] == kind]
    return ordered[0] if ordered else None


def identity_of(method, nodes: dict) -> tuple:
    """Return what changes when a method, its nodes or what is in them change."""
    return (method.key, *((role, *content_of(node, role)) for role, node in nodes.items()))


def content_of(node, role: str) -> tuple:
    """Return a node's id, when its voxels were changed and where they lie."""
    if node.IsA(bridge.SEGMENTATION):
        return node.GetID(), node.GetMTime()
    grid = bridge.world_grid(node, mask=role == MASK_ROLE)
    return node.GetID(), node.GetImageData().GetMTime(), grid


def plane_of(slice_node) -> tuple[np.ndarray, np.ndarray]:
    """Return a point and the normal of what a slice view shows, in RAS."""
    matrix = slicer.util.arrayFromVTKMatrix(slice_node.GetSliceToRAS())
    return matrix[:3, 3], matrix[:3, 2]


def layers_of(composite) -> tuple:
    """Return what a slice view shows: background, foreground and the latter's opacity."""
    background, foreground = composite.GetBackgroundVolumeID(), composite.GetForegroundVolumeID()
    return background, foreground, composite.GetForegroundOpacity()


def put_back(composite, layers: tuple, preview) -> None:
    """Show in a slice view what it showed before, unless somebody chose another foreground."""
    background, foreground, opacity = layers
    if composite.GetForegroundVolumeID() != preview.GetID():
        return
    there = foreground and preview.GetScene().GetNodeByID(foreground)
    composite.SetForegroundVolumeID(foreground if there else None)
    composite.SetForegroundOpacity(opacity)
    if not background:
        composite.SetBackgroundVolumeID(None)
