"""Tables and charts in the scene, which are saved with it."""

import numpy as np
import slicer
import vtk
from vtk.util.numpy_support import numpy_to_vtk

from ContrastSynthLib.files import images
from ContrastSynthPanel.scene.bridge import own_node


def table_from_rows(scene, name: str, rows: list[dict]):
    """Return a table node of this name, made or found again, with these rows."""
    node = own_node(scene, "vtkMRMLTableNode", name)
    fill_table(node, rows)
    return node


def fill_table(node, rows: list[dict]) -> None:
    """Give a table node a column for each key; numbers are numbers, None is NaN or ""."""
    table = vtk.vtkTable()
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


def plot_lines(
    scene, name: str, x, lines: dict, x_title: str, y_title: str, *, markers: bool = True
):
    """Return a chart node of ``lines``, label to values, over ``x``; no label is ``x_title``.

    What the label calls SYNTHETIC is dashed. Without ``markers`` there are only the lines.
    """
    columns = [x_title, *lines]
    rows = [dict(zip(columns, row, strict=True)) for row in zip(x, *lines.values(), strict=True)]
    table = table_from_rows(scene, name, rows)
    chart = own_node(scene, "vtkMRMLPlotChartNode", name)
    chart.SetTitle(name)
    chart.SetXAxisTitle(x_title)
    chart.SetYAxisTitle(y_title)
    chart.RemoveAllPlotSeriesNodeIDs()
    for label in lines:
        series = own_node(scene, "vtkMRMLPlotSeriesNode", f"{name}: {label}")
        if series.GetTableNode() is None:  # New: later the user may have chosen a colour.
            series.SetUniqueColor()
            dashed = images.SYNTHETIC_KEY in label
            series.SetLineStyle(series.LineStyleDash if dashed else series.LineStyleSolid)
            series.SetMarkerStyle(series.MarkerStyleCircle if markers else series.MarkerStyleNone)
        series.SetName(label)
        series.SetPlotType(series.PlotTypeScatter)
        series.SetAndObserveTableNodeID(table.GetID())
        series.SetXColumnName(x_title)
        series.SetYColumnName(label)
        chart.AddAndObservePlotSeriesNodeID(series.GetID())
    for series in slicer.util.getNodesByClass("vtkMRMLPlotSeriesNode", scene):
        if series.GetTableNode() is table and series.GetYColumnName() not in lines:
            scene.RemoveNode(series)
    return chart
