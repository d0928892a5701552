"""What the panel asks of each of its tabs."""

import qt


class Tab:
    """A tab is ``widget``; what it does not care about, it leaves as it is here.

    ``title`` stands on the tab. ``changed`` is called, with nothing, whenever ``state()`` is
    another one.
    """

    title = ""

    def __init__(self, changed):
        """Make an empty tab whose rows go into ``column``."""
        self._changed = changed
        self.widget = qt.QWidget()
        self.column = qt.QVBoxLayout(self.widget)

    def meet(self, tabs: dict) -> None:
        """All tabs are made: here they are by their keys, to listen to those that matter."""

    def scene_changed(self) -> None:
        """Nodes came or went."""

    def scene_closed(self) -> None:
        """The scene is about to be closed: whatever works on it ends."""

    def forget_nodes(self) -> None:
        """The scene is an empty one."""

    def entered(self) -> None:
        """The tab comes into view."""

    def left(self) -> None:
        """Another tab or module is shown: put back what was changed in the slice views."""

    def close(self) -> None:
        """The panel is being taken down: stop timers, remove observers, end what runs."""

    def state(self) -> dict:
        """Return what a saved scene keeps: JSON, with nodes as nodes."""
        return {}

    def restore(self, state: dict) -> None:
        """Show a saved state; what this version does not know is left as it is."""
