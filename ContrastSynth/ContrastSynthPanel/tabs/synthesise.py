"""The tab that synthesises: a method, its volumes and parameters, Apply, and the result.

Nothing here names a method: all of it is made from what the methods declare.
"""

import qt
import slicer
from slicer.i18n import tr as _

from ContrastSynthLib.errors import RequestError
from ContrastSynthLib.registry import MASK_ROLE, METHODS, TASKS, find_method, resolve_parameters
from ContrastSynthLib.running.run import Request
from ContrastSynthPanel import timings
from ContrastSynthPanel.citations import citation_html
from ContrastSynthPanel.job import run_arguments
from ContrastSynthPanel.scene import bridge, views
from ContrastSynthPanel.scene.slice_preview import SlicePreview
from ContrastSynthPanel.tabs.tab import Tab
from ContrastSynthPanel.widgets.dependency_box import DependencyBox
from ContrastSynthPanel.widgets.device_box import ITEM_FLAGS_ROLE, DeviceBox
from ContrastSynthPanel.widgets.forms import let_shrink, new_section, once_after
from ContrastSynthPanel.widgets.input_selectors import InputSelectors
from ContrastSynthPanel.widgets.node_selectors import PICK_AFTER_MS, SEQUENCE
from ContrastSynthPanel.widgets.parameter_widgets import ParameterWidgets
from ContrastSynthPanel.widgets.run_section import RunSection
from ContrastSynthPanel.widgets.weights_box import WeightsBox

UPTAKE = "uptake"
OVER = ("finished", "failed", "cancelled")  # the last event of a run


class SynthesiseTab(Tab):
    """A method's inputs, parameters, weights and device, Apply, and how the run goes."""

    title = _("Synthesise")

    def __init__(self, changed):
        """Make the tab."""
        super().__init__(changed)
        self.method, self._restoring = None, False
        self._given = {}  # what was set by hand, and the preset, by method
        self._pick_timer = once_after(PICK_AFTER_MS, self._pick)
        self.inputs = InputSelectors(self._edited)
        self.run = RunSection(self._apply, self._finished)
        self.run.listeners.append(self._heard)
        self.weights = WeightsBox(self._edited, self.run.tell)
        self.device = DeviceBox(self._edited)
        self.dependencies = DependencyBox(self._edited, self.run.tell)
        self.parameters = None
        self._build()
        self._show_method(self.method_combo.itemData(self.method_combo.currentIndex))
        self._pick()

    def _build(self) -> None:
        column = self.column
        self.method_combo, self.about_label = method_combo(), qt.QLabel()
        self.about_label.wordWrap = True
        self.about_label.textFormat = qt.Qt.PlainText
        self.citation_label = qt.QLabel()
        self.citation_label.wordWrap = True
        self.citation_label.textFormat = qt.Qt.RichText
        self.citation_label.openExternalLinks = True
        self.method_combo.connect("currentIndexChanged(int)", self._method_chosen)
        column.addWidget(self.method_combo)
        column.addWidget(self.about_label)
        column.addWidget(self.citation_label)
        column.addWidget(self.dependencies.widget)
        column.addWidget(self.weights.widget)
        column.addWidget(new_section(_("Inputs"), self.inputs.widget))
        self._parameter_section = new_section(_("Parameters"))
        column.addWidget(self._parameter_section)
        self._build_preview()
        column.addWidget(self.device.widget)
        self.estimate_label = qt.QLabel()
        self.estimate_label.wordWrap = True
        column.addWidget(self.estimate_label)
        column.addWidget(self.run.widget)
        column.addStretch(1)

    def _build_preview(self) -> None:
        self.preview_box, self.preview_label = qt.QCheckBox(), qt.QLabel()
        self.preview_box.objectName = "preview"
        self.preview_box.text = _("Preview in the slice views")
        self.preview_box.toolTip = _(
            "Shows the result on the slices in view while a parameter is changed. It is computed "
            "anew each time and never saved."
        )
        self.preview_box.checked = True
        self.preview_box.connect("toggled(bool)", self._preview_wanted)
        self.preview_label.wordWrap = True
        self.preview_label.hide()
        rows = qt.QWidget()  # its own visibility is the section's
        layout = qt.QVBoxLayout(rows)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.preview_box)
        layout.addWidget(self.preview_label)
        self._parameter_section.layout().addWidget(rows)
        self.preview = SlicePreview(self._tell_of_preview)

    # What the user, and the scene, do

    def scene_changed(self) -> None:
        """Nodes came or went: pick and check, in a moment."""
        self.run.node_removed()
        self._pick_timer.start()

    def scene_closed(self) -> None:
        """The scene is being closed: nothing of it is left to run on."""
        self.preview.end()
        self.run.close(_("The scene was closed, and the run with it."))

    def forget_nodes(self) -> None:
        """The scene is an empty one."""
        self._running_nodes = {}
        self.inputs.forget()
        self._check()

    def left(self) -> None:
        """Something else is shown: the slice views are no longer this tab's."""
        self.preview.end()

    def close(self) -> None:
        """End what runs, without a word: the panel is being taken down."""
        self._pick_timer.stop()
        self.preview.end()
        self.run.close()

    def _method_chosen(self, *_signal) -> None:
        if not self._restoring:
            self._show_method(self.method_combo.itemData(self.method_combo.currentIndex))
            self._pick()
            self._changed()

    def _pick(self) -> None:
        self.inputs.pick()
        self._edited()

    def _edited(self) -> None:
        """Something was chosen: check it, and have it saved."""
        if self._restoring:
            return
        self._given[self.method.key] = (self.parameters.preset, dict(self.parameters.given))
        self._check()
        if self.inputs.moves():
            self.preview.end()
        self.preview.keep_if_of(self.method, self.inputs.nodes())
        self._changed()

    def _parameter_edited(self) -> None:
        """A parameter was changed: as any other choice, and it is previewed."""
        self._edited()
        if not self._restoring:
            self._show_preview()

    def _show_preview(self) -> None:
        if not (self.method.can_preview and self.preview_box.checked) or self.inputs.missing():
            return
        if refused := self.inputs.moves():
            self.preview.end()
            self._tell_of_preview(_("No preview: {reason}").format(reason=refused))
            return
        values = self.parameters.resolved().values
        self.preview.show(self.method, self.inputs.nodes(), values)

    def _preview_wanted(self, wanted: bool) -> None:
        if self._restoring:
            return
        if wanted:
            self._show_preview()
        else:
            self.preview.end()
        self._changed()

    def _tell_of_preview(self, text: str) -> None:
        self.preview_label.text = text
        self.preview_label.visible = bool(text)

    def _show_method(self, key: str) -> None:
        """Build what depends on the method, with what was set for it before."""
        self.method = METHODS[key]
        self.method_combo.toolTip = self.method.title
        self.about_label.text = about(self.method)
        self.citation_label.text = citation_html(self.method.citation)
        self.preview.end()
        self._tell_of_preview("")
        self.preview_box.visible = self.method.can_preview
        self.inputs.set_method(self.method)
        self.weights.set_method(self.method)
        if self.parameters is not None:
            self.parameters.widget.hide()
            self.parameters.widget.deleteLater()
        self.parameters = ParameterWidgets(self.method, self._parameter_edited)
        self._parameter_section.layout().insertWidget(0, self.parameters.widget)
        if not self._parameter_section.collapsed:
            self.parameters.widget.show()  # the layout would do so too, but later
        try:
            self.parameters.restore(*self._given.get(key, (None, {})))
        except RequestError as error:  # a scene that another version saved
            self.run.tell("warning", str(error))

    def _check(self) -> None:
        """Show what the scans tell of themselves, and what is missing for a run."""
        told = {role: bridge.told_by(node)[0] for role, node in self._scans().items()}
        if told != self.parameters.acquisitions:
            self.parameters.show_scans(told)
        values = self.parameters.resolved().values
        needed = self.method.weights_for(values)
        packages = self.dependencies.show(self.method, needed, self.device.chosen)
        weights = self.weights.missing(needed) if self.method.needs_torch else ""
        self.run.block(self.inputs.missing() or packages or weights)
        reference = self.inputs.nodes().get(self.method.reference)
        told = timings.told(self.method, values, reference, self.device.chosen)
        self.estimate_label.text = told
        self.estimate_label.visible = bool(told)

    def _scans(self) -> dict:
        nodes = self.inputs.nodes()
        return {role: node for role, node in nodes.items() if role != MASK_ROLE}

    # Runs

    def _apply(self) -> None:
        self._check()  # A node may have been changed since the last look.
        if self.run.running or not self.run.apply_button.enabled:
            return
        nodes, method = self.inputs.nodes(), self.method

        def arguments(paths: dict, results) -> list[str]:
            request = Request(
                method.key,
                paths,
                dict(self.parameters.given),
                preset=self.parameters.preset,
                align=self.inputs.align,
                weights=self.weights.chosen if method.needs_torch else None,
                device=self.device.chosen,
            )
            return run_arguments(request, results)

        self._running_method, self._running_nodes = method, nodes
        self.preview.end()
        self.run.start(nodes, nodes[method.reference], arguments)

    def _heard(self, event) -> None:
        """A run is over, whatever became of it: its time is known now."""
        if event.kind in OVER:
            self._check()

    def run_again(self, key: str, preset: str | None, given: dict) -> str:
        """Run a method on the chosen volumes with these parameters, and show them here.

        Returns why it does not run; nothing where it does.
        """
        if self.run.running:
            return _("A run is under way.")
        try:
            resolve_parameters(find_method(key), given, preset)
        except RequestError as error:
            return str(error)
        self._restoring = True
        self.method_combo.setCurrentIndex(self.method_combo.findData(key))
        self._restoring = False
        self._given[key] = (preset, dict(given))
        self._show_method(key)
        self._pick()
        self._apply()
        if self.run.running:
            return ""
        button = self.run.apply_button
        return self.run.message.plainText if button.enabled else button.toolTip

    def _finished(self, event, results, reference) -> tuple[str, str]:
        """Take the result into the scene and show it; return what to tell."""
        scene = slicer.mrmlScene
        self.preview.end()
        if reference is None or not scene.IsNodePresent(reference):
            return "warning", _("The result was dropped: its input is gone.")
        if reference.IsA(SEQUENCE):  # a series: the result lies where its first volume lies
            reference = reference.GetNthDataNode(0)
        nodes = bridge.add_result(scene, results, reference)
        timings.remember(self._running_method, next(iter(nodes.values())))
        declared, inputs = self._running_method.outputs, self._running_nodes
        for role, node in nodes.items():
            if declared[role].units_of is not None:
                bridge.window_like(node, inputs.get(declared[role].units_of))
        images = [node for role, node in nodes.items() if declared[role].units_of is not None]
        background = reference if scene.IsNodePresent(reference) else "keep-current"
        views.show_layers(background, images[0])
        if UPTAKE in nodes:
            name = f"{nodes[UPTAKE].GetName()} mask"
            mask = bridge.mask_to_segmentation(scene, nodes[UPTAKE], reference, name)
            mask.SetAttribute(bridge.SYNTHETIC, nodes[UPTAKE].GetAttribute(bridge.SYNTHETIC))
        names = ", ".join(node.GetName() for node in nodes.values())
        warnings = list(event.report.get("warnings", ()))
        told = _("Done: {names}.").format(names=names)
        lines = [told, *(f"\N{BULLET} {warning}" for warning in warnings)]
        return "warning" if warnings else "done", "\n".join(lines)

    # What a saved scene keeps

    def state(self) -> dict:
        """Return everything that was chosen, nodes as nodes."""
        by_hand = {
            key: {"preset": preset, "given": given} for key, (preset, given) in self._given.items()
        }
        return {
            "method": self.method.key,
            "nodes": self.inputs.nodes(),
            "chosen": sorted(self.inputs.chosen),
            "align": self.inputs.align,
            "parameters": by_hand,
            "weights": self.weights.chosen,
            "device": self.device.chosen,
            "preview": bool(self.preview_box.checked),
        }

    def restore(self, state: dict) -> None:
        """Show a saved state; what this version does not know is left as it is."""
        self._restoring = True
        try:
            self._restore(state)
        except RequestError as error:
            self.run.tell("warning", str(error))
        finally:
            self._restoring = False
        self._pick()

    def _restore(self, state: dict) -> None:
        saved = state.get("parameters", {})
        self._given = {key: (one["preset"], one["given"]) for key, one in saved.items()}
        method = find_method(state.get("method", self.method.key))
        self.method_combo.setCurrentIndex(self.method_combo.findData(method.key))
        self._show_method(method.key)
        self.inputs.restore(state)
        self.weights.restore(state.get("weights"))
        self.device.restore(state.get("device", "auto"))
        self.preview_box.checked = bool(state.get("preview", True))


def method_combo():
    """Return a list of all methods by their titles, under the titles of their tasks."""
    combo = let_shrink(qt.QComboBox())
    combo.objectName = "method"
    bold = qt.QFont()
    bold.setBold(True)
    for task, title in TASKS.items():
        group = [method for method in METHODS.values() if method.task == task]
        if group:
            combo.addItem(title)
            combo.setItemData(combo.count - 1, bold, qt.Qt.FontRole)
            combo.setItemData(combo.count - 1, 0, ITEM_FLAGS_ROLE)
        for method in group:
            combo.addItem(method.title, method.key)
            combo.setItemData(combo.count - 1, method.intended_use, qt.Qt.ToolTipRole)
    combo.setCurrentIndex(1)
    return combo


def about(method) -> str:
    """Return what a method is meant for, and what it needs."""
    titles = [given.title for given in method.inputs.values() if not given.optional]
    optional = [given.title for given in method.inputs.values() if given.optional]
    lines = [method.intended_use, _("Needs: {titles}.").format(titles="; ".join(titles))]
    if optional:
        lines[-1] += " " + _("Optional: {titles}.").format(titles="; ".join(optional))
    if method.needs_torch:
        lines[-1] += " " + _("Computes with PyTorch.")
    if not method.ready:
        lines[-1] += " " + _("Its weights are not shipped yet.")
    return "\n".join(lines)
