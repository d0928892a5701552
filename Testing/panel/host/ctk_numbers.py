"""Stand-ins for ctk's widgets of decimals: a spin box, and a slider that has one.

Python sees of them what it sees in Slicer: properties, signals and slots. ``setRange``,
``setMinimum`` and the like are C++ functions that are none of these, so they are not here.
"""

from __future__ import annotations

import math
from typing import Any

from PySide6.QtCore import Property, Qt, Signal, Slot
from PySide6.QtWidgets import QDoubleSpinBox, QHBoxLayout, QSlider, QWidget

from .ctk_properties import forward, stored

SAME = 1e-9  # of a step: the slider says nothing of a smaller change


def bounded(low: float, value: float, high: float) -> float:
    """Return the number nearest to ``value`` between two others."""
    return max(low, min(value, high))


class ctkDoubleSpinBox(QWidget):
    """A spin box of decimals; in ctk too, it is a widget that holds one.

    It shows a value rounded to its decimals, and keeps the value itself unrounded.
    """

    _stands_in = True
    valueChanged = Signal(float)
    editingFinished = Signal()
    decimalsChanged = Signal(int)
    singleStep = forward(float, "_box", "singleStep")
    prefix = forward("QString", "_box", "prefix")
    suffix = forward("QString", "_box", "suffix")
    readOnly = forward(bool, "_box", "readOnly")
    decimalsOption = stored(int, "decimalsOption", 0)
    setMode = stored(int, "setMode", 0)
    sizeHintPolicy = stored(int, "sizeHintPolicy", 0)

    def __init__(self, parent: Any = None) -> None:
        QWidget.__init__(self, parent)
        self._box, self._value, self._ends = QDoubleSpinBox(), 0.0, (0.0, 99.99)
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self._box)
        self._box.connect("valueChanged(double)", self._follow)
        self._box.connect("editingFinished()", self.editingFinished.emit)

    def _same(self, one: float, other: float) -> bool:
        """Return whether two values are shown alike."""
        return f"{one:.{self._box.decimals}f}" == f"{other:.{self._box.decimals}f}"

    def _follow(self, shown: float) -> None:
        if self._same(self._value, shown):
            return
        self._value = next((end for end in self._ends if self._same(end, shown)), shown)
        self.valueChanged.emit(self._value)

    def _get_value(self) -> float:
        return self._value

    @Slot(float)
    def setValue(self, value: float) -> None:
        if value == self._value:
            return
        value = bounded(self._ends[0], value, self._ends[1])
        changed, self._value = value != self._value, value
        self._box.setValue(value)  # writes the text anew, where a person may be typing
        if changed:
            self.valueChanged.emit(value)

    value = Property(float, _get_value, setValue)

    def _set_range(self, low: float, high: float) -> None:
        self._ends = (low, high)
        self._box.setRange(low, high)

    def _get_minimum(self) -> float:
        return self._ends[0]

    def _set_minimum(self, low: float) -> None:
        self._set_range(low, max(low, self._ends[1]))

    minimum = Property(float, _get_minimum, _set_minimum)

    def _get_maximum(self) -> float:
        return self._ends[1]

    def _set_maximum(self, high: float) -> None:
        self._set_range(min(high, self._ends[0]), high)

    maximum = Property(float, _get_maximum, _set_maximum)

    def _get_decimals(self) -> int:
        return self._box.decimals

    def _set_decimals(self, decimals: int) -> None:
        self._box.setDecimals(decimals)
        self._box.setValue(self._value)
        self.decimalsChanged.emit(decimals)

    decimals = Property(int, _get_decimals, _set_decimals)


class SliderSteps:
    """A slider's value as ctk counts it: whole steps, and what is left over as a part of one.

    What comes out is step * steps, so that 70 steps of 0.01 are 0.7000000000000001.
    """

    def __init__(self, changed: Any) -> None:
        self.slider, self.changed = QSlider(Qt.Horizontal), changed
        self.low, self.high, self.step = 0.0, 99.0, 1.0
        self.value, self.rest, self.setting_range = 0.0, 0.0, False
        self.slider.setRange(0, 99)
        self.slider.connect("valueChanged(int)", self.moved)

    def steps(self, value: float) -> int:
        """Return how many whole steps a value is, halves counted up."""
        steps = bounded(-(2.0**31), value / self.step, 2.0**31 - 1)
        return int(math.copysign(math.floor(abs(steps) + 0.5), steps))

    def moved(self, steps: int) -> None:
        """Take the value of a place of the slider."""
        value = bounded(self.low, self.step * (self.rest + steps), self.high)
        if value != self.value:
            self.value = value
            self.changed(value)

    def set_value(self, value: float) -> None:
        """Go to a value, by way of the slider where that moves."""
        value = bounded(self.low, value, self.high)
        self.rest = value / self.step - self.steps(value)
        steps = self.steps(value)
        if steps != self.slider.value:
            self.slider.setValue(steps)
            return
        before, self.value = self.value, value
        if abs(value - before) > self.step * SAME:
            self.changed(value)

    def set_range(self, low: float, high: float) -> None:
        """Take other ends; the value stays between them."""
        self.low, self.high = low, high
        for end, outside in ((low, low >= self.value), (high, high <= self.value)):
            if outside:
                self.rest = end / self.step - self.steps(end)
        self.slider.setRange(self.steps(low), self.steps(high))
        self.set_value(self.value)

    def set_step(self, step: float) -> None:
        """Count in other steps, with the same value."""
        self.step = step or 1.0
        self.rest = self.value / self.step - self.steps(self.value)
        was = self.slider.blockSignals(True)
        self.slider.setRange(self.steps(self.low), self.steps(self.high))
        self.slider.setValue(self.steps(self.value))
        self.slider.blockSignals(was)


class ctkSliderWidget(QWidget):
    """A slider with a spin box, of decimals.

    What is typed goes to the slider at each key, and back into the spin box: where the slider's
    step * steps is not the very number that was typed, its text is written anew under the
    person's hands. With steps of 0.01, a typed 0.75 ends as 0.70. ``keyboardTracking = False``
    of the spin box (``findChildren("QDoubleSpinBox")[0]``) prevents it.
    """

    _stands_in = True
    valueChanged = Signal(float)
    valueIsChanging = Signal(float)
    prefix = forward("QString", "_spin", "prefix")
    suffix = forward("QString", "_spin", "suffix")
    spinBoxVisible = forward(bool, "_spin", "visible")
    pageStep = stored(float, "pageStep", 10.0)
    tickInterval = stored(float, "tickInterval", 0.0)
    tracking = stored(bool, "tracking", True)
    popupSlider = stored(bool, "popupSlider", False)
    orientation = stored(int, "orientation", 1)

    def __init__(self, parent: Any = None) -> None:
        QWidget.__init__(self, parent)
        self._spin, self._steps = ctkDoubleSpinBox(), SliderSteps(self._changed)
        self._box, self._slider = self._spin._box, self._steps.slider
        self._before = None  # the value before a person took hold of the slider
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self._slider)
        row.addWidget(self._spin)
        self._spin._set_range(0.0, 99.0)
        self._spin.connect("valueChanged(double)", self._steps.set_value)
        self._slider.connect("sliderPressed()", self._pressed)
        self._slider.connect("sliderReleased()", self._released)

    def _changed(self, value: float) -> None:
        was = self._spin.blockSignals(True)
        self._spin.setValue(value)
        self._spin.blockSignals(was)
        if not self.tracking:
            self.valueIsChanging.emit(value)
        if self._before is None:
            self.valueChanged.emit(value)

    def _pressed(self) -> None:
        if not self.tracking:
            self._before = self._steps.value

    def _released(self) -> None:
        before, self._before = self._before, None
        if before is not None and abs(self.value - before) > self._steps.step * SAME:
            self.valueChanged.emit(self.value)

    def _get_value(self) -> float:
        return self._steps.value if self._before is None else self._before

    @Slot(float)
    def setValue(self, value: float) -> None:
        held, self._before = self._before, None
        self._spin.setValue(value)
        self._before = held

    value = Property(float, _get_value, setValue)

    def _set_range(self, low: float, high: float) -> None:
        was = self._spin.blockSignals(True)
        self._spin._set_range(low, high)
        self._spin.blockSignals(was)
        self._steps.set_range(low, high)

    def _get_minimum(self) -> float:
        return self._steps.low

    def _set_minimum(self, low: float) -> None:
        self._set_range(low, max(low, self._steps.high))

    minimum = Property(float, _get_minimum, _set_minimum)

    def _get_maximum(self) -> float:
        return self._steps.high

    def _set_maximum(self, high: float) -> None:
        self._set_range(min(high, self._steps.low), high)

    maximum = Property(float, _get_maximum, _set_maximum)

    def _get_step(self) -> float:
        return self._steps.step

    def _set_step(self, step: float) -> None:
        self._spin.singleStep = step
        self._steps.set_step(step)

    singleStep = Property(float, _get_step, _set_step)

    def _get_decimals(self) -> int:
        return self._spin.decimals

    def _set_decimals(self, decimals: int) -> None:
        self._spin.decimals = decimals
        self._steps.set_range(self._steps.low, self._steps.high)

    decimals = Property(int, _get_decimals, _set_decimals)
