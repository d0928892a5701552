"""The tick box "Curve at the cursor": while it is on, a chart has the curves below the mouse."""

import math

import qt
from slicer.i18n import tr as _
from slicer.util import VTKObservationMixin

from ContrastSynthLib.errors import RequestError
from ContrastSynthPanel.scene import cursor_curve
from ContrastSynthPanel.scene.kinetic_case import SERIES, SYNTHETIC
from ContrastSynthPanel.widgets.forms import show_text
from ContrastSynthPanel.widgets.slots import connect, once_after

UPDATE_AFTER_MS = 100  # the mouse moves more often than anybody can read a curve
TITLES = {SERIES: _("Real"), SYNTHETIC: _("SYNTHETIC")}


class CursorBox(VTKObservationMixin):
    """Draws into the chart that ``chart`` returns; ``drawn`` is called with each that it is."""

    def __init__(self, chart, drawn):
        """Make the box; it is off."""
        VTKObservationMixin.__init__(self)
        self._chart, self._drawn, self._nodes, self._baseline = chart, drawn, {}, 1
        self._in_view, self.lines = False, cursor_curve.CursorLines()
        self._timer = once_after(UPDATE_AFTER_MS, self._update)
        self.widget = qt.QWidget()
        column = qt.QVBoxLayout(self.widget)
        column.setContentsMargins(0, 0, 0, 0)
        self.tick_box, self.label = qt.QCheckBox(_("Curve at the cursor")), qt.QLabel()
        self.tick_box.objectName = "cursor"
        self.tick_box.toolTip = _(
            "Move the mouse over a slice view: the curve of the voxel below it is drawn in the "
            "chart. With Shift held down, the other views follow."
        )
        self.label.wordWrap = True
        connect(self.tick_box, "toggled(bool)", lambda _on: self.again())
        column.addWidget(self.tick_box)
        column.addWidget(self.label)
        self.again()

    @property
    def on(self) -> bool:
        """Whether the curves are drawn."""
        return self.tick_box.checked and self._in_view and SERIES in self._nodes

    def follow(self, nodes: dict, baseline_frames: int) -> None:
        """Draw the curves of these series, by role, from now on."""
        wanted = {role: nodes[role] for role in (SERIES, SYNTHETIC) if role in nodes}
        self.tick_box.enabled = SERIES in wanted
        self._baseline = baseline_frames
        if wanted != self._nodes:
            self._nodes = wanted
            self.again()

    def enter(self, in_view: bool) -> None:
        """The tab comes into view, or leaves it."""
        if in_view != self._in_view:
            self._in_view = in_view
            self.again()

    def again(self) -> None:
        """Draw the lines anew, because the chart was; none while the box is off."""
        self.removeObservers()
        self.lines.clear()
        show_text(self.label, "")
        if not self.on:
            self._timer.stop()
            return
        chart = self._chart() or cursor_curve.own_chart(self._nodes[SERIES])
        self.lines.use(chart, self._nodes)
        self._drawn(chart)
        node = cursor_curve.crosshair()
        if node is not None:
            self.addObserver(node, node.CursorPositionModifiedEvent, self._moved)
        self._update()

    def close(self) -> None:
        """Hear no more of the mouse."""
        self._timer.stop()
        self.removeObservers()
        self.lines.clear()

    def _moved(self, _node, _event) -> None:
        if not self._timer.active:  # it runs down even while the mouse moves without a pause
            self._timer.start()

    def _update(self) -> None:
        if not self.on:
            return
        ras = cursor_curve.position()
        if ras is None:
            show_text(self.label, _("Move the mouse over a slice view."))
            return
        try:
            curves = {
                role: cursor_curve.curve_in(node, ras, self._baseline)
                for role, node in self._nodes.items()
            }
        except RequestError as error:
            show_text(self.label, str(error))
            return
        self.lines.show(curves)
        self._drawn(self.lines.chart)
        show_text(self.label, told(ras, curves))


def told(ras: list, curves: dict) -> str:
    """Return where the cursor is, and the highest enhancement of each curve there."""
    place = _("R {r:.1f}, A {a:.1f}, S {s:.1f} mm").format(
        **dict(zip("ras", (x + 0.0 for x in ras), strict=True))
    )
    if curves.get(SERIES) is None:
        return _("{place}: outside of the series.").format(place=place)
    parts = []
    for role, curve in curves.items():
        if curve is None:
            continue
        highest = max(curve.enhancement_percent, default=math.nan)
        text = _("{title} no signal before the agent")
        if not math.isnan(highest):
            text = _("{title} up to {highest:.0f} %")
        parts.append(text.format(title=TITLES[role], highest=highest))
    return _("{place}: {curves}").format(place=place, curves=", ".join(parts))
