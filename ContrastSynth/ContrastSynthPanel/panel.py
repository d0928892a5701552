"""The panel: that it is for research only, the tabs, and what a saved scene keeps of them."""

import qt
import slicer
from slicer.i18n import tr as _
from slicer.util import VTKObservationMixin

from ContrastSynthPanel.scene import saved_state
from ContrastSynthPanel.tabs.compare import CompareTab
from ContrastSynthPanel.tabs.inversion import InversionTab
from ContrastSynthPanel.tabs.kinetics import KineticsTab
from ContrastSynthPanel.tabs.profile import ProfileTab
from ContrastSynthPanel.tabs.quality import QualityTab
from ContrastSynthPanel.tabs.synthesise import SynthesiseTab
from ContrastSynthPanel.tabs.uptake import UptakeTab
from ContrastSynthPanel.widgets.forms import once_after
from ContrastSynthPanel.widgets.node_selectors import unsettled
from ContrastSynthPanel.widgets.tab_buttons import TabButtons

# Both colours are given, so that it can be read in a dark theme too.
BANNER = "background-color: #ffe08a; color: #3d2f00; padding: 4px;"
SHOWN = "shown"  # the key under which a saved scene keeps which tab is shown
# By the keys under which a saved scene keeps their states: never renamed.
TABS = {
    "synthesise": SynthesiseTab,
    "uptake": UptakeTab,
    "compare": CompareTab,
    "kinetics": KineticsTab,
    "profile": ProfileTab,
    "quality": QualityTab,
    "inversion": InversionTab,
}


class Panel(VTKObservationMixin):
    """Fills a layout. The module's widget calls ``enter`` and ``cleanup``, as Slicer calls it."""

    def __init__(self, layout, parameter_node):
        """Build the panel; ``parameter_node`` returns the scene's node that keeps its state."""
        VTKObservationMixin.__init__(self)
        self._parameter_node, self._loading, self._ready = parameter_node, False, False
        self.banner = qt.QLabel(
            _("Research use only. A synthetic image must not be used for diagnosis or treatment.")
        )
        self.banner.wordWrap = True
        self.banner.setStyleSheet(BANNER)
        layout.addWidget(self.banner)
        self.tab_widget = qt.QTabWidget()
        self.tabs = {key: tab(self.save) for key, tab in TABS.items()}
        for tab in self.tabs.values():
            self.tab_widget.addTab(tab.widget, tab.title)
            tab.meet(self.tabs)
        self.tab_buttons = TabButtons(self.tab_widget)
        layout.addWidget(self.tab_buttons.widget)
        layout.addWidget(self.tab_widget)
        self._shown, self._away = 0, False  # away: another module is shown
        self.tab_widget.connect("currentChanged(int)", self._tab_chosen)
        self._restore_timer = once_after(0, self.restore)
        scene = slicer.mrmlScene
        for event, react in (
            (scene.StartCloseEvent, self._on_start_close),
            (scene.EndCloseEvent, self._on_end_close),
            (scene.StartImportEvent, self._on_start_import),
            (scene.EndImportEvent, self._on_end_import),
            (scene.NodeAddedEvent, self._on_nodes),
            (scene.NodeRemovedEvent, self._on_nodes),
        ):
            self.addObserver(scene, event, react)
        self._ready = True

    @property
    def synthesise(self) -> SynthesiseTab:
        """The tab that runs the methods."""
        return self.tabs["synthesise"]

    def enter(self) -> None:
        """Show what the scene keeps: it may have changed while the panel was not in view."""
        self.tab_buttons.take_theme()
        self.restore()
        self._away = False
        self._shown_tab().entered()

    def leave(self) -> None:
        """Another module is shown."""
        self._shown_tab().left()
        self._away = True

    def cleanup(self) -> None:
        """End what runs and hear no more of the scene: the module is closed or reloaded."""
        self._ready = False
        self._restore_timer.stop()
        self.removeObservers()
        for tab in self.tabs.values():
            tab.close()

    def save(self) -> None:
        """Keep the state in the scene, unless it is about to be read from there."""
        if self._ready and not self._loading and not unsettled():
            state = {key: tab.state() for key, tab in self.tabs.items()}
            state[SHOWN] = list(self.tabs)[self._shown]
            saved_state.save_state(self._parameter_node(), state)

    def restore(self) -> None:
        """Show the state that the scene keeps; without one, keep what is shown."""
        if not self._ready:
            return
        self._loading = True  # until all of it is shown, nothing is saved over it
        try:
            state = saved_state.load_state(self._parameter_node())
            for key, tab in self.tabs.items():
                if key in state:
                    tab.restore(state[key])
            if state.get(SHOWN) in self.tabs:
                self.tab_widget.setCurrentIndex(list(self.tabs).index(state[SHOWN]))
        finally:
            self._loading = False
        self._call_tabs("scene_changed")

    def _shown_tab(self):
        return list(self.tabs.values())[self._shown]

    def _tab_chosen(self, index: int) -> None:
        if not self._away:
            self._shown_tab().left()
        self._shown = index
        if not self._away:
            self._shown_tab().entered()
        self.save()

    def _call_tabs(self, what: str) -> None:
        for tab in self.tabs.values():
            getattr(tab, what)()

    def _on_start_close(self, _scene, _event) -> None:
        self._call_tabs("scene_closed")

    def _on_end_close(self, _scene, _event) -> None:
        self._call_tabs("forget_nodes")

    def _on_start_import(self, _scene, _event) -> None:
        self._loading = True

    def _on_end_import(self, _scene, _event) -> None:
        self._restore_timer.start()  # once the selectors have seen the new nodes

    def _on_nodes(self, _scene, _event) -> None:
        self._call_tabs("scene_changed")
