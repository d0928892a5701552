"""The tab that synthesises: a method, its volumes and parameters, Apply, and the result.

Nothing here names a method: all of it is made from what the methods declare.
"""

import qt
import slicer
from slicer.i18n import tr as _

from ContrastSynthLib.errors import RequestError
from ContrastSynthLib.registry import MASK_ROLE, METHODS, find_method, resolve_parameters
from ContrastSynthLib.running.request import Request
from ContrastSynthPanel import timings
from ContrastSynthPanel.citations import citation_html
from ContrastSynthPanel.job import run_arguments
from ContrastSynthPanel.scene import bridge, run_results
from ContrastSynthPanel.scene.bridge import SEQUENCE
from ContrastSynthPanel.scene.slice_preview import SlicePreview, previewed_output
from ContrastSynthPanel.tabs.tab import Tab
from ContrastSynthPanel.widgets.dependency_box import DependencyBox
from ContrastSynthPanel.widgets.device_box import DeviceBox
from ContrastSynthPanel.widgets.forms import new_section, once_after
from ContrastSynthPanel.widgets.input_selectors import InputSelectors
from ContrastSynthPanel.widgets.method_list import about, method_combo
from ContrastSynthPanel.widgets.node_selectors import PICK_AFTER_MS
from ContrastSynthPanel.widgets.parameter_widgets import ParameterWidgets
from ContrastSynthPanel.widgets.run_section import RunSection
from ContrastSynthPanel.widgets.seed_box import SeedBox
from ContrastSynthPanel.widgets.weights_box import WeightsBox

OVER = ("finished", "failed", "cancelled")  # the last event of a run


class SynthesiseTab(Tab):
    """A method's inputs, parameters, weights and device, Apply, and how the run goes."""

    title = _("Synthesise")

    def __init__(self, changed):
        """Make the tab."""
        super().__init__(changed)
        self.method, self._restoring = None, False
        self.running_method, self._running_nodes = None, {}
        self._given = {}  # what was set by hand, and the preset, by method
        self._pick_timer = once_after(PICK_AFTER_MS, self._pick)
        self.inputs = InputSelectors(self._edited)
        self.run = RunSection(self._apply, self._finished)
        self.run.listeners.append(self._heard)
        self.weights = WeightsBox(self._edited, self.run.show_message)
        self.device, self.seed = DeviceBox(self._edited), SeedBox(self._edited)
        self.dependencies = DependencyBox(self._edited, self.run.show_message)
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
        column.addWidget(self.seed.widget)
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
        self.preview = SlicePreview(self._show_preview_text)

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
        wanted = self.preview_box.checked and previewed_output(self.method) is not None
        if not wanted or self.inputs.missing():
            return
        if refused := self.inputs.moves():
            self.preview.end()
            self._show_preview_text(_("No preview: {reason}").format(reason=refused))
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

    def _show_preview_text(self, text: str) -> None:
        self.preview_label.text = text
        self.preview_label.visible = bool(text)

    def _show_method(self, key: str) -> None:
        """Build what depends on the method, with what was set for it before."""
        self.method = METHODS[key]
        self.method_combo.toolTip = self.method.title
        self.about_label.text = about(self.method)
        self.citation_label.text = citation_html(self.method.citation)
        self.preview.end()
        self._show_preview_text("")
        self.preview_box.visible = previewed_output(self.method) is not None
        self.inputs.set_method(self.method)
        self.weights.set_method(self.method)
        self.seed.set_method(self.method)
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
            self.run.show_message("warning", str(error))

    def _check(self) -> None:
        """Show the settings of the scans, and what is missing for a run."""
        settings = {role: bridge.acquisition_of(node)[0] for role, node in self._scans().items()}
        if settings != self.parameters.acquisitions:
            self.parameters.show_scans(settings)
        values = self.parameters.resolved().values
        packages = self.dependencies.show(self.method.packages_for(values))
        weights = self.weights.missing(values) if self.method.networks else ""
        wrong = next(iter(self.parameters.problems.values()), "") or self.seed.problem()
        self.run.block(self.inputs.missing() or wrong or packages or weights)
        reference = self.inputs.nodes().get(self.method.reference)
        expected = timings.expected(self.method, values, reference, self.device.chosen)
        self.estimate_label.text = expected
        self.estimate_label.visible = bool(expected)

    def _scans(self) -> dict:
        nodes = self.inputs.nodes()
        return {role: node for role, node in nodes.items() if role != MASK_ROLE}

    # Runs

    def _apply(self) -> None:
        self._check()  # A node may have been changed since the last look.
        if self.run.running:
            return
        if not self.run.apply_button.enabled:
            self.run.show_message("warning", self.run.apply_button.toolTip)
            return
        nodes, method = self.inputs.nodes(), self.method

        def arguments(paths: dict, results) -> list[str]:
            request = Request(
                method.key,
                paths,
                dict(self.parameters.given),
                preset=self.parameters.preset,
                align=self.inputs.align,
                weights=self.weights.chosen,
                device=self.device.chosen,
                seed=self.seed.chosen,
            )
            return run_arguments(request, results)

        self.running_method, self._running_nodes = method, nodes
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
        """Take the result into the scene and show it; return a kind of message and its text."""
        scene = slicer.mrmlScene
        self.preview.end()
        if reference is None or not scene.IsNodePresent(reference):
            return "warning", _("The result was dropped: its input is gone.")
        if reference.IsA(SEQUENCE):  # the result lies where the series is shown
            reference = bridge.shown_volume(reference)
        nodes = run_results.add_result(scene, results, reference)
        method = self.running_method
        provenance = run_results.provenance_of(next(iter(nodes.values())))
        timings.remember(method, provenance)
        self.seed.show_used(method, provenance)
        run_results.show_nodes(nodes, method.outputs, reference, self._running_nodes)
        run_results.add_uptake_mask(nodes, reference)
        lines = [_("Done: {names}.").format(names=", ".join(n.GetName() for n in nodes.values()))]
        lines += [
            f"'{node.GetName()}': {node.GetDescription()}"
            for node in nodes.values()
            if node.GetDescription()
        ]
        if method.random:
            lines.append(_("Seed: {number}.").format(number=provenance.get("seed")))
        warnings = list(event.report.get("warnings", ()))
        lines += [f"\N{BULLET} {warning}" for warning in warnings]
        self._changed()
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
            "weights": dict(self.weights.wanted),
            "seeds": self.seed.state(),
            "device": self.device.chosen,
            "preview": bool(self.preview_box.checked),
        }

    def restore(self, state: dict) -> None:
        """Show a saved state; what this version does not know is left as it is."""
        self._restoring = True
        try:
            self._restore(state)
        except RequestError as error:
            self.run.show_message("warning", str(error))
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
        self.seed.restore(state.get("seeds", {}))
        self.device.restore(state.get("device", "auto"))
        self.preview_box.checked = bool(state.get("preview", True))
