"""What counts as uptake: the scans or a map, the threshold, its unit, and the smallest region."""

import qt
from slicer.i18n import tr as _

from ContrastSynthLib.analysis.uptake import CONVENTIONS, REFERENCE_LEVELS
from ContrastSynthPanel.scene import uptake_words
from ContrastSynthPanel.scene.case import INPUT, RESULT
from ContrastSynthPanel.scene.uptake_results import MAP_THRESHOLD, SMALLEST_ML, Settings
from ContrastSynthPanel.scene.uptake_sources import DIFFERENCE, OWN_MAP
from ContrastSynthPanel.widgets.echo import Echo
from ContrastSynthPanel.widgets.forms import (
    add_row,
    choose,
    chosen,
    combo,
    new_form,
    show_text,
    slider,
    value_of,
)
from ContrastSynthPanel.widgets.slots import connect

SOURCES = {
    DIFFERENCE: _("The difference of the scans"),
    OWN_MAP: _("The method's own map"),
}
INPUTS = {"": _("Choose"), "pre": _("The pre-contrast scan"), "post": _("The post-contrast scan")}
WHO = {INPUT: _("The input is"), RESULT: _("The result is")}
LARGEST_ML = 5.0


class UptakeForm:
    """The rows, and a sentence that says what they mean.

    ``changed`` is called when a person set one, ``told`` with a role when a person said what
    a scan is.
    """

    def __init__(self, changed, told):
        """Make the form."""
        self._changed, self._told, self._echo = changed, told, Echo()
        self._thresholds = {DIFFERENCE: Settings().threshold, OWN_MAP: MAP_THRESHOLD}
        self._has_map, self._region = False, ""
        self.widget = qt.QWidget()
        form = new_form(self.widget)
        self._build_choices(form)
        self._build_numbers(form)
        self.words = qt.QLabel()
        self.words.wordWrap = True
        form.addRow(self.words)
        self.show_map(False)
        self.show_input("", "")

    def _build_choices(self, form) -> None:
        self.source = combo("measured", SOURCES)
        self.source.toolTip = _("What the result's method itself gave out as uptake, or the scans.")
        self.input_is = combo("input is", INPUTS)
        self.input_is.toolTip = _("Of two scans the reference then is the other one.")
        self._source_label = add_row(form, _("Measured from"), self.source)
        self._input_label = add_row(form, WHO[INPUT], self.input_is)
        connect(self.source, "currentIndexChanged(int)", self._source_chosen)
        connect(self.input_is, "activated(int)", lambda _n: self._told(chosen(self.input_is)))

    def _build_numbers(self, form) -> None:
        self.threshold = slider("threshold", 0.005, 1.0, 0.005)
        self.threshold.value = self._thresholds[DIFFERENCE]
        self.threshold.toolTip = _("Of the uptake and of the lesions.")
        self.level = combo("level", {key: uptake_words.UNITS[key] for key in REFERENCE_LEVELS})
        sources = [CONVENTIONS[key].source for key in REFERENCE_LEVELS.values()]
        self.level.toolTip = "\n".join(
            f"{uptake_words.UNITS[level]}: {source}."
            for level, source in zip(REFERENCE_LEVELS, sources, strict=True)
        )
        self.smallest = slider("smallest", 0.0, LARGEST_ML, 0.01)
        self.smallest.value, self.smallest.suffix = SMALLEST_ML, _(" ml")
        self.smallest.toolTip = _("Smaller regions count neither as uptake nor as lesions.")
        add_row(form, _("Threshold"), self.threshold)
        self._level_label = add_row(form, _("Measured in"), self.level)
        add_row(form, _("Smallest region"), self.smallest)
        for made in (self.threshold, self.smallest):
            connect(made, "valueChanged(double)", self._set)
        connect(self.level, "currentIndexChanged(int)", self._set)

    # What a person does

    def _source_chosen(self, *_signal) -> None:
        if not self._echo:
            self._show_threshold()
            self._changed()

    def _set(self, *_signal) -> None:
        if self._echo:
            return
        self._thresholds[self.measured] = value_of(self.threshold)
        self._show_words()
        self._changed()

    # What is set, and shown

    @property
    def measured(self) -> str:
        """DIFFERENCE or OWN_MAP."""
        return chosen(self.source) if self._has_map else DIFFERENCE

    @property
    def settings(self) -> Settings:
        """What counts as uptake."""
        threshold, smallest = self._thresholds[self.measured], value_of(self.smallest)
        return Settings(self.measured, threshold, chosen(self.level), smallest)

    def show_map(self, there: bool) -> None:
        """Offer the method's own map where there is one."""
        before, self._has_map = self.measured, there
        self.source.visible = self._source_label.visible = there
        if self.measured != before or not self.words.text:
            self._show_threshold()

    def show_input(self, role: str, who: str) -> None:
        """Ask what a scan of the case is, where only a person can tell."""
        self.input_is.visible = self._input_label.visible = bool(who)
        self._input_label.text = WHO.get(who, "")
        with self._echo:
            choose(self.input_is, role)

    def show_region(self, name: str) -> None:
        """Say where it was measured, once that is known."""
        self._region = name
        self._show_words()

    def _show_threshold(self) -> None:
        with self._echo:
            self.threshold.value = self._thresholds[self.measured]
        of_scans = self.measured == DIFFERENCE
        self.level.visible = self._level_label.visible = of_scans
        self._show_words()

    def _show_words(self) -> None:
        show_text(self.words, uptake_words.rule(self.settings, self._region))

    # What a saved scene keeps

    def state(self) -> dict:
        """Return what was set."""
        return {
            "measured": chosen(self.source),
            "thresholds": dict(self._thresholds),
            "level": chosen(self.level),
            "smallest_ml": value_of(self.smallest),
        }

    def restore(self, state: dict) -> None:
        """Show a saved state; what this version does not know is left as it is."""
        self._thresholds.update(state.get("thresholds", {}))
        with self._echo:
            choose(self.source, state.get("measured", DIFFERENCE))
            choose(self.level, state.get("level"))
            self.smallest.value = state.get("smallest_ml", SMALLEST_ML)
        self._show_threshold()
