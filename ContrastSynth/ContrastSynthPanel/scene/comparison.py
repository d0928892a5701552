"""What the tab Quality compares: the result of a case with its reference, and when it changed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import slicer
from slicer.i18n import tr as _

from ContrastSynthLib.errors import RequestError
from ContrastSynthLib.registry import IMAGE, LABELS
from ContrastSynthPanel.scene import bridge, changes, phases, relations
from ContrastSynthPanel.scene.bridge import SEQUENCE
from ContrastSynthPanel.scene.case import MASK, PAIR, RESULT, TRUTH, Case
from ContrastSynthPanel.scene.changes import Stamps

Node = Any  # of MRML
SYNTHETIC, REFERENCE = "synthetic", "reference"  # as `evaluate` calls them
PRE, POST = PAIR
TITLES = {
    SYNTHETIC: _("result"),
    REFERENCE: _("reference"),
    PRE: _("pre-contrast scan"),
    POST: _("post-contrast scan"),
    MASK: _("mask"),
}


@dataclass(frozen=True)
class Compared:
    """The nodes by role, or the ``problem`` that keeps them from being compared.

    ``notes`` are what has to be said of them.
    """

    nodes: Mapping[str, Node] = field(default_factory=dict)
    problem: str = ""
    notes: tuple[str, ...] = ()

    @property
    def volumes(self) -> dict[str, Node]:
        """The volumes that are measured, the reference first: of a series, the phase shown."""
        roles = [REFERENCE, *(role for role in self.nodes if role not in (REFERENCE, MASK))]
        return {role: bridge.volume_of_sequence(self.nodes[role]) for role in roles}

    @property
    def title(self) -> str:
        """What is compared with what."""
        result, reference = (self._named(role) for role in (SYNTHETIC, REFERENCE))
        return _("{synthetic} against {reference}").format(synthetic=result, reference=reference)

    def _named(self, role: str) -> str:
        node = self.nodes[role]
        number = shown_phase(node)
        text = _("{name}, phase {number}") if number else "{name}"
        return text.format(name=node.GetName(), number=number)


def compared(case: Case) -> Compared:
    """Return what a case has to compare."""
    result, truth = case.node(RESULT), case.node(TRUTH)
    chosen = {SYNTHETIC: result, REFERENCE: truth, MASK: case.node(MASK)}
    nodes = {role: node for role, node in chosen.items() if node is not None}
    pair = case.scan_pair(of_result=False)
    shown = {bridge.volume_of_sequence(node) for node in pair.values()} - {None}
    if len(shown) == len(PAIR):
        nodes |= pair
    if problem := problem_of(result, truth):
        return Compared(nodes, problem)
    notes = [phases_text(result, truth)]
    if PRE not in nodes:
        notes.append(_("The uptake is not measured: that takes a pre- and a post-contrast scan."))
    return Compared(nodes, notes=tuple(filter(None, notes)))


def problem_of(result: Node, truth: Node) -> str:
    """Return why a result cannot be compared with a true scan; nothing where it can."""
    if result is None:
        return _("Choose a result above, or make one under 'Synthesise'.")
    name = result.GetName()
    if relations.kind_of(result) != IMAGE:
        return no_image(result)
    if truth is None:
        text = _("Choose the reference above: the true scan that '{name}' imitates.")
        return text.format(name=name)
    volumes = [bridge.volume_of_sequence(node) for node in (result, truth)]
    for node, volume in zip((result, truth), volumes, strict=True):
        if volume is None:
            return _("'{name}' holds no phases.").format(name=node.GetName())
    if volumes[0] is volumes[1]:
        return _("'{name}' is both the result and the reference.").format(name=name)
    return ""


def no_image(node: Node) -> str:
    """Return that a result is no image, and which one of the same run is."""
    others = relations.of_same_run(node).values()
    images = [one.GetName() for one in others if relations.kind_of(one) == IMAGE]
    text = _("'{name}' is a map, not an image of the patient.")
    if relations.kind_of(node) == LABELS:
        text = _("'{name}' has labels, it is not an image of the patient.")
    what = _("Choose an image as the result.")
    if images:
        what = _("Choose '{image}' of the same run as the result.").format(image=images[0])
    return f"{text.format(name=node.GetName())} {what}"


# Phases of series


def shown_phase(node: Node) -> int:
    """Return the number, from 1, of the phase of a series that is shown; 0 of a single scan."""
    if not node.IsA(SEQUENCE):
        return 0
    browsers = slicer.util.getNodesByClass("vtkMRMLSequenceBrowserNode")
    seen = any(browser.GetProxyNode(node) is not None for browser in browsers)
    return phases.shown_phase(node) + 1 if seen else 1


def phases_text(*nodes: Node) -> str:
    """Return which phases of series are measured; nothing where there are only single scans."""
    texts: list[str] = []
    for node in nodes:
        if not (number := shown_phase(node)):
            continue
        time_s = _time_of_phase(node)
        text = _("phase {number} of {count} of '{name}'")
        if time_s is not None:
            text = _("phase {number} of {count} ({time:g} s) of '{name}'")
        count, name = node.GetNumberOfDataNodes(), node.GetName()
        texts.append(text.format(number=number, count=count, time=time_s, name=name))
    if not texts:
        return ""
    shown = _("Of a series the phase that is shown is measured: {phases}.")
    return f"{shown.format(phases=', '.join(texts))} {taken_apart(*nodes)}".strip()


def taken_apart(*nodes: Node) -> str:
    """Return that the phases that several series show are of other times; nothing if not."""
    times = {_time_of_phase(node) for node in nodes if shown_phase(node)}
    apart = None not in times and len(times) > 1
    return _("These were not taken at the same time.") if apart else ""


def _time_of_phase(series: Node) -> float | None:
    """Return the seconds of the phase that a series shows; None without times."""
    try:
        return bridge.times_of_sequence_node(series)[shown_phase(series) - 1]
    except RequestError:
        return None


# What changed since


def stamps_of(nodes: Mapping[str, Node], segment: str, settings: Mapping[str, str]) -> Stamps:
    """Return what changes when anything does that the numbers depend on."""
    found: Stamps = {}
    for role in TITLES:
        node = nodes.get(role)
        phase = shown_phase(node) if node is not None and node.GetScene() is not None else 0
        found[role] = changes.stamp_of(node, segment if role == MASK else "", phase)
    return found | {title: (value,) for title, value in settings.items()}


def change(before: Stamps, now: Stamps, nodes: Mapping[str, Node]) -> str:
    """Return the first of what changed between two looks, as a sentence without its full stop."""
    if text := changes.change(before, now, TITLES, nodes):
        return text
    for title, was in before.items():
        if title not in TITLES and now.get(title, was) != was:
            return _("'{title}' was changed since").format(title=title)
    return ""
