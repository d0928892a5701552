"""The tab of a dynamic series: its phases, and how a region takes up and loses the agent."""

import qt
import slicer
from slicer.i18n import tr as _
from slicer.util import VTKObservationMixin

from ContrastSynthLib.analysis.kinetics_report import SAME_TIME_S, kinetics_report
from ContrastSynthLib.errors import ContrastSynthError, RequestError
from ContrastSynthLib.geometry import grid_table
from ContrastSynthPanel.scene import bridge, phases
from ContrastSynthPanel.scene.bridge import SEGMENTATION, SEQUENCE
from ContrastSynthPanel.scene.chart_view import ChartView
from ContrastSynthPanel.tabs.tab import Tab
from ContrastSynthPanel.widgets import kinetics_results as results
from ContrastSynthPanel.widgets.forms import (
    add_row,
    combo,
    new_form,
    new_section,
    node_selector,
    once_after,
)
from ContrastSynthPanel.widgets.message import Message
from ContrastSynthPanel.widgets.node_selectors import MASKS, PICK_AFTER_MS, unsettled
from ContrastSynthPanel.widgets.phase_box import PhaseBox


class KineticsTab(Tab, VTKObservationMixin):
    """A series, a region, a synthetic series; phases; curves, type, measures and agreement."""

    title = _("Kinetics")

    def __init__(self, changed):
        """Make the tab."""
        Tab.__init__(self, changed)
        VTKObservationMixin.__init__(self)
        self._restoring, self._found, self._in_view = False, None, False
        self._by_hand, self._watched, self._prompt = set(), None, ""
        self.chart = ChartView()
        self.message, self.results = Message(), results.KineticsResults()
        self.phases = PhaseBox(self._corrected, self.message.show)
        self._pick_timer = once_after(PICK_AFTER_MS, self._pick)
        self._build()
        self._edited()

    def _build(self) -> None:
        inputs = qt.QWidget()
        form = new_form(inputs)
        self.selectors = {
            "series": node_selector(
                "series",
                [SEQUENCE],
                _("Choose a series"),
                _("A dynamic series: a sequence of volumes with the time of each."),
            ),
            "region": node_selector(
                "region",
                MASKS,
                _("Choose a segmentation"),
                _("A segmentation or a label map that marks the lesion."),
            ),
            "synthetic": node_selector(
                "synthetic",
                [SEQUENCE],
                _("None: no comparison"),
                _("A synthetic series of the same patient, on the same grid. Optional."),
            ),
        }
        for role, selector in self.selectors.items():
            self._follow(role, selector)
        add_row(form, _("Series"), self.selectors["series"])
        add_row(form, _("Region"), self.selectors["region"])
        self.segment_combo = combo("segment", {})
        self.segment_combo.connect("activated(int)", lambda _n: self._edited())
        self.segment_label = add_row(form, _("Segment"), self.segment_combo)
        add_row(form, _("Synthetic series"), self.selectors["synthetic"])
        self.column.addWidget(new_section(_("Inputs"), inputs))
        self.phase_section = new_section(_("Phases"), self.phases.widget)
        self.column.addWidget(self.phase_section)
        self.measure_button = qt.QPushButton(_("Measure"))
        self.measure_button.objectName = "measure"
        self.measure_button.connect("clicked(bool)", self._measure)
        for widget in (self.measure_button, self.message.widget, self.results.widget):
            self.column.addWidget(widget)
        self.column.addStretch(1)

    def _follow(self, role: str, selector) -> None:
        selector.connect("currentNodeChanged(vtkMRMLNode*)", lambda _node: self._edited())
        selector.connect("nodeActivated(vtkMRMLNode*)", lambda _node: self._by_hand.add(role))

    # What the user, and the scene, do

    def scene_changed(self) -> None:
        """Nodes came or went: pick and check, in a moment."""
        self._pick_timer.start()

    def scene_closed(self) -> None:
        """The scene is being closed: Slicer keeps the layout that it has now."""
        self.chart.put_back()
        self.phases.layers.put_back()

    def forget_nodes(self) -> None:
        """The scene is an empty one."""
        self._by_hand = set()
        self._forget_results()
        self._edited()

    def entered(self) -> None:
        """Show the curves that were measured."""
        self._in_view = True
        self._check()
        self._show_chart()

    def left(self) -> None:
        """Put back the layout and what the slice views showed."""
        self._in_view = False
        self.chart.put_back()
        self.phases.layers.put_back()

    def close(self) -> None:
        """Hear no more of the scene."""
        self._restoring = True
        for selector in self.selectors.values():
            selector.setMRMLScene(None)
        self._pick_timer.stop()
        self.left()
        self.removeObservers()
        self.phases.close()

    def node(self, role: str):
        """Return the chosen node: "series", "region" or "synthetic"."""
        return self.selectors[role].currentNode()

    @property
    def segment(self) -> str:
        """The ID of the chosen segment; "" for all of them, and for a label map."""
        region = self.node("region")
        if region is None or not region.IsA(SEGMENTATION):
            return ""
        return self.segment_combo.itemData(self.segment_combo.currentIndex) or ""

    def _pick(self) -> None:
        """Choose what there is only one of, unless somebody has chosen."""
        found = {role: [] for role in self.selectors}
        for node in slicer.util.getNodesByClass(SEQUENCE):
            marked = "SYNTHETIC" in node.GetName() or node.GetAttribute(bridge.SYNTHETIC)
            found["synthetic" if marked else "series"].append(node)
        found["region"] = slicer.util.getNodesByClass(SEGMENTATION)
        for role, nodes in found.items():
            if len(nodes) == 1 and role not in self._by_hand and self.node(role) is None:
                self.selectors[role].setCurrentNode(nodes[0])
        self._check()

    def _edited(self) -> None:
        """Something else was chosen: what was measured is of no use any more."""
        if self._restoring or unsettled():
            return
        self._show_segments()
        self.phases.set_series(self.node("series"), self.node("synthetic"))
        self._forget_results()
        self._check()
        self._changed()

    def _corrected(self, text: str) -> None:
        self._forget_results()
        self._check()
        self.message.show("done", text)
        self._changed()

    def _forget_results(self) -> None:
        self._found = None
        self.results.clear()
        self.phases.show_enhancement({})
        self.message.show("info", "")

    def _check(self) -> None:
        """Show the phases, and what is missing for measuring."""
        self.phases.set_series(self.node("series"), self.node("synthetic"))
        self.phase_section.visible = self.node("series") is not None
        missing, problem = self._missing(), self._problem()
        self.measure_button.enabled = not (missing or problem)
        text = _("Measure the mean curve of the region.")
        self.measure_button.toolTip = problem or missing or text
        if problem or missing or self.message.text == self._prompt:
            self._prompt = problem or missing
            self.message.show("warning" if problem else "info", self._prompt)

    def _missing(self) -> str:
        """Return what is still to be chosen, as a sentence; nothing if nothing."""
        series, synthetic = self.node("series"), self.node("synthetic")
        if series is None:
            return _("Choose a series.")
        if self.node("region") is None:
            return _("Choose a segmentation or a label map that marks the region.")
        if synthetic is series:
            return _("'{name}' is chosen twice.").format(name=series.GetName())
        return ""

    def _problem(self) -> str:
        """Return why the times of a series cannot be used; nothing if they can."""
        for role in ("series", "synthetic"):
            try:
                if (node := self.node(role)) is not None:
                    bridge.times_of_sequence_node(node)
            except RequestError as error:
                here = role == "series" and phases.has_no_unit(node)
                hint = _("Or choose above, under 'Index counts', what it is.") if here else ""
                return f"{error} {hint}".strip()
        return ""

    # Segments

    def _show_segments(self) -> None:
        """List the segments of the chosen segmentation, and follow what becomes of them."""
        region, chosen = self.node("region"), self.segment
        segmentation = region.GetSegmentation() if region and region.IsA(SEGMENTATION) else None
        if segmentation is not self._watched:
            self.removeObservers(self._on_segments)
            self._watched = segmentation
            events = ("SegmentAdded", "SegmentRemoved", "SegmentModified")
            for event in events if segmentation is not None else ():
                self.addObserver(segmentation, getattr(segmentation, event), self._on_segments)
        self.segment_combo.clear()
        ids = list(segmentation.GetSegmentIDs()) if segmentation is not None else []
        for segment_id in ids:
            self.segment_combo.addItem(segmentation.GetSegment(segment_id).GetName(), segment_id)
        if len(ids) > 1:
            self.segment_combo.addItem(_("All of them together"), "")
        self.segment_combo.setCurrentIndex(max(0, self.segment_combo.findData(chosen)))
        self.segment_label.visible = self.segment_combo.visible = bool(ids)

    def _on_segments(self, _segmentation, _event) -> None:
        before = self.segment
        self._show_segments()
        if self.segment != before:
            self._edited()

    # Measuring

    def _measure(self) -> None:
        self._check()  # A node may have been changed since the last look.
        if not self.measure_button.enabled:
            return
        self._forget_results()
        try:
            with slicer.util.WaitCursor():
                self._found = self._measured()
        except ContrastSynthError as error:
            self._found = None
            self.message.show("failed", str(error))
        self._show_found()
        self._show_chart()
        self._changed()

    def _measured(self) -> dict:
        """Return the library's report with what it is about."""
        nodes = [node for node in (self.node("series"), self.node("synthetic")) if node]
        several = [bridge.series_from_sequence_node(node) for node in nodes]
        mask, region = self._mask()
        grids = {node.GetName(): one[0].grid for node, one in zip(nodes, several, strict=True)}
        refuse_other_grids(grids | {region: mask.grid})
        if not mask.array.any():
            text = _("'{region}' holds no voxel of '{series}'. Draw it there, or choose another.")
            raise RequestError(text.format(region=region, series=nodes[0].GetName()))
        if len(several) > 1:
            refuse_other_times(nodes, several)
        report = kinetics_report(several[0], None, mask, *several[1:])
        results.enhancements(report)  # raises where there is no baseline
        marked = [bool(one[0].synthetic) for one in several]
        return results.measured(report, [node.GetName() for node in nodes], marked, region)

    def _mask(self) -> tuple:
        """Return the mask on the grid of the series, and its name."""
        region = self.node("region")
        if not region.IsA(SEGMENTATION):
            return bridge.volume_from_node(region, mask=True), region.GetName()
        if not region.GetSegmentation().GetNumberOfSegments():
            text = _("'{name}' has no segment. Draw one in the Segment Editor.")
            raise RequestError(text.format(name=region.GetName()))
        name = region.GetName()
        if self.segment:
            name = self.segment_combo.itemText(self.segment_combo.currentIndex)
        scan = bridge.shown_volume(self.node("series"))
        return bridge.mask_from_segmentation(region, scan, self.segment), name

    def _show_found(self) -> None:
        if self._found is None:
            return
        report = self._found["report"]
        titles = [f"{title} (%)" for title in self._found["titles"]]
        percent = dict(zip(titles, results.enhancements(report), strict=True))
        self.phases.show_enhancement(percent)
        self.results.show(self._found)

    def _show_chart(self) -> None:
        """Show the chart of the results, made again if somebody deleted it."""
        if self._found is not None and self._in_view:
            self.chart.show(results.add_nodes(slicer.mrmlScene, self._found))

    # What a saved scene keeps

    def state(self) -> dict:
        """Return what was chosen, nodes as nodes, and what was measured."""
        nodes = {role: self.node(role) for role in self.selectors}
        return {
            "nodes": {role: node for role, node in nodes.items() if node is not None},
            "by_hand": sorted(self._by_hand),
            "segment": self.segment,
            "found": self._found,
        }

    def restore(self, state: dict) -> None:
        """Show a saved state."""
        nodes = state.get("nodes", {})
        self._restoring = True
        for role, selector in self.selectors.items():
            selector.setCurrentNode(nodes.get(role))
        self._restoring = False
        self._by_hand = set(state.get("by_hand", ()))
        self._show_segments()
        self.segment_combo.setCurrentIndex(
            max(0, self.segment_combo.findData(state.get("segment", "")))
        )
        self._forget_results()
        self._check()
        found = state.get("found") or {}
        known = found.get("schema_version") == results.SCHEMA_VERSION
        self._found = found if known and None not in nodes.values() else None
        self._show_found()
        self._show_chart()


def refuse_other_grids(grids: dict) -> None:
    """Raise RequestError, naming what differs, unless all grids are the same."""
    first = next(iter(grids))
    for name, grid in grids.items():
        if not grid.is_same(grids[first]):
            text = _(
                "'{name}' lies on another grid than '{first}'. Resample it onto the series first, "
                "for example with the module Resample Scalar/Vector/DWI Volume.\n\n{table}"
            )
            table = grid_table({first: grids[first], name: grid})
            raise RequestError(text.format(name=name, first=first, table=table))


def refuse_other_times(nodes, several) -> None:
    """Raise RequestError where the second series has a phase that the first has not."""
    times, wanted = ([one.acquisition.time_s for one in series] for series in several)
    for time_s in wanted:
        if min(abs(time_s - other) for other in times) > SAME_TIME_S:
            text = _(
                "'{second}' has a phase at {time:g} s, '{first}' has none within {within:g} s of "
                "it. Correct the time in the table, or choose the series that belongs to it."
            )
            first, second = (node.GetName() for node in nodes)
            within = SAME_TIME_S
            raise RequestError(text.format(first=first, second=second, time=time_s, within=within))
