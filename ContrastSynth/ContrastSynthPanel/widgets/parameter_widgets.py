"""A widget for each parameter that a method declares, and its presets."""

import ctk
import qt
from slicer.i18n import tr as _

from ContrastSynthLib.errors import RequestError
from ContrastSynthLib.registry import Method, declared_parameters, resolve_parameters
from ContrastSynthLib.registry.parameters import parse
from ContrastSynthPanel.widgets.echo import Echo
from ContrastSynthPanel.widgets.forms import (
    add_choice,
    add_row,
    chosen,
    combo,
    empty_combo,
    new_form,
    take_numbers,
    typed_whole,
    value_of,
)
from ContrastSynthPanel.widgets.slots import connect

STEPS = 100  # of a slider, from its lowest value to its highest
SHORT_UNIT = 7  # letters; a longer unit stands with the title, not with the number
MOST_DECIMALS = 6
FINEST_SLIDER = 1000  # steps; what is finer than that is typed, or changed by tenths
WIDEST_SPIN = 1_000_000_000
WRONG = "background-color: #fdecea; color: #5f1a15;"  # as a failure is shown
SOURCES = {
    "default": _("the default"),
    "given": _("set by hand"),
    "preset": _("the preset"),
    "scan": _("from the scan's header"),
}


class Slider:
    """A number within a range: a slider that says its unit."""

    signal = "valueChanged(double)"

    def __init__(self, entry, values):
        """Make it so fine that each of ``values``, the default and the presets', is met."""
        low, high, step = entry.param.low, entry.param.high, step_for(entry.param)
        self.widget = ctk.ctkSliderWidget()
        self.widget.decimals = decimals_for([low, high, entry.default, *values, step])
        self.widget.minimum, self.widget.maximum = float(low), float(high)
        self.widget.singleStep = self.widget.pageStep = step
        if unit := short_unit(entry.param):
            self.widget.suffix = " " + unit
        take_numbers(self.widget)

    def value(self):
        """Return the number."""
        return value_of(self.widget)

    def show(self, value):
        """Show a number."""
        self.widget.value = float(value)


class Decimal(Slider):
    """A number without a range, or whose small values matter as much as the large ones."""

    def __init__(self, entry, values):
        """Make the box."""
        low, high = entry.param.low, entry.param.high
        self.widget = qt.QDoubleSpinBox()
        self.widget.decimals = decimals_for([entry.default, *values, entry.param.step or 0.001])
        self.widget.stepType = qt.QAbstractSpinBox.AdaptiveDecimalStepType
        self.widget.minimum = float(-WIDEST_SPIN if low is None else low)
        self.widget.maximum = float(WIDEST_SPIN if high is None else high)
        if unit := short_unit(entry.param):
            self.widget.suffix = " " + unit
        self.widget.specialValueText = entry.param.lowest_means
        typed_whole(self.widget)


class Whole:
    """A whole number."""

    signal = "valueChanged(int)"

    def __init__(self, entry, values):
        """Make the box."""
        low, high = entry.param.low, entry.param.high
        self.widget = qt.QSpinBox()
        self.widget.minimum = int(-WIDEST_SPIN if low is None else low)
        self.widget.maximum = int(WIDEST_SPIN if high is None else high)
        if unit := short_unit(entry.param):
            self.widget.suffix = " " + unit
        self.widget.specialValueText = entry.param.lowest_means
        typed_whole(self.widget)

    def value(self):
        """Return the number."""
        return int(self.widget.value)

    def show(self, value):
        """Show a number."""
        self.widget.value = int(value)


class Check:
    """Yes or no."""

    signal = "toggled(bool)"

    def __init__(self, entry, values):
        """Make the box; its title is beside it as all titles are."""
        self.widget = qt.QCheckBox()

    def value(self):
        """Return whether it is checked."""
        return bool(self.widget.checked)

    def show(self, value):
        """Check it, or not."""
        self.widget.checked = bool(value)


class Choice:
    """One of some words."""

    signal = "currentIndexChanged(int)"

    def __init__(self, entry, values):
        """Make the list."""
        self.widget = empty_combo("")
        for choice in entry.param.choices:
            add_choice(self.widget, entry.param.choice_title(choice), str(choice))

    def value(self):
        """Return the chosen word."""
        return str(chosen(self.widget))

    def show(self, value):
        """Show a word."""
        self.widget.setCurrentIndex(self.widget.findData(str(value)))


class Text:
    """Any text."""

    signal = "textChanged(QString)"

    def __init__(self, entry, values):
        """Make the line."""
        self.widget = qt.QLineEdit()

    def value(self):
        """Return the text."""
        return str(self.widget.text)

    def show(self, value):
        """Show a text."""
        self.widget.text = str(value)


class NumberList(Text):
    """Numbers, separated by commas."""

    def __init__(self, entry, values):
        """Make the line."""
        super().__init__(entry, values)
        self.widget.placeholderText = _("such as 30, 90, 150")

    def show(self, value):
        """Show a list of numbers, or the text of one."""
        numbers = value if isinstance(value, str) else ", ".join(f"{one:.12g}" for one in value)
        self.widget.text = numbers


class ParameterWidgets:
    """The parameters of one method: ``main`` has those that say what a result is.

    ``given`` has what the user set by hand, and nothing else goes into a request: the rest is
    taken from the preset, from ``acquisitions``, the scans' own settings by role, or from the
    defaults, as a run does it, and so shown. ``problems`` has, by name, what is wrong with a value
    that was typed and is not in ``given`` for that reason.
    """

    def __init__(self, method: Method, changed):
        """Make the form; ``changed`` is called when the user changed something in it."""
        self.method, self.given, self._changed = method, {}, changed
        self.problems = {}
        self._echo, self.acquisitions = Echo(), {}
        self._declared = declared_parameters(method)
        self.main, self.widget = qt.QWidget(), qt.QWidget()
        main, form = new_form(self.main), new_form(self.widget)
        presets = {key: method.preset_title(key) for key in method.presets}
        self.preset_combo = combo("preset", {"": _("Defaults"), **presets})
        self.reset_button = qt.QPushButton(_("Undo changes"))
        self.reset_button.toolTip = _("Go back to the values of the preset and of the scans.")
        self._add_preset_row(form)
        self.fields, self._labels = {}, {}
        for name, entry in self._declared.items():
            self._add(main if entry.param.main else form, name, entry)
        self.has_main = any(entry.param.main for entry in self._declared.values())
        add_row(form, "", self.reset_button)
        self.refresh()

    def _add_preset_row(self, form) -> None:
        add_row(form, _("Preset"), self.preset_combo)
        self.preset_combo.toolTip = _("Sets all parameters below.")
        self.preset_combo.enabled = bool(self.method.presets)
        # The first for another preset, the second for the same one again.
        connect(self.preset_combo, "currentIndexChanged(int)", self._forget_given)
        connect(self.preset_combo, "activated(int)", self._forget_given)
        connect(self.reset_button, "clicked(bool)", self._forget_given)

    def _add(self, form, name: str, entry) -> None:
        presets = [values[name] for values in self.method.presets.values() if name in values]
        field = self.fields[name] = kind_of(entry)(entry, presets)
        field.widget.objectName = name
        connect(field.widget, field.signal, lambda *_value: self._set_by_hand(name))
        unit = "" if short_unit(entry.param) else entry.param.unit
        title = f"{entry.param.title} ({unit})" if unit else entry.param.title
        self._labels[name] = add_row(form, title, field.widget)

    @property
    def preset(self) -> str | None:
        """The chosen preset's key; None for the defaults."""
        return chosen(self.preset_combo) or None

    def resolved(self):
        """Return all values and where they come from, as a run would resolve them."""
        return resolve_parameters(self.method, self.given, self.preset, self.acquisitions)

    def show_scans(self, acquisitions: dict) -> None:
        """Show the settings of scans, by role, where nothing else was set."""
        self.acquisitions = acquisitions
        self.refresh()

    def restore(self, preset: str | None, given: dict) -> None:
        """Show a saved state. RequestError where this version's method does not take it."""
        resolve_parameters(self.method, given, preset)
        with self._echo:
            self.preset_combo.setCurrentIndex(max(0, self.preset_combo.findData(preset or "")))
        self.given, self.problems = dict(given), {}
        self.refresh()

    def refresh(self) -> None:
        """Show the values of a run that would start now, and in tooltips where they are from."""
        resolved = self.resolved()
        for name, field in self.fields.items():
            value = getattr(resolved.values, name)
            # What is being dragged or typed must not jump.
            if name not in self.problems and self._parsed(name) != value:
                with self._echo:
                    field.show(value)
            tip = tooltip(self._declared[name].param, resolved.sources[name])
            field.widget.toolTip = self._labels[name].toolTip = self.problems.get(name, tip)
            field.widget.setStyleSheet(WRONG if name in self.problems else "")
        self.reset_button.enabled = bool(self.given or self.problems)

    def _parsed(self, name: str):
        """Return the value that a widget shows; None for a text that is none."""
        try:
            return parse(self.method.key, self._declared[name], self.fields[name].value())
        except RequestError:
            return None

    def _set_by_hand(self, name: str) -> None:
        if self._echo:
            return
        value = self.fields[name].value()
        self.problems.pop(name, None)
        try:
            parse(self.method.key, self._declared[name], value)
            self.given[name] = value
        except RequestError as error:
            self.given.pop(name, None)
            self.problems[name] = str(error)
        self.refresh()
        self._changed()

    def _forget_given(self, *_signal) -> None:
        if not self._echo:
            self.given, self.problems = {}, {}
            self.refresh()
            self._changed()


KINDS = {"float": Decimal, "int": Whole, "bool": Check, "str": Text, "numbers": NumberList}


def kind_of(entry):
    """Return the class of widget that a declared parameter is shown in."""
    if entry.param.choices:
        return Choice
    if entry.kind == "float" and None not in (entry.param.low, entry.param.high):
        steps = (entry.param.high - entry.param.low) / step_for(entry.param)
        return Slider if steps <= FINEST_SLIDER else Decimal
    return KINDS[entry.kind]


def short_unit(param) -> str:
    """Return the unit where it fits beside the number, else nothing."""
    return param.unit if len(param.unit) <= SHORT_UNIT else ""


def step_for(param) -> float:
    """Return the declared step, else a power of ten of which the range has about ``STEPS``."""
    low, high = param.low, param.high
    if param.step:
        return float(param.step)
    return float(f"1e{int(f'{(high - low) / STEPS:e}'.partition('e')[2])}")


def decimals_for(values) -> int:
    """Return how many digits after the point it takes to show all of ``values``."""
    texts = [f"{value:.{MOST_DECIMALS}f}".rstrip("0") for value in values]
    return max(len(text.partition(".")[2]) for text in texts)


def tooltip(param, source: str) -> str:
    """Return what a parameter means, what it may be, and where its value is from."""
    allowed = "" if param.choices else param.allowed
    parts = [param.help, _("Allowed: {range}.").format(range=allowed) if allowed else ""]
    parts.append(_("Now: {source}.").format(source=SOURCES[source.split()[0]]))
    return "\n".join(part for part in parts if part)
