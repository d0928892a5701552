"""The panel: that it is for research only, the case, the tabs, and what a saved scene keeps."""

import qt
import slicer
from slicer.i18n import tr as _
from slicer.util import VTKObservationMixin

from ContrastSynthPanel.scene import relations, saved_state
from ContrastSynthPanel.tabs.compare import CompareTab
from ContrastSynthPanel.tabs.inversion import InversionTab
from ContrastSynthPanel.tabs.kinetics import KineticsTab
from ContrastSynthPanel.tabs.profile import ProfileTab
from ContrastSynthPanel.tabs.quality import QualityTab
from ContrastSynthPanel.tabs.study import StudyTab
from ContrastSynthPanel.tabs.synthesise import SynthesiseTab
from ContrastSynthPanel.tabs.uptake import UptakeTab
from ContrastSynthPanel.widgets import slots
from ContrastSynthPanel.widgets.case_box import CaseBox, unsettled
from ContrastSynthPanel.widgets.echo import Echo
from ContrastSynthPanel.widgets.message import Message
from ContrastSynthPanel.widgets.tab_buttons import TabButtons

# Both colours are given, so that it can be read in a dark theme too.
BANNER = "background-color: #ffe08a; color: #3d2f00; padding: 4px;"
CASE, SHOWN = "case", "shown"  # keys under which a saved scene keeps the case, and the shown tab
SETTLE_MS = 100  # a node gets its name and content some moments after it is in the scene
LOOK_MS = 300  # between two looks whether numbers still belong to what they were measured of
# By the keys under which a saved scene keeps their states: never renamed.
TABS = {
    "synthesise": SynthesiseTab,
    "uptake": UptakeTab,
    "compare": CompareTab,
    "kinetics": KineticsTab,
    "profile": ProfileTab,
    "quality": QualityTab,
    "inversion": InversionTab,
    "study": StudyTab,
}


class Panel(VTKObservationMixin):
    """Fills a layout. The module's widget calls ``enter`` and ``cleanup``, as Slicer calls it."""

    def __init__(self, layout, parameter_node):
        """Build the panel; ``parameter_node`` returns the scene's node that keeps its state."""
        VTKObservationMixin.__init__(self)
        self._parameter_node, self._loading, self._ready = parameter_node, Echo(), False
        self._importing, self._shown, self._away = False, 0, True  # away: another module is shown
        self._build(layout)
        self._settle_timer = slots.once_after(SETTLE_MS, self._settled)
        self._restore_timer = slots.once_after(0, self.restore)
        self._look_timer = slots.every(LOOK_MS, self._look)
        self._observe()
        self._ready = True
        self.restore()  # after a reload, nobody enters
        self._look_timer.start()

    def _build(self, layout) -> None:
        self.banner = qt.QLabel(
            _("Research use only. A synthetic image must not be used for diagnosis or treatment.")
        )
        self.banner.wordWrap = True
        self.banner.setStyleSheet(BANNER)
        self.trouble = Message()
        self.box = CaseBox(self._case_changed)
        self.tab_widget = qt.QTabWidget()
        self.tabs = {}
        for key, tab in TABS.items():
            self.tabs[key] = tab(self.box, self.save)
            if self.tabs[key].above is not None:
                self.box.add_above(self.tabs[key].above)
            self.tab_widget.addTab(self.tabs[key].widget, tab.title)
        for tab in self.tabs.values():
            tab.meet(self.tabs)
        self.tab_buttons = TabButtons(self.tab_widget)
        for widget in (
            self.banner,
            self.trouble.widget,
            self.tab_buttons.widget,
            self.box.widget,
            self.tab_widget,
        ):
            layout.addWidget(widget)
        self._show_case()
        slots.listen(self._show_trouble)
        slots.connect(self.tab_widget, "currentChanged(int)", self._tab_chosen)

    def _observe(self) -> None:
        scene = slicer.mrmlScene
        for event, react in (
            (scene.StartCloseEvent, self._on_start_close),
            (scene.EndCloseEvent, self._on_end_close),
            (scene.StartImportEvent, self._on_start_import),
            (scene.EndImportEvent, self._on_end_import),
            (scene.NodeAddedEvent, self._on_added),
            (scene.NodeRemovedEvent, self._on_removed),
        ):
            self.addObserver(scene, event, react)

    @property
    def synthesise(self) -> SynthesiseTab:
        """The tab that runs the methods."""
        return self.tabs["synthesise"]

    # What Slicer does

    def enter(self) -> None:
        """Show what the scene keeps: it may have changed while the panel was not in view."""
        if not self._away:
            return
        self.restore()
        self._away = False
        self._shown_tab().entered()

    def leave(self) -> None:
        """Another module is shown."""
        if not self._away:
            self._shown_tab().left()
        self._away = True

    def cleanup(self) -> None:
        """End what runs and hear no more of the scene: the module is closed or reloaded."""
        self._ready = False
        slots.forget(self._show_trouble)
        for timer in (self._look_timer, self._restore_timer, self._settle_timer):
            timer.stop()
        self.removeObservers()
        for tab in self.tabs.values():
            tab.close()
        self.box.close()

    # What a saved scene keeps

    def save(self) -> None:
        """Keep the state in the scene, unless it is about to be read from there."""
        if self._ready and not self._loading and not self._importing and not unsettled():
            state = {key: tab.state() for key, tab in self.tabs.items()}
            state[CASE] = self.box.state()
            state[SHOWN] = list(self.tabs)[self._shown]
            saved_state.save_state(self._parameter_node(), state)

    def restore(self) -> None:
        """Show the state that the scene keeps; without one, keep what is shown."""
        if not self._ready:
            return
        self._importing = False
        with self._loading:  # until all of it is shown, nothing is saved over it
            relations.adopt_old_results()
            state = saved_state.load_state(self._parameter_node())
            case = state.get(CASE) or saved_state.case_before(state, state.get(SHOWN, ""))
            if case:
                self.box.restore(case)
            for key, tab in self.tabs.items():
                if key in state:
                    tab.restore(state[key])
            if state.get(SHOWN) in self.tabs:
                self.tab_widget.setCurrentIndex(list(self.tabs).index(state[SHOWN]))
        self._settled()

    # What happens

    def _shown_tab(self):
        return list(self.tabs.values())[self._shown]

    def _tab_chosen(self, index: int) -> None:
        if not self._away:
            self._shown_tab().left()
        self._shown = index
        self._show_case()
        if not self._away:
            self._shown_tab().entered()
        self.save()

    def _show_case(self) -> None:
        """Show in the case box what the shown tab needs."""
        for tab in self.tabs.values():
            if tab.above is not None:
                tab.above.visible = tab is self._shown_tab()
        self.box.show_tab(self._shown_tab())

    def _look(self) -> None:
        if self._away and self.tab_widget.visible:  # after a reload
            self.enter()
        if not self._away and not unsettled():
            self.tab_buttons.follow_theme()
            self.box.look()
            self._shown_tab().look()

    def _case_changed(self) -> None:
        if not self._ready or self._importing or unsettled():
            return
        self._call_tabs("case_changed")
        self.save()

    def _settled(self) -> None:
        """Some moments after nodes came or went: the case, and the tabs, follow."""
        if self._importing or unsettled():
            return
        self.box.follow()
        self._call_tabs("scene_changed")

    def _show_trouble(self, text: str) -> None:
        self.trouble.show("failed", text)

    def _call_tabs(self, what: str) -> None:
        for tab in self.tabs.values():
            getattr(tab, what)()

    def _on_start_close(self, _scene, _event) -> None:
        self.box.brain.run.close(_("The scene was closed."))
        self._call_tabs("scene_closed")

    def _on_end_close(self, _scene, _event) -> None:
        self.box.case.forget()
        self.box.show()
        self.trouble.show("info", "")
        self._call_tabs("forget_nodes")

    def _on_start_import(self, _scene, _event) -> None:
        self._importing = True

    def _on_end_import(self, _scene, _event) -> None:
        self._restore_timer.start()  # once the selectors have seen the new nodes

    def _on_added(self, _scene, _event) -> None:
        self._settle_timer.start()

    def _on_removed(self, _scene, _event) -> None:
        if not unsettled():
            self._call_tabs("node_removed")
        self._settle_timer.start()
