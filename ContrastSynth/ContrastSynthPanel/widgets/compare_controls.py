"""What can be set of a comparison: of which two, how opaque, how normalised, how coloured."""

import qt
from slicer.i18n import tr as _

from ContrastSynthPanel.scene import colours, difference, views
from ContrastSynthPanel.widgets.case_box import TITLES
from ContrastSynthPanel.widgets.echo import Echo
from ContrastSynthPanel.widgets.flicker import USUAL_HZ, Flicker
from ContrastSynthPanel.widgets.forms import (
    add_row,
    choose,
    chosen,
    combo,
    long_text,
    new_form,
    slider,
    value_of,
)
from ContrastSynthPanel.widgets.slots import connect

SCALE_HEIGHT = 12
OPACITIES = {"blend": 50.0, "difference": 100.0}  # in %, of what is shown over the first volume
# The rows that are seen, by the way to compare; nothing is seen without one.
SHOWN = {
    "": (),
    "side": ("side", "normalise"),
    "blend": ("pair", "opacity", "normalise"),
    "flicker": ("pair", "flicker", "normalise"),
    "difference": ("pair", "opacity", "normalise", "difference"),
}


class CompareControls:
    """The rows. A person's changes call ``again``, where it has to be compared anew, ``opacity``
    with a share of 1, ``end`` with the end of the colours, and in any case ``changed``.
    """

    def __init__(self, again, opacity, end, changed):
        """Make the rows; none is seen yet."""
        self._again, self._opacity_set, self._end_set = again, opacity, end
        self._changed, self._echo, self._mode = changed, Echo(), ""
        self._opacities, self._ranges = dict(OPACITIES), {}
        self._wanted = ""  # the pair that a person chose, to come back to where it is offered
        self.flicker = Flicker(changed)
        self.boxes = {
            "pair": self._pair_box(),
            "side": self._side_box(),
            "opacity": self._opacity_box(),
            "flicker": self.flicker.widget,
            "normalise": self._normalise_box(),
            "difference": self._difference_box(),
        }
        self.widget = qt.QWidget()
        column = qt.QVBoxLayout(self.widget)
        column.setContentsMargins(0, 0, 0, 0)
        for box in self.boxes.values():
            column.addWidget(box)
        self.show_mode("", False)

    # Its parts

    def _list(self, name: str, title: str, entries: dict, tip: str = "", chosen_here=None):
        box, made = qt.QWidget(), combo(name, entries)
        made.toolTip = tip
        connect(made, "currentIndexChanged(int)", chosen_here or self._chosen)
        add_row(new_form(box), title, made)
        return box, made

    def _pair_box(self):
        tip = _("The second is shown over the first; the difference is second less first.")
        box, self.pair_combo = self._list("pair", _("Of"), {}, tip, self._pair_chosen)
        return box

    def _side_box(self):
        titles = (_("Axial"), _("Sagittal"), _("Coronal"))
        entries = dict(zip(views.ORIENTATIONS, titles, strict=True))
        box, self.orientation_combo = self._list("orientation", _("Orientation"), entries)
        return box

    def _opacity_box(self):
        box = qt.QWidget()
        self.opacity = slider("opacity", 0.0, 100.0, 1.0)
        self.opacity.suffix = " %"
        self.opacity.toolTip = _(
            "Of the second volume, or of the difference, over the first: 0 % shows only the first."
        )
        connect(self.opacity, "valueChanged(double)", self._opacity_moved)
        add_row(new_form(box), _("Opacity"), self.opacity)
        return box

    def _normalise_box(self):
        tip = _(
            "Two scans of one patient differ in overall brightness. For the difference, each is "
            "divided by its own level, of the brain, or of the head where the skull is in the "
            "scan; their windows in the views are scaled by it. Or the values are taken as they "
            "are."
        )
        box, self.normalise_combo = self._list(
            "normalise", _("Normalise"), difference.NORMALISE, tip
        )
        return box

    def _difference_box(self):
        box = qt.QWidget()
        form = new_form(box)
        self.range = slider("range", 0.0, 1.0, 0.001)
        self.range.toolTip = _("The difference at which the colours end, on either side of zero.")
        connect(self.range, "valueChanged(double)", self._range_moved)
        scale = qt.QLabel()
        scale.setFixedHeight(SCALE_HEIGHT)
        scale.setStyleSheet(colours.scale_style())
        self.scale_label = long_text()
        self.scale_label.wordWrap = True
        add_row(form, _("Colours end at \N{PLUS-MINUS SIGN}"), self.range)
        form.addRow(scale)
        form.addRow(self.scale_label)
        return box

    # What a person does

    def _chosen(self, *_signal) -> None:
        if not self._echo:
            self._again()
            self._changed()

    def _pair_chosen(self, *_signal) -> None:
        if not self._echo:
            self._wanted = chosen(self.pair_combo)
            self._chosen()

    def _opacity_moved(self, *_signal) -> None:
        if not self._echo:
            self._opacities[self._mode] = value_of(self.opacity)
            self._opacity_set(self.share)
            self._changed()

    def _range_moved(self, *_signal) -> None:
        if not self._echo:
            self._ranges[self.normalise] = value_of(self.range)
            self._end_set(value_of(self.range))
            self._changed()

    # What is set

    @property
    def pair(self) -> tuple:
        """The roles of the two that are compared, the one that lies below first."""
        return tuple((chosen(self.pair_combo) or "").split())

    @property
    def orientation(self) -> str:
        """In which all are shown side by side."""
        return chosen(self.orientation_combo)

    @property
    def normalise(self) -> str:
        """The kind of level by which brightness is made equal, or "none"."""
        return chosen(self.normalise_combo)

    @property
    def share(self) -> float:
        """How much the second covers the first."""
        return value_of(self.opacity) / 100.0

    # What is shown

    def show_mode(self, mode: str, computed: bool) -> None:
        """Show what can be set of a way to compare, and of a difference once it is computed."""
        self._mode = mode
        for key, box in self.boxes.items():
            box.visible = key in SHOWN[mode] and (computed or key != "difference")
        if mode in self._opacities:
            with self._echo:
                self.opacity.value = self._opacities[mode]

    def offer(self, pairs) -> None:
        """Offer these pairs of roles, the first one if none of them was chosen."""
        with self._echo:
            self.pair_combo.clear()
            for first, second in pairs:
                title = _("{a} and {b}").format(a=TITLES[first], b=TITLES[second])
                self.pair_combo.addItem(title, f"{first} {second}")
            choose(self.pair_combo, self._wanted)

    def fit_range(self, found) -> float:
        """Fit the slider of the colours to a Difference; return where they end."""
        kind, largest = self.normalise, max(found.largest, found.window) or 1.0
        digits = 2 - int(f"{largest:e}".partition("e")[2])  # after the point, to show three
        step = 10.0**-digits
        with self._echo:
            self.range.decimals = max(0, digits)
            self.range.minimum, self.range.maximum = step, largest
            self.range.singleStep = self.range.pageStep = step
            self.range.value = self._ranges.get(kind, found.window or largest)
            self.range.suffix = f" {difference.KINDS.get(kind, '')}".rstrip()
        first, second = (TITLES[role].lower() for role in self.pair)
        text = _("Blue: the {second} is lower than the {first}. Red: it is higher. Black: equal.")
        self.scale_label.text = text.format(first=first, second=second)
        return float(self.range.value)

    # What a saved scene keeps

    def state(self) -> dict:
        """Return all that was set."""
        return {
            "pair": self._wanted,
            "orientation": self.orientation,
            "opacities": dict(self._opacities),
            "rate_hz": value_of(self.flicker.rate),
            "normalise": self.normalise,
            "ranges": dict(self._ranges),
        }

    def restore(self, state: dict) -> None:
        """Show a saved state; what this version does not know is left as it is."""
        self._wanted = state.get("pair") or ""
        with self._echo:
            choose(self.pair_combo, self._wanted)
            choose(self.orientation_combo, state.get("orientation"))
            choose(self.normalise_combo, state.get("normalise"))
        self._opacities = OPACITIES | state.get("opacities", {})
        self._ranges = dict(state.get("ranges", {}))
        self.flicker.set_rate(state.get("rate_hz", USUAL_HZ))
