"""The tab that compares an input, a result and a reference in the slice views."""

import qt
from slicer.i18n import tr as _

from ContrastSynthLib.errors import ContrastSynthError, MissingError
from ContrastSynthPanel.scene import bridge, difference, levels, stamps, views, views_saved_before
from ContrastSynthPanel.scene.case import INPUT, RESULT, TRUTH
from ContrastSynthPanel.scene.comparison import taken_apart
from ContrastSynthPanel.scene.view_keeper import ViewKeeper, is_there
from ContrastSynthPanel.tabs.tab import Tab
from ContrastSynthPanel.widgets.compare_controls import CompareControls
from ContrastSynthPanel.widgets.dependency_box import DependencyBox
from ContrastSynthPanel.widgets.forms import long_text, new_section, show_text
from ContrastSynthPanel.widgets.notice import Notice
from ContrastSynthPanel.widgets.slots import connect
from ContrastSynthPanel.widgets.work_box import WorkBox

MODES = {
    "side": (_("Side by side"), _("Each volume in a slice view of its own; the views are linked.")),
    "blend": (_("Blend"), _("One volume over the other, as opaque as the slider says.")),
    "flicker": (_("Flicker"), _("One volume and the other, in turns, at the same place.")),
    "difference": (_("Difference"), _("The second volume less the first, in colours.")),
}
# Of two volumes, in the order in which they are offered; the difference is second less first.
PAIRS = ((TRUTH, RESULT), (INPUT, RESULT), (INPUT, TRUTH))


class CompareTab(Tab):
    """Four ways to compare the volumes of the case, and the end of it, which puts views back."""

    title = _("Compare")
    uses = (INPUT, RESULT, TRUTH)

    def __init__(self, box, changed):
        """Make the tab."""
        super().__init__(box, changed)
        self.mode, self._compared, self._seen = "", {}, {}
        self._resample, self._difference, self._old = False, None, ""
        self.keeper, self._levels = ViewKeeper(), levels.Levels()
        self.controls = CompareControls(
            self._again, self._opacity_set, self._range_set, self._changed
        )
        self.work = WorkBox(self._cancelled)
        self.notice = Notice(self._resample_and_show)
        self.dependencies = DependencyBox(self._again, self.notice.show)
        self._build()
        self._check()

    def _build(self) -> None:
        content = qt.QWidget()
        column = qt.QVBoxLayout(content)
        column.setContentsMargins(0, 0, 0, 0)
        grid = qt.QGridLayout()
        self.buttons = {key: self._mode_button(key) for key in MODES}
        for number, button in enumerate(self.buttons.values()):
            grid.addWidget(button, number // 2, number % 2)
        column.addLayout(grid)
        self.reason = long_text()
        self.reason.wordWrap = True
        self.end_button = qt.QPushButton(_("End the comparison"))
        self.end_button.objectName = "end"
        self.end_button.toolTip = _(
            "Put the slice views back as they were, but for what you changed in them yourself."
        )
        connect(self.end_button, "clicked(bool)", lambda *_signal: self.end())
        for widget in (
            self.reason,
            self.controls.widget,
            self.work.widget,
            self.notice.widget,
            self.dependencies.widget,
            self.end_button,
        ):
            column.addWidget(widget)
        self.column.addWidget(new_section(_("Comparison"), content))
        self.column.addStretch(1)

    def _mode_button(self, key: str):
        button = qt.QPushButton(MODES[key][0])
        button.objectName = key
        button.checkable = True
        connect(button, "clicked(bool)", lambda *_signal: self._pressed(key))
        return button

    # What a person, and the scene, do

    def case_changed(self) -> None:
        """Other volumes are in the case: they are compared from now on."""
        self._check()
        if self._nodes() != self._compared:
            self._resample = False  # was allowed for others
            self._again()

    def scene_changed(self) -> None:
        """Nodes came or went: with the last but one, nothing is left to compare."""
        self._check()

    def node_removed(self) -> None:
        """What is gone is not compared any more."""
        made = [self._difference.node] if self._difference is not None else []
        nodes = [*self._compared.values(), *self._seen.values(), *made]
        gone = [node for node in nodes if not is_there(node)]
        if gone and self.mode:
            self.end()
            text = _("The comparison was ended: '{name}' was deleted.")
            self.notice.show("warning", text.format(name=gone[0].GetName()))

    def scene_closed(self) -> None:
        """The scene is about to be closed: put the views back while their volumes are there."""
        self.end()

    def forget_nodes(self) -> None:
        """The scene is an empty one."""
        self._compared, self._seen, self._difference = {}, {}, None
        self._check()

    def look(self) -> None:
        """Say so when a volume was changed since its difference was computed."""
        old = self._what_is_old()
        if old != self._old and self._difference is not None:
            self._old = old
            kind, text = ("warning", old) if old else ("done", self._difference.summary)
            self.notice.show(kind, text)

    def left(self) -> None:
        """Another tab or module is shown: the slice views are as they were."""
        self.end()

    def close(self) -> None:
        """The panel is being taken down."""
        self.end()

    def _pressed(self, key: str) -> None:
        failed = key == "difference" and self._difference is None
        if key == self.mode and not self._old and not failed:
            self.end()
        else:
            self.show(key)

    def _again(self) -> None:
        """Something was set or chosen otherwise: compare anew, if at all."""
        if self.mode:
            self.show(self.mode)

    def _opacity_set(self, share: float) -> None:
        if self.keeper.active:
            views.set_foreground_opacity(share, self.keeper)

    def _range_set(self, end: float) -> None:
        if self._difference is not None and is_there(self._difference.node):
            difference.set_window(self._difference.node, end)

    def _resample_and_show(self) -> None:
        self._resample = True
        self.show("difference")

    # What there is to compare

    def _nodes(self) -> dict:
        """Return the nodes by role, each image once: a series can be its own reference.

        A series without phases is left out: there is nothing of it to see.
        """
        found, images = {}, []
        for role, node in self.case.nodes(self.uses).items():
            image = bridge.volume_of_sequence(node)
            if image is not None and image not in images:
                found[role] = node
                images.append(image)
        return found

    def _check(self) -> None:
        """Offer the pairs that there are, and say what is missing for a comparison."""
        nodes = self._nodes()
        self.controls.offer([pair for pair in PAIRS if set(pair) <= set(nodes)])
        missing = ""
        if len(nodes) < 2:
            chosen = list(self.case.nodes(self.uses).values())
            empty = [one for one in chosen if bridge.volume_of_sequence(one) is None]
            text = _("'{name}' is chosen twice.") if len(chosen) > 1 else ""
            text = _("'{name}' has no phases. Choose another one.") if empty else text
            text = text or _("Choose two volumes at least.")
            missing = text.format(name=(empty or chosen)[0].GetName() if chosen else "")
        for key, button in self.buttons.items():
            button.enabled = not missing
            button.toolTip = missing or MODES[key][1]
        show_text(self.reason, missing)
        if missing:
            self.end()
        self._show_mode()

    def _show_mode(self) -> None:
        self.controls.show_mode(self.mode, self._difference is not None)
        for key, button in self.buttons.items():
            button.checked = key == self.mode
        self.end_button.enabled = bool(self.mode)

    # Comparisons

    def show(self, mode: str) -> None:
        """Compare in this way, at the place that the slice views show now."""
        self.work.stop()
        self.controls.flicker.stop()
        if "side" in (self.mode, mode):
            self.keeper.put_back(views.all_nodes())
        before, nodes = self._seen, self._nodes()
        self.mode, self._compared, self._seen = mode, nodes, difference.seen(nodes)
        left = [node for node in before.values() if node not in self._seen.values()]
        self.keeper.put_back([node.GetDisplayNode() for node in left])
        views.hide_labels(self.keeper)
        self._difference, self._old = None, ""
        self.notice.show("info", "")
        self.dependencies.widget.visible = False
        self._show_mode()
        if mode == "difference":
            pair = {role: nodes[role] for role in self.controls.pair}
            task = difference.making_difference(pair, self.controls.normalise, self._resample)
            text = _("Reading the volumes")
            self.work.start(task, self._show_difference, self._no_difference, text)
        else:
            self._show_text(getattr(self, f"_show_{mode}")())
        self._changed()

    def end(self) -> None:
        """End the comparison: the slice views are as they were."""
        if self.mode:
            self._put_back()
            self.mode, self._difference, self._old = "", None, ""
            self.notice.show("info", "")
            self.dependencies.widget.visible = False
            self._show_mode()
            self._changed()

    def _put_back(self) -> None:
        self.work.stop()
        self.controls.flicker.stop()
        self.keeper.put_back()

    def _cancelled(self) -> None:
        if self.mode == "difference":
            self.end()
            self.notice.show("info", _("Cancelled. Nothing was changed."))
        else:
            self._own_windows(_("Measuring their brightness was cancelled."))

    # Each of these shows volumes, and returns what is seen of them, in words.

    def _show_side(self) -> str:
        views.show_side_by_side(list(self._seen.values()), self.controls.orientation, self.keeper)
        names = difference.names_of(self._compared).values()
        return _("From left to right: {order}.").format(order=", ".join(f"'{n}'" for n in names))

    def _show_blend(self) -> str:
        views.show_layers(*self._pair(), self.controls.share, self.keeper)
        first, second = self._names()
        return _("'{b}' over '{a}'.").format(a=first, b=second)

    def _show_flicker(self) -> str:
        first, second = self._names()
        self.controls.flicker.start(self._pair(), (first, second), self.keeper)
        return _("'{a}' and '{b}' in turns.").format(a=first, b=second)

    def _pair(self) -> list:
        return [self._seen[role] for role in self.controls.pair]

    def _names(self) -> list[str]:
        names = difference.names_of(self._compared)
        return [names[role] for role in self.controls.pair]

    def _show_text(self, text: str) -> None:
        """Say what is seen, and bring all volumes to the same brightness."""
        text = f"{text} {taken_apart(*self._compared.values())}".strip()
        self._text, nodes = text, list(self._seen.values())  # the input first, if there is one
        self.notice.show("info", text)
        if self.controls.normalise == difference.NONE:
            self._show_alike(None)
        else:
            task, text = self._levels.measuring(nodes), _("Measuring how bright the volumes are")
            self.work.start(task, self._show_alike, self._not_alike, text)

    def _show_alike(self, found) -> None:
        nodes = list(self._seen.values())
        alike = levels.show_alike(nodes, found, self.controls.normalise, self.keeper)
        self.notice.show("info", f"{self._text} {alike}")
        self._changed()  # the windows before

    def _not_alike(self, error: Exception) -> None:
        self._own_windows(str(error))
        self._offer_packages(error)

    def _own_windows(self, reason: str) -> None:
        own = levels.own_windows(list(self._seen.values()), self.keeper, reason)
        self.notice.show("warning", f"{self._text} {own}")
        self._changed()

    def _offer_packages(self, error: Exception) -> None:
        if isinstance(error, MissingError):
            self.dependencies.show([])

    # The difference

    def _show_difference(self, found) -> None:
        self._difference = found
        difference.set_window(found.node, self.controls.fit_range(found))
        self._show_mode()
        below = self._seen[self.controls.pair[0]]
        views.show_layers(below, found.node, self.controls.share, self.keeper)
        self.notice.show("done", found.summary)
        self._changed()

    def _no_difference(self, error: Exception) -> None:
        self._put_back()
        if isinstance(error, ContrastSynthError):
            self.notice.show_error(error)  # the rows stay, so that it can be set otherwise
        self._offer_packages(error)
        self._changed()

    def _what_is_old(self) -> str:
        """Return which volumes were changed since the difference was computed, in words."""
        if self._difference is None:
            return ""
        then, now = self._difference.made_of, self._seen
        changed = [now[one] for one in then if one in now and stamps.stamp(now[one]) != then[one]]
        text = _("Out of date: {names} was changed since. Press Difference.")
        names = ", ".join(f"'{node.GetName()}'" for node in changed)
        return text.format(names=names) if changed else ""

    # What a saved scene keeps

    def state(self) -> dict:
        """Return all that was set, and, during a comparison, views and windows before it."""
        return {"before": self.keeper.kept, **self.controls.state()}

    def restore(self, state: dict) -> None:
        """Show a saved state; what this version does not know is left as it is.

        A comparison is not taken up again: the views are put back to before it.
        """
        kept = state.get("before") or []
        if isinstance(kept, dict):
            kept = views_saved_before.as_kept(kept, state.get("levels", []))
        if kept and not self.mode:
            saved = ViewKeeper()
            saved.restore(kept)
            saved.put_back()
        self._check()
        self.controls.restore(state)
