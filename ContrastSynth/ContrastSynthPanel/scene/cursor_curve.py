"""The curves at the mouse cursor: read from the series, and drawn as further lines of a chart."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, cast

import numpy as np
import slicer
from slicer.i18n import tr as _

from ContrastSynthLib.acquisition import Acquisition
from ContrastSynthLib.analysis.kinetic_maps import PointCurve, curve_at
from ContrastSynthLib.files.images import SYNTHETIC_KEY
from ContrastSynthLib.geometry import Grid
from ContrastSynthPanel.scene import bridge, relations, tables
from ContrastSynthPanel.scene.kinetic_case import SYNTHETIC

Node = Any  # of MRML
CROSSHAIR = "vtkMRMLCrosshairNode"
TIME, ENHANCEMENT = _("Time (s)"), _("Enhancement (%)")
CHART, LINE = "kinetics at the cursor", "kinetic curve at the cursor"  # saved scenes hold these
INK = (0.0, 0.0, 0.0)
NAMES = {False: _("cursor"), True: _("cursor {synthetic}").format(synthetic=SYNTHETIC_KEY)}


class Frame(NamedTuple):
    """A volume as curve_at reads it, but without a copy of its voxels."""

    array: np.ndarray
    grid: Grid
    acquisition: Acquisition


def crosshair() -> Node | None:
    """Return the node that knows where the mouse is; None without a main window."""
    return slicer.mrmlScene.GetSingletonNode("default", CROSSHAIR)


def position() -> list[float] | None:
    """Return where in the world, RAS in mm, the mouse is; None if it is over no view."""
    node, ras = crosshair(), [0.0, 0.0, 0.0]
    return ras if node is not None and node.GetCursorPositionRAS(ras) else None


def curve_in(series: Node, ras_mm: list[float], baseline_frames: int) -> PointCurve | None:
    """Return the curve of a series at a point of the world; None outside of it.

    Raises RequestError for what is no series of volumes with times.
    """
    times, shown = bridge.times_of_sequence_node(series), bridge.volume_of_sequence(series)
    frames = []
    for n, time_s in enumerate(times):
        node = series.GetNthDataNode(n)
        grid = bridge.world_grid(node, parent_of=shown)
        array = slicer.util.arrayFromVolume(node)
        frames.append(Frame(array, grid, Acquisition(time_s=time_s)))
    return curve_at(cast(Any, frames), ras_mm, baseline_frames=baseline_frames)


class CursorLines:
    """The lines of a chart that follow the cursor, one for each series, by role."""

    def __init__(self) -> None:
        """Draw nothing yet."""
        self.chart: Node | None = None
        self._lines: dict[str, Node] = {}

    def use(self, chart: Node | None, nodes: Mapping[str, Node]) -> None:
        """Draw into a chart, which may have been drawn anew since, lines of these series."""
        self.clear()
        self.chart = chart
        if chart is None:
            return
        for role in nodes:
            line = self._lines[role] = _new_line(role == SYNTHETIC)
            chart.AddAndObservePlotSeriesNodeID(line.GetID())

    def show(self, curves: Mapping[str, PointCurve | None]) -> None:
        """Draw these curves, by role; None draws none."""
        for role, line in self._lines.items():
            curve = curves.get(role)
            points = [(np.nan, np.nan)]
            if curve is not None:
                points = list(zip(curve.times_s, curve.enhancement_percent, strict=True))
            table = line.GetTableNode()
            if table is not None:  # nobody has deleted it
                rows = [{TIME: time_s, ENHANCEMENT: percent} for time_s, percent in points]
                tables.fill_table(table, rows)

    def clear(self) -> None:
        """Draw nothing any more: the lines, and their numbers, leave the scene."""
        for line in self._lines.values():
            table = line.GetTableNode()
            if self.chart is not None:
                self.chart.RemovePlotSeriesNodeID(line.GetID())
            for node in (line, table):
                if node is not None and node.GetScene() is not None:
                    slicer.mrmlScene.RemoveNode(node)
        self._lines = {}


def _new_line(synthetic: bool) -> Node:
    """Return a line for a chart, with a table of its own; neither is saved with the scene."""
    table = slicer.mrmlScene.AddNewNodeByClass(tables.TABLE, LINE)
    line = tables.new_series(table, ENHANCEMENT, markers=True)
    line.SetName(NAMES[synthetic])
    line.SetColor(*INK)
    line.SetLineStyle(line.LineStyleDash if synthetic else line.LineStyleSolid)
    line.SetXColumnName(TIME)
    for node in (table, line):
        node.SetHideFromEditors(True)
        node.SaveWithSceneOff()
    return line


def own_chart(series: Node) -> Node:
    """Return a chart for the curves at the cursor where no region of a series is measured."""
    chart = relations.computed_node(tables.CHART, CHART, {"series": series})
    name = _("Curve at the cursor")
    chart.SetName(name)
    chart.SetTitle(name)
    chart.SetXAxisTitle(TIME)
    chart.SetYAxisTitle(ENHANCEMENT)
    chart.SaveWithSceneOff()
    return chart
