"""Tables and charts in the scene, which are saved with it.

Those of the tabs that name nodes as their sources are found again by these: two patients whose
scans have equal names keep one each.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import slicer
import vtk
from vtk.util.numpy_support import numpy_to_vtk

from ContrastSynthLib.files import images
from ContrastSynthPanel.scene.bridge import OWN_NAME, own_node
from ContrastSynthPanel.scene.relations import computed_node
from ContrastSynthPanel.scene.result_names import give_name

Node = Any  # of MRML
Rows = Iterable[Mapping[str, Any]]
TABLE, CHART = "vtkMRMLTableNode", "vtkMRMLPlotChartNode"
SERIES = "vtkMRMLPlotSeriesNode"


def computed_table(what: str, sources: Mapping[str, Node], name: str, rows: Rows) -> Node:
    """Return the table of ``what`` that was computed from these nodes, with other rows."""
    node = computed_node(TABLE, what, sources)
    give_name(node, name)
    return fill_table(node, rows)


def table_from_rows(scene: Any, name: str, rows: Rows) -> Node:
    """Return the table of a name, with other rows."""
    return fill_table(own_node(scene, TABLE, name), rows)


def fill_table(node: Node, rows: Rows) -> Node:
    """Give a table a column for each key; numbers are numbers, None is NaN or ""."""
    rows, table = list(rows), vtk.vtkTable()
    for key in dict.fromkeys(key for row in rows for key in row):
        values = [row.get(key) for row in rows]
        if any(isinstance(value, (str, bool, np.bool_)) for value in values):
            column = vtk.vtkStringArray()
            for value in values:
                column.InsertNextValue("" if value is None else str(value))
        else:
            column = numpy_to_vtk(np.array(values, dtype=np.float64), deep=True)
        column.SetName(key)
        table.AddColumn(column)
    node.SetAndObserveTable(table)
    return node


def computed_chart(
    what: str,
    sources: Mapping[str, Node],
    name: str,
    x: Sequence[float],
    lines: Mapping[str, Sequence[float | None]],
    titles: tuple[str, str],
    *,
    markers: bool = True,
) -> Node:
    """Return the chart of ``what`` that was computed from these nodes, with other lines.

    ``titles`` are those of both axes; the rest is as in :func:`plot_lines`.
    """
    table, chart = computed_node(TABLE, what, sources), computed_node(CHART, what, sources)
    give_name(table, name)
    if chart.GetAttribute(OWN_NAME) in (None, chart.GetName()):  # nobody has renamed it
        chart.SetName(table.GetName())
        chart.SetAttribute(OWN_NAME, table.GetName())
    return draw(chart, table, x, lines, titles, markers=markers)


def plot_lines(
    scene: Any,
    name: str,
    x: Sequence[float],
    lines: Mapping[str, Sequence[float | None]],
    x_title: str,
    y_title: str,
    *,
    markers: bool = True,
) -> Node:
    """Return the chart of a name, of ``lines``, label to values, over ``x``.

    No label is ``x_title``. What the label calls SYNTHETIC is dashed. Without ``markers`` there
    are only the lines.
    """
    table, chart = (own_node(scene, one, name) for one in (TABLE, CHART))
    return draw(chart, table, x, lines, (x_title, y_title), markers=markers)


def draw(
    chart: Node,
    table: Node,
    x: Sequence[float],
    lines: Mapping[str, Sequence[float | None]],
    titles: tuple[str, str],
    *,
    markers: bool,
) -> Node:
    """Give a chart these lines, whose numbers the table has from now on."""
    columns = [titles[0], *lines]
    points = zip(x, *lines.values(), strict=True)
    fill_table(table, [dict(zip(columns, row, strict=True)) for row in points])
    chart.SetTitle(chart.GetName())
    chart.SetXAxisTitle(titles[0])
    chart.SetYAxisTitle(titles[1])
    chart.RemoveAllPlotSeriesNodeIDs()
    known = {one.GetYColumnName(): one for one in series_of_table(table)}
    for label in lines:
        series = known.pop(label, None) or new_series(table, label, markers)
        series.SetXColumnName(titles[0])
        chart.AddAndObservePlotSeriesNodeID(series.GetID())
    for series in known.values():
        slicer.mrmlScene.RemoveNode(series)
    return chart


def series_of_table(table: Node) -> list[Node]:
    """Return the lines of charts whose numbers are those of a table."""
    found = slicer.util.getNodesByClass(SERIES, table.GetScene())
    return [one for one in found if one.GetTableNode() is table]


def new_series(table: Node, label: str, markers: bool) -> Node:
    """Return a new line of a column of a table; later a person may choose its colour."""
    series = table.GetScene().AddNewNodeByClass(SERIES, label)
    series.SetUniqueColor()
    dashed = images.SYNTHETIC_KEY in label
    series.SetLineStyle(series.LineStyleDash if dashed else series.LineStyleSolid)
    series.SetMarkerStyle(series.MarkerStyleCircle if markers else series.MarkerStyleNone)
    series.SetPlotType(series.PlotTypeScatter)
    series.SetAndObserveTableNodeID(table.GetID())
    series.SetYColumnName(label)
    return series
