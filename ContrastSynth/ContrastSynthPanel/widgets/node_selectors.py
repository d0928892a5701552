"""Selectors of nodes by role; what a person has not chosen is picked by the names of volumes."""

from collections import Counter
from typing import NamedTuple

import qt
import slicer
from slicer.i18n import tr as _

from ContrastSynthPanel.scene import series_names
from ContrastSynthPanel.scene.bridge import LABEL_MAP, METHOD, SEGMENTATION, VOLUME
from ContrastSynthPanel.widgets.forms import add_row, new_form, node_selector, once_after

MASKS = [SEGMENTATION, LABEL_MAP]
PICK_AFTER_MS = 100  # a node gets its name and content some moments after it is in the scene


class NodeSelectors:
    """The nodes by role, and in ``chosen`` the roles for which a person chose them."""

    def __init__(self, changed):
        """Make it without selectors; ``changed`` is called when other nodes are chosen."""
        self.widget = qt.QWidget()
        self.selectors, self.chosen = {}, set()
        self._changed, self._setting = changed, False

    def title(self, role: str) -> str:
        """Return what a role is called."""
        raise NotImplementedError

    def _selector(self, role: str, types: list[str], none: str, tip: str):
        selector = node_selector(role, types, none, tip)
        selector.connect("currentNodeChanged(vtkMRMLNode*)", lambda node: self._other(role, node))
        selector.connect("nodeActivated(vtkMRMLNode*)", lambda _node: self._by_hand(role))
        return selector

    def nodes(self) -> dict:
        """Return the chosen nodes by role."""
        found = {role: selector.currentNode() for role, selector in self.selectors.items()}
        return {role: node for role, node in found.items() if node is not None}

    def unchosen(self, needed) -> str:
        """Return, as a sentence, which needed role has no node, or what is chosen twice."""
        nodes = self.nodes()
        for role in needed:
            if role not in nodes:
                return _("Choose a volume for '{title}'.").format(title=self.title(role))
        if twice := self.chosen_twice(nodes):
            return _("'{name}' is chosen twice.").format(name=twice.GetName())
        return ""

    def chosen_twice(self, nodes: dict):
        """Return a node that has more roles than it can have, or None."""
        times = Counter(nodes.values())
        return next((node for node in times if times[node] > 1), None)

    def show_nodes(self, nodes: dict, chosen=None) -> None:
        """Show nodes by role where nobody chose, or a saved state with who chose."""
        self._setting = True
        for role, node in nodes.items():
            if role in self.selectors and (node is None or slicer.mrmlScene.IsNodePresent(node)):
                self.selectors[role].setCurrentNode(node)
        if chosen is not None:
            self.chosen = set(chosen)
        self._setting = False

    def forget(self) -> None:
        """Choose nothing: the scene is another one."""
        self.show_nodes(dict.fromkeys(self.selectors), chosen=())

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


class Role(NamedTuple):
    """What a selector is called, what it says while nothing is chosen, and what it takes."""

    title: str
    none: str
    tip: str
    types: tuple = (VOLUME,)


class VolumeSelectors(NodeSelectors):
    """Selectors for tabs that look at volumes rather than run a method.

    ``pick`` is called with the scene's volumes, oldest first, and returns nodes by role: None
    leaves a selector empty, a role that is not there leaves it as it is.
    """

    def __init__(self, roles: dict[str, Role], pick, changed):
        """Make the selectors; ``changed`` is called when other nodes are chosen or picked."""
        super().__init__(changed)
        self._roles, self._pick_roles = roles, pick
        form = new_form(self.widget)
        for role, (title, none, tip, types) in roles.items():
            self.selectors[role] = self._selector(role, types, none, tip)
            add_row(form, title, self.selectors[role])
        self.timer = once_after(PICK_AFTER_MS, self.pick)

    def title(self, role: str) -> str:
        """Return what a role is called."""
        return self._roles[role].title

    def pick(self) -> None:
        """Pick by their names the volumes of roles for which the user has chosen none."""
        if unsettled():
            return
        picked = self._pick_roles(scans_in_scene()).items()
        self.show_nodes({role: node for role, node in picked if role not in self.chosen})
        self._changed()

    def state(self) -> dict:
        """Return the nodes, and for which roles a person chose them."""
        return {"nodes": self.nodes(), "chosen": sorted(self.chosen)}

    def restore(self, state: dict) -> None:
        """Show a saved state."""
        self.show_nodes(state.get("nodes", {}), set(state.get("chosen", ())) & set(self.selectors))


def scans_in_scene() -> list:
    """Return the volumes that a person sees, label maps and colour images apart, oldest first."""
    nodes = slicer.util.getNodesByClass(VOLUME)
    return [one for one in nodes if one.GetClassName() == VOLUME and not one.GetHideFromEditors()]


def unsettled() -> bool:
    """Return whether the scene is being closed or loaded: what changes now, nobody chose."""
    return bool(slicer.mrmlScene.IsBatchProcessing() or slicer.mrmlScene.IsClosing())


def results(volumes: list, roles) -> list[tuple]:
    """Return the images that methods made of these roles, newest first: node, role, their input.

    Name and attribute say so; the input is None where no volume has its name any more.
    """
    by_name = {node.GetName(): node for node in volumes}
    found = []
    for node in reversed(volumes):
        text = series_names.result_in_name(node.GetName())
        if text and text[1] in roles and node.GetAttribute(METHOD):
            found.append((node, text[1], by_name.get(text[0])))
    return found
