"""One series of a study, as its headers describe it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ContrastSynthLib.dicom_study.layout import Layout, layout_of
from ContrastSynthLib.dicom_study.moments import (
    acquired_s,
    injected_s,
    is_dated,
    last_before_agent,
    phases_of,
    shown,
)
from ContrastSynthLib.dicom_study.names import Said, said_by
from ContrastSynthLib.dicom_study.privacy import without_names
from ContrastSynthLib.dicom_study.tags import (
    Agent,
    Told,
    agent_by_tags,
    is_derived,
    settings_ms,
    weighting_by_tags,
)
from ContrastSynthLib.dicom_study.words import (
    ADC,
    DERIVED,
    DWI,
    FLAIR,
    LOCALIZER,
    OTHER,
    SEGMENTATION,
    SYNTHETIC,
    T1,
    T2,
)
from ContrastSynthLib.files.dicom.header import Frame

PRE, POST, LOW, PHASES, UNCERTAIN = "pre", "post", "low dose", "phases", "T1, agent unknown"
REFINE = (SYNTHETIC, SEGMENTATION, LOCALIZER, DERIVED, OTHER)
"""What times of echoes cannot tell, so that the name may say it."""
HARDLY_APART = ({ADC, DWI}, {DERIVED, OTHER}, {DWI, OTHER}, {ADC, DERIVED}, {T2, FLAIR})
"""Weightings that tags and names may give to the same images without a contradiction."""


@dataclass(frozen=True)
class Series:
    """A series: what it is, and why. No text in it names the patient.

    ``acquired_s`` and ``injected_s`` are seconds on one clock. ``named`` is the weighting that the
    name claims where what follows from the tags contradicts it, else "".
    """

    uid: str
    number: int | None
    description: str
    modality: str
    files: tuple[Path, ...]
    images: int
    layout: Layout | None
    acquired_s: float | None
    injected_s: float | None
    weighting: str
    reason: str
    named: str
    agent: Agent
    said: Said
    derived: bool
    settings_ms: Mapping[str, float]
    agent_text: str = ""
    dated: bool = True
    """Whether its date is its own; that of the study is that of its beginning."""
    phases_before: int | None = None
    """How many phases of a dynamic series came before the agent; None where nothing tells."""
    warnings: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """How messages call it."""
        return f"series {'?' if self.number is None else self.number} '{self.description}'"

    @property
    def phases(self) -> int:
        """How many images of one contrast lie at each place."""
        return 1 if self.layout is None else self.layout.phases

    @property
    def is_t1(self) -> bool:
        """Return whether it is a T1 scan of one phase, and nothing says otherwise."""
        return self.weighting == T1 and not self.named and self.phases == 1

    @property
    def is_dynamic(self) -> bool:
        """Return whether it is a T1 scan with several phases."""
        return self.weighting == T1 and self.phases > 1

    @property
    def kind(self) -> str:
        """What it is, in a word of the list."""
        if self.named:
            return f"{self.weighting}, named {self.named}"
        if self.weighting != T1:
            return self.weighting
        if self.is_dynamic:
            return PHASES
        if self.said.low:
            return LOW
        return {True: POST, False: PRE, None: UNCERTAIN}[self.agent.given]

    @property
    def time(self) -> str:
        """When it was acquired, as hours, minutes and seconds."""
        return shown(self.acquired_s)


def series_of(frames: Sequence[Frame], private: frozenset[str]) -> Series:
    """Return what the headers of one series say; ``private`` are words that name a person."""
    frame = frames[0]
    layout = layout_of(frames)
    said = said_by(
        str(frame.value("SeriesDescription") or ""), str(frame.value("ProtocolName") or "")
    )
    told = weighting_by_tags(frames, layout)
    derived = is_derived(frame)
    weighting, reason, contradicts = _weighting(told, said, derived)
    agent, on_agent = _agent(agent_by_tags(frames), said)
    warnings = [*contradicts, *(on_agent if weighting in (T1, T2, FLAIR) else [])]
    number = frame.number("SeriesNumber")
    injected = next((m for f in frames if (m := injected_s(f)) is not None), None)
    return Series(
        uid=str(frame.value("SeriesInstanceUID") or ""),
        number=None if number is None else int(number),
        description=without_names(frame.value("SeriesDescription"), private),
        modality=without_names(frame.value("Modality"), private),
        files=tuple(dict.fromkeys(f.path for f in frames)),
        images=sum("Rows" in f.header for f in frames),
        layout=layout,
        acquired_s=acquired_s(frames),
        injected_s=injected,
        weighting=weighting,
        reason=reason,
        named=said.weighting or "" if contradicts and not told.outright else "",
        agent=agent,
        said=said,
        derived=derived,
        settings_ms=settings_ms(frame),
        agent_text=without_names(frame.value("ContrastBolusAgent"), private),
        dated=is_dated(frame),
        phases_before=_phases_before(frames, layout, injected),
        warnings=tuple(warnings),
    )


def _phases_before(
    frames: Sequence[Frame], layout: Layout | None, injected: float | None
) -> int | None:
    if layout is None or layout.phases < 2 or layout.contrasts > 1:
        return None
    return last_before_agent(phases_of(frames, layout.phases), injected)


def _weighting(told: Told, said: Said, derived: bool) -> tuple[str, str, list[str]]:
    """Return the weighting, its reason, and a warning where the name contradicts the tags."""
    named, word = said.weighting, f"the word '{said.weighting_word}' in its name"
    if not told.possible:
        if named is None:
            return OTHER, "neither tags nor name tell what it is", []
        return named, word, []
    if named is None:
        return told.possible[0], told.reason, []
    if named in told.possible:
        return named, f"{told.reason}; {word}" if len(told.possible) > 1 else told.reason, []
    if not told.outright and (named in REFINE or (derived and named == ADC)):
        return named, word, []
    here = told.possible[0]
    if not told.outright and {here, named} == {T1, FLAIR} and len(told.possible) > 1:
        return named, word, []
    if any({here, named} <= pair for pair in HARDLY_APART):
        return (named if here in (DWI, OTHER) and derived else here), told.reason, []
    if told.outright and here in (SEGMENTATION, OTHER):
        return here, told.reason, []  # what was made of a scan often bears its name
    warning = f"its name says {named} ({said.weighting_word}), its tags say {here} ({told.reason})"
    return here, told.reason, [f"{warning}. The tags were believed."]


def _agent(tagged: Agent, said: Said) -> tuple[Agent, list[str]]:
    """Return whether an agent was given, and a warning where the name contradicts the tags."""
    if not tagged.by_tag:
        if said.agent is None:
            return (Agent(True, "the name says a low dose") if said.low else Agent()), []
        return Agent(said.agent, f"the word '{said.agent_word}' in its name"), []
    if said.agent in (None, tagged.given):
        return tagged, []
    texts = {True: "after the agent", False: "before it"}
    warning = (
        f"its name says {texts[said.agent]} ({said.agent_word}), its tags "
        f"{texts[bool(tagged.given)]} ({tagged.reason}). The tags were believed."
    )
    return tagged, [warning]
