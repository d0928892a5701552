"""The tab that compares an input, a result and a reference in the slice views."""

import qt
import slicer
from slicer.i18n import tr as _

from ContrastSynthLib.errors import ContrastSynthError
from ContrastSynthPanel.scene import colours, difference, series_names, views
from ContrastSynthPanel.scene.flicker import USUAL_HZ, Flicker
from ContrastSynthPanel.scene.levels import Levels
from ContrastSynthPanel.tabs.tab import Tab
from ContrastSynthPanel.widgets.forms import (
    add_row,
    choose,
    chosen,
    combo,
    new_form,
    new_section,
    slider,
)
from ContrastSynthPanel.widgets.node_selectors import Role, VolumeSelectors, results
from ContrastSynthPanel.widgets.notice import Notice

MODES = {
    "side": (_("Side by side"), _("Each volume in a slice view of its own; the views are linked.")),
    "blend": (_("Blend"), _("One volume over the other, as opaque as the slider says.")),
    "flicker": (_("Flicker"), _("One volume and the other, in turns, at the same place.")),
    "difference": (_("Difference"), _("The second volume less the first, in colours.")),
}
ROLES = {
    "input": Role(_("Input"), _("None"), _("The scan that the result was made from.")),
    "result": Role(_("Result"), _("None"), _("The synthetic volume.")),
    "reference": Role(_("Reference"), _("None"), _("Optional: the true scan.")),
}
# Of two volumes, in the order in which they are offered; the difference is second less first.
PAIRS = (("reference", "result"), ("input", "result"), ("input", "reference"))
RESULT_ROLES = ("pre", "post", "low", "t2", "adc")
SCALE_HEIGHT = 12
OPACITIES = {"blend": 50.0, "difference": 100.0}  # in %, of what is shown over the first volume


class CompareTab(Tab):
    """Volumes, four ways to compare them, and the end of it, which puts the views back."""

    title = _("Compare")

    def __init__(self, changed):
        """Make the tab."""
        super().__init__(changed)
        self.mode, self._before, self._compared = "", None, {}
        self._restoring, self._resample, self._ranges = False, False, {}
        self._opacities = dict(OPACITIES)
        self._difference, self._levels = None, Levels()
        self.flicker = Flicker(self._setting_changed)
        self.inputs = VolumeSelectors(ROLES, pick_volumes, self._chosen)
        self.notice = Notice(self._resample_and_show)
        self._build()
        self.inputs.pick()

    # Its parts

    def _build(self) -> None:
        self.column.addWidget(new_section(_("Volumes"), self.inputs.widget))
        content = qt.QWidget()
        column = qt.QVBoxLayout(content)
        column.setContentsMargins(0, 0, 0, 0)
        grid = qt.QGridLayout()
        self.buttons = {key: self._mode_button(key) for key in MODES}
        for number, button in enumerate(self.buttons.values()):
            grid.addWidget(button, number // 2, number % 2)
        column.addLayout(grid)
        self.controls = {
            "pair": self._pair_box(),
            "side": self._side_box(),
            "opacity": self._opacity_box(),
            "flicker": self.flicker.widget,
            "normalise": self._normalise_box(),
            "difference": self._difference_box(),
        }
        for box in self.controls.values():
            column.addWidget(box)
        column.addWidget(self.notice.widget)
        self.end_button = qt.QPushButton(_("End the comparison"))
        self.end_button.objectName = "end"
        self.end_button.toolTip = _("Put the slice views back as they were.")
        self.end_button.connect("clicked(bool)", lambda *_signal: self.end())
        column.addWidget(self.end_button)
        self.column.addWidget(new_section(_("Comparison"), content))
        self.column.addStretch(1)

    def _mode_button(self, key: str):
        button = qt.QPushButton(MODES[key][0])
        button.objectName = key
        button.checkable = True
        button.connect("clicked(bool)", lambda *_signal: self._pressed(key))
        return button

    def _pair_box(self):
        box = qt.QWidget()
        self.pair_combo = combo("pair", {})
        self.pair_combo.toolTip = _(
            "The second is shown over the first; the difference is second less first."
        )
        self.pair_combo.connect("currentIndexChanged(int)", self._set)
        add_row(new_form(box), _("Of"), self.pair_combo)
        return box

    def _side_box(self):
        box = qt.QWidget()
        titles = (_("Axial"), _("Sagittal"), _("Coronal"))
        entries = dict(zip(views.ORIENTATIONS, titles, strict=True))
        self.orientation_combo = combo("orientation", entries)
        self.orientation_combo.connect("currentIndexChanged(int)", self._set)
        add_row(new_form(box), _("Orientation"), self.orientation_combo)
        return box

    def _opacity_box(self):
        box = qt.QWidget()
        self.opacity = slider("opacity", 0.0, 100.0, 1.0)
        self.opacity.suffix = " %"
        self.opacity.toolTip = _(
            "Of the second volume, or of the difference, over the first: 0 % shows only the first."
        )
        self.opacity.connect("valueChanged(double)", self._blend)
        add_row(new_form(box), _("Opacity"), self.opacity)
        return box

    def _normalise_box(self):
        box = qt.QWidget()
        self.normalise_combo = combo("normalise", difference.NORMALISE)
        self.normalise_combo.toolTip = _(
            "Two scans of one patient differ in overall brightness. For the difference, each is "
            "divided by its own level; their windows in the views are scaled by it. Or the values "
            "are taken as they are."
        )
        self.normalise_combo.connect("currentIndexChanged(int)", self._set)
        add_row(new_form(box), _("Normalise"), self.normalise_combo)
        return box

    def _difference_box(self):
        box = qt.QWidget()
        form = new_form(box)
        self.range = slider("range", 0.0, 1.0, 0.001)
        self.range.toolTip = _("The difference at which the colours end, on either side of zero.")
        self.range.connect("valueChanged(double)", self._set_range)
        scale = qt.QLabel()
        scale.setFixedHeight(SCALE_HEIGHT)
        scale.setStyleSheet(colours.scale_style())
        self.scale_label = qt.QLabel()
        self.scale_label.wordWrap = True
        add_row(form, _("Colours end at \N{PLUS-MINUS SIGN}"), self.range)
        form.addRow(scale)
        form.addRow(self.scale_label)
        return box

    # What the user, and the scene, do

    def scene_changed(self) -> None:
        """Nodes came or went: pick, in a moment; what is gone is not compared any more."""
        self.inputs.timer.start()
        self._end_if_gone()

    def _end_if_gone(self) -> None:
        gone = [n for n in self._compared.values() if not slicer.mrmlScene.IsNodePresent(n)]
        if gone and self.mode:
            self.end()
            text = _("The comparison was ended: '{name}' was deleted.")
            self.notice.show("warning", text.format(name=gone[0].GetName()))

    def scene_closed(self) -> None:
        """The scene is about to be closed: put the views back while their volumes are there."""
        self.end()

    def forget_nodes(self) -> None:
        """The scene is an empty one."""
        self._compared, self._ranges, self._difference = {}, {}, None
        self.inputs.forget()
        self._check()

    def left(self) -> None:
        """Another tab or module is shown: the slice views are as they were."""
        self.end()

    def close(self) -> None:
        """The panel is being taken down."""
        self.end()
        self.inputs.timer.stop()

    def _chosen(self) -> None:
        """Other volumes are chosen, or picked."""
        if self._restoring:
            return
        self._end_if_gone()
        self._check()
        if self.inputs.nodes() != self._compared:
            self._resample = False  # was allowed for others
            if self.mode:
                self.show(self.mode)
        self._changed()

    def _check(self) -> None:
        """Offer the pairs that there are, and say what is missing for a comparison."""
        nodes = self.inputs.nodes()
        offered = [pair for pair in PAIRS if set(pair) <= set(nodes)]
        before, restoring, self._restoring = chosen(self.pair_combo), self._restoring, True
        self.pair_combo.clear()
        for pair in offered:
            first, second = (self.inputs.title(role) for role in pair)
            self.pair_combo.addItem(_("{a} and {b}").format(a=first, b=second), " ".join(pair))
        choose(self.pair_combo, before)
        self._restoring = restoring
        missing = self.inputs.unchosen(()) or ("" if offered else _("Choose two volumes at least."))
        for key, button in self.buttons.items():
            button.enabled = not missing
            button.toolTip = missing or MODES[key][1]
        if missing and self.mode:
            self.end()
        self._show_controls()

    def _show_controls(self) -> None:
        shown = {"side": ("side",), "difference": ("pair", "opacity", "difference")}
        shown |= {"blend": ("pair", "opacity"), "flicker": ("pair", "flicker"), "": ()}
        for key, box in self.controls.items():
            box.visible = key in shown[self.mode] if key != "normalise" else bool(self.mode)
        for key, button in self.buttons.items():
            button.checked = key == self.mode
        self.end_button.enabled = bool(self.mode)

    def _pressed(self, key: str) -> None:
        if key == self.mode:
            self.end()
        else:
            self.show(key)

    def _set(self, *_signal) -> None:
        """The pair, the orientation or the normalisation was set."""
        if not self._restoring:
            if self.mode:
                self.show(self.mode)
            self._changed()

    def _setting_changed(self) -> None:
        if not self._restoring:
            self._changed()

    def _resample_and_show(self) -> None:
        self._resample = True
        self.show("difference")

    # Comparisons

    def pair(self) -> dict:
        """Return the two nodes by role, the first, which lies below, first."""
        nodes = self.inputs.nodes()
        return {role: nodes[role] for role in (chosen(self.pair_combo) or "").split()}

    def show(self, mode: str) -> None:
        """Compare in this way, at the place that the slice views show now."""
        self.flicker.stop()
        if self._before is None:
            self._before = views.Before()
        elif "side" in (self.mode, mode):
            place = views.centre()
            self._before.put_back()
            views.jump(place)
        self.mode, self._compared = mode, self.inputs.nodes()
        self.notice.show("info", "")
        nodes = list(self._compared.values())  # the input first, where there is one
        kind, alike = self._levels.show_alike(nodes, chosen(self.normalise_combo))
        try:
            if text := getattr(self, f"_show_{mode}")():
                self.notice.show(kind, f"{text} {alike}")
        except ContrastSynthError as error:
            self._put_back()
            self.notice.show_error(error)  # the controls stay, so that it can be set otherwise
        self._show_controls()
        self._changed()

    def end(self) -> None:
        """End the comparison: the slice views are as they were."""
        if self.mode:
            self._put_back()
            self.mode = ""
            self.notice.show("info", "")
            self._show_controls()
            self._changed()

    def _put_back(self) -> None:
        self.flicker.stop()
        if self._before is not None:
            self._before.put_back()
            self._before = None
        self._levels.put_back()

    # Each of these returns the text of a message; nothing where it shows its own.

    def _show_side(self) -> str:
        nodes = self.inputs.nodes()
        volumes = [nodes[role] for role in ROLES if role in nodes]
        views.show_side_by_side(volumes, chosen(self.orientation_combo))
        order = ", ".join(f"'{node.GetName()}'" for node in volumes)
        return _("From left to right: {order}.").format(order=order)

    def _show_blend(self) -> str:
        first, second = self.pair().values()
        self._lay_over(first, second)
        return _("'{b}' over '{a}'.").format(a=first.GetName(), b=second.GetName())

    def _blend(self, *_signal) -> None:
        if not self._restoring:
            self._opacities[self.mode] = float(self.opacity.value)
            if self._before is not None:
                views.set_foreground_opacity(self.opacity.value / 100.0)
            self._changed()

    def _lay_over(self, background, foreground) -> None:
        restoring, self._restoring = self._restoring, True
        self.opacity.value = self._opacities[self.mode]
        self._restoring = restoring
        views.show_layers(background, foreground, self.opacity.value / 100.0)

    def _show_flicker(self) -> str:
        first, second = self.pair().values()
        self.flicker.start(first, second)
        return _("'{a}' and '{b}' in turns.").format(a=first.GetName(), b=second.GetName())

    def _show_difference(self) -> None:
        kind = chosen(self.normalise_combo)
        found = self._difference = difference.show_difference(self.pair(), kind, self._resample)
        self._show_range(found, kind)
        difference.set_window(found.node, self.range.value)
        self._lay_over(next(iter(self.pair().values())), found.node)
        self.notice.show("done", found.summary)

    def _show_range(self, found, kind: str) -> None:
        """Fit the slider to the values of a difference."""
        self._restoring = True
        largest = max(found.largest, found.window) or 1.0
        digits = 2 - int(f"{largest:e}".partition("e")[2])  # after the point, to show three
        self.range.decimals, step = max(0, digits), 10.0**-digits
        self.range.setRange(step, largest)
        self.range.singleStep = self.range.pageStep = step
        self.range.value = self._ranges.get(kind, found.window or largest)
        self.range.suffix = f" {difference.UNITS[kind]}".rstrip()
        self._restoring = False
        first, second = (self.inputs.title(role).lower() for role in self.pair())
        text = _("Blue: the {second} is lower than the {first}. Red: it is higher. Black: equal.")
        self.scale_label.text = text.format(first=first, second=second)

    def _set_range(self, *_signal) -> None:
        if not self._restoring and self._difference is not None:
            self._ranges[chosen(self.normalise_combo)] = float(self.range.value)
            if slicer.mrmlScene.IsNodePresent(self._difference.node):
                difference.set_window(self._difference.node, self.range.value)
            self._changed()

    # What a saved scene keeps

    def state(self) -> dict:
        """Return all that was chosen, and, during a comparison, views and windows before it."""
        return {
            "before": self._before.kept if self._before is not None else None,
            "levels": self._levels.kept,
            **self.inputs.state(),
            "pair": chosen(self.pair_combo),
            "orientation": chosen(self.orientation_combo),
            "opacities": dict(self._opacities),
            "rate_hz": float(self.flicker.rate.value),
            "normalise": chosen(self.normalise_combo),
            "ranges": dict(self._ranges),
        }

    def restore(self, state: dict) -> None:
        """Show a saved state; what this version does not know is left as it is.

        A comparison is not taken up again: the views are put back to before it.
        """
        self._restoring = True
        if state.get("before") and not self.mode:
            views.Before(state["before"]).put_back()
            Levels(state.get("levels", ())).put_back()
        self.inputs.restore(state)
        self._check()
        choose(self.pair_combo, state.get("pair"))
        choose(self.orientation_combo, state.get("orientation"))
        choose(self.normalise_combo, state.get("normalise"))
        self._opacities = OPACITIES | state.get("opacities", {})
        self.flicker.rate.value = state.get("rate_hz", USUAL_HZ)
        self._ranges = dict(state.get("ranges", {}))
        self._restoring = False


def pick_volumes(volumes: list) -> dict:
    """Return the newest result, the volume it was made from, and the scan that it imitates."""
    for node, role, source in results(volumes, RESULT_ROLES)[:1]:
        others = [one for one in volumes if one is not source]
        reference = series_names.pick_roles(others, [role])[role]
        return {"input": source, "result": node, "reference": reference}
    return {}
