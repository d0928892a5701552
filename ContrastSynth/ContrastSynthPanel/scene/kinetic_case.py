"""What the tab Kinetics measures of a case, why it cannot, and what changed of it since."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from slicer.i18n import tr as _

from ContrastSynthLib.errors import RequestError
from ContrastSynthLib.registry import IMAGE
from ContrastSynthPanel.scene import bridge, changes, phases, relations
from ContrastSynthPanel.scene.bridge import SEGMENTATION
from ContrastSynthPanel.scene.case import ALL_SEGMENTS, INPUT, RESULT, Case
from ContrastSynthPanel.scene.case import REGION as CASE_REGION
from ContrastSynthPanel.scene.changes import Stamps

Node = Any  # of MRML
SERIES, SYNTHETIC, REGION = "series", "synthetic", "region"  # saved scenes hold these
TITLES = {SERIES: _("series"), SYNTHETIC: _("synthetic series"), REGION: _("region")}
EACH = "each"
CHOOSE_SERIES = _("Choose a dynamic series as the input above: a sequence of volumes and times.")


@dataclass(frozen=True)
class Asked:
    """The nodes by role: a series, a synthetic one, a region, as far as they are there.

    ``segment`` is the chosen one, nothing for all that are visible; ``each`` says that segments
    or labels are measured each by itself, where there are ``several``. ``no_series`` and
    ``no_region`` say why there is nothing to measure, ``notes`` what is left out.
    """

    nodes: Mapping[str, Node] = field(default_factory=dict)
    segment: str = ALL_SEGMENTS
    each: bool = False
    several: bool = False
    no_series: str = ""
    no_region: str = ""
    notes: tuple[str, ...] = ()

    @property
    def problem(self) -> str:
        """Why no region can be measured; nothing if one can."""
        return self.no_series or self.no_region

    @property
    def series(self) -> list[Node]:
        """The series, and the synthetic one if there is one."""
        return [self.nodes[role] for role in (SERIES, SYNTHETIC) if role in self.nodes]


def asked(case: Case, each: bool) -> Asked:
    """Return what a case has to measure."""
    series, region = relations.series_of(case.node(INPUT)), case.node(CASE_REGION)
    synthetic, note = _synthetic_series(case.node(RESULT))
    found = {SERIES: series, SYNTHETIC: synthetic, REGION: region}
    nodes = {role: node for role, node in found.items() if node is not None}
    segment = case.segment(CASE_REGION)
    several = region is not None and (
        len(case.segment_choices(CASE_REGION)) > 1 and not segment
        if region.IsA(SEGMENTATION)
        else True  # how many labels there are is known once they are read
    )
    no_region = _("Choose a segmentation or a label map above that marks the region.")
    return Asked(
        nodes,
        segment,
        each and several,
        several,
        _no_series(case, nodes) or _no_times(nodes),
        "" if region is not None else no_region,
        (note,) if note else (),
    )


def _synthetic_series(result: Node | None) -> tuple[Node | None, str]:
    """Return the result as a series; None, and why, where it is none."""
    if result is None:
        return None, ""
    series = relations.series_of(result)
    if relations.kind_of(series or result) != IMAGE:
        text = _("The result '{name}' is a map or labels, no images: only the input is measured.")
        return None, text.format(name=result.GetName())
    if series is None:
        text = _("The result '{name}' is a single volume: only the input series is measured.")
        return None, text.format(name=result.GetName())
    return series, ""


def _no_series(case: Case, nodes: Mapping[str, Node]) -> str:
    scan = case.node(INPUT)
    if scan is None:
        return CHOOSE_SERIES
    if SERIES not in nodes:
        text = _("'{name}' is a single volume.").format(name=scan.GetName())
        return f"{text} {CHOOSE_SERIES}"
    if nodes.get(SYNTHETIC) is nodes[SERIES]:
        text = _("'{name}' is chosen twice: as the input and as the result.")
        return text.format(name=nodes[SERIES].GetName())
    return ""


def _no_times(nodes: Mapping[str, Node]) -> str:
    """Return why the times of a series cannot be used; nothing if they can."""
    for role in (SERIES, SYNTHETIC):
        try:
            if role in nodes:
                bridge.times_of_sequence_node(nodes[role])
        except RequestError as error:
            here = role == SERIES and phases.has_no_unit(nodes[role])
            hint = _("Or choose above, under 'Index counts', what it is.") if here else ""
            return f"{error} {hint}".strip()
    return ""


def names_of(found: Asked) -> str:
    """Return the names of the series, as a sentence has them."""
    return _(" and ").join(f"'{node.GetName()}'" for node in found.series)


# What changed since


def stamps_of(found: Asked) -> Stamps:
    """Return what changes when anything does that the measures depend on."""
    parts = {REGION: found.segment}
    made = {one: changes.stamp_of(found.nodes.get(one), parts.get(one, "")) for one in TITLES}
    return made | {EACH: (str(found.each),)}


def change(before: Stamps, found: Asked) -> str:
    """Return the first of what changed since these stamps, as a sentence without its full stop."""
    now = stamps_of(found)
    if text := changes.change(before, now, TITLES, found.nodes):
        return text
    if before.get(EACH, now[EACH]) != now[EACH]:
        return _("the regions are measured otherwise since")
    return ""
