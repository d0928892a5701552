"""The result on the slices that are shown, while a slider moves: computed at once, never kept.

The scans are read, and what a run would measure on whole volumes is measured, in a thread, so
that Slicer stays usable; then only the voxels are computed that the slice views show. They are
the same as those of a run.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import slicer
import vtk
from slicer.i18n import tr as _
from slicer.util import VTKObservationMixin

from ContrastSynthLib import __version__
from ContrastSynthLib.errors import RequestError
from ContrastSynthLib.files.images import SYNTHETIC_KEY
from ContrastSynthLib.geometry import Grid
from ContrastSynthLib.registry import IMAGE, MAP, MASK_ROLE, Input, Method, Output
from ContrastSynthLib.running.preview import Preview, prepare, voxels_near_plane
from ContrastSynthLib.volumes import Volume
from ContrastSynthPanel.background import Background, Elsewhere, Task
from ContrastSynthPanel.scene import bridge, run_results
from ContrastSynthPanel.scene.bridge import Node
from ContrastSynthPanel.scene.view_keeper import ViewKeeper, is_there
from ContrastSynthPanel.scene.views import slice_views

NOT_COMPUTED = -1e30  # transparent: far below what any scan holds
LOWEST_SHOWN, HIGHEST_SHOWN = -1e29, 1e30
GREY = "vtkMRMLColorTableNodeGrey"


@dataclass(frozen=True)
class Asked:
    """What is previewed: the ``output`` of a method of nodes by role.

    ``identity`` is what changes when any of them does.
    """

    method: Method
    output: str
    nodes: Mapping[str, Node]
    identity: tuple[Any, ...]

    @property
    def reference(self) -> Node:
        """The node on whose grid the result lies."""
        return self.nodes[self.method.reference]


class SlicePreview(VTKObservationMixin):
    """Shows what ``show`` was last asked for as the foreground of the slice views, until ``end``.

    ``show_message`` gets a sentence about how it goes, and nothing when it has ended. ``timer``
    makes a timer that calls something once, later.
    """

    def __init__(
        self,
        show_message: Callable[[str], None],
        timer: Callable[[int, Callable[[], None]], Any],
    ) -> None:
        """Make it; nothing is shown yet."""
        VTKObservationMixin.__init__(self)
        self._show_message, self._keeper = show_message, ViewKeeper()
        self.node: Node | None = None
        self._work = Background(timer, lambda _text: None)
        self._forget()

    def _forget(self) -> None:
        self._asked: Asked | None = None
        self._values: Any = None  # of the parameters
        self._preview: Preview | None = None  # once the scans are read and measured
        self._computed: tuple[np.ndarray, ...] | None = None  # which voxels, (k, j, i)
        self._wanted = False  # another picture, once the present one is done

    @property
    def busy(self) -> bool:
        """Whether a picture is being computed."""
        return self._work.running or self._wanted

    def show(self, method: Method, nodes: Mapping[str, Node], values: Any) -> None:
        """Show, in a moment, what a method makes of nodes by role with these parameters."""
        output = previewed_output(method)
        try:
            identity = identity_of(method, nodes)
        except RequestError:  # what is wrong with an input is shown where Apply is greyed out
            output = None
        if output is None:
            self.end()
            return
        if self._asked is None or identity != self._asked.identity:
            self.end()
            self._asked = Asked(method, output, dict(nodes), identity)
            self._show_message(_("The preview is being prepared."))
            self._start(self._preparing(self._asked))
        self._values = values
        self._draw_soon()

    def keep_if_of(self, method: Method, nodes: Mapping[str, Node]) -> None:
        """End unless the preview is of this method and of these nodes, as they are now."""
        if self._asked is None:
            return
        try:
            kept = self._asked.identity == identity_of(method, nodes)
        except RequestError:
            kept = False
        if not kept:
            self.end()

    def end(self, *_event: Any) -> None:
        """Take the preview away and show in the slice views what they showed before."""
        self._work.cancel()
        if self._asked is None:
            return
        self.removeObservers()
        self._keeper.put_back()
        node, self.node = self.node, None
        if is_there(node):
            slicer.mrmlScene.RemoveNode(node.GetDisplayNode())
            slicer.mrmlScene.RemoveNode(node)
        self._forget()
        self._show_message("")

    def _start(self, task: Task) -> None:
        self._work.start(task, lambda _done: self._draw_again(), self._failed)

    def _draw_soon(self, *_event: Any) -> None:
        self._wanted = True
        if not self._work.running:
            self._start(self._drawing())

    def _draw_again(self) -> None:
        if self._wanted:
            self._draw_soon()

    def _failed(self, error: Exception) -> None:
        """Say why there is none: a preview must not stop the person from working."""
        self.end()
        self._show_message(_("No preview: {error}").format(error=error))

    def _preparing(self, asked: Asked) -> Task:
        """Read the scans and have them measured, as a task."""
        volumes: dict[str, Volume] = {}
        for role in asked.nodes:
            (volumes[role],) = yield from bridge.reading_role(asked.nodes, role)
        self._add_node(asked, volumes[asked.method.reference].grid)
        self._preview = yield Elsewhere(prepare, asked.method, volumes)

    def _drawing(self) -> Task:
        """Compute what each slice view shows, then show all of it at once, as a task."""
        self._wanted = False
        asked, preview, values = self._asked, self._preview, self._values
        if asked is None or preview is None or not is_there(self.node):  # somebody deleted it
            self.end()
            return
        grid = preview.volumes[asked.method.reference].grid
        places, shown = [], []
        for view, _composite in slice_views():
            places.append(voxels_near_plane(grid, *plane_of(view)))
            shown.append(preview.voxels(values, places[-1])[asked.output])
            yield
        array = slicer.util.arrayFromVolume(self.node)
        if self._computed is not None:
            array[self._computed] = NOT_COMPUTED
        self._computed = tuple(np.concatenate(indices) for indices in zip(*places, strict=True))
        array[self._computed] = np.concatenate(shown)
        slicer.util.arrayFromVolumeModified(self.node)
        if not self._keeper.active:
            self._show_node(asked.reference)
            self._show_message(_("SYNTHETIC preview, shown until Apply."))
        declared = asked.method.outputs[asked.output]
        if declared.kind == IMAGE:
            scan = asked.nodes.get(declared.units_of) if declared.units_of else None
            bridge.window_like(self.node, scan, asked.reference)

    def _add_node(self, asked: Asked, grid: Grid) -> None:
        scene = slicer.mrmlScene
        node, display = slicer.vtkMRMLScalarVolumeNode(), slicer.vtkMRMLScalarVolumeDisplayNode()
        for one in (node, display):
            one.SetSaveWithScene(False)
            one.SetHideFromEditors(True)
        node.SetName(f"{SYNTHETIC_KEY} {asked.output} preview: {asked.reference.GetName()}")
        mark = f"preview by ContrastSynth {__version__} {asked.method.key}, for research only"
        empty = np.broadcast_to(np.float32(NOT_COMPUTED), grid.shape)
        volume = Volume(empty, grid, synthetic=mark)
        bridge.fill_node(node, volume, grid.index_to_ras, None)
        node.SetAttribute(bridge.METHOD, asked.method.key)
        display.SetAutoWindowLevel(False)
        display.SetThreshold(LOWEST_SHOWN, HIGHEST_SHOWN)
        display.SetApplyThreshold(True)
        display.SetAndObserveColorNodeID(GREY)
        declared = asked.method.outputs[asked.output]
        if declared.kind == MAP and None not in (declared.low, declared.high):
            run_results.show_as_map(display, declared, None)
        scene.AddNode(display)
        scene.AddNode(node)
        node.SetAndObserveDisplayNodeID(display.GetID())
        self.node = node

    def _show_node(self, reference: Node) -> None:
        """Put the node in front of the slice views, and follow where they go."""
        for view, composite in slice_views():
            if not composite.GetBackgroundVolumeID():
                self._keeper.set(composite, "background", reference)
            self._keeper.set(composite, "foreground", self.node)
            self._keeper.set(composite, "foreground_opacity", 1.0)
            event = vtk.vtkCommand.ModifiedEvent  # another slice, or the view was turned
            self.addObserver(view, event, self._draw_soon)
        scene = slicer.mrmlScene
        self.addObserver(scene, scene.StartSaveEvent, self.end)


def previewed_output(method: Method) -> str | None:
    """Return the output that is previewed: the first image, else the first map; None without."""
    volumes: list[Input | Output] = [*method.inputs.values(), *method.outputs.values()]
    if any(one.series for one in volumes) or method.random or not method.can_preview:
        return None
    kinds = {role: declared.kind for role, declared in method.outputs.items()}
    ordered = [role for kind in (IMAGE, MAP) for role in kinds if kinds[role] == kind]
    return ordered[0] if ordered else None


def identity_of(method: Method, nodes: Mapping[str, Node]) -> tuple[Any, ...]:
    """Return what changes when a method, its nodes or what is in them change."""
    return (method.key, *((role, *content_of(node, role)) for role, node in nodes.items()))


def content_of(node: Node, role: str) -> tuple[Any, ...]:
    """Return a node's id, when its voxels were changed and where they lie."""
    if node.IsA(bridge.SEGMENTATION):
        return node.GetID(), node.GetMTime()
    grid = bridge.world_grid(node, mask=role == MASK_ROLE)
    return node.GetID(), node.GetImageData().GetMTime(), grid


def plane_of(slice_node: Node) -> tuple[np.ndarray, np.ndarray]:
    """Return a point and the normal of what a slice view shows, in RAS."""
    matrix = slicer.util.arrayFromVTKMatrix(slice_node.GetSliceToRAS())
    return matrix[:3, 3], matrix[:3, 2]
