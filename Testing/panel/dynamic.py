"""Dynamic series in the scene, and what a person reads in the tab "Kinetics"."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import slicer
from host import pick, press, pump
from scans import settled

from ContrastSynthLib.acquisition import Acquisition
from ContrastSynthLib.phantom.sample import TUMOUR

TIMES = (0.0, 60.0, 120.0, 240.0, 360.0)
WASHOUT, PERSISTENT = (0.0, 0.9, 1.0, 0.8, 0.5), (0.0, 0.5, 0.6, 0.8, 1.0)
MARK = "by a test"


def phases_of(patient, shares, times=TIMES, synthetic=None):
    pre, post = patient.scans["pre"], patient.scans["post"]
    return [
        replace(
            pre.with_array((1.0 - share) * pre.array + share * post.array),
            acquisition=Acquisition(time_s=time),
            synthetic=synthetic,
        )
        for share, time in zip(shares, times, strict=True)
    ]


def add_series(patient, name, shares, times=TIMES, synthetic=None):
    from ContrastSynthPanel.scene import bridge

    found = phases_of(patient, shares, times, synthetic)
    return bridge.sequence_from_series(slicer.mrmlScene, found, name)


def lesion_of(patient):
    return patient.scans["pre"].with_array((patient.tissue == TUMOUR).astype(np.float32))


def add_mask(patient, name, mask=None):
    """A segmentation with one segment, drawn on the grid of the patient."""
    from ContrastSynthPanel.scene import bridge

    mask = lesion_of(patient) if mask is None else mask
    labels = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode", "drawn on")
    bridge.fill_node(labels, mask, mask.grid.index_to_ras, None)
    node = bridge.mask_to_segmentation(slicer.mrmlScene, mask, labels, name)
    slicer.mrmlScene.RemoveNode(labels)
    return node


def add_label_map(mask, name):
    from ContrastSynthPanel.scene import bridge

    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode", name)
    bridge.fill_node(node, mask, mask.grid.index_to_ras, None)
    return node


def add_synthetic(panel, patient, shares=PERSISTENT, times=TIMES, name="made SYNTHETIC"):
    """A synthetic series, which a person chooses as the result."""
    node = add_series(patient, name, shares, times, MARK)
    settled(panel)
    pick(panel.box.selectors["result"], node)
    return node


def measure(tab):
    """Press Measure, wait, and return what is said."""
    press(tab.measure_button)
    pump(lambda: not tab.work.running)
    return tab.message.text


def cells(table):
    """What a person reads in a table: its columns that are not hidden."""
    shown = [column for column in range(table.columnCount) if not table.isColumnHidden(column)]
    return [[table.item(row, column).text() for column in shown] for row in range(table.rowCount)]


def heads(table):
    shown = [column for column in range(table.columnCount) if not table.isColumnHidden(column)]
    return [table.horizontalHeaderItem(column).text() for column in shown]


def index_of(node):
    return [node.GetNthIndexValue(n) for n in range(node.GetNumberOfDataNodes())]


def backgrounds():
    composites = slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode")
    return {node.GetBackgroundVolumeID() for node in composites}


def named(kind, name):
    return next(node for node in slicer.util.getNodesByClass(kind) if node.GetName() == name)


def computed(what):
    """The chart or table that was computed as this, or None."""
    kinds = ("vtkMRMLPlotChartNode", "vtkMRMLTableNode")
    nodes = [node for kind in kinds for node in slicer.util.getNodesByClass(kind)]
    return next((n for n in nodes if n.GetAttribute("ContrastSynth.Derived") == what), None)


def lines_of(chart):
    """The lines of a chart, by their names."""
    count = chart.GetNumberOfPlotSeriesNodes()
    lines = [chart.GetNthPlotSeriesNode(n) for n in range(count)]
    return {line.GetName(): line for line in lines}
