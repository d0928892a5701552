"""What an uptake is measured of: two scans or a method's own map, and what it is compared with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from slicer.i18n import tr as _

from ContrastSynthLib.errors import RequestError
from ContrastSynthLib.registry import MAP
from ContrastSynthPanel.scene import bridge, phases, relations, stamps, uncertainty
from ContrastSynthPanel.scene.case import INPUT, MASK, PAIR, RESULT, TRUTH, Case
from ContrastSynthPanel.scene.run_results import UPTAKE
from ContrastSynthPanel.scene.uncertainty import UNCERTAINTY

Node = Any  # of MRML
DIFFERENCE, OWN_MAP = "difference", "map"  # what is measured; saved scenes hold these
OTHER = {"pre": "post", "post": "pre"}
WORDS = {
    "pre": _("the pre-contrast scan"),
    "post": _("the post-contrast scan"),
    TRUTH: _("the reference"),
    MASK: _("the mask"),
    OWN_MAP: _("the map"),
    UNCERTAINTY: _("the map of uncertainty"),
}


@dataclass(frozen=True)
class Source:
    """A node, and of a series the number of its phase, from 0."""

    node: Node
    phase: int | None = None

    @property
    def is_empty(self) -> bool:
        """Whether it is a series without phases."""
        return self.phase is not None and not self.node.GetNumberOfDataNodes()

    @property
    def voxels(self) -> Node:
        """The node that holds the voxels; None of a series without phases."""
        if self.is_empty:
            return None
        return self.node if self.phase is None else self.node.GetNthDataNode(self.phase)

    @property
    def place(self) -> Node:
        """The node of the scene that lies where the voxels do, and through which they are seen."""
        return bridge.volume_of_sequence(self.node)

    @property
    def name(self) -> str:
        """What it is called in sentences."""
        name = self.node.GetName()
        if self.phase is None:
            return str(name)
        return _("{name}, phase {number}").format(name=name, number=self.phase + 1)

    def stamp(self, segment: str = "") -> tuple[Any, ...]:
        """Return what changes when its content, place or marks do."""
        if self.phase is None or self.is_empty:
            return stamps.stamp(self.node, segment)
        time = self.node.GetNthIndexValue(self.phase), self.node.GetIndexUnit()
        return time, stamps.phase_stamp(self.node, self.phase)


Sources = Mapping[str, Source]


def own_map(case: Case) -> Node | None:
    """Return the map of uptake, from 0 to 1, that the run of the case's result gave out."""
    node = relations.of_same_run(case.node(RESULT)).get(UPTAKE)
    declared = relations.declared_of(node)
    if node is None or declared is None or node.IsA(bridge.SEQUENCE):
        return None
    is_map = declared.kind == MAP and (declared.low, declared.high) == (0, 1)
    return node if is_map else None


def sources_of(case: Case, measured: str) -> dict[str, Source]:
    """Return what there is to measure of a case, by role; of a pair perhaps only one."""
    mask = {MASK: Source(case.node(MASK))} if case.node(MASK) is not None else {}
    map_node = own_map(case)
    if measured == OWN_MAP and map_node is not None:
        return with_uncertainty({OWN_MAP: Source(map_node)})
    pair = case.scan_pair()
    series = case.node(INPUT)
    if not pair and series is not None and series.IsA(bridge.SEQUENCE):
        pair = dict.fromkeys(PAIR, series)
    found = {role: _source(role, node) for role, node in pair.items()}
    truth = _truth(case, found)
    whole = found | ({TRUTH: truth} if truth is not None else {}) | mask
    return with_uncertainty(whole)


def with_uncertainty(sources: Sources) -> dict[str, Source]:
    """Return sources with the map of uncertainty of the run that made one of them, if it did."""
    measured = [sources[role].node for role in (*PAIR, OWN_MAP) if role in sources]
    found = next(filter(None, map(uncertainty.map_of, measured)), None)
    return {**sources} if found is None else {**sources, UNCERTAINTY: Source(found)}


def _source(role: str, node: Node) -> Source:
    """Return a scan; of a series the first phase is before the agent, the shown one after it."""
    if not node.IsA(bridge.SEQUENCE):
        return Source(node)
    return Source(node, 0 if role == "pre" else max(0, phases.shown_phase(node)))


def _truth(case: Case, pair: Sources) -> Source | None:
    """Return what the result in a pair is compared with: of a series the phase of the same time."""
    node, result = case.node(TRUTH), case.node(RESULT)
    imitates = next((role for role, one in pair.items() if one.node is result), "")
    if node is None or (not imitates and TRUTH not in case.chosen):
        return None
    truth = _source(imitates or "post", node)
    imitated = pair[imitates].phase if imitates else None
    if result is not None and truth.phase is not None and imitated is not None:
        value = result.GetNthIndexValue(imitated)
        truth = Source(node, max(0, node.GetItemNumberFromIndexValue(value, False)))
    return None if truth in pair.values() else truth


def missing(case: Case, sources: Sources) -> str:
    """Return why there is nothing to measure; nothing if there is."""
    if OWN_MAP in sources:
        return ""
    empty = next((one for one in sources.values() if one.is_empty), None)
    if empty is not None:
        return _("'{name}' has no phases. Choose another one.").format(name=empty.node.GetName())
    lacking = [role for role in PAIR if role not in sources]
    if len(lacking) == len(PAIR):
        if to_be_told(case):
            return _("Say under Threshold which scan it is: before the agent, or after it.")
        return _("Choose an input and its reference, a result, or a dynamic series.")
    if to_be_told(case) == RESULT and not told(case):
        return _("Say under Threshold what the result is: a scan before the agent, or after it.")
    if lacking:
        text = _("The uptake is the difference of two scans. There is '{name}'; {other} is missing")
        other = sources[OTHER[lacking[0]]].name
        return text.format(name=other, other=WORDS[lacking[0]]) + _(": choose it as reference.")
    if sources["pre"] == sources["post"]:
        text = _("'{name}' shows its first phase, before the agent. Show a later one.")
        return text.format(name=sources["post"].node.GetName())
    return ""


def to_be_told(case: Case) -> str:
    """Return the role in the case of a scan that only a person can tell to be pre or post.

    That is a result that no method here made, or else the first of two scans; nothing if known.
    """
    result, scans = case.node(RESULT), [case.node(role) for role in (INPUT, TRUTH)]
    if result is not None:
        return RESULT if result.GetAttribute(bridge.METHOD) is None else ""
    two = all(one is not None and not one.IsA(bridge.SEQUENCE) for one in scans)
    return INPUT if two else ""


def tell(case: Case, role: str) -> None:
    """Let the scan that is to be told be the one before or after the agent."""
    who = to_be_told(case)
    scan: Node = case.node(who)  # to_be_told found it in the case
    scan.SetAttribute(relations.ROLE, role)
    if who == INPUT:
        other: Node = case.node(TRUTH)
        other.SetAttribute(relations.ROLE, OTHER[role])


def told(case: Case) -> str:
    """Return which scan the one that is to be told is taken for; nothing if that is not known."""
    node = case.node(to_be_told(case) or INPUT)
    return next((role for role, one in case.scan_pair().items() if one is node), "")


def names_of(sources: Sources) -> dict[str, str]:
    """Return a name for each role; the role is added where two have the same name."""
    names = [source.name for source in sources.values()]
    return {
        role: name if names.count(name) == 1 else f"{name} ({role})"
        for role, name in zip(sources, names, strict=True)
    }


def stamps_of(sources: Sources, segment: str) -> dict[str, tuple[Any, ...]]:
    """Return what changes, by role, when a source does; ``segment`` is that of the mask."""
    return {role: source.stamp(segment if role == MASK else "") for role, source in sources.items()}


def reading_source(source: Source) -> Any:
    """Return the Volume of a source, as a task; RequestError for what is no scan."""
    if source.phase is None:
        return (yield from bridge.reading_volume(source.node))
    if source.voxels is None:
        raise RequestError(_("'{name}' has no phases.").format(name=source.node.GetName()))
    return (yield from bridge.reading_volume(source.voxels, parent_of=source.place))
