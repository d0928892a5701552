"""Whether the slice views show the uncertainty of a result over it, and what its colours mean."""

import qt
from slicer.i18n import tr as _

from ContrastSynthPanel.scene import uncertainty
from ContrastSynthPanel.scene.uncertainty import COLOURS, WINDOW_END
from ContrastSynthPanel.scene.view_keeper import ViewKeeper, is_there
from ContrastSynthPanel.widgets.echo import Echo
from ContrastSynthPanel.widgets.forms import (
    add_row,
    long_text,
    new_form,
    show_text,
    slider,
    value_of,
)
from ContrastSynthPanel.widgets.scale_bar import ScaleBar
from ContrastSynthPanel.widgets.slots import connect

USUAL_OPACITY = 50.0  # in %


class UncertaintyBox:
    """A check box, seen where the run of a result gave out a map of uncertainty, and a legend.

    ``make_way`` is called before the views change, ``changed`` when there is something to save.
    """

    def __init__(self, make_way, changed):
        """Make it; nothing is shown."""
        self._make_way, self._changed, self._echo = make_way, changed, Echo()
        self._keeper, self._in_view = ViewKeeper(), False
        self._map = self._image = None
        self.widget, self.box = qt.QWidget(), qt.QCheckBox()
        self.box.objectName = "uncertainty"
        self.box.text = _("Uncertainty over the synthetic scan")
        self.details, self.scale, self.text = qt.QWidget(), ScaleBar(), long_text()
        self.opacity = slider("uncertainty opacity", 0.0, 100.0, 1.0)
        self.opacity.suffix, self.opacity.value = " %", USUAL_OPACITY
        column, below = qt.QVBoxLayout(self.widget), qt.QVBoxLayout(self.details)
        for layout in (column, below):
            layout.setContentsMargins(0, 0, 0, 0)
        form = qt.QWidget()
        add_row(new_form(form), _("Opacity"), self.opacity)
        for widget in (form, self.scale.widget, self.text):
            below.addWidget(widget)
        column.addWidget(self.box)
        column.addWidget(self.details)
        self._fill_legend()
        connect(self.box, "toggled(bool)", self._toggled)
        connect(self.opacity, "valueChanged(double)", lambda _value: self._toggled())
        self._show_state()

    def _fill_legend(self) -> None:
        middle, end = f"{WINDOW_END / 2:g}", f"{WINDOW_END:g}"
        self.scale.show(COLOURS, ("0", middle, _("{end} and more").format(end=end)))
        text = _(
            "The mean absolute error to expect of what was removed from the scan, in means of the "
            "brain. For comparison: from {uptake:g} on, a difference counts as uptake."
        )
        show_text(self.text, text.format(uptake=uncertainty.UPTAKE_THRESHOLD))

    @property
    def wanted(self) -> bool:
        """Whether a person wants to see it."""
        return bool(self.box.checked)

    # What is shown

    def follow(self, result) -> None:
        """Be about a result from now on, or about none; the views follow where they are to."""
        node, image = uncertainty.map_of(result), uncertainty.image_of(result)
        node = None if image is None else node
        if (node, image) == (self._map, self._image):
            return
        self.put_back()
        self._map, self._image = node, image
        self._show_state()
        self.show()

    def entered(self) -> None:
        """The tab is in view: show what was put away when it was left."""
        self._in_view = True
        self.show()

    def left(self) -> None:
        """Another tab or module is in view: the views are as they were."""
        self._in_view = False
        self.put_back()

    def put_back(self) -> None:
        """Give the views back what they showed before."""
        self._keeper.put_back()

    def forget(self) -> None:
        """The scene is an empty one."""
        self._keeper, self._map, self._image = ViewKeeper(), None, None
        with self._echo:
            self.box.checked = False
        self._show_state()

    def show(self) -> None:
        """Show the uncertainty over the result, if it is wanted and the tab is in view."""
        if self.wanted and self._in_view and is_there(self._map) and is_there(self._image):
            self._make_way()
            share = value_of(self.opacity) / 100.0
            uncertainty.show_over(self._image, self._map, share, self._keeper)

    def _show_state(self) -> None:
        there = self._map is not None
        self.widget.visible, self.details.visible = there, there and self.wanted
        name = self._image.GetName() if there else ""
        self.box.toolTip = _(
            "Shows how wrong '{name}' may be, over it. Without the tick, and in other tabs and "
            "modules, the views show what they showed before."
        ).format(name=name)

    def _toggled(self, *_signal) -> None:
        if self._echo:
            return
        self._show_state()
        if self.wanted:
            self.show()
        else:
            self._make_way()
            self.put_back()
        self._changed()

    # What a saved scene keeps

    def state(self) -> dict:
        """Return what was chosen, and how the views were before; the map is in the scene."""
        return {
            "wanted": self.wanted,
            "opacity": float(value_of(self.opacity)),
            "views": self._keeper.kept,
        }

    def restore(self, state: dict) -> None:
        """Show a saved state; what this version does not know is left as it is."""
        with self._echo:
            self.box.checked = state.get("wanted", False)
            self.opacity.value = state.get("opacity", USUAL_OPACITY)
        self._keeper.restore(state.get("views", []))
        self._show_state()
