"""A selector for each volume that a method takes, and what is to be done about other grids."""

import qt
import slicer
from slicer.i18n import tr as _

from ContrastSynthLib.errors import RequestError
from ContrastSynthLib.geometry import grid_table
from ContrastSynthLib.registry import MASK_ROLE, Method
from ContrastSynthPanel.scene import bridge, series_names
from ContrastSynthPanel.scene.bridge import SEGMENTATION, SEQUENCE, VOLUME
from ContrastSynthPanel.widgets.forms import add_row, choose, chosen, combo, new_form
from ContrastSynthPanel.widgets.node_selectors import (
    MASKS,
    NodeSelectors,
    scans_in_scene,
    unsettled,
)

COLOURS = "vtkMRMLVectorVolumeNode"
ALIGN = {
    "none": _("Not at all"),
    "resample": _("Resample by their positions"),
    "rigid": _("Register, rigid"),
    "affine": _("Register, affine"),
}


REGISTERING = ("rigid", "affine")


class InputSelectors(NodeSelectors):
    """The selectors of a method, and how its inputs are brought onto one grid."""

    mask_title = _("Mask of the brain or breast")
    mask_if_none = _("None: found in the scans")

    def __init__(self, changed):
        """Make an empty box; ``changed`` is called when other nodes or alignment are chosen."""
        super().__init__(changed)
        self.method, self._titles = None, {}
        self._differs = False  # whether the grids do, at the last look
        self._kept = {}  # nodes of roles that the methods so far took
        column = qt.QVBoxLayout(self.widget)
        column.setContentsMargins(0, 0, 0, 0)
        self._body = qt.QWidget()
        column.addWidget(self._body)
        self.align_box = qt.QWidget()
        column.addWidget(self.align_box)
        form = new_form(self.align_box)
        self.align_combo = combo("align", ALIGN)
        self.align_combo.toolTip = _(
            "How the scans are brought onto one grid. Registering also corrects for a patient "
            "who moved between the scans."
        )
        self.align_combo.connect("currentIndexChanged(int)", self._align_chosen)
        add_row(form, _("Align"), self.align_combo)
        self.align_label = qt.QLabel()
        self.align_label.wordWrap = True
        form.addRow(self.align_label)

    def set_method(self, method: Method) -> None:
        """Show the roles of another method; nodes of roles that both have stay chosen."""
        self._kept.update(self.nodes())
        self._setting = True
        for selector in self.selectors.values():
            selector.setMRMLScene(None)
        old, self._body = self._body, qt.QWidget()
        self.widget.layout().replaceWidget(old, self._body)
        old.hide()
        old.deleteLater()
        self.method, self.selectors = method, {}
        self._titles = {role: declared.title for role, declared in method.inputs.items()}
        self._titles[MASK_ROLE] = self.mask_title
        form = new_form(self._body)
        for role, title in self._titles.items():
            self.selectors[role] = self._selector(role, *self._declared(role))
            add_row(form, title, self.selectors[role])
        self._body.show()  # the layout would do so too, but later
        self._setting = False
        self.show_nodes({role: node for role, node in self._kept.items() if role in self.selectors})

    def _declared(self, role: str) -> tuple[list[str], str, str]:
        """Return the node types of a role, what an empty selector says, and the tooltip."""
        if role == MASK_ROLE:
            return MASKS, self.mask_if_none, _("A segmentation or a label map. Optional.")
        declared = self.method.inputs[role]
        types = [VOLUME] + [SEQUENCE] * declared.series
        none = _("None") if declared.optional else _("Choose a volume")
        needed = _("Optional") if declared.optional else _("Needed")
        text = _("{needed}; {modality}. Volumes are picked by their names.")
        return types, none, text.format(needed=needed, modality=declared.modality)

    def title(self, role: str) -> str:
        """Return what the method calls a role."""
        return self._titles[role]

    def nodes(self) -> dict:
        """Return the chosen nodes by role, that of the reference first."""
        if self.method is None:
            return {}
        roles = sorted(self.selectors, key=lambda role: role != self.method.reference)
        found = {role: self.selectors[role].currentNode() for role in roles}
        return {role: node for role, node in found.items() if node is not None}

    @property
    def align(self) -> str:
        """The chosen way to bring the inputs onto one grid."""
        return chosen(self.align_combo)

    def restore(self, state: dict) -> None:
        """Show a saved state: nodes, for which roles a person chose them, and the alignment."""
        self.show_nodes(state.get("nodes", {}), state.get("chosen", ()))
        self._setting = True
        choose(self.align_combo, state.get("align"))
        self._setting = False

    def state(self) -> dict:
        """Return what :meth:`restore` takes."""
        return {"nodes": self.nodes(), "chosen": sorted(self.chosen), "align": self.align}

    def forget(self) -> None:
        """Choose nothing: the scene is another one."""
        self._kept = {}
        super().forget()

    def pick(self) -> None:
        """Pick by their names the volumes of roles for which the user has chosen none."""
        taken = [node for role, node in self.nodes().items() if role in self.chosen]
        free = [node for node in scans_in_scene() if node not in taken]
        open_roles = [role for role in self.method.inputs if role not in self.chosen]
        picked = series_names.pick_roles(free, open_roles)
        self.show_nodes({role: node for role, node in picked.items() if node is not None})

    def missing(self) -> str:
        """Return what keeps these nodes from being run, as a sentence; nothing if nothing."""
        nodes = self.nodes()
        self.align_box.visible = len(self.method.inputs) > 1 or MASK_ROLE in nodes
        self._differing({})
        if text := self.unchosen(self.method.required):
            lacks_one = not set(self.method.required) <= set(nodes)
            unfit = slicer.util.getNodesByClass(COLOURS) if lacks_one else []
            return " ".join([text, *map(no_scan, unfit)])
        grids = {}
        for role, node in nodes.items():
            try:
                grid = grid_of(node, role)
            except RequestError as error:
                return f"{self.title(role)}: {error}"
            if grid is not None:
                grids[self.title(role)] = grid
        return self._differing(grids)

    def moves(self) -> str:
        """Return, as a sentence, that a run would move or resample inputs; nothing if not."""
        if self.align in REGISTERING and len(self.method.inputs) > 1:
            return _("the scans are to be registered first.")
        if self._differs:
            return _("the scans lie on different grids.")
        return ""

    def _differing(self, grids: dict) -> str:
        """Tell beside the choice of alignment which inputs need one, and return it if none is."""
        first = next(iter(grids), None)
        others = [title for title, grid in grids.items() if not grid.is_same(grids[first])]
        text = ""
        if others:
            names = ", ".join(f"'{title}'" for title in others)
            text = _("{names}: not on the grid of '{first}'.").format(names=names, first=first)
        needed = _("Choose under 'Align' what to do.") if others and self.align == "none" else ""
        self.align_label.text = f"{text} {needed}".strip()
        self.align_label.toolTip = f"<pre>{grid_table(grids)}</pre>" if others else ""
        self.align_label.visible = self._differs = bool(others)
        return self.align_label.text if needed else ""

    def _other(self, role: str, node) -> None:
        if not self._setting and not unsettled():
            self._kept.pop(role, None)
        super()._other(role, node)

    def _align_chosen(self, *_signal) -> None:
        if not self._setting:
            self._changed()


def no_scan(node) -> str:
    """Return why a volume of several values a voxel is not offered, and what to do."""
    text = _("'{name}' has several values a voxel: make a scan of it with Vector to Scalar Volume.")
    return text.format(name=node.GetName())


def grid_of(node, role: str):
    """Return the grid of an input; None for a segmentation, which is brought onto the others'.

    Raises RequestError for what cannot be an input, such as a sequence without times.
    """
    if node.IsA(SEGMENTATION):
        return None
    if node.IsA(SEQUENCE):
        bridge.times_of_sequence_node(node)
    return bridge.world_grid(bridge.volume_of_sequence(node), mask=role == MASK_ROLE)
