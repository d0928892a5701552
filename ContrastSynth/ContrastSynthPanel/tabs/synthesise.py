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
from ContrastSynthPanel.job import run_arguments
from ContrastSynthPanel.scene import bridge, relations, run_results
from ContrastSynthPanel.scene.bridge import SEQUENCE
from ContrastSynthPanel.scene.case import INPUT, MASK, RESULT
from ContrastSynthPanel.tabs.tab import Tab
from ContrastSynthPanel.widgets.dependency_box import DependencyBox
from ContrastSynthPanel.widgets.dicom_box import DicomBox
from ContrastSynthPanel.widgets.dicom_study_box import DicomStudyBox
from ContrastSynthPanel.widgets.echo import Echo
from ContrastSynthPanel.widgets.forms import show_text
from ContrastSynthPanel.widgets.input_selectors import InputSelectors
from ContrastSynthPanel.widgets.method_form import MethodForm
from ContrastSynthPanel.widgets.preview_box import PreviewBox
from ContrastSynthPanel.widgets.run_section import RunSection
from ContrastSynthPanel.widgets.then_box import ThenBox
from ContrastSynthPanel.widgets.uncertainty_box import UncertaintyBox

OVER = ("finished", "failed", "cancelled")  # the last event of a run


class SynthesiseTab(Tab):
    """A method's inputs, parameters, weights and device, Apply, and how the run goes."""

    title = _("Synthesise")
    uses = (MASK,)

    def __init__(self, box, changed):
        """Make the tab."""
        super().__init__(box, changed)
        self.method, self._echo = None, Echo()
        self.running_method, self._running_nodes = None, {}
        self._given = {}  # what was set by hand, and the preset, by method
        self.inputs = InputSelectors(self._inputs_chosen)
        self.above = self.inputs.widget
        self.run = RunSection(self._apply, self._finished)
        self.run.listeners.append(self._heard)
        self.then = ThenBox(self._apply_both)
        self.form = MethodForm(self._method_chosen, self._edited, self.run.show_message)
        self.preview = PreviewBox(self._show_preview, self._changed)
        self.uncertainty = UncertaintyBox(self.preview.end, changed)
        self.dependencies = DependencyBox(self._edited, self.run.show_message)
        self.dicom = DicomBox()
        self.studies = DicomStudyBox(self._scans_loaded)
        self.parameters = None
        self._build()
        self._show_method(self.form.chosen_method)
        self._pick()

    def _build(self) -> None:
        self.estimate_label, self.weights_label = qt.QLabel(), qt.QLabel()
        self.estimate_label.wordWrap = self.weights_label.wordWrap = True
        for widget in (
            self.studies.widget,
            self.form.top,
            self.preview.widget,
            self.dependencies.widget,
            self.run.widget,
            self.then.widget,
            self.uncertainty.widget,
            self.dicom.widget,
            self.weights_label,
            self.estimate_label,
            self.form.advanced,
            self.form.about,
            self.run.log_section,
        ):
            self.column.addWidget(widget)
        self.column.addStretch(1)

    def scans(self) -> list:
        """Return the scans that are chosen for the method."""
        return list(self.inputs.nodes().values())

    # What the user, and the scene, do

    def scene_changed(self) -> None:
        """Nodes came or went: pick and check."""
        self._follow_result()
        self._pick()

    def node_removed(self) -> None:
        """A node is gone: a run for it is of no use."""
        self.run.node_removed()
        self._follow_result()

    def case_changed(self) -> None:
        """The case is another one: the scans of its patient are picked."""
        self._follow_result()
        self._pick()

    def scene_closed(self) -> None:
        """The scene is being closed: nothing of it is left to run on."""
        self.preview.end()
        self.uncertainty.put_back()
        self.dicom.close()
        self.studies.close()
        self.run.close(_("The scene was closed, and the run with it."))

    def forget_nodes(self) -> None:
        """The scene is an empty one."""
        self._running_nodes = {}
        self.dicom.follow(None)
        self.inputs.forget()
        self.uncertainty.forget()
        self._check()

    def look(self) -> None:
        """Grids, transforms and headers change without a word: check again."""
        if not self.run.running:
            self._check()

    def entered(self) -> None:
        """The tab comes into view."""
        self._follow_result()
        self.uncertainty.entered()
        self.studies.follow()

    def left(self) -> None:
        """Something else is shown: the slice views are no longer this tab's."""
        self.preview.end()
        self.uncertainty.left()

    def _follow_result(self) -> None:
        self.uncertainty.follow(self.case.node(RESULT))
        self.dicom.follow(self.case.node(RESULT))

    def close(self) -> None:
        """End what runs, without a word: the panel is being taken down."""
        self.inputs.close()
        self.preview.end()
        self.dicom.close()
        self.studies.close()
        self.run.close()

    def _method_chosen(self, key: str) -> None:
        if not self._echo:
            self._show_method(key)
            self._pick()
            self._changed()

    def _scans_loaded(self, nodes: dict) -> None:
        """Scans of a study came into the scene: they are what a method is to take."""
        first = next(iter(nodes.values()))
        shown = bridge.volume_of_sequence(first) or first
        slicer.util.setSliceViewerLayers(shown, foreground=None, label=None, fit=True)
        self.inputs.show_nodes(nodes)
        self.inputs.chosen |= set(nodes) & set(self.inputs.selectors)
        self._inputs_chosen()

    def _inputs_chosen(self) -> None:
        """A person chose other scans, or one is gone: the case is that of the same patient."""
        node = self.inputs.nodes().get(self.method.reference)
        if node is not None and self.method.reference in self.inputs.chosen:
            result = self.case.node("result")
            if node not in relations.inputs_of(result).values():
                with self._echo:
                    self.case.choose(INPUT, node)
                    self.box.show()
        self._pick()

    def _pick(self) -> None:
        if self._echo:
            return
        self.inputs.pick(self.case.node(INPUT))
        self._edited()

    def _edited(self) -> None:
        """Something was chosen: check it, and have it saved."""
        if self._echo:
            return
        self._given[self.method.key] = (self.parameters.preset, dict(self.parameters.given))
        self._check()
        self.preview.keep_if_of(self.method, self._nodes(), self.inputs.moves())
        self._changed()

    def _parameter_edited(self) -> None:
        """A parameter was changed: as any other choice, and it is previewed."""
        self._edited()
        if not self._echo:
            self._show_preview()

    def _show_preview(self) -> None:
        if not self.inputs.missing(self.case.node(MASK)):
            values = self.parameters.resolved().values
            self.preview.show(self.method, self._nodes(), values, self.inputs.moves())

    def _nodes(self) -> dict:
        """Return the nodes of a run by role, the mask among them."""
        mask = self.case.node(MASK)
        return {**self.inputs.nodes(), **({MASK_ROLE: mask} if mask is not None else {})}

    def _show_method(self, key: str) -> None:
        """Build what depends on the method, with what was set for it before."""
        self.method = METHODS[key]
        self.inputs.set_method(self.method)
        self.preview.set_method(self.method)
        self.then.set_method(self.method)
        self.parameters = self.form.show_method(self.method, self._parameter_edited)
        try:
            self.parameters.restore(*self._given.get(key, (None, {})))
        except RequestError as error:  # a scene that another version saved
            self.run.show_message("warning", str(error))

    def _check(self) -> None:
        """Show the settings of the scans, and what is missing for a run."""
        scans = self.inputs.nodes()
        settings = {role: bridge.acquisition_of(node)[0] for role, node in scans.items()}
        if settings != self.parameters.acquisitions:
            self.parameters.show_scans(settings)
        values = self.parameters.resolved().values
        packages = self.dependencies.show(self.method.packages_for(values))
        reason = self.inputs.missing(self.case.node(MASK)) or self.case.unseen(MASK) or packages
        self.run.block(self.form.problem(values, scans.values()) or reason)
        self.then.block(self.run.action.blocked)
        expected = timings.expected(
            self.method, values, scans.get(self.method.reference), self.form.device.chosen
        )
        show_text(self.estimate_label, expected)
        show_text(self.weights_label, self.form.weights.label.text if self.method.networks else "")

    # Runs

    def _apply(self) -> None:
        self._check()  # A node may have been changed since the last look.
        if self.run.running or self.run.action.blocked:
            return
        nodes, method = self._nodes(), self.method
        try:
            given = dict(nodes)
            if MASK_ROLE in nodes:
                given[MASK_ROLE] = self.case.mask_volume(MASK, nodes[method.reference])
        except RequestError as error:
            self.run.show_message("failed", str(error))
            return

        def arguments(paths: dict, results) -> list[str]:
            request = Request(
                method.key,
                paths,
                dict(self.parameters.given),
                preset=self.parameters.preset,
                align=self.inputs.align,
                **self.form.asked(),
            )
            return run_arguments(request, results)

        self.running_method, self._running_nodes = method, nodes
        self.preview.end()
        self.run.start(given, nodes[method.reference], arguments)

    def _apply_both(self) -> None:
        """Run the method, and with what it makes the one that goes on with it."""
        self._apply()
        self.then.waits_for(self.running_method if self.run.running else None)

    def _heard(self, event) -> None:
        """A run has begun, or is over, whatever became of it: its time is known now."""
        self.then.block(self.run.action.blocked)
        if event.kind in OVER:
            self._check()
            if (method := self.then.take()) is not None:
                self._go_on(method)

    def _go_on(self, method) -> None:
        """Run the next method on what was made, and on what that was made of."""
        nodes = {**self._running_nodes, **self.then.made}
        wanted = {role: node for role, node in nodes.items() if role in method.inputs}
        if MASK_ROLE in nodes:
            wanted[MASK_ROLE] = nodes[MASK_ROLE]
        if why := self.run_again(method.key, None, {}, wanted, self.inputs.align):
            self.run.show_message("warning", why)

    def run_again(self, key: str, preset: str | None, given: dict, nodes: dict, align: str) -> str:
        """Run a method on these nodes, by role, with these parameters, and show them here.

        Returns why it does not run; nothing where it does.
        """
        if self.run.running:
            return _("A run is under way.")
        try:
            resolve_parameters(find_method(key), given, preset)
        except RequestError as error:
            return str(error)
        with self._echo:
            self.form.choose_method(key)
        self._given[key] = (preset, dict(given))
        self._show_method(key)
        if self.case.node(MASK) is not nodes.get(MASK_ROLE):
            self.case.choose(MASK, nodes.get(MASK_ROLE))
            self.box.show()
        self.inputs.alignment.restore(align)
        same = {one for one, node in self.inputs.nodes().items() if node is nodes.get(one)}
        by_hand, self.inputs.chosen = self.inputs.chosen, set(self.inputs.selectors)
        self.inputs.show_nodes({role: nodes.get(role) for role in self.inputs.selectors})
        self._edited()
        self._apply()
        self.inputs.chosen = by_hand & same  # nobody chose the others by hand
        if self.run.running:
            return ""
        return self.run.action.blocked or self.run.message.plainText

    def _finished(self, event, results, reference):
        """Take the result into the scene and show it, as a task: a kind of message and its text."""
        scene, inputs, method = slicer.mrmlScene, self._running_nodes, self.running_method
        self.preview.end()
        if reference is None or not scene.IsNodePresent(reference):
            return "warning", _("The result was dropped: its input is gone.")
        there = {role: node for role, node in inputs.items() if scene.IsNodePresent(node)}
        if reference.IsA(SEQUENCE):  # the result lies where the series is shown
            reference = bridge.shown_volume(reference)
        before = relations.volumes_and_series()
        nodes = yield from run_results.adding_result(
            scene, results, reference, there, self.form.into(method)
        )
        provenance = run_results.provenance_of(next(iter(nodes.values())))
        timings.remember(method, provenance)
        self.form.seed.show_used(method, provenance)
        try:
            yield
            self.uncertainty.put_back()
            run_results.show_nodes(nodes, method.outputs, reference, there)
            yield
        except BaseException:  # cancelled: then nothing is kept
            for node in nodes.values():
                if node not in before:
                    scene.RemoveNode(node)
            raise
        run_results.add_uptake_mask(nodes, reference)
        self.then.was_made(nodes)
        self.box.look_at(run_results.main_result(nodes))
        self.uncertainty.show()
        self._changed()
        warnings = list(event.report.get("warnings", ()))
        return "warning" if warnings else "done", done_text(method, nodes, provenance, warnings)

    # What a saved scene keeps

    def state(self) -> dict:
        """Return everything that was chosen, nodes as nodes."""
        by_hand = {
            key: {"preset": preset, "given": given} for key, (preset, given) in self._given.items()
        }
        return {
            "method": self.method.key,
            **self.inputs.state(),
            "parameters": by_hand,
            **self.form.state(),
            "preview": self.preview.wanted,
            "uncertainty": self.uncertainty.state(),
        }

    def restore(self, state: dict) -> None:
        """Show a saved state; what this version does not know is left as it is."""
        with self._echo:
            try:
                self._restore(state)
            except RequestError as error:
                self.run.show_message("warning", str(error))
        self._pick()

    def _restore(self, state: dict) -> None:
        saved = state.get("parameters", {})
        self._given = {key: (one["preset"], one["given"]) for key, one in saved.items()}
        method = find_method(state.get("method", self.method.key))
        self.form.choose_method(method.key)
        self._show_method(method.key)
        self.inputs.restore(state)
        self.form.restore(state)
        self.preview.wanted = bool(state.get("preview", True))
        self.uncertainty.restore(state.get("uncertainty", {}))


def done_text(method, nodes: dict, provenance: dict, warnings: list[str]) -> str:
    """Return what a run made, and what it has to say."""
    lines = [_("Done: {names}.").format(names="; ".join(n.GetName() for n in nodes.values()))]
    described = [node for node in nodes.values() if node.GetDescription()]
    lines += [f"'{node.GetName()}': {node.GetDescription()}" for node in described]
    if method.random:
        lines.append(_("Seed: {number}.").format(number=provenance.get("seed")))
    return "\n".join([*lines, *(f"\N{BULLET} {warning}" for warning in warnings)])
