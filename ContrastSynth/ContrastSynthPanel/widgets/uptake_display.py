"""How an uptake is drawn in the slice views."""

import qt
from slicer.i18n import tr as _

from ContrastSynthPanel.scene.uptake_views import Look
from ContrastSynthPanel.widgets.echo import Echo
from ContrastSynthPanel.widgets.forms import (
    add_row,
    choose,
    chosen,
    combo,
    new_form,
    slider,
    value_of,
)
from ContrastSynthPanel.widgets.slots import connect

UPTAKE, LESIONS = "uptake", "enhancement"  # saved scenes hold these
SHOWN = {UPTAKE: _("Uptake"), LESIONS: _("Missed and invented")}
REGIONS = {"outline": _("Outlines"), "fill": _("Filled"), "none": _("Not at all")}


class UptakeDisplay:
    """The rows; ``changed`` is called when a person chose."""

    def __init__(self, changed):
        """Make the form."""
        self._changed, self._echo = changed, Echo()
        self.widget = qt.QWidget()
        form = new_form(self.widget)
        self.shown = combo("shown", SHOWN)
        self.shown.toolTip = _("What the slice views show over the scan.")
        self.overlay = qt.QCheckBox()
        self.overlay.toolTip = _("The uptake in colours, from dark red (low) to white (high).")
        self.regions = combo("regions", REGIONS)
        self.opacity = slider("opacity", 0.0, 100.0, 1.0)
        self.opacity.suffix, self.opacity.value = " %", 50.0
        self.opacity.toolTip = _("Of the overlay and of filled regions.")
        self.keep = qt.QCheckBox()
        self.keep.toolTip = _(
            "Leave the uptake in the slice views when another tab or module is shown. Else they "
            "are put back as they were."
        )
        self.overlay.checked = self.keep.checked = True
        add_row(form, _("Show"), self.shown)
        add_row(form, _("Soft overlay"), self.overlay)
        add_row(form, _("Regions as"), self.regions)
        add_row(form, _("Opacity"), self.opacity)
        add_row(form, _("Keep in the views"), self.keep)
        for made in (self.shown, self.regions):
            connect(made, "currentIndexChanged(int)", self._set)
        for made in (self.overlay, self.keep):
            connect(made, "toggled(bool)", self._set)
        connect(self.opacity, "valueChanged(double)", self._set)
        self.offer_lesions(False)

    def _set(self, *_signal) -> None:
        self.overlay.enabled = chosen(self.shown) != LESIONS
        if not self._echo:
            self._changed()

    @property
    def look(self) -> Look:
        """What was chosen."""
        return Look(
            chosen(self.shown) == LESIONS,
            bool(self.overlay.checked),
            chosen(self.regions),
            value_of(self.opacity) / 100.0,
        )

    def offer_lesions(self, there: bool) -> None:
        """Let missed and invented enhancement be shown, where it is known."""
        self.shown.enabled = there
        if not there:
            self.show(UPTAKE)

    def show(self, what: str) -> None:
        """Show the uptake, or missed and invented enhancement, for the panel."""
        with self._echo:
            choose(self.shown, what)

    # What a saved scene keeps

    def state(self) -> dict:
        """Return what was chosen."""
        return {
            "shown": chosen(self.shown),
            "overlay": bool(self.overlay.checked),
            "regions": chosen(self.regions),
            "opacity": float(value_of(self.opacity)),
            "keep": bool(self.keep.checked),
        }

    def restore(self, state: dict) -> None:
        """Show a saved state; what this version does not know is left as it is."""
        with self._echo:
            choose(self.shown, state.get("shown"))
            choose(self.regions, state.get("regions"))
            self.overlay.checked = state.get("overlay", True)
            self.keep.checked = state.get("keep", True)
            self.opacity.value = state.get("opacity", 50.0)
