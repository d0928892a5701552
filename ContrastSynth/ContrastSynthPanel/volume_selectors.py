"""Selectors of volumes by role, for tabs that look at volumes rather than run a method."""

from collections import Counter
from typing import NamedTuple

import qt
import slicer
from slicer.i18n import tr as _

from ContrastSynthPanel import series_names
from ContrastSynthPanel.bridge import METHOD, VOLUME
from ContrastSynthPanel.forms import add_row, let_shrink, new_form
from ContrastSynthPanel.input_selectors import unsettled

PICK_AFTER_MS = 100  # a volume gets its name some moments after it is in the scene


class Role(NamedTuple):
    """What a selector is called, what it says while nothing is chosen, and what it takes."""

    title: str
    none: str
    tip: str
    types: tuple = (VOLUME,)


class VolumeSelectors:
    """The nodes by role. What the user has not chosen is picked by the names of the volumes.

    ``pick`` is called with the scene's volumes, oldest first, and returns nodes by role: None
    leaves a selector empty, a role that is not there leaves it as it is.
    """

    def __init__(self, roles: dict[str, Role], pick, changed):
        """Make the selectors; ``changed`` is called when other nodes are chosen or picked."""
        self._roles, self._pick_roles, self._changed = roles, pick, changed
        self._setting, self.chosen = False, set()
        self.widget = qt.QWidget()
        form = new_form(self.widget)
        self.selectors = {role: self._selector(role) for role in roles}
        for role, selector in self.selectors.items():
            add_row(form, roles[role].title, selector)
        self.timer = qt.QTimer()
        self.timer.setSingleShot(True)
        self.timer.setInterval(PICK_AFTER_MS)
        self.timer.connect("timeout()", self.pick)

    def _selector(self, role: str):
        selector = let_shrink(slicer.qMRMLNodeComboBox())
        selector.objectName = role
        selector.nodeTypes = list(self._roles[role].types)
        selector.showChildNodeTypes = False  # label maps and colour images are no scans
        selector.addEnabled = selector.removeEnabled = False
        selector.noneEnabled = True
        selector.noneDisplay = self._roles[role].none
        selector.toolTip = self._roles[role].tip
        selector.setMRMLScene(slicer.mrmlScene)
        selector.connect("currentNodeChanged(vtkMRMLNode*)", lambda node: self._other(role, node))
        selector.connect("nodeActivated(vtkMRMLNode*)", lambda node: self._by_hand(role))
        return selector

    def title(self, role: str) -> str:
        """Return what a role is called."""
        return self._roles[role].title

    def nodes(self) -> dict:
        """Return the chosen nodes by role."""
        found = {role: selector.currentNode() for role, selector in self.selectors.items()}
        return {role: node for role, node in found.items() if node is not None}

    def missing(self, needed) -> str:
        """Return what keeps the nodes from being used, as a sentence; nothing if nothing does."""
        nodes = self.nodes()
        for role in needed:
            if role not in nodes:
                return _("Choose a volume for '{title}'.").format(title=self.title(role))
        for node, times in Counter(nodes.values()).items():
            if times > 1:
                return _("'{name}' is chosen twice.").format(name=node.GetName())
        return ""

    def pick(self) -> None:
        """Pick by their names the volumes of roles for which the user has chosen none."""
        if unsettled():
            return
        volumes = [
            node
            for node in slicer.util.getNodesByClass(VOLUME)
            if node.GetClassName() == VOLUME and not node.GetHideFromEditors()
        ]
        picked = self._pick_roles(volumes).items()
        self._show({role: node for role, node in picked if role not in self.chosen})
        self._changed()

    def forget(self) -> None:
        """Choose nothing: the scene is another one."""
        self.chosen = set()
        self._show(dict.fromkeys(self.selectors))

    def state(self) -> dict:
        """Return the nodes, and for which roles a person chose them."""
        return {"nodes": self.nodes(), "chosen": sorted(self.chosen)}

    def restore(self, state: dict) -> None:
        """Show a saved state."""
        self._show(state.get("nodes", {}))
        self.chosen = set(state.get("chosen", ())) & set(self.selectors)

    def _show(self, nodes: dict) -> None:
        self._setting = True
        for role, node in nodes.items():
            if role in self.selectors and (node is None or slicer.mrmlScene.IsNodePresent(node)):
                self.selectors[role].setCurrentNode(node)
        self._setting = False

    def _other(self, role: str, node) -> None:
        if self._setting or unsettled():
            return
        if node is None:  # gone from the scene; _by_hand comes after it where a person chose so
            self.chosen.discard(role)
        else:
            self.chosen.add(role)
        self._changed()

    def _by_hand(self, role: str) -> None:
        if not self._setting and not unsettled():
            self.chosen.add(role)
            self._changed()


def results(volumes: list, roles) -> list[tuple]:
    """Return the images that methods made of these roles, newest first: node, role, their input.

    Name and attribute tell it; the input is None where no volume has its name any more.
    """
    by_name = {node.GetName(): node for node in volumes}
    found = []
    for node in reversed(volumes):
        told = series_names.result_in_name(node.GetName())
        if told and told[1] in roles and node.GetAttribute(METHOD):
            found.append((node, told[1], by_name.get(told[0])))
    return found
