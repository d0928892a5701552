"""A list of the scene's nodes that keeps to what was chosen, by a person or by the panel.

Slicer's own list takes a neighbour when its node is deleted, chooses none at the end of an
import, and tells of renamed nodes as of chosen ones. So what is chosen is kept here, and the
widget only shows it; a person's choice is known by the signal ``activated`` of the list inside.
"""

import slicer
from slicer.i18n import tr as _

from ContrastSynthPanel.widgets.echo import Echo
from ContrastSynthPanel.widgets.forms import let_shrink
from ContrastSynthPanel.widgets.manners import needs_focus
from ContrastSynthPanel.widgets.slots import connect, once_after


class NodeSelector:
    """A node of exactly these classes, or none, which it calls ``none``.

    ``chosen`` is called when a person chose, ``gone`` when the chosen node left the scene.
    """

    def __init__(self, name: str, types, none: str, tip: str, chosen, gone=None):
        """Make the list of the present scene."""
        self._id, self._chosen, self._gone, self._tip = "", chosen, gone, tip
        self._closed, self._echo = False, Echo()
        made = self.widget = let_shrink(slicer.qMRMLNodeComboBox())
        made.objectName = name
        made.nodeTypes = list(types)
        made.showChildNodeTypes = False  # label maps and colour images are no scans
        made.addEnabled = made.removeEnabled = False
        made.noneEnabled = True
        made.noneDisplay = none
        made.toolTip = tip
        made.setMRMLScene(slicer.mrmlScene)
        self._list = made.findChildren("QComboBox")[0]
        needs_focus(self._list)
        self._timer = once_after(0, self._hold)
        connect(self._list, "activated(int)", lambda _n: self._picked())
        connect(made, "currentNodeChanged(vtkMRMLNode*)", lambda _node: self._timer.start())

    @property
    def node(self):
        """The chosen node, or None."""
        return slicer.mrmlScene.GetNodeByID(self._id) if self._id else None

    def currentNode(self):
        """Return the chosen node, as Slicer's own list has it."""
        return self.node

    def show(self, node) -> None:
        """Choose a node, or none, for the panel."""
        self._id = node.GetID() if node is not None else ""
        self._show()

    setCurrentNode = show

    def close(self) -> None:
        """Hear no more of the scene."""
        self._closed = True
        self.widget.setMRMLScene(None)
        self._timer.stop()

    def _show(self) -> None:
        node = self.node
        if self.widget.currentNode() is not node:
            with self._echo:  # the list sends the signal of a person's choice then, too
                self.widget.setCurrentNode(node)
        self.show_tip()

    def show_tip(self) -> None:
        """Show the whole name as tooltip: a narrow list cuts it off."""
        node = self.node
        name = _("Chosen: {name}").format(name=node.GetName()) if node is not None else ""
        self.widget.toolTip = "\n".join(filter(None, [self._tip, name]))

    def _picked(self) -> None:
        if self._closed or self._echo:
            return
        node = self.widget.currentNode()
        self._id = node.GetID() if node is not None else ""
        self.show_tip()
        self._chosen(node)

    def _hold(self) -> None:
        """The widget shows another node by itself: keep to what was chosen."""
        if self._closed:
            return
        lost = bool(self._id) and self.node is None
        if lost:
            self._id = ""
        self._show()
        if lost and self._gone is not None:
            self._gone()
