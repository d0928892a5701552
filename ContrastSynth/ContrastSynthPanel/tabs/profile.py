"""The tab that shows the values of several volumes along a line, while the line is dragged."""

import numpy as np
import qt
import slicer
import vtk
from slicer.i18n import tr as _
from slicer.util import VTKObservationMixin

from ContrastSynthLib.errors import ContrastSynthError
from ContrastSynthPanel.scene import profile_line, tables
from ContrastSynthPanel.scene.bridge import VOLUME
from ContrastSynthPanel.scene.chart_view import ChartView
from ContrastSynthPanel.scene.profile_values import VolumeCache, values_along, write_csv
from ContrastSynthPanel.tabs.tab import Tab
from ContrastSynthPanel.widgets.forms import (
    add_row,
    let_shrink,
    new_form,
    new_section,
    node_selector,
    once_after,
)
from ContrastSynthPanel.widgets.message import Message
from ContrastSynthPanel.widgets.node_selectors import scans_in_scene, unsettled
from ContrastSynthPanel.widgets.value_table import fill, fit_height, new_table, number

# A saved scene keeps the chart and its table under this name: it is never changed.
NAME = "ContrastSynth profile"
UPDATE_AFTER_MS = 50  # a dragged end moves more often than anybody can see
VALUES_AFTER_MS = 300  # a long table takes too long to fill to do so while an end is dragged
LIST_ROWS, VALUE_ROWS = 6, 10


class ProfileTab(Tab, VTKObservationMixin):
    """A line, a reference and volumes to compare with it; plot, errors, values."""

    title = _("Profile")

    def __init__(self, changed):
        """Make the tab."""
        Tab.__init__(self, changed)
        VTKObservationMixin.__init__(self)
        self._setting, self._in_view, self._placing = False, False, None
        self._checked, self._listed = [], []  # IDs of nodes, in the order of the scene
        self.found, self._cache, self.chart = [], VolumeCache(), ChartView()
        self.message = Message()
        self._timer = once_after(UPDATE_AFTER_MS, self._update)
        self._values_timer = once_after(VALUES_AFTER_MS, self._show_values)
        self._build_inputs()
        self._build_results()
        self._show_found()
        self._edited()

    def _build_inputs(self) -> None:
        inputs = qt.QWidget()
        form = new_form(inputs)
        tip = _("A markups line. Its ends can be dragged; the plot follows.")
        none = _("Choose or draw a line")
        self.line_selector = node_selector("line", [profile_line.LINE], none, tip)
        self.place_button = qt.QPushButton(_("Draw a new line"))
        self.place_button.objectName = "place"
        self.place_button.toolTip = _("Then click the two ends of the line in a slice view.")
        self.place_button.connect("clicked(bool)", self._place)
        tip = _("The volume that the others are compared with.")
        self.reference_selector = node_selector("reference", [VOLUME], _("Choose a volume"), tip)
        for selector in (self.line_selector, self.reference_selector):
            selector.connect("currentNodeChanged(vtkMRMLNode*)", lambda _node: self._edited())
        add_row(form, _("Line"), self.line_selector)
        form.addRow(self.place_button)
        add_row(form, _("Reference"), self.reference_selector)
        self.volume_list = let_shrink(qt.QListWidget())
        self.volume_list.objectName = "volumes"
        self.volume_list.toolTip = _("Check the volumes to compare with the reference.")
        self.volume_list.setHorizontalScrollBarPolicy(qt.Qt.ScrollBarAlwaysOff)
        self.volume_list.connect("itemChanged(QListWidgetItem*)", lambda _item: self._ticked())
        add_row(form, _("Compared with"), self.volume_list)
        self.column.addWidget(new_section(_("Inputs"), inputs))

    def _build_results(self) -> None:
        self.column.addWidget(self.message.widget)
        self.length_label = qt.QLabel()
        self.length_label.wordWrap = True
        self.column.addWidget(self.length_label)
        self.errors = new_table(["", _("Volume"), _("Mean abs. error")], wide=1)
        self.errors.toolTip = _(
            "Mean absolute difference from the reference along the line, in the volumes' unit."
        )
        self.column.addWidget(self.errors)
        self.values = new_table([_("mm")])
        self.values_section = new_section(_("Values"), self.values)
        self.values_section.collapsed = True
        self.values_section.connect("contentsCollapsed(bool)", lambda _c: self._show_values())
        self.column.addWidget(self.values_section)
        self.export_button = qt.QPushButton(_("Export as CSV"))
        self.export_button.objectName = "export"
        self.export_button.connect("clicked(bool)", self._export)
        self.column.addWidget(self.export_button)
        self.column.addStretch(1)

    # What the user, and the scene, do

    def scene_changed(self) -> None:
        """Nodes came or went: list the volumes, in a moment."""
        self._timer.start()

    def scene_closed(self) -> None:
        """The scene is being closed: Slicer keeps the layout that it has now."""
        self.chart.put_back()

    def forget_nodes(self) -> None:
        """The scene is an empty one."""
        self._checked, self._placing = [], None
        self._edited()

    def entered(self) -> None:
        """Show the plot, and follow the line."""
        self._in_view = True
        self._update()

    def left(self) -> None:
        """Put back the layout and the mouse."""
        self._in_view = False
        profile_line.stop_placing(self._placing)
        self._placing = None
        self.chart.put_back()

    def close(self) -> None:
        """Hear no more of the scene."""
        self._setting = True
        for selector in (self.line_selector, self.reference_selector):
            selector.setMRMLScene(None)
        self._timer.stop()
        self._values_timer.stop()
        self.left()
        self.removeObservers()

    def _edited(self) -> None:
        if self._setting or unsettled():
            return
        self._list_volumes()
        self._observe()
        self._timer.start()
        self._changed()

    def _ticked(self) -> None:
        if self._setting:
            return
        items = [self.volume_list.item(n) for n in range(self.volume_list.count)]
        ticked = [item.data(qt.Qt.UserRole) for item in items if item.checkState() == qt.Qt.Checked]
        hidden = [one for one in self._checked if one not in [key for key, _name in self._listed]]
        self._checked = ticked + hidden  # the reference is not listed, and stays checked
        self._edited()

    def _place(self) -> None:
        if self.reference_selector.currentNode() is None:
            self.reference_selector.setCurrentNode(profile_line.volume_in_view())
        self._placing = profile_line.start_placing(slicer.mrmlScene)
        self.line_selector.setCurrentNode(self._placing)
        self._timer.start()

    def _list_volumes(self) -> None:
        """List the scans of the scene, without the reference."""
        reference = self.reference_selector.currentNode()
        scans = [node for node in scans_in_scene() if node is not reference]
        listed = [(node.GetID(), node.GetName()) for node in scans]
        was = self._listed
        self._listed, self._setting = listed, True
        if was != listed:
            self.volume_list.clear()
        for n, (identifier, name) in enumerate(listed):
            if was != listed:
                item = qt.QListWidgetItem(name)
                item.setFlags(
                    qt.Qt.ItemIsEnabled | qt.Qt.ItemIsSelectable | qt.Qt.ItemIsUserCheckable
                )
                item.setData(qt.Qt.UserRole, identifier)
                item.setToolTip(name)
                self.volume_list.addItem(item)
            checked = qt.Qt.Checked if identifier in self._checked else qt.Qt.Unchecked
            self.volume_list.item(n).setCheckState(checked)
        self._setting = False
        row = (
            self.volume_list.sizeHintForRow(0)
            if listed
            else self.volume_list.fontMetrics().height()
        )
        height = row * min(max(1, len(listed)), LIST_ROWS)
        self.volume_list.setFixedHeight(height + 2 * self.volume_list.frameWidth + 2)

    def _observe(self) -> None:
        """Follow the line and the volumes, and nothing else."""
        self.removeObservers()
        line = self.line_selector.currentNode()
        if line is not None:
            for event in (
                line.PointModifiedEvent,
                line.PointPositionDefinedEvent,
                line.PointRemovedEvent,
                line.TransformModifiedEvent,
            ):
                self.addObserver(line, event, self._moved)
        for node in self._plotted():
            for event in (node.ImageDataModifiedEvent, node.TransformModifiedEvent):
                self.addObserver(node, event, self._moved)
            self.addObserver(node, vtk.vtkCommand.ModifiedEvent, self._moved)

    def _plotted(self) -> list:
        """Return the volumes to plot, the reference first; none without a reference."""
        reference = self.reference_selector.currentNode()
        if reference is None:
            return []
        others = [slicer.mrmlScene.GetNodeByID(identifier) for identifier in self._checked]
        return list(dict.fromkeys([reference, *(node for node in others if node is not None)]))

    def _moved(self, _node, _event) -> None:
        if not self._timer.active:  # it runs down even while an end is dragged without a pause
            self._timer.start()

    # Profiles

    def _update(self) -> None:
        """Show the profiles along the line as it lies now."""
        if unsettled():
            return
        self._list_volumes()
        if not self._in_view:
            return
        line, nodes = self.line_selector.currentNode(), self._plotted()
        ends = profile_line.ends_of(line) if line is not None else None
        if ends is not None:
            self._placing = None
        kind, text = "info", _missing(line, ends, nodes)
        self.found = []
        if not text:
            try:
                self._cache.keep_only(nodes)
                self.found = values_along(self._cache, nodes, ends)
                kind, text = "warning", _outside(self.found)
            except ContrastSynthError as error:
                kind, text = "failed", str(error)
        if text != self.message.text:
            self.message.show(kind, text)
        self._show_found()

    def _show_found(self) -> None:
        plotted = [one for one in self.found if one.profile is not None]
        for widget in (self.length_label, self.errors, self.values_section):
            widget.visible = bool(plotted)
        self.export_button.enabled = bool(plotted)
        self.export_button.toolTip = (
            _("Write distance, place and values to a file.")
            if plotted
            else _("Nothing is plotted.")
        )
        if not plotted:
            return
        first = plotted[0].profile
        text = _("Length {length:.1f} mm, {count} points")
        self.length_label.text = text.format(length=first.distance_mm[-1], count=len(first.values))
        fill(self.errors, [_error_texts(n, one) for n, one in enumerate(self.found)], words=(0, 1))
        fit_height(self.errors)
        self._values_timer.start()
        lines = {one.label: one.profile.values for one in plotted}
        titles = _("Distance along the line (mm)"), _("Intensity (a.u.)")
        chart = tables.plot_lines(
            slicer.mrmlScene, NAME, first.distance_mm, lines, *titles, markers=False
        )
        if chart is not self.chart.chart:
            self.chart.show(chart)
        else:
            self.chart.fit()

    def _show_values(self) -> None:
        """Fill the table of the values, if it is open."""
        plotted = [(n, one) for n, one in enumerate(self.found) if one.profile is not None]
        if self.values_section.collapsed or not plotted:
            return
        self.values.setColumnCount(1 + len(plotted))
        heads = [str(n + 1) for n, _one in plotted]
        self.values.setHorizontalHeaderLabels([_("mm"), *heads])
        distances = plotted[0][1].profile.distance_mm
        columns = [one.profile.values.tolist() for _n, one in plotted]
        fill(
            self.values,
            [
                [f"{distance:.1f}", *(number(value, 1) for value in row)]
                for distance, *row in zip(distances, *columns, strict=True)
            ],
        )
        fit_height(self.values, VALUE_ROWS)

    def _export(self) -> None:
        path = qt.QFileDialog.getSaveFileName(
            slicer.util.mainWindow(), _("Export the profile"), "profile.csv", "CSV (*.csv)"
        )
        if not path:
            return
        try:
            write_csv(path, self.found)
        except ContrastSynthError as error:
            self.message.show("failed", str(error))
        else:
            self.message.show("done", _("Written: {path}").format(path=path))

    # What a saved scene keeps

    def state(self) -> dict:
        """Return what was chosen, nodes as nodes."""
        scene = slicer.mrmlScene
        compared = [scene.GetNodeByID(identifier) for identifier in self._checked]
        return {
            "line": self.line_selector.currentNode(),
            "reference": self.reference_selector.currentNode(),
            "compared": [node for node in compared if node is not None],
        }

    def restore(self, state: dict) -> None:
        """Show a saved state."""
        self._setting = True
        self.line_selector.setCurrentNode(state.get("line"))
        self.reference_selector.setCurrentNode(state.get("reference"))
        compared = [node for node in state.get("compared", ()) if node is not None]
        self._checked = [node.GetID() for node in compared]
        self._setting = False
        self._edited()


def _missing(line, ends, nodes: list) -> str:
    """Return what keeps a profile from being plotted; nothing if nothing."""
    if line is None:
        return _("Choose a line, or draw a new one.")
    if ends is None:
        text = _("Click the two ends of '{name}' in a slice view.")
        return text.format(name=line.GetName())
    if not nodes:
        return _("Choose a reference volume.")
    return ""


def _outside(found: list) -> str:
    """Return which volumes the line leaves, and what is wrong with others."""
    text = [
        _("{label}: {problem}").format(label=one.label, problem=one.problem)
        for one in found
        if one.problem
    ]
    labels = {}
    for one in found:
        if one.profile is not None:
            percent = round(100.0 * float(np.isnan(one.profile.values).mean()), 1)
            labels.setdefault(percent, []).append(one.label)
    for percent in sorted(set(labels) - {0.0}):
        part = _("{labels}: {percent:g} % of the line lies outside and does not count.")
        text.append(part.format(labels=", ".join(labels[percent]), percent=percent))
    return "\n".join(text)


def _error_texts(place: int, one) -> list[str]:
    if one.problem:
        return [str(place + 1), one.label, _("none")]
    return [str(place + 1), one.label, number(one.error, 2) if place else _("reference")]
