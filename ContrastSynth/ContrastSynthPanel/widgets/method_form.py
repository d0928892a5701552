"""The short form of a method: which one, what it is about, and the rest under Advanced."""

import qt
from slicer.i18n import tr as _

from ContrastSynthPanel.citations import citation_html
from ContrastSynthPanel.scene.bridge import SEQUENCE
from ContrastSynthPanel.widgets.device_box import DeviceBox
from ContrastSynthPanel.widgets.echo import Echo
from ContrastSynthPanel.widgets.forms import long_text, new_section
from ContrastSynthPanel.widgets.method_list import about, method_combo
from ContrastSynthPanel.widgets.output_box import OutputBox
from ContrastSynthPanel.widgets.parameter_widgets import ParameterWidgets
from ContrastSynthPanel.widgets.seed_box import SeedBox
from ContrastSynthPanel.widgets.slots import connect
from ContrastSynthPanel.widgets.weights_box import WeightsBox


class MethodForm:
    """``top`` is always seen; ``advanced`` and ``about`` are sections that are closed at first.

    ``chosen`` is called with the key of a method that a person chose, ``edited`` when weights,
    device, seed, phases or the place of the result are chosen.
    """

    def __init__(self, chosen, edited, show_message):
        """Make the form of the method that is offered first."""
        self._chosen, self._edited, self._echo = chosen, edited, Echo()
        self.weights = WeightsBox(edited, show_message)
        self.device, self.seed, self.output = DeviceBox(edited), SeedBox(edited), OutputBox(edited)
        self.parameters = None
        self._build_top()
        self._build_advanced()
        self._build_about()
        connect(self.method_combo, "currentIndexChanged(int)", self._method_chosen)

    def _build_top(self) -> None:
        self.top, self.method_combo = qt.QWidget(), method_combo()
        self._column = qt.QVBoxLayout(self.top)
        self._column.setContentsMargins(0, 0, 0, 0)
        self._column.addWidget(self.method_combo)
        self._main = qt.QWidget()
        self._column.addWidget(self._main)
        self._column.addWidget(self.output.phases_row)

    def _build_advanced(self) -> None:
        content = qt.QWidget()
        self._advanced = qt.QVBoxLayout(content)
        self._advanced.setContentsMargins(0, 0, 0, 0)
        self._rest = qt.QWidget()
        for widget in (
            self._rest,
            self.weights.widget,
            self.seed.widget,
            self.output.widget,
            self.device.widget,
        ):
            self._advanced.addWidget(widget)
        self.advanced = new_section(_("Advanced"), content)
        self.advanced.objectName = "advanced"
        self.advanced.collapsed = True

    def _build_about(self) -> None:
        content = qt.QWidget()
        column = qt.QVBoxLayout(content)
        column.setContentsMargins(0, 0, 0, 0)
        self.about_label, self.citation_label = long_text(), long_text()
        self.about_label.textFormat = qt.Qt.PlainText
        self.citation_label.textFormat = qt.Qt.RichText
        self.citation_label.openExternalLinks = True
        column.addWidget(self.about_label)
        column.addWidget(self.citation_label)
        self.about = new_section(_("About this method"), content)
        self.about.objectName = "about"
        self.about.collapsed = True

    # The method

    @property
    def chosen_method(self) -> str:
        """The key of the method that the list shows."""
        return self.method_combo.itemData(self.method_combo.currentIndex)

    def choose_method(self, key: str) -> None:
        """Show a method in the list; nobody is told."""
        with self._echo:
            self.method_combo.setCurrentIndex(self.method_combo.findData(key))

    def _method_chosen(self, *_signal) -> None:
        if not self._echo:
            self._chosen(self.chosen_method)

    def show_method(self, method, parameter_edited) -> ParameterWidgets:
        """Build what depends on the method; return its parameters, which nobody has set yet."""
        self.method_combo.toolTip = "\n".join([method.title, about(method)])
        self.about_label.text = about(method)
        self.citation_label.text = citation_html(method.citation)
        self.weights.set_method(method)
        self.seed.set_method(method)
        self.output.set_method(method)
        self.parameters = ParameterWidgets(method, parameter_edited)
        self._main = replaced(self._column, self._main, self.parameters.main)
        self._rest = replaced(self._advanced, self._rest, self.parameters.widget)
        self.parameters.main.visible = self.parameters.has_main
        return self.parameters

    # What is asked for

    def problem(self, values, nodes) -> str:
        """Return what is wrong with what was typed or is not there; nothing if nothing."""
        series = [node for node in nodes if node.IsA(SEQUENCE)]
        self.output.show_series(series)
        typed = next(iter(self.parameters.problems.values()), "")
        method = self.parameters.method
        weights = self.weights.missing(values) if method.networks else ""
        return typed or self.seed.problem() or self.output.problem() or weights

    def asked(self) -> dict:
        """Return what a Request takes of weights, device, seed and phases."""
        return {
            "weights": self.weights.chosen,
            "device": self.device.chosen,
            "seed": self.seed.chosen,
        } | ({"phases": self.output.phases} if self.output.phases else {})

    def into(self, method):
        """Return the result whose place the next one takes: NEW, a node, or None."""
        return self.output.into(method)

    def state(self) -> dict:
        """Return what :meth:`restore` takes."""
        return {
            "weights": dict(self.weights.wanted),
            "seeds": self.seed.state(),
            "device": self.device.chosen,
            "phases": self.output.phases_text,
        }

    def restore(self, state: dict) -> None:
        """Show a saved state."""
        self.weights.restore(state.get("weights"))
        self.seed.restore(state.get("seeds", {}))
        self.device.restore(state.get("device", "auto"))
        self.output.phases_text = state.get("phases", "")


def replaced(layout, old, new):
    """Put a widget in the place of another one, which goes; return the new one."""
    layout.replaceWidget(old, new)
    old.hide()
    old.deleteLater()
    new.show()
    return new
