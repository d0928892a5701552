"""How volumes are brought onto one grid, and which of them need it."""

import qt
from slicer.i18n import tr as _

from ContrastSynthLib.geometry import grid_table
from ContrastSynthPanel.scene import bridge
from ContrastSynthPanel.scene.bridge import SEGMENTATION, SEQUENCE
from ContrastSynthPanel.widgets import forms
from ContrastSynthPanel.widgets.echo import Echo
from ContrastSynthPanel.widgets.forms import long_text
from ContrastSynthPanel.widgets.slots import connect

ALIGN = {
    "none": _("Not at all"),
    "resample": _("Resample by their positions"),
    "rigid": _("Register, rigid"),
    "affine": _("Register, affine"),
}
REGISTERING = ("rigid", "affine")


class AlignBox:
    """The choice of an alignment; ``changed`` is called when a person chooses another one."""

    def __init__(self, changed):
        """Make the box."""
        self._changed, self._echo = changed, Echo()
        self._differ = False  # whether the grids do, at the last look
        self.widget, self.label = qt.QWidget(), long_text()
        self.combo = forms.combo("align", ALIGN)
        self.combo.toolTip = _(
            "How the scans are brought onto one grid. Registering also corrects for a patient "
            "who moved between the scans."
        )
        self.label.wordWrap = True
        form = forms.new_form(self.widget)
        forms.add_row(form, _("Align"), self.combo)
        form.addRow(self.label)
        connect(self.combo, "currentIndexChanged(int)", self._chosen)

    @property
    def chosen(self) -> str:
        """The chosen way, as a request names it."""
        return forms.chosen(self.combo)

    def restore(self, way) -> None:
        """Show a saved choice."""
        with self._echo:
            forms.choose(self.combo, way)

    def show(self, grids: dict) -> str:
        """Tell which of the grids, by title, differ from the first; return it if none is chosen."""
        first = next(iter(grids), None)
        others = [title for title, grid in grids.items() if not grid.is_same(grids[first])]
        text = ""
        if others:
            names = ", ".join(f"'{title}'" for title in others)
            text = _("{names}: not on the grid of '{first}'.").format(names=names, first=first)
        needed = _("Choose under 'Align' what to do.") if others and self.chosen == "none" else ""
        self.label.text = f"{text} {needed}".strip()
        self.label.toolTip = f"<pre>{grid_table(grids)}</pre>" if others else ""
        self.label.visible = self._differ = bool(others)
        return self.label.text if needed else ""

    def moves(self, count: int) -> str:
        """Return, as a sentence, that ``count`` scans would be moved or resampled; else nothing."""
        if self.chosen in REGISTERING and count > 1:
            return _("the scans are to be registered first.")
        return _("the scans lie on different grids.") if self._differ else ""

    def _chosen(self, *_signal) -> None:
        if not self._echo:
            self._changed()


def grid_of(node, mask: bool = False):
    """Return the grid of an input; None of no node, and of a segmentation: it is brought there.

    Raises RequestError for what cannot be an input, such as a sequence without times.
    """
    if node is None or node.IsA(SEGMENTATION):
        return None
    if node.IsA(SEQUENCE):
        bridge.times_of_sequence_node(node)
    return bridge.world_grid(bridge.volume_of_sequence(node), mask=mask)
