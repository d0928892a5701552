"""The tab that shows where contrast agent went, and which enhancement was missed or invented."""

import qt
import slicer
from slicer.i18n import tr as _

from ContrastSynthLib.analysis.uptake import CONVENTIONS, REFERENCE_LEVELS
from ContrastSynthLib.errors import ContrastSynthError, RequestError
from ContrastSynthLib.physics.constants import UPTAKE_THRESHOLD
from ContrastSynthPanel.scene import bridge, series_names, uptake_results, views
from ContrastSynthPanel.tabs.tab import Tab
from ContrastSynthPanel.widgets.forms import (
    add_row,
    choose,
    chosen,
    combo,
    new_form,
    new_section,
    once_after,
    slider,
)
from ContrastSynthPanel.widgets.lesion_table import LesionTable
from ContrastSynthPanel.widgets.node_selectors import MASKS, Role, VolumeSelectors, results
from ContrastSynthPanel.widgets.notice import Notice

UPDATE_AFTER_MS = 100  # while a slider moves, it is not computed at every step
MAP_THRESHOLD = 0.5
ROLES = {
    "pre": Role(_("Pre-contrast"), _("Choose a volume"), _("A scan, or a synthetic one.")),
    "post": Role(_("Post-contrast"), _("Choose a volume"), _("A scan, or a synthetic one.")),
    "reference": Role(
        _("Reference"),
        _("None"),
        _(
            "Optional: the true scan of the one that is synthetic. With it, missed and invented "
            "enhancement is found."
        ),
    ),
    "map": Role(
        _("Ready-made map"),
        _("None: from pre and post"),
        _("Optional: a map of uptake from 0 to 1, as methods give it out."),
    ),
    "mask": Role(
        _("Mask of the brain or breast"),
        _("None: found in the scans"),
        _("Optional: a segmentation or a label map."),
        tuple(MASKS),
    ),
}
SHOWN = {"uptake": _("Uptake"), "enhancement": _("Missed and invented")}
REGIONS = {"outline": _("Outlines"), "fill": _("Filled"), "none": _("Not at all")}


class UptakeTab(Tab):
    """Volumes, a threshold, how it is drawn, and the table of missed and invented lesions."""

    title = _("Uptake")

    def __init__(self, changed):
        """Make the tab."""
        super().__init__(changed)
        self._restoring, self._resample = False, False
        self._thresholds = {"difference": UPTAKE_THRESHOLD, "map": MAP_THRESHOLD}
        self._scans = None  # what was read, and of which state of which nodes
        self._found = None  # the lesions, and what was asked for
        self._shown = {}  # the nodes by role that the results are of
        self.made = {}  # the nodes of the results: overlay, mask, enhancement
        self._summary = ""
        self._timer = once_after(UPDATE_AFTER_MS, self.update)
        self.inputs = VolumeSelectors(ROLES, self._pick, self._chosen)
        self.notice = Notice(self._resample_and_show)
        self.table = LesionTable(self._jump)
        self._build()
        self._show_threshold()
        self.inputs.pick()

    # Its parts

    def _build(self) -> None:
        self.column.addWidget(new_section(_("Volumes"), self.inputs.widget))
        self.column.addWidget(new_section(_("Threshold"), self._threshold_form()))
        self.show_button = qt.QPushButton(_("Show uptake"))
        self.show_button.objectName = "show"
        self.show_button.connect("clicked(bool)", lambda *_signal: self._show_pressed())
        self.column.addWidget(self.show_button)
        self.column.addWidget(self.notice.widget)
        self.column.addWidget(new_section(_("Display"), self._display_form()))
        self.lesions_section = new_section(
            _("Missed and invented enhancement"), self._lesions_form()
        )
        self.column.addWidget(self.lesions_section)
        self.column.addStretch(1)

    def _threshold_form(self):
        widget = qt.QWidget()
        form = new_form(widget)
        self.level_combo = combo("level", {k: uptake_results.UNITS[k] for k in REFERENCE_LEVELS})
        sources = [CONVENTIONS[key].source for key in REFERENCE_LEVELS.values()]
        self.level_combo.toolTip = "\n".join(
            f"{uptake_results.UNITS[level]}: {source}."
            for level, source in zip(REFERENCE_LEVELS, sources, strict=True)
        )
        self.threshold = slider("threshold", 0.005, 1.0, 0.005)
        self.threshold.toolTip = _("Uptake is where post less pre is above this.")
        self.level_combo.connect("currentIndexChanged(int)", self._set)
        self.threshold.connect("valueChanged(double)", self._set)
        add_row(form, _("Threshold"), self.threshold)
        self._level_label = add_row(form, _("Measured in"), self.level_combo)
        return widget

    def _display_form(self):
        widget = qt.QWidget()
        form = new_form(widget)
        self.shown_combo = combo("shown", SHOWN)
        self.shown_combo.toolTip = _("What the slice views show over the scan.")
        self.overlay_check = qt.QCheckBox()
        self.overlay_check.checked = True
        self.overlay_check.toolTip = _(
            "The uptake in colours, from dark red (low) to white (high)."
        )
        self.regions_combo = combo("regions", REGIONS)
        self.opacity = slider("opacity", 0.0, 100.0, 1.0)
        self.opacity.suffix, self.opacity.value = " %", 50.0
        self.opacity.toolTip = _("Of the overlay and of filled regions.")
        self.shown_combo.connect("currentIndexChanged(int)", self._display)
        self.overlay_check.connect("toggled(bool)", self._display)
        self.regions_combo.connect("currentIndexChanged(int)", self._display)
        self.opacity.connect("valueChanged(double)", self._display)
        add_row(form, _("Show"), self.shown_combo)
        add_row(form, _("Soft overlay"), self.overlay_check)
        add_row(form, _("Regions as"), self.regions_combo)
        add_row(form, _("Opacity"), self.opacity)
        return widget

    def _lesions_form(self):
        widget = qt.QWidget()
        column = qt.QVBoxLayout(widget)
        column.setContentsMargins(0, 0, 0, 0)
        row = qt.QWidget()
        self.lesion_threshold = slider("lesion_threshold", 0.01, 1.0, 0.01)
        self.lesion_threshold.value = UPTAKE_THRESHOLD
        self.lesion_threshold.toolTip = _(
            "What counts as enhancement, as a share of the 99.9th percentile of pre, each scan "
            "divided by its median: as the command 'evaluate' measures it."
        )
        self.lesion_threshold.connect("valueChanged(double)", self._set)
        add_row(new_form(row), _("Lesion threshold, share of pre"), self.lesion_threshold)
        column.addWidget(row)
        column.addWidget(self.table.widget)
        return widget

    # What the user, and the scene, do

    def scene_changed(self) -> None:
        """Nodes came or went: pick, in a moment."""
        self.inputs.timer.start()

    def forget_nodes(self) -> None:
        """The scene is an empty one."""
        self._scans = self._found = None
        self._shown, self.made, self._summary = {}, {}, ""
        self.inputs.forget()
        self.table.show([])
        self.notice.show("info", "")
        self._check()

    def scene_closed(self) -> None:
        """The scene is about to be closed."""
        self._timer.stop()

    def close(self) -> None:
        """The panel is being taken down."""
        self._timer.stop()
        self.inputs.timer.stop()

    def _pick(self, volumes: list) -> dict:
        """Return pre and post by their names; a result stands for the scan that it imitates.

        So the uptake of the newest synthetic pre or post scan is looked at; the true one, where
        it is there, is the reference.
        """
        found = series_names.pick_roles(volumes, list(uptake_results.PAIR))
        found["reference"] = None
        for node, role, _source in results(volumes, uptake_results.PAIR)[:1]:
            if role not in self.inputs.chosen:
                found["reference"], found[role] = found[role], node
        return {role: node for role, node in found.items() if node or role == "reference"}

    def _chosen(self) -> None:
        """Other volumes are chosen, or picked."""
        if not self._restoring:
            self._resample = self._resample and self.inputs.nodes() == self._shown
            self._check()
            self._show_threshold()
            self._changed()

    def _check(self) -> None:
        nodes = self.inputs.nodes()
        missing = self.inputs.unchosen(() if "map" in nodes else uptake_results.PAIR)
        self.show_button.enabled = not missing
        self.show_button.toolTip = missing or _(
            "Make the overlay and the mask. Moving the threshold then changes both."
        )
        others = bool(self.made) and nodes != self._shown
        self.show_button.text = _("Show uptake of these volumes") if others else _("Show uptake")
        self.shown_combo.enabled = self._there("enhancement")
        if not self.shown_combo.enabled:
            choose(self.shown_combo, "uptake")
        self.lesions_section.visible = "reference" in nodes or bool(self.table.rows)

    @property
    def _measure(self) -> str:
        return "map" if "map" in self.inputs.nodes() else "difference"

    def _show_threshold(self) -> None:
        """Show the threshold of what it applies to: a difference, or a ready-made map."""
        restoring, self._restoring = self._restoring, True
        self.threshold.value = self._thresholds[self._measure]
        self._restoring = restoring
        self.level_combo.enabled = self._level_label.enabled = self._measure == "difference"

    def _set(self, *_signal) -> None:
        """A threshold, or what it is measured in, was set: what is shown follows."""
        if self._restoring:
            return
        self._thresholds[self._measure] = float(self.threshold.value)
        if self._shown and self._shown == self.inputs.nodes():
            self._timer.start()
        self._changed()

    def _show_pressed(self) -> None:
        self._shown, before = self.inputs.nodes(), self.made
        if self.update():
            self._hide([node for name, node in before.items() if node is not self.made.get(name)])
            self._lay_out()

    def _resample_and_show(self) -> None:
        self._resample = True
        self._show_pressed()

    def update(self) -> bool:
        """Compute what is shown anew, in place; return whether that was possible."""
        done = False
        try:
            self._compute()
            done = True
        except ContrastSynthError as error:
            self._summary = ""
            self.notice.show_error(error)
        self._check()
        self._display()
        return done

    def _compute(self) -> None:
        nodes, scans = self._shown, self._read()
        threshold, level = self._thresholds[self._measure], chosen(self.level_combo)
        shown = uptake_results.show_uptake(scans, nodes, threshold, level)
        self.made, rows, text = {"overlay": shown.overlay, "mask": shown.mask}, [], [shown.summary]
        warnings = list(scans.warnings)
        if "reference" in nodes and scans.brain is not None:
            try:
                self.made["enhancement"], rows, lesions = self._lesions(scans)
                text.append(lesions)
            except RequestError as error:  # there is the uptake all the same
                warnings.append(str(error))
        if rows is not self.table.rows:
            self.table.show(rows)
        self._show_summary("\n".join([*text, *(f"\N{BULLET} {one}" for one in warnings)]))

    def _lesions(self, scans) -> tuple:
        """Return map, rows and a summary, found again only where something else is asked."""
        asked = scans, float(self.lesion_threshold.value)
        if self._found is None or self._found[0] != asked or not present(self._found[1][0]):
            self._found = asked, uptake_results.show_enhancement(scans, self._shown, asked[1])
        return self._found[1]

    def _show_summary(self, text: str) -> None:
        self._summary = text
        self.notice.show("warning" if "\N{BULLET}" in text else "done", text)

    def _read(self):
        """Return what the nodes hold, read again only where one of them was changed."""
        state = (
            self._resample,
            {role: uptake_results.state_of(node) for role, node in self._shown.items()},
        )
        if self._scans is None or self._scans[0] != state:
            self._scans = None  # so that two of them are never held
            self._scans = state, uptake_results.read_scans(self._shown, self._resample)
        return self._scans[1]

    # What is seen of it

    def _lay_out(self) -> None:
        """Show the overlay over the scan, in all slice views."""
        scan = self._shown.get("post") or self._shown.get("pre") or "keep-current"
        views.show_layers(scan, self.made["overlay"], self._overlay_opacity())

    def _display(self, *_signal) -> None:
        """Draw what is there as it was chosen."""
        if self._restoring:
            return
        lesions = chosen(self.shown_combo) == "enhancement"
        self.overlay_check.enabled = not lesions
        if self._there("overlay") and views.shows("Foreground", self.made["overlay"]):
            views.set_foreground_opacity(self._overlay_opacity())
        regions, opacity = chosen(self.regions_combo), self.opacity.value / 100.0
        if self._there("mask"):
            display = self.made["mask"].GetDisplayNode()
            display.SetVisibility(regions != "none" and not lesions)
            display.SetVisibility2DFill(regions == "fill")
            display.SetOpacity2DFill(opacity)
            display.SetVisibility2DOutline(True)
        if self._there("enhancement"):
            outline, seen = regions == "outline", lesions and regions != "none"
            if seen:
                views.show_labels(self.made["enhancement"], 1.0 if outline else opacity, outline)
            elif views.shows("Label", self.made["enhancement"]):
                views.show_labels(None, 1.0, False)
        self._changed()

    def _hide(self, nodes: list) -> None:
        """Hide results of other volumes: two masks over one another cannot be read."""
        for node in filter(present, nodes):
            if node.IsA(bridge.SEGMENTATION):
                node.GetDisplayNode().SetVisibility(False)
            elif node.IsA(bridge.LABEL_MAP) and views.shows("Label", node):
                views.show_labels(None, 1.0, False)

    def _overlay_opacity(self) -> float:
        seen = self.overlay_check.checked and chosen(self.shown_combo) == "uptake"
        return self.opacity.value / 100.0 if seen else 0.0

    def _there(self, what: str) -> bool:
        return present(self.made.get(what))

    def _jump(self, ras_mm) -> None:
        """Show a lesion, and the map that it is of."""
        choose(self.shown_combo, "enhancement")
        views.jump(ras_mm)

    # What a saved scene keeps

    def state(self) -> dict:
        """Return all that was chosen, the nodes of the results, and their summary."""
        return {
            **self.inputs.state(),
            "thresholds": dict(self._thresholds),
            "lesion_threshold": float(self.lesion_threshold.value),
            "level": chosen(self.level_combo),
            "display": {
                "shown": chosen(self.shown_combo),
                "overlay": bool(self.overlay_check.checked),
                "regions": chosen(self.regions_combo),
                "opacity": float(self.opacity.value),
            },
            "results_of": {role: node for role, node in self._shown.items() if present(node)},
            "resample": self._resample,
            "results": {name: node for name, node in self.made.items() if present(node)},
            "told": self._summary,
            "lesions": self.table.rows,
        }

    def restore(self, state: dict) -> None:
        """Show a saved state; what this version does not know is left as it is."""
        self._restoring = True
        self.inputs.restore(state)
        self._thresholds.update(state.get("thresholds", {}))
        self.lesion_threshold.value = state.get("lesion_threshold", UPTAKE_THRESHOLD)
        choose(self.level_combo, state.get("level"))
        display = state.get("display", {})
        choose(self.shown_combo, display.get("shown"))
        choose(self.regions_combo, display.get("regions"))
        self.overlay_check.checked = display.get("overlay", True)
        self.opacity.value = display.get("opacity", 50.0)
        self._resample = state.get("resample", False)
        self._shown, self.made = known(state, "results_of"), known(state, "results")
        self.table.show(state.get("lesions", []))
        self._show_summary(state.get("told", ""))
        self._show_threshold()
        self._restoring = False
        self._check()
        self.overlay_check.enabled = chosen(self.shown_combo) != "enhancement"


def present(node) -> bool:
    """Return whether a node is in the scene."""
    return node is not None and bool(slicer.mrmlScene.IsNodePresent(node))


def known(state: dict, key: str) -> dict:
    """Return the nodes of a saved state that are still there."""
    return {name: node for name, node in state.get(key, {}).items() if node is not None}
