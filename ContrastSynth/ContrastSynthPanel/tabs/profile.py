"""The tab that shows the values of several volumes along a line, while the line is dragged."""

import qt
import slicer
import vtk
from slicer.i18n import tr as _
from slicer.util import VTKObservationMixin

from ContrastSynthLib.errors import ContrastSynthError
from ContrastSynthPanel.scene import bridge, profile_line, relations, tables
from ContrastSynthPanel.scene.bridge import OWN_NAME, VOLUME
from ContrastSynthPanel.scene.case import INPUT, RESULT, TRUTH
from ContrastSynthPanel.scene.chart_view import ChartView
from ContrastSynthPanel.scene.profile_values import VolumeCache, images, told_apart, values_along
from ContrastSynthPanel.tabs.tab import Tab
from ContrastSynthPanel.widgets.case_box import unsettled
from ContrastSynthPanel.widgets.echo import Echo
from ContrastSynthPanel.widgets.forms import (
    add_row,
    let_shrink,
    long_text,
    new_form,
    new_section,
    show_text,
)
from ContrastSynthPanel.widgets.message import Message
from ContrastSynthPanel.widgets.node_selector import NodeSelector
from ContrastSynthPanel.widgets.profile_results import ProfileResults, outside
from ContrastSynthPanel.widgets.slots import connect, once_after
from ContrastSynthPanel.widgets.work_box import WorkBox

PROFILE, OF_LINE = "profile", "line"  # what a chart is, and what the line is to it: in saved scenes
OLD_NAME = "ContrastSynth profile"  # of the one chart that older versions made
UPDATE_AFTER_MS = 50  # a dragged end moves more often than anybody can see
LIST_ROWS = 6


class ProfileTab(Tab, VTKObservationMixin):
    """A line, the reference of the case and volumes to compare with it; plot, errors, values.

    The case's input and result are compared until a person ticks otherwise.
    """

    title = _("Profile")
    uses = (INPUT, RESULT, TRUTH)

    def __init__(self, box, changed):
        """Make the tab."""
        Tab.__init__(self, box, changed)
        VTKObservationMixin.__init__(self)
        self._echo, self._in_view, self._placing = Echo(), False, None
        self._by_hand, self._scan = {}, None  # what a person ticked, by ID; the case's input then
        self._listed = []  # IDs and labels, as the list has them
        self._cache, self.chart, self.message = VolumeCache(), ChartView(), Message()
        self._timer = once_after(UPDATE_AFTER_MS, self._update)
        self._build_inputs()
        self.work, self.results = WorkBox(self._cancelled), ProfileResults(self.message.show)
        for widget in (self.work.widget, self.message.widget, self.results.widget):
            self.column.addWidget(widget)
        self.column.addStretch(1)
        self._follow()

    def _build_inputs(self) -> None:
        inputs = qt.QWidget()
        form = new_form(inputs)
        self.line_selector = NodeSelector(
            "line",
            [profile_line.LINE],
            _("Choose or draw a line"),
            _("A markups line. Its ends can be dragged; the plot follows."),
            lambda _node: self._edited(),
            self._edited,
        )
        self.place_button = qt.QPushButton(_("Draw a new line"))
        self.place_button.objectName = "place"
        self.place_button.toolTip = _("Then click the two ends of the line in a slice view.")
        connect(self.place_button, "clicked(bool)", self._place)
        self.reference_label = long_text()
        self.volume_list = let_shrink(qt.QListWidget())
        self.volume_list.objectName = "volumes"
        self.volume_list.toolTip = _("Check the volumes to compare with the reference.")
        self.volume_list.setHorizontalScrollBarPolicy(qt.Qt.ScrollBarAlwaysOff)
        connect(self.volume_list, "itemChanged(QListWidgetItem*)", self._ticked)
        add_row(form, _("Line"), self.line_selector.widget)
        form.addRow(self.place_button)
        form.addRow(self.reference_label)
        add_row(form, _("Compared with"), self.volume_list)
        self.column.addWidget(new_section(_("Inputs"), inputs))

    # What the user, and the scene, do

    def scene_changed(self) -> None:
        """Nodes came or went."""
        there = slicer.mrmlScene.GetNodeByID
        self._by_hand = {key: one for key, one in self._by_hand.items() if there(key)}
        self._follow()

    def case_changed(self) -> None:
        """Another patient: what was ticked of the one before is not compared any more."""
        scan = self.case.node(INPUT)
        if scan is not None and scan is not self._scan:
            ticked = [slicer.mrmlScene.GetNodeByID(key) for key in self._by_hand]
            own = relations.of_patient([one for one in ticked if one is not None], scan)
            self._by_hand = {one.GetID(): self._by_hand[one.GetID()] for one in own}
        self._scan = scan
        self._follow()

    def scene_closed(self) -> None:
        """The scene is being closed: Slicer keeps the layout that it has now."""
        self.work.stop()
        self.chart.put_back()

    def forget_nodes(self) -> None:
        """The scene is an empty one."""
        self._by_hand, self._scan, self._placing = {}, None, None
        self._cache.keep_only([])
        self.line_selector.show(None)
        self._follow()

    def entered(self) -> None:
        """Show the plot, and follow the line."""
        self._in_view = True
        self._update()

    def left(self) -> None:
        """Put back the layout and the mouse."""
        self._in_view = False
        self.work.stop()
        profile_line.stop_placing(self._placing)
        self._placing = None
        self.chart.put_back()

    def close(self) -> None:
        """Hear no more of the scene."""
        self.line_selector.close()
        self._timer.stop()
        self.results.timer.stop()
        self.left()
        self.removeObservers()

    def _edited(self) -> None:
        self._follow()
        self._changed()

    def _follow(self) -> None:
        """List and observe what there is now, and show it, in a moment."""
        if not unsettled():
            self._list_volumes()
            self._observe()
            self._timer.start()

    def _ticked(self, item) -> None:
        if not self._echo:
            self._by_hand[item.data(qt.Qt.UserRole)] = item.checkState() == qt.Qt.Checked
            self._edited()

    def _place(self, *_signal) -> None:
        seen = profile_line.volume_in_view()
        if self._reference() is None and seen in images():
            self.case.choose(INPUT, seen)
            self.box.show()
        self._placing = profile_line.start_placing(slicer.mrmlScene)
        self.line_selector.show(self._placing)
        self._edited()

    def _moved(self, _node, _event) -> None:
        if not self._timer.active:  # it runs down even while an end is dragged without a pause
            self._timer.start()

    # Which volumes

    def _reference(self):
        """Return the volume that the others are compared with; None without one."""
        node = bridge.volume_of_sequence(self.case.node(TRUTH) or self.case.node(INPUT))
        return node if node is not None and node.IsA(VOLUME) else None  # a sequence of others

    def _is_compared(self, node) -> bool:
        proposed = [bridge.volume_of_sequence(self.case.node(role)) for role in (INPUT, RESULT)]
        return self._by_hand.get(node.GetID(), node in proposed)

    def _plotted(self) -> dict:
        """Return the labels of the volumes to plot, the reference first; none without it."""
        reference = self._reference()
        if reference is None:
            return {}
        labels = told_apart(dict.fromkeys([*images(), reference]))
        compared = [one for one in labels if one is not reference and self._is_compared(one)]
        return {one: labels[one] for one in (reference, *compared)}

    def _list_volumes(self) -> None:
        """List the images of the scene, without the reference, and say which that is."""
        reference, labels = self._reference(), told_apart(images())
        text = ""
        if reference is not None:
            text = _("The reference is '{name}'.") if self.case.node(TRUTH) else _INSTEAD
            text = text.format(name=labels.get(reference, reference.GetName()))
        show_text(self.reference_label, text)
        nodes = [one for one in labels if one is not reference]
        listed = [(one.GetID(), labels[one]) for one in nodes]
        with self._echo:
            if listed != self._listed:
                self._listed = listed
                self._fill_list()
            for n, node in enumerate(nodes):
                checked = qt.Qt.Checked if self._is_compared(node) else qt.Qt.Unchecked
                self.volume_list.item(n).setCheckState(checked)

    def _fill_list(self) -> None:
        self.volume_list.clear()
        for identifier, label in self._listed:
            item = qt.QListWidgetItem(label)
            item.setFlags(qt.Qt.ItemIsEnabled | qt.Qt.ItemIsSelectable | qt.Qt.ItemIsUserCheckable)
            item.setData(qt.Qt.UserRole, identifier)
            item.setToolTip(label)
            self.volume_list.addItem(item)
        shown = self.volume_list
        row = shown.sizeHintForRow(0) if self._listed else shown.fontMetrics().height()
        height = row * min(max(1, len(self._listed)), LIST_ROWS)
        shown.setFixedHeight(height + 2 * shown.frameWidth + 2)

    def _observe(self) -> None:
        """Follow the line and the volumes, and nothing else."""
        self.removeObservers()
        line = self.line_selector.node
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

    # Profiles

    def _update(self) -> None:
        """Show the profiles along the line as it lies now, once the volumes are read."""
        if unsettled() or self.work.running:  # when they are read, it is called again
            return
        self._list_volumes()
        if not self._in_view:
            return
        line, labels = self.line_selector.node, self._plotted()
        ends = profile_line.ends_of(line) if line is not None else None
        if ends is not None:
            self._placing = None
        kind, text, found = "info", missing(line, ends, labels), []
        if not text and not self._cache.holds(labels):
            self.work.start(self._cache.reading(labels), lambda _done: self._update(), self._failed)
            return
        if not text:
            try:
                self._cache.keep_only(labels)
                found = values_along(self._cache, labels, ends)
                kind, text = "warning", outside(found)
            except ContrastSynthError as error:
                kind, text = "failed", str(error)
        if text != self.message.text:
            self.message.show(kind, text)
        name = _("Profile: {line}").format(line=line.GetName()) if line is not None else ""
        self.results.show(found, name)
        self._plot(line, name)

    def _cancelled(self) -> None:
        self.message.show("info", _("Cancelled: not all scans are read. Move the line to go on."))

    def _failed(self, error: Exception) -> None:
        self.message.show("failed", str(error))
        self.results.show([], "")

    def _plot(self, line, name: str) -> None:
        """Draw what was found in the line's own chart, and show that."""
        lines = {one.label: one.profile for one in self.results.found if one.profile is not None}
        if not lines:
            return
        adopt_old_chart(line)
        chart = tables.computed_chart(
            PROFILE,
            {OF_LINE: line},
            name,
            next(iter(lines.values())).distance_mm,
            {label: profile.values for label, profile in lines.items()},
            (_("Distance along the line (mm)"), _("Intensity (a.u.)")),
            markers=False,
        )
        if chart is not self.chart.chart:
            self.chart.show(chart)
        else:
            self.chart.fit()

    # What a saved scene keeps

    def state(self) -> dict:
        """Return what a person chose, nodes as nodes."""
        ticked, unticked = [], []
        for identifier, compared in self._by_hand.items():
            if (node := slicer.mrmlScene.GetNodeByID(identifier)) is not None:
                (ticked if compared else unticked).append(node)
        return {"line": self.line_selector.node, "compared": ticked, "not_compared": unticked}

    def restore(self, state: dict) -> None:
        """Show a saved state."""
        self.line_selector.show(state.get("line"))
        # Older versions kept all that was compared, and the tab's own reference.
        ticked = [*state.get("compared", ()), state.get("reference")]
        ticked = [one for one in ticked if one is not None]
        unticked = state.get("not_compared", images() if ticked else ())
        self._by_hand = {one.GetID(): False for one in unticked if one is not None}
        self._by_hand |= {one.GetID(): True for one in ticked}
        self._scan = self.case.node(INPUT)
        self._follow()


_INSTEAD = _("The reference is '{name}', the input: no other is chosen.")


def missing(line, ends, labels: dict) -> str:
    """Return what keeps a profile from being plotted; nothing if nothing."""
    if line is None:
        return _("Choose a line, or draw a new one.")
    if ends is None:
        text = _("Click the two ends of '{name}' in a slice view.")
        return text.format(name=line.GetName())
    if not labels:
        return _("Choose an input or a reference above.")
    return ""


def adopt_old_chart(line) -> None:
    """Have the one chart that older versions made be that of the line which is plotted now."""
    for kind in (tables.CHART, tables.TABLE):
        for node in slicer.util.getNodesByClass(kind):
            if node.GetAttribute(OWN_NAME) == OLD_NAME and not relations.is_computed(node):
                node.SetAttribute(relations.DERIVED, PROFILE)
                node.SetNodeReferenceID(relations.SOURCE + OF_LINE, line.GetID())
