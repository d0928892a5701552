"""The case above all tabs: as much of input, result, reference, mask, region as a tab needs."""

import qt
import slicer
from slicer.i18n import tr as _

from ContrastSynthPanel.scene.case import (
    ALL_SEGMENTS,
    INPUT,
    MASK,
    REGION,
    RESULT,
    ROLES,
    TRUTH,
    TYPES,
    Case,
)
from ContrastSynthPanel.widgets.brain_finder import BrainFinder
from ContrastSynthPanel.widgets.forms import add_choice, add_row, combo, new_form, new_section
from ContrastSynthPanel.widgets.node_selector import NodeSelector
from ContrastSynthPanel.widgets.slots import connect

TITLES = {
    INPUT: _("Input"),
    RESULT: _("Result"),
    TRUTH: _("Reference"),
    MASK: _("Mask"),
    REGION: _("Region"),
}
NONE = {
    INPUT: _("Choose a scan"),
    RESULT: _("None"),
    TRUTH: _("None"),
    MASK: _("None: found in the scans"),
    REGION: _("Choose a region"),
}
TIPS = {
    INPUT: _("The scan, or the dynamic series, that a result is made from."),
    RESULT: _("What a method made. With it come its input and its reference."),
    TRUTH: _("The true scan that the result imitates; kept with the result once it is chosen."),
    MASK: _("Optional: a segmentation or a label map of the brain or breast."),
    REGION: _("A segmentation or a label map of a lesion."),
}


class CaseBox:
    """Selectors of a Case. ``changed`` is called when the case is another one, whoever chose."""

    def __init__(self, changed):
        """Make the box; all rows are shown until a tab says which it needs."""
        self.case, self._changed = Case(), changed
        content = qt.QWidget()
        column = qt.QVBoxLayout(content)
        column.setContentsMargins(0, 0, 0, 0)
        self._rows = qt.QWidget()
        form = new_form(self._rows)
        self._above = qt.QVBoxLayout()
        column.addLayout(self._above)
        column.addWidget(self._rows)
        self.brain = BrainFinder(self._scans, lambda node: self._chosen(MASK, node))
        column.addWidget(self.brain.widget)
        self._more_scans = list  # scans that the shown tab has beside the case
        self.selectors, self.segments, self._labels, self._shown = {}, {}, {}, ROLES
        for role in ROLES:
            self._add(form, role)
        self.widget = new_section(_("Case"), content)
        self.show()

    def _add(self, form, role: str) -> None:
        self.selectors[role] = NodeSelector(
            role,
            TYPES[role],
            NONE[role],
            TIPS[role],
            lambda node: self._chosen(role, node),
            lambda: self.follow(),
        )
        self._labels[role] = [add_row(form, TITLES[role], self.selectors[role].widget)]
        if role in self.case.segments:
            made = self.segments[role] = combo(f"{role} segment", {})
            made.toolTip = _("Hidden segments are left out.")
            connect(made, "activated(int)", lambda _n: self._segment_chosen(role))
            self._labels[role].append(add_row(form, _("Segment"), made))

    def add_above(self, widget) -> None:
        """Have a tab's own selectors stand above those of the case."""
        self._above.addWidget(widget)

    def show_tab(self, tab) -> None:
        """Show only the rows that a tab needs."""
        self._shown, self._more_scans = tuple(tab.uses), tab.scans
        self.widget.visible = bool(self._shown)
        self.show()

    def _scans(self) -> list:
        """Return the scans in which the brain could be looked for."""
        found = [*self._more_scans(), *self.case.nodes((INPUT, TRUTH)).values()]
        return list(dict.fromkeys(found))

    # What a person, and the scene, do

    def _chosen(self, role: str, node) -> None:
        self.case.choose(role, node)
        self.show()
        self._changed()

    def _segment_chosen(self, role: str) -> None:
        made = self.segments[role]
        self.case.segments[role] = made.itemData(made.currentIndex) or ALL_SEGMENTS
        self._changed()

    def follow(self) -> None:
        """Nodes came, went or changed: show what the case is now."""
        changed = self.case.follow()
        self.show()
        if changed:
            self._changed()

    def look_at(self, result) -> None:
        """Show a result that was just made."""
        self.case.look_at(result)
        self.show()
        self._changed()

    def look(self) -> None:
        """Look whether segments came, went, or were hidden or renamed."""
        self.check()
        for role, made in self.segments.items():
            if self._listed(made) != self._entries(role):
                self._show_segments(role)
                self._changed()

    # What is shown

    def show(self) -> None:
        """Show the case as it is."""
        for role, selector in self.selectors.items():
            selector.show(self.case.node(role))
            seen = role in self._shown
            selector.widget.visible = self._labels[role][0].visible = seen
            if role in self.segments:
                self._show_segments(role)
        self.check()

    def check(self) -> None:
        """Offer to find the brain where a tab takes a mask and there is none."""
        wanted = MASK in self._shown and self.case.node(MASK) is None
        if wanted or self.brain.run.running:
            self.brain.check()
        else:
            told = MASK in self._shown and bool(self.brain.run.message.plainText)
            self.brain.widget.visible = told
            self.brain.run.apply_button.visible = wanted

    def _show_segments(self, role: str) -> None:
        made, entries = self.segments[role], self._entries(role)
        if self._listed(made) != entries:
            made.clear()
            for identifier, title in entries.items():
                add_choice(made, title, identifier)
        made.setCurrentIndex(max(0, made.findData(self.case.segment(role))))
        seen = role in self._shown and len(entries) > 1
        made.visible = self._labels[role][1].visible = seen

    def _entries(self, role: str) -> dict:
        found = self.case.segment_choices(role)
        together = {ALL_SEGMENTS: _("All that are visible")} if len(found) > 1 else {}
        return {**found, **together} if len(found) > 1 else found

    @staticmethod
    def _listed(made) -> dict:
        return {made.itemData(n): made.itemText(n) for n in range(made.count)}

    def close(self) -> None:
        """Hear no more of the scene."""
        self._changed = lambda: None
        self.brain.close()
        for selector in self.selectors.values():
            selector.close()

    # What a saved scene keeps

    def state(self) -> dict:
        """Return the case."""
        return self.case.state()

    def restore(self, state: dict) -> None:
        """Show a saved case."""
        self.case.restore(state)
        self.show()


def unsettled() -> bool:
    """Return whether the scene is being closed or loaded: what changes now, nobody chose."""
    return bool(slicer.mrmlScene.IsBatchProcessing() or slicer.mrmlScene.IsClosing())
