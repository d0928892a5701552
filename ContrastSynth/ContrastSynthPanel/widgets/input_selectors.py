"""A selector for each volume that a method takes."""

from collections import Counter

import qt
import slicer
from slicer.i18n import tr as _

from ContrastSynthLib.errors import RequestError
from ContrastSynthLib.registry import Method
from ContrastSynthPanel.scene import relations
from ContrastSynthPanel.scene.bridge import SEQUENCE, VOLUME
from ContrastSynthPanel.widgets.align_box import AlignBox, grid_of
from ContrastSynthPanel.widgets.forms import add_row, new_form
from ContrastSynthPanel.widgets.node_selector import NodeSelector

COLOURS = "vtkMRMLVectorVolumeNode"
OF_SERIES = ("pre", "post", "phase")  # of a dynamic series: its first phase, and the later ones


class InputSelectors:
    """The selectors of a method, and how its inputs are brought onto one grid.

    ``chosen`` holds the roles for which a person chose; the others are picked among the scans of
    the same patient by what they are. ``changed`` is called when other nodes or another alignment
    are chosen.
    """

    def __init__(self, changed):
        """Make an empty box."""
        self._changed, self.alignment = changed, AlignBox(changed)
        self.method, self.selectors, self.chosen, self._titles = None, {}, set(), {}
        self._kept = {}  # nodes of roles that the methods so far took
        self.widget, self._body = qt.QWidget(), qt.QWidget()
        column = qt.QVBoxLayout(self.widget)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self._body)
        self.align_combo, self.align_label = self.alignment.combo, self.alignment.label
        column.addWidget(self.alignment.widget)

    def set_method(self, method: Method) -> None:
        """Show the roles of another method; nodes of roles that both have stay chosen."""
        self._kept.update(self.nodes())
        self.close()
        old, self._body = self._body, qt.QWidget()
        self.widget.layout().replaceWidget(old, self._body)
        old.hide()
        old.deleteLater()
        self.method, self.selectors = method, {}
        self._titles = {role: declared.title for role, declared in method.inputs.items()}
        form = new_form(self._body)
        for role in self._titles:
            self.selectors[role] = self._selector(role)
            add_row(form, self._titles[role], self.selectors[role].widget)
        self._body.show()  # the layout would do so too, but later
        self.show_nodes({role: node for role, node in self._kept.items() if role in self.selectors})

    def _selector(self, role: str) -> NodeSelector:
        declared = self.method.inputs[role]
        none = _("None") if declared.optional else _("Choose a volume")
        needed = _("Optional") if declared.optional else _("Needed")
        text = _("{needed}; {modality}. Volumes are picked by what they are.")
        return NodeSelector(
            role,
            [VOLUME, SEQUENCE],
            none,
            text.format(needed=needed, modality=declared.modality),
            lambda _node: self._by_hand(role),
            lambda: self._lost(role),
        )

    # What is chosen

    def title(self, role: str) -> str:
        """Return what the method calls a role."""
        return self._titles[role]

    def nodes(self) -> dict:
        """Return the chosen nodes by role, that of the reference first."""
        if self.method is None:
            return {}
        roles = sorted(self.selectors, key=lambda role: role != self.method.reference)
        found = {role: self.selectors[role].node for role in roles}
        return {role: node for role, node in found.items() if node is not None}

    @property
    def align(self) -> str:
        """The chosen way to bring the inputs onto one grid."""
        return self.alignment.chosen

    def show_nodes(self, nodes: dict) -> None:
        """Show nodes by role; those of roles that a person chose are not asked for here."""
        for role, node in nodes.items():
            there = node is None or slicer.mrmlScene.IsNodePresent(node)
            if role in self.selectors and there:
                self.selectors[role].show(node)

    def pick(self, like=None) -> None:
        """Pick what nobody chose among the scans of one patient: that of ``like``, or the only one.

        The patient is that of what a person chose, if somebody did.
        """
        by_hand = [node for role, node in self.nodes().items() if role in self.chosen]
        like = by_hand[0] if by_hand else like
        taken = set(by_hand)
        for role, declared in self.method.inputs.items():
            if role in self.chosen:
                continue
            node = relations.scan_of_role(role, relations.series_of(like) or like, taken)
            if node is None and (declared.series or role in OF_SERIES):
                node = relations.only_series(like)
            if node is not None:
                self.selectors[role].show(node)
                taken |= set() if node.IsA(SEQUENCE) else {node}
                like = like or node
            elif like is not None and self._is_of_another(role, like):
                self.selectors[role].show(None)

    def _is_of_another(self, role: str, like) -> bool:
        """Return whether what was picked before belongs to another patient than ``like``."""
        node = self.selectors[role].node
        return node is not None and node is not like and not relations.of_patient([node], like)

    def forget(self) -> None:
        """Choose nothing: the scene is another one."""
        self._kept, self.chosen = {}, set()
        self.show_nodes(dict.fromkeys(self.selectors))

    def close(self) -> None:
        """Hear no more of the scene."""
        for selector in self.selectors.values():
            selector.close()

    def restore(self, state: dict) -> None:
        """Show a saved state: nodes, for which roles a person chose them, and the alignment."""
        self.show_nodes(state.get("nodes", {}))
        self.chosen = set(state.get("chosen", ()))
        self.alignment.restore(state.get("align"))

    def state(self) -> dict:
        """Return what :meth:`restore` takes."""
        return {"nodes": self.nodes(), "chosen": sorted(self.chosen), "align": self.align}

    # What keeps them from being run

    def missing(self, mask=None) -> str:
        """Return what keeps these nodes, and a mask's node, from being run; nothing if nothing."""
        nodes = self.nodes()
        self.alignment.widget.visible = len(self.method.inputs) > 1 or mask is not None
        self.alignment.show({})
        if text := self._unchosen(nodes):
            lacks_one = not set(self.method.required) <= set(nodes)
            unfit = slicer.util.getNodesByClass(COLOURS) if lacks_one else []
            return " ".join([text, *map(no_scan, unfit)])
        grids = {}
        titled = {self.title(role): node for role, node in nodes.items()} | {_("Mask"): mask}
        for title, node in titled.items():
            try:
                grid = grid_of(node, mask=node is mask)
            except RequestError as error:
                return f"{title}: {error}"
            if grid is not None:
                grids[title] = grid
        return self.alignment.show(grids)

    def _unchosen(self, nodes: dict) -> str:
        for role in self.method.required:
            if role not in nodes:
                return _("Choose a volume for '{title}'.").format(title=self.title(role))
        # One series holds several phases: its first is the scan before the agent.
        times = Counter(node for node in nodes.values() if not node.IsA(SEQUENCE))
        twice = next((node for node in times if times[node] > 1), None)
        return _("'{name}' is chosen twice.").format(name=twice.GetName()) if twice else ""

    def moves(self) -> str:
        """Return, as a sentence, why there is no preview of a run; nothing if there could be."""
        if any(node.IsA(SEQUENCE) for node in self.nodes().values()):
            return _("an input is a series.")
        return self.alignment.moves(len(self.method.inputs))

    # What a person, and the scene, do

    def _by_hand(self, role: str) -> None:
        self._kept.pop(role, None)
        self.chosen.add(role)
        self._changed()

    def _lost(self, role: str) -> None:
        self._kept.pop(role, None)
        self.chosen.discard(role)
        self._changed()


def no_scan(node) -> str:
    """Return why a volume of several values a voxel is not offered, and what to do."""
    text = _("'{name}' has several values a voxel: make a scan of it with Vector to Scalar Volume.")
    return text.format(name=node.GetName())
