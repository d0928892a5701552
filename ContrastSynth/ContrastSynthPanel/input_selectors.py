"""A selector for each volume that a method takes, and what is to be done about other grids."""

from collections import Counter

import qt
import slicer
from slicer.i18n import tr as _

from ContrastSynthLib.errors import RequestError
from ContrastSynthLib.geometry import grid_table
from ContrastSynthLib.registry import MASK_ROLE, Method
from ContrastSynthPanel import bridge, series_names
from ContrastSynthPanel.forms import add_row, let_shrink, new_form

VOLUME, SEQUENCE = "vtkMRMLScalarVolumeNode", "vtkMRMLSequenceNode"
COLOURS = "vtkMRMLVectorVolumeNode"
MASKS = ["vtkMRMLSegmentationNode", "vtkMRMLLabelMapVolumeNode"]
ALIGN = {
    "none": _("Not at all"),
    "resample": _("Resample by their positions"),
    "rigid": _("Register, rigid"),
    "affine": _("Register, affine"),
}


REGISTERING = ("rigid", "affine")


class InputSelectors:
    """The nodes by role. What the user has not chosen is picked by the names of the volumes."""

    mask_title = _("Mask of the brain or breast")
    mask_if_none = _("None: found in the scans")

    def __init__(self, changed):
        """Make an empty box; ``changed`` is called when other nodes or alignment are chosen."""
        self.widget = qt.QWidget()
        self.selectors, self.chosen, self.method = {}, set(), None
        self._changed, self._setting, self._titles = changed, False, {}
        self._differs = False  # whether the grids do, at the last look
        self._kept = {}  # nodes of roles that the methods so far took
        column = qt.QVBoxLayout(self.widget)
        column.setContentsMargins(0, 0, 0, 0)
        self._body = qt.QWidget()
        column.addWidget(self._body)
        self.align_box = qt.QWidget()
        column.addWidget(self.align_box)
        form = new_form(self.align_box)
        self.align_combo = let_shrink(qt.QComboBox())
        self.align_combo.objectName = "align"
        for key, title in ALIGN.items():
            self.align_combo.addItem(title, key)
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
            self.selectors[role] = self._selector(role)
            add_row(form, title, self.selectors[role])
        self._body.show()  # the layout would do so too, but later
        self._setting = False
        self.show_nodes({role: node for role, node in self._kept.items() if role in self.selectors})

    def _selector(self, role: str):
        selector = let_shrink(slicer.qMRMLNodeComboBox())
        selector.objectName = role
        declared = self.method.inputs.get(role)
        several = declared is not None and declared.series
        selector.nodeTypes = MASKS if role == MASK_ROLE else [VOLUME] + [SEQUENCE] * several
        selector.showChildNodeTypes = False  # label maps and colour images are no scans
        selector.addEnabled = selector.removeEnabled = False
        selector.noneEnabled = True
        if role == MASK_ROLE:
            selector.noneDisplay = self.mask_if_none
            selector.toolTip = _("A segmentation or a label map. Optional.")
        else:
            selector.noneDisplay = _("None") if declared.optional else _("Choose a volume")
            needed = _("Optional") if declared.optional else _("Needed")
            told = _("{needed}; {modality}. Volumes are picked by their names.")
            selector.toolTip = told.format(needed=needed, modality=declared.modality)
        selector.setMRMLScene(slicer.mrmlScene)
        selector.connect("currentNodeChanged(vtkMRMLNode*)", lambda node: self._other(role, node))
        selector.connect("nodeActivated(vtkMRMLNode*)", lambda node: self._by_hand(role))
        return selector

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
        return self.align_combo.itemData(self.align_combo.currentIndex)

    def show_nodes(self, nodes: dict, chosen=None, align: str = "") -> None:
        """Show a saved state, or nodes by role where nobody chose."""
        self._setting = True
        for role, node in nodes.items():
            if role in self.selectors and (node is None or slicer.mrmlScene.IsNodePresent(node)):
                self.selectors[role].setCurrentNode(node)
        if chosen is not None:
            self.chosen = set(chosen)
        if align in ALIGN:
            self.align_combo.setCurrentIndex(self.align_combo.findData(align))
        self._setting = False

    def forget(self) -> None:
        """Choose nothing: the scene is another one."""
        self._kept = {}
        self.show_nodes(dict.fromkeys(self.selectors), chosen=())

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
        for role in self.method.required:
            if role not in nodes:
                told = _("Choose a volume for '{title}'.").format(title=self.title(role))
                return " ".join([told, *map(no_scan, slicer.util.getNodesByClass(COLOURS))])
        if twice := self.chosen_twice(nodes):
            return _("'{name}' is chosen twice.").format(name=twice.GetName())
        grids = {}
        for role, node in nodes.items():
            try:
                grid = grid_of(node, role)
            except RequestError as error:
                return f"{self.title(role)}: {error}"
            if grid is not None:
                grids[self.title(role)] = grid
        return self._differing(grids)

    def chosen_twice(self, nodes: dict):
        """Return a node that has more roles than it can have, or None."""
        node, times = Counter(nodes.values()).most_common(1)[0]
        return node if times > 1 else None

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
        told = ""
        if others:
            names = ", ".join(f"'{title}'" for title in others)
            told = _("{names}: not on the grid of '{first}'.").format(names=names, first=first)
        needed = _("Choose under 'Align' what to do.") if others and self.align == "none" else ""
        self.align_label.text = f"{told} {needed}".strip()
        self.align_label.toolTip = f"<pre>{grid_table(grids)}</pre>" if others else ""
        self.align_label.visible = self._differs = bool(others)
        return self.align_label.text if needed else ""

    def _other(self, role: str, node) -> None:
        if self._setting or unsettled():
            return
        if node is None:  # gone from the scene; _by_hand comes after it where a person chose so
            self.chosen.discard(role)
        else:
            self.chosen.add(role)
        self._kept.pop(role, None)
        self._changed()

    def _by_hand(self, role: str) -> None:
        if not self._setting and not unsettled():
            self.chosen.add(role)
            self._changed()

    def _align_chosen(self, *_signal) -> None:
        if not self._setting:
            self._changed()


def scans_in_scene() -> list:
    """Return the volumes that a person sees, label maps and colour images apart, oldest first."""
    nodes = slicer.util.getNodesByClass(VOLUME)
    return [one for one in nodes if one.GetClassName() == VOLUME and not one.GetHideFromEditors()]


def unsettled() -> bool:
    """Return whether the scene is being closed or loaded: what changes now, nobody chose."""
    return bool(slicer.mrmlScene.IsBatchProcessing() or slicer.mrmlScene.IsClosing())


def no_scan(node) -> str:
    """Return why a volume of several values a voxel is not offered, and what to do."""
    told = _("'{name}' has several values a voxel: make a scan of it with Vector to Scalar Volume.")
    return told.format(name=node.GetName())


def grid_of(node, role: str):
    """Return the grid of an input; None for what is brought onto the others' or has several."""
    if node.IsA(SEQUENCE) or node.IsA("vtkMRMLSegmentationNode"):
        return None
    return bridge.world_grid(node, mask=role == MASK_ROLE)
