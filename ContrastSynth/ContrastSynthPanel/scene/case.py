"""The case that the panel is about: one patient's scan, what was made of it, and the truth.

All tabs look at the same case. What nobody chose follows from the rest: a result brings the scan
that it was made from, the true scan that it imitates, and the mask that it was made with.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import slicer

from ContrastSynthLib.errors import RequestError
from ContrastSynthLib.registry import MASK_ROLE
from ContrastSynthPanel.scene import bridge, relations
from ContrastSynthPanel.scene.bridge import LABEL_MAP, SEGMENTATION, SEQUENCE, VOLUME
from ContrastSynthPanel.scene.relations import REFERENCE
from ContrastSynthPanel.scene.stamps import visible_segments

Node = Any  # of MRML
INPUT, RESULT, TRUTH, MASK, REGION = ROLES = ("input", "result", "reference", "mask", "region")
TYPES = {
    INPUT: (VOLUME, SEQUENCE),
    RESULT: (VOLUME, SEQUENCE, LABEL_MAP),
    TRUTH: (VOLUME, SEQUENCE),
    MASK: (SEGMENTATION, LABEL_MAP),
    REGION: (SEGMENTATION, LABEL_MAP),
}
ALL_SEGMENTS = ""
PAIR = ("pre", "post")


class Case:
    """The nodes by role, ``chosen`` with the roles that a person chose, and chosen segments."""

    def __init__(self) -> None:
        """Hold nothing."""
        self._ids = dict.fromkeys(ROLES, "")
        self.chosen: set[str] = set()
        self.segments = {MASK: ALL_SEGMENTS, REGION: ALL_SEGMENTS}

    # What is chosen

    def node(self, role: str) -> Node | None:
        """Return the node of a role, or None."""
        return slicer.mrmlScene.GetNodeByID(self._ids[role]) if self._ids[role] else None

    def nodes(self, roles: Iterable[str] = ROLES) -> dict[str, Node]:
        """Return the nodes by role, without those that there are not."""
        found = {role: self.node(role) for role in roles}
        return {role: node for role, node in found.items() if node is not None}

    def choose(self, role: str, node: Node | None) -> None:
        """Take what a person chose. The true scan of a result is known with it from now on."""
        self._set(role, node)
        self.chosen.add(role)
        result = self.node(RESULT)
        if role == TRUTH and result is not None:
            result.SetNodeReferenceID(REFERENCE, node.GetID() if node is not None else None)
        if role == RESULT:
            self.chosen -= {INPUT, TRUTH, MASK}
        if role == INPUT:
            self.chosen -= {RESULT, TRUTH}
        if role in (INPUT, RESULT):  # the truth of another one is none
            self._set(TRUTH, None)
        self.follow()

    def look_at(self, result: Node) -> None:
        """Make a result that was just made, and all that belongs to it, the case."""
        self.chosen -= {INPUT, RESULT, TRUTH}
        self._set(RESULT, result)
        self._set(TRUTH, None)
        self.follow()

    def forget(self) -> None:
        """Hold nothing: the scene is another one."""
        self._ids = dict.fromkeys(ROLES, "")
        self.chosen = set()
        self.segments = {MASK: ALL_SEGMENTS, REGION: ALL_SEGMENTS}

    def follow(self) -> bool:
        """Let what nobody chose follow from the rest, and from the scene; return if it changed."""
        before = dict(self._ids), dict(self.segments)
        self._drop_what_is_gone()
        if RESULT not in self.chosen:
            self._propose_result()
        if INPUT not in self.chosen:
            self._propose_input()
        if TRUTH not in self.chosen:
            self._propose_truth(before[0])
        if MASK not in self.chosen and self.node(RESULT) is not None:
            self._set(MASK, relations.inputs_of(self.node(RESULT)).get(MASK_ROLE))
        if REGION not in self.chosen and self.node(REGION) is None:
            drawn = slicer.util.getNodesByClass(SEGMENTATION)
            drawn = [one for one in drawn if one.GetAttribute(relations.DERIVED) is None]
            drawn = [one for one in drawn if self._may_be_of_patient(one)]
            self._set(REGION, drawn[0] if len(drawn) == 1 else None)
        return before != (dict(self._ids), dict(self.segments))

    def _set(self, role: str, node: Node | None) -> None:
        identifier = node.GetID() if node is not None else ""
        if role == INPUT and node is not None:
            self._drop_of_another_patient(node)
        if identifier != self._ids[role] and role in self.segments:
            self.segments[role] = ALL_SEGMENTS
        self._ids[role] = identifier

    def _may_be_of_patient(self, node: Node) -> bool:
        """Return whether a node is not known to be of another patient than the input."""
        scan = self.node(INPUT)
        whose = [relations.patient_of(one) for one in (node, scan) if one is not None]
        return len(set(filter(None, whose))) < 2

    def _drop_of_another_patient(self, scan: Node) -> None:
        """Drop mask and region where the next scan is of another patient, as far as is known."""
        now, last = relations.patient_of(scan), self.node(INPUT)
        before = relations.patient_of(last) if last is not None else ""
        if not now or not before or now == before:
            return
        for role in self.segments:
            node = self.node(role)
            if node is not None and relations.patient_of(node) != now:
                self._set(role, None)
                self.chosen.discard(role)

    def _drop_what_is_gone(self) -> None:
        for role in ROLES:
            if self._ids[role] and self.node(role) is None:
                self._ids[role] = ""
                self.chosen.discard(role)

    # What follows from what

    def _propose_result(self) -> None:
        made, kept = relations.result_images(), self.node(RESULT)
        if kept is not None and kept not in made:  # labels or a map, which a run was about
            made.insert(0, kept)
        if INPUT in self.chosen:
            scan = self.node(INPUT)
            made = [one for one in made if scan in relations.inputs_of(one).values()]
        if kept not in made:
            self._set(RESULT, made[-1] if made else None)

    def _propose_input(self) -> None:
        source = relations.made_from(self.node(RESULT))
        if source is None and self.node(INPUT) is None:
            series = relations.all_series()
            named = (relations.scan_of_role(role, None) for role in ("post", "low", "pre"))
            source = series[0] if len(series) == 1 else next(filter(None, named), None)
        if source is not None:
            self._set(INPUT, source)

    def _propose_truth(self, before: dict[str, str]) -> None:
        """Keep the truth while it is there and the rest is the same; a result remembers its own."""
        same = all(self._ids[role] == before[role] for role in (INPUT, RESULT))
        if same and self.node(TRUTH) is not None:
            return
        truth, result = self._truth(), self.node(RESULT)
        self._set(TRUTH, truth)
        if result is not None and truth is not None:
            result.SetNodeReferenceID(REFERENCE, truth.GetID())

    def _truth(self) -> Node | None:
        """Return the true scan that the result imitates; without a result, the input's partner."""
        result, scan = self.node(RESULT), self.node(INPUT)
        if result is None:
            role = relations.role_of(scan) if scan is not None else ""
            other = {"post": "pre", "low": "pre", "pre": "post"}.get(role)
            return relations.scan_of_role(other, scan, [scan]) if other else None
        known = result.GetNodeReference(REFERENCE)
        if known is not None:
            return known
        if result.IsA(SEQUENCE) and scan is not None and scan.IsA(SEQUENCE):
            return scan
        role = relations.role_of(result)
        if not role:  # nobody knows which scan it imitates
            return None
        used = [result, *relations.inputs_of(result).values()]
        return relations.scan_of_role(role, scan or result, used)

    # What the tabs make of it

    def scan_pair(self, of_result: bool = True) -> dict[str, Node]:
        """Return the pre- and the post-contrast scan whose difference is the uptake.

        With a result that imitates one of them, ``of_result`` has that one in its place, else the
        true one. Only what is known is there.
        """
        result, pair = self.node(RESULT), dict[str, Node]()
        role = relations.role_of(result) if result is not None else ""
        for one in (self.node(INPUT), self.node(TRUTH)):
            if one is not None:
                known = relations.role_of(one)
                pair.setdefault(known if known in PAIR else "", one)
        pair |= {k: v for k, v in relations.inputs_of(result).items() if k in PAIR}
        unknown = pair.pop("", None)
        if role in PAIR:
            truth = self.node(TRUTH)
            pair.pop(role, None)
            if found := result if of_result else truth:
                pair[role] = found
        missing = [one for one in PAIR if one not in pair]
        if unknown is not None and len(missing) == 1 and unknown not in pair.values():
            pair[missing[0]] = unknown
        return {one: pair[one] for one in PAIR if one in pair}

    def segment_choices(self, role: str) -> dict[str, str]:
        """Return the segments, ID to name, that can be chosen of a mask or region."""
        node = self.node(role)
        if node is None or not node.IsA(SEGMENTATION):
            return {}
        held = node.GetSegmentation()
        return {one: held.GetSegment(one).GetName() for one in visible_segments(node)}

    def segment(self, role: str) -> str:
        """Return the chosen segment, or ALL_SEGMENTS; one that is gone or hidden is not chosen."""
        chosen = self.segments[role]
        return chosen if chosen in self.segment_choices(role) else ALL_SEGMENTS

    def unseen(self, role: str) -> str:
        """Return that a mask or region has no segment to be seen; nothing where it has one."""
        node = self.node(role)
        if node is None or not node.IsA(SEGMENTATION) or visible_segments(node):
            return ""
        return (
            f"'{node.GetName()}' has no segment that is visible. Draw one in the Segment "
            "Editor, or show it there."
        )

    def mask_volume(self, role: str, reference: Node) -> Any:
        """Return the mask or region as a Volume on the grid of a scan; None where none is chosen.

        Raises RequestError where it holds no segment that could be seen.
        """
        node = self.node(role)
        if node is None:
            return None
        if not node.IsA(SEGMENTATION):
            return bridge.volume_from_node(node, mask=True)
        if text := self.unseen(role):
            raise RequestError(text)
        ids = [self.segment(role)] if self.segment(role) else visible_segments(node)
        return bridge.mask_from_segments(node, bridge.volume_of_sequence(reference), ids)

    # What a saved scene keeps

    def state(self) -> dict[str, Any]:
        """Return what :meth:`restore` takes: JSON, with nodes as nodes."""
        return {
            "nodes": self.nodes(),
            "chosen": sorted(self.chosen),
            "segments": dict(self.segments),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Take up a saved case; what follows from it follows."""
        nodes = state.get("nodes", {})
        for role in ROLES:
            self._set(role, nodes.get(role))
        self.chosen = set(state.get("chosen", ())) & set(ROLES)
        self.segments |= {k: v for k, v in state.get("segments", {}).items() if k in self.segments}
        self.follow()
