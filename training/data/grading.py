"""How well the two scans of a pair fit each other, and so what a network can learn from it.

A loss between images learns from a pair whatever its scans differ by. What the pre scan in the
contrast and shading of the post scan (:mod:`data.matched`) still lacks is noise, thick slices and
registration; how far its intensities had to be bent for that tells another sequence.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np

from ContrastSynthLib.volumes import BoolArray, FloatArray
from data.matched import MOST_CURVED, Matched, departure_of, inner_of, match_to_post
from data.real_pairs import NOT_LEARNT, WORST_DIFFERENCE

MOST_SHADED = 0.04
"""Standard deviation of the logarithm of the smooth gain in the brain from which on the shading is
called strong."""


@dataclass(frozen=True)
class Grade:
    """The grade of a pair, and what it follows from.

    ``median_difference`` is the median of |post - target| in the inner brain, in means of the
    brain. ``curve_departure`` is how far the map of intensities is from a straight line through 0,
    in the same unit; ``gain_spread`` the standard deviation of the gain's logarithm. All three are
    None where the scans could not be compared. ``grade`` is

    A   the same sequence, clean
    B   a true pair of two sequences, or with strong shading
    C   not to be learnt from with a loss between images: ``median_difference`` is above
        WORST_DIFFERENCE, or unknown

    On the 36 BraTS pairs (12 A, 24 B) whose grades and median differences were known beforehand,
    the rule gives the same grade for 30: all of A, and 18 of B. The other 6 B differ by a nearly
    straight line, and are called A. The departure decides: it is at most 0.029 in A and at least
    0.038 in the 18. Shading decides none of them: A reaches 0.036, and the one above MOST_SHADED is
    curved as well. The median differences agree within 0.001.
    """

    grade: str
    median_difference: float | None = None
    curve_departure: float | None = None
    gain_spread: float | None = None

    def record(self) -> dict[str, str | float | None]:
        """Return it for the list of cases."""
        return asdict(self)


def matched_and_graded(
    pre: FloatArray,
    post: FloatArray,
    brain: BoolArray,
    spacing_mm: tuple[float, float, float],
) -> tuple[FloatArray | None, Grade]:
    """Return the pre scan in contrast, shading and unit of the post scan, and the pair's grade.

    Arrays and ``spacing_mm`` are in the order (k, j, i), scans in any unit. A brain that is too
    small to compare the scans, as in a few slices, or dark in one of them, gives None and C.
    """
    pre, post = np.clip(pre, 0, None), np.clip(post, 0, None)
    level = np.float32(post[brain].mean())
    if min(np.median(pre[brain]), np.median(post[brain])) <= 0:
        return None, Grade(NOT_LEARNT)
    try:
        matched = match_to_post(pre, post / level, brain, spacing_mm)
    except ValueError:
        return None, Grade(NOT_LEARNT)
    return matched.target * level, grade_of(matched, pre, post / level, brain)


def grade_of(matched: Matched, pre: FloatArray, post: FloatArray, brain: BoolArray) -> Grade:
    """Return the grade of a pair; ``post`` (k, j, i) is in means of its brain, ``pre`` in any
    unit."""
    difference = float(np.median(np.abs(post - matched.target)[inner_of(brain)]))
    departure = departure_of(matched, pre, post, brain)
    spread = float(np.log(matched.gain[brain]).std())
    grade = "B" if departure > MOST_CURVED or spread > MOST_SHADED else "A"
    if difference > WORST_DIFFERENCE:
        grade = NOT_LEARNT
    return Grade(grade, difference, departure, spread)
