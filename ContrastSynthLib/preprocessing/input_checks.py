"""A gate before the work: are these the scans that they are said to be?

Contrast agent makes some tissue much brighter and hardly any darker. Over the brain, the
logarithm of post over pre is therefore skewed: measured from its mode, the gain, its upper
tail is longer than its lower one. Noise and shading make both tails longer, not one.
"""

from __future__ import annotations

import numpy as np

from ContrastSynthLib.preprocessing.normalisation import radiometric_gain
from ContrastSynthLib.volumes import BoolArray, Volume

TAIL_PERCENT = 1.0

# (upper - lower) / (upper + lower) of the two tails. Real pairs of brains have 0.47 to 0.66;
# virtual ones 0.6 and 0.75 at a third of the dose and at the full dose, with a white-matter
# signal of 40 times the noise, and 0.3 and 0.5 at 15 times. Scans that are not aligned, or
# without agent, lie around 0.
SWAPPED_BELOW = -0.15
NO_UPTAKE_BELOW = 0.1

USUAL_GAIN = (0.25, 4.0)


def warnings_for_pair(pre: Volume, post: Volume, mask: BoolArray) -> list[str]:
    """Return what looks wrong with a pair of scans on one grid, in plain words.

    ``mask`` is the brain or breast, shape (k, j, i). Told are swapped scans, no visible
    uptake, and a gain that no two scans of one session have. An empty list is no proof that
    all is well: below a third of the dose, with much noise, nothing can be told.
    """
    inside = mask & (pre.array > 0) & (post.array > 0)
    if not inside.any():
        return ["Pre and post have no voxel in common that is above 0: are they of one patient?"]
    gain = radiometric_gain(pre.array, post.array, inside)
    asymmetry = tail_asymmetry(pre, post, inside, gain)
    found = []
    if asymmetry < SWAPPED_BELOW:
        found.append(
            "Pre and post look swapped: tissue that stands out is darker in the post scan. Check "
            "which file is which."
        )
    elif asymmetry < NO_UPTAKE_BELOW:
        found.append(
            "No uptake stands out between pre and post. Is the post scan really after the agent, "
            "the pre scan before it, and are the two aligned (--align rigid)?"
        )
    if not USUAL_GAIN[0] <= gain <= USUAL_GAIN[1]:
        found.append(
            f"The post scan is {gain:.3g} times as bright as the pre scan in tissue without "
            "uptake. Were both exported from one session without rescaling?"
        )
    return found


def tail_asymmetry(pre: Volume, post: Volume, inside: BoolArray, gain: float) -> float:
    """Return (upper - lower) / (upper + lower) of the tails of log(post / pre), -1 to 1.

    The tails run from the logarithm of ``gain`` to the 1st and the 99th percentile over the
    voxels ``inside``, which are above 0 in both scans. 0 for scans without any difference.
    """
    log_ratio = np.log(post.array[inside].astype(np.float64) / pre.array[inside])
    low, high = np.percentile(log_ratio, (TAIL_PERCENT, 100.0 - TAIL_PERCENT)) - np.log(gain)
    spread = high - low
    return float((high + low) / spread) if spread > 0 else 0.0
