"""What an uptake was asked of, and what has changed since: then its numbers are out of date."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from slicer.i18n import tr as _

from ContrastSynthPanel.scene import uptake_sources
from ContrastSynthPanel.scene.uptake_results import Settings
from ContrastSynthPanel.scene.uptake_sources import WORDS, Source, Sources
from ContrastSynthPanel.scene.view_keeper import is_there

Node = Any  # of MRML
SETTINGS = {
    "measured": _("what it is measured from"),
    "threshold": _("the threshold"),
    "level": _("what the threshold is measured in"),
    "smallest_ml": _("the smallest region"),
}


@dataclass(frozen=True, eq=False)
class Asked:
    """Sources with their stamps, by role, and settings; ``resample`` onto one grid if need be."""

    sources: Sources
    stamps: Mapping[str, Any]
    settings: Settings
    resample: bool = False

    @classmethod
    def of(cls, sources: Sources, segment: str, settings: Settings, resample: bool) -> Asked:
        """Return what is asked now."""
        return cls(sources, uptake_sources.stamps_of(sources, segment), settings, resample)

    @property
    def scans(self) -> tuple[Any, ...]:
        """What the voxels depend on that are measured."""
        return dict(self.stamps), self.resample

    @property
    def nodes(self) -> dict[str, Node]:
        """The nodes of the sources, by role."""
        return {role: source.node for role, source in self.sources.items()}

    def same_scans(self, other: Asked) -> bool:
        """Return whether something else is asked of the same scans, or whichever is measured."""
        return self.settings.measured != other.settings.measured or self.stamps == other.stamps

    def is_there(self) -> bool:
        """Return whether all sources are in the scene."""
        return all(is_there(source.node) for source in self.sources.values())

    # What a saved scene keeps

    def state(self) -> dict[str, Any]:
        """Return nodes and phases by role, and the settings: JSON, with nodes as nodes."""
        there = {role: one for role, one in self.sources.items() if is_there(one.node)}
        return {
            "results_of": {role: one.node for role, one in there.items()},
            "phases": {role: one.phase for role, one in there.items()},
            "asked": asdict(self.settings),
        }

    @classmethod
    def restored(cls, state: Mapping[str, Any], segment: str) -> Asked | None:
        """Return what saved results are of; None where there are none.

        What was out of date stays so, as does what a version without these settings computed.
        """
        nodes, phases = state.get("results_of", {}), state.get("phases", {})
        if not nodes or not state.get("told"):
            return None
        sources = {
            role: Source(one, phases.get(role)) for role, one in nodes.items() if one is not None
        }
        settings = Settings(**state.get("asked", {}))
        if state.get("outdated", "asked" not in state):
            return cls(sources, {}, settings)
        return cls.of(sources, segment, settings, state.get("resample", False))


def changes(asked: Asked | None, now: Asked, made: Mapping[str, Node]) -> str:
    """Return in words, with their verb, what differs from when it was asked; nothing if nothing."""
    if asked is None:
        return ""
    roles = [one for one in WORDS if asked.stamps.get(one) != now.stamps.get(one)]
    before, after = asdict(asked.settings), asdict(now.settings)
    found = [text for key, text in SETTINGS.items() if before[key] != after[key]]
    # A threshold of the map is not one of the scans: what is measured says it all.
    found = found[:1] if before["measured"] != after["measured"] else found
    if before["measured"] == after["measured"]:
        found = [WORDS[role] for role in roles] + found
    if not found and not all(map(is_there, made.values())):
        found = [_("the result in the scene")]
    if not found:
        return ""
    listed = _("{some} and {last}").format(some=", ".join(found[:-1]), last=found[-1])
    return _("{one} was").format(one=found[0]) if len(found) == 1 else f"{listed} {_('were')}"
