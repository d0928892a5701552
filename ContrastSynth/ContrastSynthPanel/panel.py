"""The panel: that it is for research only, the tabs, and what a saved scene keeps of them."""

import qt
import slicer
from slicer.i18n import tr as _
from slicer.util import VTKObservationMixin

from ContrastSynthPanel import bridge
from ContrastSynthPanel.input_selectors import unsettled
from ContrastSynthPanel.synthesise_tab import SynthesiseTab

# Both colours are given, so that it can be read in a dark theme too.
BANNER = "background-color: #ffe08a; color: #3d2f00; padding: 4px;"


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
        self.tabs = qt.QTabWidget()
        layout.addWidget(self.tabs)
        self.synthesise = SynthesiseTab(self.save)
        self.tabs.addTab(self.synthesise.widget, _("Synthesise"))
        self._restore_timer = qt.QTimer()
        self._restore_timer.setSingleShot(True)
        self._restore_timer.setInterval(0)
        self._restore_timer.connect("timeout()", self.restore)
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

    def enter(self) -> None:
        """Show what the scene keeps: it may have changed while the panel was not in view."""
        self.restore()

    def cleanup(self) -> None:
        """End what runs and hear no more of the scene: the module is closed or reloaded."""
        self._ready = False
        self._restore_timer.stop()
        self.removeObservers()
        self.synthesise.close()

    def save(self) -> None:
        """Keep the state in the scene, unless the scene is about to tell it."""
        if self._ready and not self._loading and not unsettled():
            bridge.save_state(self._parameter_node(), {"synthesise": self.synthesise.state()})

    def restore(self) -> None:
        """Show the state that the scene keeps; without one, keep what is shown."""
        if not self._ready:
            return
        self._loading = True  # until all of it is shown, nothing is saved over it
        try:
            state = bridge.load_state(self._parameter_node())
            if "synthesise" in state:
                self.synthesise.restore(state["synthesise"])
        finally:
            self._loading = False
        self.synthesise.scene_changed()

    def _on_start_close(self, _scene, _event) -> None:
        self.synthesise.scene_closed()

    def _on_end_close(self, _scene, _event) -> None:
        self.synthesise.forget_nodes()

    def _on_start_import(self, _scene, _event) -> None:
        self._loading = True

    def _on_end_import(self, _scene, _event) -> None:
        self._restore_timer.start()  # once the selectors have seen the new nodes

    def _on_nodes(self, _scene, _event) -> None:
        self.synthesise.scene_changed()
