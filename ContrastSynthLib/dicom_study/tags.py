"""What the tags of a series say: which weighting, and whether an agent was given.

Some tags say it outright, as ImageType does; from echo and repetition times it follows. Of the
latter several weightings may be possible, and then the name of the series may choose.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from ContrastSynthLib.agents import names_agent
from ContrastSynthLib.dicom_study.layout import SEVERAL_PLANES, Layout
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
from ContrastSynthLib.files.dicom.header import Frame, kind_of_object

IMAGE_TYPES = {
    **{"LOCALIZER": LOCALIZER, "ADC": ADC, "SUBTRACTION": DERIVED, "SUB": DERIVED, "SUBT": DERIVED},
    **{"MIP": DERIVED, "MNIP": DERIVED, "PROJECTION": DERIVED, "EADC": DERIVED, "FA": DERIVED},
    **{"TENSOR": DERIVED, "MTT": DERIVED, "CBF": DERIVED, "CBV": DERIVED},
    **{"RCBF": DERIVED, "RCBV": DERIVED, "TTP": DERIVED, "RELCBV": DERIVED, "RELCBF": DERIVED},
    **{"MAP": DERIVED, "T1MAP": DERIVED, "T2MAP": DERIVED, "KTRANS": DERIVED, "TMAX": DERIVED},
    **{"QUANTITY": DERIVED, "RATIO": DERIVED, "DIVISION": DERIVED, "SW": OTHER, "ASL": OTHER},
    **{"DIFFUSION": DWI, "TRACEW": DWI, "TRACE": DWI, "ANGIO": OTHER, "VELOCITY": OTHER},
    **{"PHASE": OTHER, "FMRI": OTHER, "SCREEN": OTHER, "SPECTROSCOPY": OTHER},
}
"""Words of ImageType and FrameType; a row of the table that stands higher counts first."""
FIRST = (LOCALIZER, ADC, DERIVED, OTHER, DWI)
CONTRASTS = {
    **{"T1": T1, "T2": T2, "FLUID_ATTENUATED": FLAIR, "DIFFUSION": DWI, "STIR": OTHER},
    **{"T2_STAR": OTHER, "PROTON_DENSITY": OTHER, "TOF": OTHER, "FLOW_ENCODED": OTHER},
    **{"TAGGING": OTHER},
}
"""The values of AcquisitionContrast in enhanced files."""
SHORT_TR_MS, T1_TR_MS, LONG_TR_MS = 200.0, 1300.0, 1500.0
SHORT_TE_MS, T1_TE_MS, T2_TE_MS = 12.0, 40.0, 55.0
FLAIR_TI_MS, STIR_TI_MS = 1400.0, 350.0
SLOWEST_T1_WITH_TI_MS = 3500.0


@dataclass(frozen=True)
class Told:
    """The weightings that tags allow, the likeliest first, and why; none where they say nothing."""

    possible: tuple[str, ...] = ()
    reason: str = ""
    outright: bool = False
    """Whether a tag says it itself, so that no name is right against it."""


@dataclass(frozen=True)
class Agent:
    """Whether an agent had been given, None where nothing tells, and how that is known."""

    given: bool | None = None
    reason: str = ""
    by_tag: bool = False
    guessed: bool = False
    """Neither tag nor name tells it."""


def weighting_by_tags(frames: Sequence[Frame], layout: Layout | None) -> Told:
    """Return which weightings the tags of a series allow, and which tag decided."""
    frame = frames[0]
    outright = _kind(frame) or _image_type(frames) or _diffusion(frames) or _contrast(frame)
    if outright:
        return Told((outright[0],), outright[1], outright=True)
    if layout is not None and layout.plane == SEVERAL_PLANES:
        return Told((LOCALIZER,), "slices in several planes", outright=True)
    return _by_physics(frame)


def _kind(frame: Frame) -> tuple[str, str] | None:
    if str(frame.value("SyntheticData") or "").strip().upper() == "YES":
        return SYNTHETIC, "SyntheticData is YES"
    modality = str(frame.value("Modality") or "").strip().upper()
    kind = kind_of_object(frame.header)
    if modality in ("SEG", "RTSTRUCT") or "Segmentation" in kind:
        return SEGMENTATION, f"Modality {modality or 'SEG'}"
    if "Parametric Map" in kind:
        return DERIVED, "a Parametric Map"
    if modality not in ("", "MR") or "Rows" not in frame.header:
        return OTHER, f"Modality {modality}" if modality not in ("", "MR") else "no images"
    if "Secondary Capture" in kind:
        return OTHER, "a screenshot (Secondary Capture)"
    return None


def _parts(frame: Frame, keyword: str) -> list[str]:
    value = frame.value(keyword)
    if value is None:
        return []
    return [value.upper()] if isinstance(value, str) else [str(part).upper() for part in value]


def _image_type(frames: Sequence[Frame]) -> tuple[str, str] | None:
    """Return what ImageType says; of a series with several kinds, what all images say."""
    found: list[dict[str, str]] = []
    for frame in (frames[0], frames[-1]):
        told = {}
        for part in (*_parts(frame, "ImageType"), *_parts(frame, "FrameType")):
            for word in re.split(r"[^A-Z0-9]+", part):
                if word in IMAGE_TYPES:
                    told[IMAGE_TYPES[word]] = part
        found.append(told)
    for weighting in FIRST:
        if all(weighting in told for told in found):
            return weighting, f"ImageType {found[0][weighting]}"
    if is_derived(frames[0]) and "PERFUSION" in _parts(frames[0], "ImageType"):
        return DERIVED, "ImageType DERIVED, PERFUSION"
    return None


def is_derived(frame: Frame) -> bool:
    """Return whether the images were computed of others, as reformatted ones are."""
    return "DERIVED" in _parts(frame, "ImageType")[:1]


def _diffusion(frames: Sequence[Frame]) -> tuple[str, str] | None:
    for frame in frames:
        value = frame.number("DiffusionBValue")
        if value is not None and value > 0:
            return DWI, f"DiffusionBValue {value:g}"
    sequence = str(frames[0].value("SequenceName") or frames[0].value("PulseSequenceName") or "")
    if re.search(r"ep_b\d+", sequence.lower()):
        return DWI, "SequenceName of diffusion"
    return None


def _contrast(frame: Frame) -> tuple[str, str] | None:
    contrast = str(frame.value("AcquisitionContrast") or "").strip().upper()
    if contrast in CONTRASTS:
        return CONTRASTS[contrast], f"AcquisitionContrast {contrast}"
    if str(frame.value("AngioFlag") or "").strip().upper() == "Y":
        return OTHER, "AngioFlag Y"
    return None


def settings_ms(frame: Frame) -> dict[str, float]:
    """Return TR, TE and TI in milliseconds, as far as they are known and can be."""
    found = {}
    for name, keywords, least in (
        ("TR", ("RepetitionTime",), 0.2),
        ("TE", ("EffectiveEchoTime", "EchoTime"), 0.05),
        ("TI", ("InversionTimes", "InversionTime"), 1.0),
    ):
        numbers = [n for n in map(frame.number, keywords) if n is not None and n >= least]
        if numbers:
            found[name] = numbers[0]
    return found


def _by_physics(frame: Frame) -> Told:
    """Return what repetition, echo and inversion times allow."""
    times = settings_ms(frame)
    if "TE" not in times or "TR" not in times:
        return Told()
    sequence = _sequence(frame)
    shown = ", ".join(f"{name} {value:g} ms" for name, value in times.items())
    possible = _possible(sequence, times["TR"], times["TE"], times.get("TI", 0.0))
    return Told(possible, f"{'/'.join(sorted(sequence))} {shown}".strip())


def _sequence(frame: Frame) -> set[str]:
    """Return SE, GR, IR and EP as far as they apply, of classic and of enhanced files."""
    found = {part.strip() for part in _parts(frame, "ScanningSequence")} & {"SE", "GR", "IR", "EP"}
    echo = str(frame.value("EchoPulseSequence") or "").upper()
    found |= {"SPIN": {"SE"}, "GRADIENT": {"GR"}, "BOTH": {"SE", "GR"}}.get(echo, set())
    for keyword, name in (("InversionRecovery", "IR"), ("EchoPlanarPulseSequence", "EP")):
        if str(frame.value(keyword) or "").upper() == "YES":
            found.add(name)
    return found


def _possible(sequence: set[str], tr_ms: float, te_ms: float, ti_ms: float) -> tuple[str, ...]:
    if "EP" in sequence:
        return OTHER, DWI, ADC
    if ti_ms >= FLAIR_TI_MS and te_ms > SHORT_TE_MS and tr_ms > SLOWEST_T1_WITH_TI_MS:
        return (FLAIR,)
    if 0 < ti_ms <= STIR_TI_MS and tr_ms >= LONG_TR_MS and te_ms >= SHORT_TE_MS:
        return OTHER, T2
    if te_ms <= T1_TE_MS and 0 < ti_ms <= FLAIR_TI_MS:
        return (T1,)
    gradient = "GR" in sequence or (not sequence and tr_ms <= SHORT_TR_MS)
    if gradient and "SE" not in sequence:
        # A longer echo of gradients shows T2*.
        return (T1,) if te_ms <= SHORT_TE_MS else (OTHER, T2)
    if tr_ms <= T1_TR_MS and te_ms <= T1_TE_MS:
        return (T1,)
    if tr_ms >= LONG_TR_MS and te_ms >= T2_TE_MS:
        if "IR" in sequence:
            return FLAIR, T2
        return T2, FLAIR, ADC, DWI
    return T1, T2, OTHER, FLAIR


def agent_by_tags(frames: Sequence[Frame]) -> Agent:
    """Return whether an agent was given before the images, as far as a tag says it.

    Of a dynamic series the later phases count.
    """
    told = list(dict.fromkeys(map(_agent, frames)))
    return max(told, key=lambda one: (one.by_tag, bool(one.given)))


def _agent(frame: Frame) -> Agent:
    administered = str(frame.value("ContrastBolusAgentAdministered") or "").strip().upper()
    if administered == "NO":
        return Agent(False, "ContrastBolusAgentAdministered is NO", by_tag=True)
    named = names_agent(str(frame.value("ContrastBolusAgent") or ""))
    if named is not None:
        reason = "ContrastBolusAgent" if named else "ContrastBolusAgent names none"
        return Agent(named, reason, by_tag=True)
    if administered == "YES":
        return Agent(True, "ContrastBolusAgentAdministered is YES", by_tag=True)
    for keyword in ("ContrastBolusAgentSequence", "ContrastBolusIngredientCodeSequence"):
        if frame.value(keyword):
            return Agent(True, keyword, by_tag=True)
    for keyword in ("ContrastBolusVolume", "ContrastBolusTotalDose"):
        number = frame.number(keyword)
        if number is not None and number > 0:
            return Agent(True, keyword, by_tag=True)
    return Agent()
