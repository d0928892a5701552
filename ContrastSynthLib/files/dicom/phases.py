"""Several images at one position: copies, contrasts, or the phases of a dynamic series.

Images are called copies only when their pixels are equal. Otherwise they are parts of the
series: each contrast (echo, flip angle, kind of image) and each time is a volume of its own.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ContrastSynthLib.errors import RequestError
from ContrastSynthLib.files.dicom.acquisition import seconds_of_day
from ContrastSynthLib.files.dicom.checks import named
from ContrastSynthLib.files.dicom.header import Frame
from ContrastSynthLib.files.dicom.pixels import digests
from ContrastSynthLib.files.dicom.stack import listed, plane_of, positions_of
from ContrastSynthLib.files.dicom.times import phase_times

# Images this close along the normal lie at one position.
SAME_PLACE_MM = 0.05

# What sets images at one position apart: first contrasts, then times, then mere order.
CONTRASTS = (
    *("EchoTime", "EffectiveEchoTime", "EchoNumbers", "InversionTime", "InversionTimes"),
    *("FlipAngle", "DiffusionBValue", "ImageType", "FrameType"),
)
TIMES = (
    *("TemporalPositionIdentifier", "TemporalPositionIndex", "AcquisitionNumber", "TriggerTime"),
    *("TemporalPositionTimeOffset", "NominalCardiacTriggerDelayTime", "FrameReferenceTime"),
    *("AcquisitionTime", "AcquisitionDateTime", "FrameAcquisitionDateTime"),
    *("FrameReferenceDateTime", "ContrastBolusStartTime", "ContrastBolusAgent"),
)
ORDERS = ("InstanceNumber", "ContentTime", "InstanceCreationTime")


@dataclass(frozen=True)
class Part:
    """One volume of a series: its frames, what sets it apart, and its start in seconds."""

    frames: list[Frame]
    contrast: str = ""
    apart_by: str = ""
    time_s: float | None = None
    positions: int = 0
    """How many positions the whole series has; a part may have fewer."""


def parts_of(path: Path, frames: list[Frame]) -> tuple[list[Part], list[str]]:
    """Return the volumes of one series, in the order of contrast and time, and notes on copies.

    Raises RequestError for frames that do not lie in parallel planes, for two images with one
    identity, and for images at one position that nothing sets apart.
    """
    normal = plane_of(path, frames).normal
    along_mm = positions_of(path, frames) @ normal
    frames, kept, notes = _without_copies(path, frames, _places(along_mm))
    along_mm = along_mm[kept]
    place = _places(along_mm)
    if place.max() + 1 == len(frames):
        return [Part(frames, positions=len(frames))], notes
    groups = _by_contrast(frames, place)
    _refuse_stray_contrast(path, frames, groups, place)
    parts = []
    for contrast, members in groups:
        own = [frames[n] for n in members]
        for apart_by, phase in _by_time(path, own, place[members], along_mm[members]):
            parts.append(
                Part([own[n] for n in phase], contrast, apart_by, None, int(place.max()) + 1)
            )
    return _with_times(parts), notes


def _places(along_mm: NDArray[np.float64]) -> NDArray[np.intp]:
    """Return the number of each image's position along the normal, from 0."""
    order = np.argsort(along_mm, kind="stable")
    firsts = np.diff(along_mm[order], prepend=-np.inf) > SAME_PLACE_MM
    place = np.empty(len(along_mm), dtype=np.intp)
    place[order] = np.cumsum(firsts) - 1
    return place


def _without_copies(
    path: Path, frames: list[Frame], place: NDArray[np.intp]
) -> tuple[list[Frame], list[int], list[str]]:
    """Return the frames without copies, their numbers, and a note.

    A copy has the identity of another image, at its position, and the same pixels.
    """
    first: dict[tuple[str, ...], int] = {}
    twins: dict[int, int] = {}
    # Of 'IM3.dcm' and 'IM3 (1).dcm', the longer name is that of the copy.
    for n in sorted(range(len(frames)), key=lambda n: len(frames[n].path.name)):
        identity = _identity(frames[n], int(place[n]))
        if identity and first.setdefault(identity, n) != n:
            twins[n] = first[identity]
    twins = {n: other for n, other in twins.items() if frames[n].path != frames[other].path}
    for n, other in twins.items():
        one, another = digests([frames[other], frames[n]])
        if one != another:
            raise RequestError(
                f"{path}: {named([frames[other], frames[n]])} have one SOPInstanceUID and "
                "position, but different pixels; one of them was changed. Keep the right one."
            )
    kept = [n for n in range(len(frames)) if n not in twins]
    if not twins:
        return frames, kept, []
    copies = named([frames[n] for n in twins])
    note = f"Copies of other files, with the same pixels, were left out: {copies}."
    return [frames[n] for n in kept], kept, [note]


def _identity(frame: Frame, place: int) -> tuple[str, ...]:
    """Return what only copies share; () for an image without an identity.

    The identifiers alone do not do: some anonymisers give one to all images.
    """
    uid = frame.value("SOPInstanceUID")
    if not uid:
        return ()
    others = (str(frame.value(keyword)) for keyword in (*CONTRASTS, *TIMES, *ORDERS))
    return (str(uid), str(frame.index), str(place), *others)


def _comparable(value: Any) -> tuple[int, float, str]:
    """Return a value such that numbers and times sort as such, and what is absent comes first."""
    if value is None or value == "":
        return (0, 0.0, "")
    text = str(value).strip()
    try:
        return (1, float(text), "")
    except ValueError:
        return (2, 0.0, text)


def _values(frames: Sequence[Frame], keyword: str) -> list[tuple[int, float, str]]:
    """Return what the frames hold of an attribute; the number of seconds for a time of day."""
    if keyword.endswith("Time") and keyword in {"AcquisitionTime", "ContentTime"}:
        seconds = [seconds_of_day(frame.value(keyword)) for frame in frames]
        known = [s for s in seconds if s is not None]
        # A scan that goes on at midnight.
        night = bool(known) and max(known) - min(known) > 43200
        later = [s + 86400 if s is not None and night and s < 43200 else s for s in seconds]
        return [_comparable(s) for s in later]
    return [_comparable(frame.value(keyword)) for frame in frames]


def _by_contrast(frames: list[Frame], place: NDArray[np.intp]) -> list[tuple[str, list[int]]]:
    """Return groups of frame numbers, each with its contrast in words, where contrasts differ."""
    differing = [key for key in CONTRASTS if _differ_somewhere(_values(frames, key), place)]
    keys = list(zip(*(_values(frames, key) for key in differing), strict=True))
    if not keys:
        return [("", list(range(len(frames))))]
    groups: dict[tuple[Any, ...], list[int]] = {}
    for n, key in enumerate(keys):
        groups.setdefault(key, []).append(n)
    return [
        (
            ", ".join(f"{key} {shown_value(frames[groups[g][0]].value(key))}" for key in differing),
            groups[g],
        )
        for g in sorted(groups)
    ]


def _refuse_stray_contrast(
    path: Path,
    frames: list[Frame],
    groups: list[tuple[str, list[int]]],
    place: NDArray[np.intp],
) -> None:
    """Refuse a contrast that only some positions have: it would change the numbers of the parts."""
    covered = [len(set(place[members].tolist())) for _, members in groups]
    if min(covered) < max(covered):
        contrast, members = groups[int(np.argmin(covered))]
        raise RequestError(
            f"{path}: {named([frames[n] for n in members])} with {contrast} at {min(covered)} of "
            f"{max(covered)} positions. Expected a whole stack of each contrast; take out what "
            "does not belong to it."
        )


def shown_value(value: Any) -> str:
    """Return a value of DICOM as a few printable characters."""
    if value is None:
        return "none"
    text = value if isinstance(value, str) else "/".join(map(str, np.atleast_1d(value)))
    return "".join(c for c in text if c.isprintable())[:40]


def _differ_somewhere(values: list[Any], place: NDArray[np.intp]) -> bool:
    """Return whether two images at one position have different values."""
    first: dict[int, Any] = {}
    return any(first.setdefault(p, v) != v for p, v in zip(place.tolist(), values, strict=True))


def _by_time(
    path: Path, frames: list[Frame], place: NDArray[np.intp], along_mm: NDArray[np.float64]
) -> list[tuple[str, list[int]]]:
    """Return the phases of one contrast, each as frame numbers, with what sets them apart."""
    counts = np.bincount(place)
    most = int(counts.max())
    if most == 1:
        return [("", list(range(len(frames))))]
    all_values = {key: _values(frames, key) for key in (*TIMES, *ORDERS)}
    for key in _perfect(all_values, place, most):
        values = all_values[key]
        phases = [[n for n, v in enumerate(values) if v == one] for one in sorted(set(values))]
        return [(key, phase) for phase in phases]
    if len(set(counts[counts > 0].tolist())) > 1:
        _refuse_crowd(path, frames, place, along_mm)
    for key in (*TIMES, *ORDERS):
        phases = _ranked(all_values[key], place, most)
        if phases:
            if key in ORDERS:
                _refuse_equal_pixels(path, frames, place, along_mm)
            return [(key, phase) for phase in phases]
    _refuse_crowd(path, frames, place, along_mm)
    return []


def _perfect(all_values: dict[str, list[Any]], place: NDArray[np.intp], most: int) -> list[str]:
    """Return the attributes with one value for each phase, those that every image holds first."""
    found = []
    for key, values in all_values.items():
        distinct = len(set(zip(place.tolist(), values, strict=True))) == len(values)
        if distinct and len(set(values)) == most:
            found.append(key)
    return sorted(found, key=lambda key: any(value[0] == 0 for value in all_values[key]))


def _ranked(values: list[Any], place: NDArray[np.intp], most: int) -> list[list[int]]:
    """Return the n-th image of every position as the n-th phase; none where that is no order.

    It is one when all images have a value, and either each phase, or each position, was over
    before the next began. Otherwise one wrong value would mix up the phases of its position.
    """
    distinct = len(set(zip(place.tolist(), values, strict=True))) == len(values)
    if not distinct or any(value[0] == 0 for value in values):
        return []
    phases: list[list[int]] = [[] for _ in range(most)]
    positions = []
    for p in np.unique(place):
        members = sorted(np.flatnonzero(place == p).tolist(), key=lambda n: values[n])
        positions.append(members)
        for phase, n in zip(phases, members, strict=True):
            phase.append(n)
    one_by_one = any(
        _apart([[values[n] for n in own] for own in way]) for way in (phases, positions)
    )
    return phases if one_by_one else []


def _apart(groups: list[list[Any]]) -> bool:
    """Return whether no two groups overlap, from their lowest to their highest value."""
    ends = sorted((min(group), max(group)) for group in groups)
    return all(before[1] < after[0] for before, after in itertools.pairwise(ends))


def _refuse_equal_pixels(
    path: Path, frames: list[Frame], place: NDArray[np.intp], along_mm: NDArray[np.float64]
) -> None:
    """Refuse a series of which every image is there several times under other identities."""
    pixels = digests(frames)
    if len(set(zip(place.tolist(), pixels, strict=True))) == len(set(place.tolist())):
        _refuse_crowd(path, frames, place, along_mm)


def _refuse_crowd(
    path: Path, frames: list[Frame], place: NDArray[np.intp], along_mm: NDArray[np.float64]
) -> None:
    """Raise the RequestError for images at one position which are no phases of a series."""
    counts = np.bincount(place)
    crowded = [n for n in range(len(frames)) if counts[place[n]] > 1]
    pixels = digests([frames[n] for n in crowded])
    at = [place[n] for n in crowded]
    shown = listed(sorted({round(float(along_mm[n]), 2) for n in crowded}))
    several = f"{counts.max()} images at one position"
    files = named([frames[n] for n in crowded])
    if len(set(zip(at, pixels, strict=True))) == len(set(at)):
        raise RequestError(
            f"{path}: duplicated slices, {several} with the same pixels: at {shown} mm along the "
            f"normal, {files}. Remove the copies."
        )
    raise RequestError(
        f"{path}: {several} with different pixels: at {shown} mm along the normal, {files}. They "
        "are no copies, and other positions have fewer or nothing sets them apart. Put the images "
        "of one volume into a folder of their own."
    )


def _with_times(parts: list[Part]) -> list[Part]:
    """Return the parts with their times; those of another contrast start anew."""
    timed: list[Part] = []
    for contrast in dict.fromkeys(part.contrast for part in parts):
        own = [part for part in parts if part.contrast == contrast]
        known = phase_times([part.frames for part in own])
        times: list[float | None] = [None] * len(own) if known is None else [*known]
        for part, time in zip(own, times, strict=True):
            timed.append(Part(part.frames, contrast, part.apart_by, time, part.positions))
    return timed
