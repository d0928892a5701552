"""What the panel asks of each of its tabs."""

import qt


class Tab:
    """A tab is ``widget``; what it does not care about, it leaves as it is here.

    ``title`` stands on the tab. ``uses`` names the roles of the case that the tab looks at: the
    case box above shows these. ``changed`` is called, with nothing, whenever ``state()`` is
    another one.
    """

    title = ""
    uses = ()
    above = None  # a widget of the tab's own that stands in the case box while the tab is shown

    def __init__(self, box, changed):
        """Make an empty tab, about the case of a CaseBox, whose rows go into ``column``."""
        self.box, self.case, self._changed = box, box.case, changed
        self.widget = qt.QWidget()
        self.column = qt.QVBoxLayout(self.widget)

    def meet(self, tabs: dict) -> None:
        """All tabs are made: here they are by their keys, to listen to those that matter."""

    def scans(self) -> list:
        """Return the scans that the tab has beside those of the case."""
        return []

    def scene_changed(self) -> None:
        """Nodes came or went, some moments ago."""

    def node_removed(self) -> None:
        """A node has just left the scene."""

    def case_changed(self) -> None:
        """The case, or a segment of it, is another one."""

    def look(self) -> None:
        """The tab is in view; asked several times a second whether what it shows is still true."""

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
