"""Two volumes in turns, at the same place in the slice views."""

import qt
from slicer.i18n import tr as _

from ContrastSynthPanel.scene import views
from ContrastSynthPanel.widgets.echo import Echo
from ContrastSynthPanel.widgets.forms import add_row, new_form, slider, value_of
from ContrastSynthPanel.widgets.slots import connect, every

FASTEST_HZ = 3.0  # more flashes a second are not safe for everyone
USUAL_HZ = 1.0
NAME_LETTERS = 30


class Flicker:
    """Shows the foreground of the slice views and hides it, by turns."""

    def __init__(self, changed):
        """Make its controls; ``changed`` is called when it flips, or a person set another rate."""
        self._changed, self._echo, self._keeper = changed, Echo(), None
        self._names, self._second_shown = ("", ""), False
        self.widget = qt.QWidget()
        form = new_form(self.widget)
        self.rate = slider("rate", 0.2, FASTEST_HZ, 0.1)
        self.rate.suffix, self.rate.value = " Hz", USUAL_HZ
        self.rate.toolTip = _("How often a second the other volume is shown.")
        self.now_label = qt.QLabel()
        self.stop_button = qt.QPushButton(_("Stop"))
        self.stop_button.objectName = "stop"
        add_row(form, _("Changes a second"), self.rate)
        add_row(form, _("Shown now"), self.now_label)
        form.addRow(self.stop_button)
        self._timer = every(self._interval_ms(), self._flip)
        connect(self.rate, "valueChanged(double)", self._set_rate)
        connect(self.stop_button, "clicked(bool)", lambda *_signal: self._stop_or_go())

    @property
    def running(self) -> bool:
        """Whether the volumes are changing."""
        return bool(self._timer.active)

    def start(self, volumes, names, keeper) -> None:
        """Show the first of two volumes, and from now on each in its turn."""
        self._names, self._keeper, self._second_shown = tuple(names), keeper, False
        views.show_layers(*volumes, 0.0, keeper)
        self._show_name()
        self._go()

    def stop(self) -> None:
        """Let the volume stay that is shown now."""
        self._timer.stop()
        self.stop_button.text = _("Go on")

    def set_rate(self, rate_hz: float) -> None:
        """Flicker at a rate that was kept."""
        with self._echo:
            self.rate.value = rate_hz

    def _go(self) -> None:
        self._timer.start(self._interval_ms())
        self.stop_button.text = _("Stop")

    def _interval_ms(self) -> int:
        return round(1000 / value_of(self.rate))

    def _flip(self) -> None:
        self._second_shown = not self._second_shown
        views.set_foreground_opacity(1.0 if self._second_shown else 0.0, self._keeper)
        self._show_name()
        self._changed()  # a scene that is saved now has to know what the panel made of the views

    def _show_name(self) -> None:
        name = self._names[self._second_shown]
        self.now_label.toolTip = name
        short = len(name) <= NAME_LETTERS
        self.now_label.text = (
            name if short else name[: NAME_LETTERS - 1] + "\N{HORIZONTAL ELLIPSIS}"
        )

    def _set_rate(self, *_signal) -> None:
        self._timer.setInterval(self._interval_ms())
        if not self._echo:
            self._changed()

    def _stop_or_go(self) -> None:
        if self.running:
            self.stop()
        else:
            self._go()
