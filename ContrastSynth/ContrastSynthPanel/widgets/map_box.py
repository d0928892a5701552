"""Which kinetic map the slice views show, over what, how opaque, and what its colours mean."""

import qt
from slicer.i18n import tr as _

from ContrastSynthLib.analysis.kinetic_maps import TYPE
from ContrastSynthLib.errors import MissingError
from ContrastSynthPanel.scene import colours, kinetic_case, kinetic_maps
from ContrastSynthPanel.scene.kinetic_case import SERIES, SYNTHETIC, Asked
from ContrastSynthPanel.scene.kinetic_maps import KINDS, NO_MAP, REGION, WHOLE, Maps
from ContrastSynthPanel.scene.view_keeper import is_there
from ContrastSynthPanel.widgets.dependency_box import DependencyBox
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
from ContrastSynthPanel.widgets.message import Message
from ContrastSynthPanel.widgets.scale_bar import ScaleBar
from ContrastSynthPanel.widgets.slots import connect
from ContrastSynthPanel.widgets.work_box import WorkBox

USUAL_OPACITY = 60.0  # in %


class MapBox:
    """A list of maps and their legend. ``show`` is called when the views are to show a map.

    ``phases`` is the PhaseBox: over the series that it shows lies the map of that series.
    """

    def __init__(self, phases, changed):
        """Make the box; no map is shown."""
        self._phases, self._changed, self._echo = phases, changed, Echo()
        self._asked, self._maps, self._stamps = Asked(), Maps(NO_MAP), {}
        self.message, self.work = Message(), WorkBox(self._cancelled)
        self.dependencies = DependencyBox(self._compute, self.message.show)
        self.widget = qt.QWidget()
        column = qt.QVBoxLayout(self.widget)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self._new_form())
        self.legend = MapLegend()
        self.again_button = qt.QPushButton(_("Compute the map again"))
        self.again_button.objectName = "map again"
        connect(self.again_button, "clicked(bool)", lambda *_signal: self._compute())
        for widget in (
            self.legend.widget,
            self.work.widget,
            self.message.widget,
            self.again_button,
            self.dependencies.widget,
        ):
            column.addWidget(widget)
        self._check()

    def _new_form(self):
        box = qt.QWidget()
        form = new_form(box)
        titles = {key: kind.title for key, kind in KINDS.items()}
        self.kind_combo = combo("map", {NO_MAP: _("None"), **titles})
        self.over_combo = combo("map over", {REGION: _("The region"), WHOLE: _("All tissue")})
        self.over_combo.toolTip = _(
            "Over all tissue, agent arrives when it does in the hundredth of the voxels that rises "
            "most; over the region, when it does there."
        )
        self.opacity = slider("map opacity", 0.0, 100.0, 1.0)
        self.opacity.value = USUAL_OPACITY
        self.opacity.suffix = " %"
        for made in (self.kind_combo, self.over_combo):
            connect(made, "activated(int)", lambda _n: self._compute())
        connect(self.opacity, "valueChanged(double)", lambda _value: self._set_opacity())
        add_row(form, _("Map in the views"), self.kind_combo)
        self._rows = [
            (add_row(form, _("Computed over"), self.over_combo), self.over_combo),
            (add_row(form, _("Opacity"), self.opacity), self.opacity),
        ]
        return box

    @property
    def kind(self) -> str:
        """The chosen map; NO_MAP for none."""
        return chosen(self.kind_combo)

    @property
    def shown(self):
        """The node of the map of the series that the views show; None where there is none."""
        role = SYNTHETIC if self._phases.shows_second else SERIES
        node = self._maps.nodes.get(role)
        return node if node is not None and is_there(node) else None

    @property
    def _whole(self) -> bool:
        return chosen(self.over_combo) == WHOLE

    @property
    def _missing(self) -> str:
        """Why no map can be computed; nothing if one can."""
        return self._asked.no_series or ("" if self._whole else self._asked.no_region)

    def check(self, asked: Asked) -> None:
        """Take what the case has now, and say where the map is not of that."""
        self._asked = asked
        self._check()

    def _check(self) -> None:
        missing = self._missing
        self.kind_combo.enabled = self.over_combo.enabled = not self._asked.no_series
        self.kind_combo.toolTip = missing or _("In colours over the series that the views show.")
        there, old = bool(self._maps.nodes), ""
        for label, widget in self._rows:
            label.visible = widget.visible = self.kind != NO_MAP
        if there and not self.work.running:
            old = kinetic_case.change(self._stamps, self._of(self._asked, self._whole))
            if self.shown is None and not old:
                old = _("the map was deleted")
        self._show_old(old)
        self.legend.widget.visible = there
        self.legend.widget.enabled = not old

    def _show_old(self, old: str) -> None:
        text = _("Out of date: {change}. Press 'Compute the map again'.").format(change=old)
        before = self.message.text.startswith(_("Out of date"))
        if old and text != self.message.text:
            self.message.show("warning", text)
        elif not old and before:
            self.message.show("info", "")
        self.again_button.visible = bool(old)

    @staticmethod
    def _of(asked: Asked, whole: bool) -> Asked:
        """Return what a map depends on: over all tissue not on a region, and never on ``each``."""
        kept = {k: v for k, v in asked.nodes.items() if not whole or k != kinetic_case.REGION}
        return Asked(kept, "" if whole else asked.segment)

    # Computing and showing

    def _compute(self) -> None:
        """Compute the chosen map and show it; without one, show none."""
        self.hide()
        self.message.show("info", "")
        self.dependencies.widget.visible = False
        missing = self._missing
        if self.kind == NO_MAP or missing:
            self.message.show("warning", missing if self.kind != NO_MAP else "")
            self._check()
            return
        of = self._of(self._asked, self._whole)
        self._stamps = kinetic_case.stamps_of(of)
        task = kinetic_maps.making_maps(of, self.kind, self._whole)
        self.work.start(task, self._done, self._failed)
        self._check()

    def _done(self, maps: Maps) -> None:
        self._maps = maps
        whole = maps.over_whole and maps.kind in kinetic_maps.OF_ENHANCING
        self.legend.show(maps.kind, maps.over, whole)
        self.show_again()
        self._check()
        self._changed()

    def _failed(self, error: Exception) -> None:
        self.message.show("failed", str(error))
        if isinstance(error, MissingError):
            self.dependencies.show([])
        self._check()

    def _cancelled(self) -> None:
        choose(self.kind_combo, NO_MAP)
        self.message.show("info", _("Cancelled. No map is shown."))
        self._check()

    def show_again(self) -> None:
        """Show the map that was computed, over the series that the views show."""
        if self._maps.nodes:
            self._phases.show_in_views()

    def put_over(self) -> None:
        """The views show a phase: put the map of its series over it."""
        if self._maps.nodes:
            share, region = value_of(self.opacity) / 100.0, self._asked.nodes.get(REGION)
            kinetic_maps.show_map(self.shown, share, self._phases.layers, region)

    def _set_opacity(self) -> None:
        if not self._echo:
            self.put_over()

    def hide(self) -> None:
        """Show no map, and stop what is being computed; the nodes stay in the scene."""
        self.work.stop()
        there, self._maps = bool(self._maps.nodes), Maps(NO_MAP)
        if there:
            region = self._asked.nodes.get(REGION)
            kinetic_maps.show_map(None, 0.0, self._phases.layers, region)

    def forget(self) -> None:
        """The scene is another one: there is no map."""
        self.work.stop()
        self._maps, self._stamps = Maps(NO_MAP), {}
        choose(self.kind_combo, NO_MAP)
        self.message.show("info", "")
        self._check()

    # What a saved scene keeps

    def state(self) -> dict:
        """Return how maps are shown; which one is not kept, its node is in the scene."""
        return {"over": chosen(self.over_combo), "opacity": value_of(self.opacity)}

    def restore(self, state: dict) -> None:
        """Show a saved state."""
        with self._echo:
            choose(self.over_combo, state.get("over", chosen(self.over_combo)))
            self.opacity.value = float(state.get("opacity", value_of(self.opacity)))


class MapLegend:
    """The colours of a map from its low to its high end, or of each type, and what they say."""

    def __init__(self):
        """Make it empty."""
        self.widget = qt.QWidget()
        column = qt.QVBoxLayout(self.widget)
        column.setContentsMargins(0, 0, 0, 0)
        self.scale, self.types, self.text = ScaleBar(), qt.QLabel(), qt.QLabel()
        self.types.textFormat = qt.Qt.RichText
        self.types.wordWrap = self.text.wordWrap = True
        column.addWidget(self.scale.widget)
        column.addWidget(self.types)
        column.addWidget(self.text)

    def show(self, kind: str, over: str, only_enhancing: bool = False) -> None:
        """Show the colours of a kind of map, computed over something."""
        of, of_types = KINDS[kind], kind == TYPE
        self.types.visible = of_types
        self.scale.widget.visible = not of_types
        self.types.text = " &nbsp; ".join(
            f'<span style="color:{colours.style(colour)}">\N{BLACK SQUARE}</span>&nbsp;{title}'
            for title, colour in kinetic_maps.colours_of(TYPE)[1:]
        )
        values = [of.factor * one for one in (of.low, (of.low + of.high) / 2, of.high)]
        texts = [f"{one:g}{of.unit}".replace("-", "\N{MINUS SIGN}") for one in values]
        self.scale.show(kinetic_maps.ends_of(kind), texts)
        text = _("Over {over}. {says}").format(over=over, says=of.says)
        only = _("Only where the signal rises by half at least.") if only_enhancing else ""
        show_text(self.text, f"{text} {only}".strip())
