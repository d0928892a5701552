"""When the volumes of a 4D file were acquired, and whether what the file says can be that.

Converters write into the field of the frame interval what they have: the repetition time of a
pulse (5 ms), milliseconds, minutes, or 1 where they know nothing. Kinetic measures would take any
of it for seconds, so that a number that cannot be the time of a whole volume becomes a question.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import NoReturn

import numpy as np

from ContrastSynthLib.errors import RequestError
from ContrastSynthLib.files.headers.image import ImageHeader

SECONDS_PER = {
    **dict.fromkeys(("s", "sec", "second", "seconds"), 1.0),
    **dict.fromkeys(("ms", "msec", "millisecond", "milliseconds"), 1e-3),
    **dict.fromkeys(("us", "usec", "microsecond", "microseconds"), 1e-6),
    **dict.fromkeys(("min", "minute", "minutes"), 60.0),
}
"""Seconds in each unit that files name."""

# What readers and writers put where nothing is known.
NOMINAL_INTERVAL_S = 1.0

SHORTEST_INTERVAL_S, LONGEST_INTERVAL_S = 1.0, 1200.0
"""A volume takes seconds; the phases of a breast examination are one or two minutes apart."""

# Times that a file lists one by one and in a unit are meant; only a pulse's TR is shorter.
SHORTEST_LISTED_S = 0.099
# Without a unit, steps below this may as well be minutes: of a DCE series they are 1 to 2.
SURELY_SECONDS_S = 5.0
# Agreement of an interval with the repetition time.
SAME_TIME = 0.01


def times_in_file(
    header: ImageHeader, count: int, repetition_time_s: float | None
) -> tuple[list[float], tuple[str, ...]]:
    """Return the seconds of ``count`` volumes that a file's header gives, and notes.

    Raises RequestError, with the way to give them, where the header has none, only a nominal
    interval of 1 s, one that equals the repetition time of the pulses, one of less than 1 s or more
    than 20 minutes, or small numbers without a unit that may be minutes.
    """
    if header.is_list:
        return _listed_times(header, count)
    frames = header.frame_times
    if frames is None or not np.isfinite(frames.interval_s):
        _ask(header, count, "the file does not say when")
    interval = frames.interval_s
    if interval == NOMINAL_INTERVAL_S:
        _ask(header, count, f"{frames.field} is 1, as where nothing is known: it does not say when")
    what = f"{frames.field} gives {interval:.6g} s between"
    if repetition_time_s and abs(interval - repetition_time_s) <= SAME_TIME * repetition_time_s:
        _ask(header, count, f"{what} volumes, which is the repetition time of the pulses, not when")
    if not SHORTEST_INTERVAL_S <= interval <= LONGEST_INTERVAL_S:
        _ask(
            header,
            count,
            f"{what} volumes, which cannot be (a repetition time, another unit?) when",
        )
    if not frames.unit_known and interval < SURELY_SECONDS_S:
        _ask(
            header,
            count,
            f"{frames.field} is {interval:.6g} without a unit (seconds, minutes?) when",
        )
    notes: tuple[str, ...] = ()
    if not frames.unit_known:
        notes = (
            f"The interval between volumes, {interval:.6g}, has no unit in the file; seconds were "
            "taken.",
        )
    # NIfTI has seven digits: 16.43 s come as 16.43000031.
    return [round(frames.start_s + interval * n, 4) for n in range(count)], notes


def _listed_times(header: ImageHeader, count: int) -> tuple[list[float], tuple[str, ...]]:
    unit, texts = _listed(header.keys)
    factor = SECONDS_PER.get(unit.strip().lower() or "s")
    try:
        times = [float(text) * factor for text in texts] if factor else []
    except ValueError:
        times = []
    if not times:
        _ask(header, count, "the file does not say when")
    step = _usual_step(times)
    if step is None or len(times) != count:
        return times, ()  # what is wrong with them is said where they are checked
    if step < SHORTEST_LISTED_S or step > LONGEST_INTERVAL_S:
        _ask(header, count, f"the file lists steps of {step:.6g} s, which cannot be when")
    if not unit.strip() and step < SURELY_SECONDS_S:
        _ask(header, count, f"the file lists steps of {step:.6g} without a unit (minutes?) when")
    return times, ()


def _usual_step(times: Sequence[float]) -> float | None:
    steps = np.diff(times)
    return float(np.median(steps)) if steps.size and np.isfinite(steps).all() else None


def _ask(header: ImageHeader, count: int, what: str) -> NoReturn:
    raise RequestError(
        f"{header.path}: {what} its {count} volumes were taken. Give one time in seconds for each, "
        "for example --times 0,85,155 (in a run: --time 0 --time 85 --time 155)."
    )


def _listed(header: Mapping[str, str]) -> tuple[str, list[str]]:
    """Return the unit, "" for none, and the values of an index or of a MultiVolume's labels."""
    for key, text in header.items():
        if re.fullmatch(r"axis [03] index values", key):
            # An index without a name and a unit only counts the volumes.
            unit = header.get("NRRD_units[pixel]", "")
            named = unit or header.get("NRRD_labels[pixel]", "") == "time"
            return unit, text.split() if named else []
    tag = header.get("MultiVolume.FrameIdentifyingDICOMTagName", "")
    if tag.endswith("Time") and not tag.startswith(("Echo", "Inversion", "Repetition")):
        unit = header.get("MultiVolume.FrameIdentifyingDICOMTagUnits", "ms")
        return unit, header.get("MultiVolume.FrameLabels", "").split(",")
    return "", []
