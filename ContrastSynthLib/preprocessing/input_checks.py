"""A gate before the work: are these the scans that they are said to be?

Contrast agent makes some tissue much brighter and hardly any darker. So of the voxels that
changed, after the gain is taken out and the noise is averaged down, nearly all are brighter:
in the wrong order nearly all are darker, without agent none stand out, and in scans that are
not aligned as many are darker as are brighter.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.ndimage as ndi

from ContrastSynthLib.preprocessing.normalisation import radiometric_gain
from ContrastSynthLib.volumes import BoolArray, Volume

# The difference is averaged over a cube of this width: uptake is larger than a voxel, noise
# is not, and the bright and dark rims of a small misalignment cancel.
CUBE_VOXELS = 3

# A voxel has changed when its difference is beyond so many deviations of the bulk, and beyond
# this share of the median signal, below which nobody would see it.
DEVIATIONS = 4.0
SMALLEST_CHANGE = 0.01

# Share of the voxels that changed, one way or the other. Noise alone leaves 0.0002.
FEWEST_CHANGED = 1e-3

# Real pairs have a balance of 0.97 to 0.99, swapped the negative of that; scans of a patient
# who moved, and a whole head with its scalp, -0.3 to 0.1.
ONE_SIDED = 0.5

USUAL_GAIN = (0.25, 4.0)


@dataclass(frozen=True)
class Change:
    """Share of voxels that are brighter and darker after the agent, and their balance.

    ``balance`` is (rise - fall) / (rise + fall) of the summed changes, -1 to 1; 0 for none.
    """

    brighter: float
    darker: float
    balance: float


def warnings_for_pair(pre: Volume, post: Volume, mask: BoolArray) -> list[str]:
    """Return what looks wrong with a pair of scans on one grid, in plain words.

    ``mask`` is the brain or breast, shape (k, j, i). Told are swapped scans, no visible uptake,
    scans that differ for another reason, and a gain that no two scans of one session have.

    Measured on real and virtual pairs, with the enhancement scaled to a dose and noise added to
    both scans: at a third of the dose all is told rightly up to noise of 3/10 of the median
    signal, at a tenth of the dose up to 1/10, at a twentieth up to 1/30. Beyond that no uptake
    stands out, and that is said; the wrong order was never reported of a right pair.
    """
    inside = mask & (pre.array > 0) & (post.array > 0)
    if not inside.any():
        return ["Pre and post have no voxel in common that is above 0: are they of one patient?"]
    gain = radiometric_gain(pre.array, post.array, inside)
    change = change_of_signal(pre, post, inside, gain)
    found = []
    if max(change.brighter, change.darker) < FEWEST_CHANGED:
        found.append(
            "No uptake stands out between pre and post. Is the post scan really after the agent, "
            "and the pre scan before it?"
        )
    elif change.balance < -ONE_SIDED:
        found.append(
            "Pre and post look swapped: tissue that stands out is darker in the post scan. Check "
            "which file is which."
        )
    elif change.balance < ONE_SIDED:
        found.append(
            "Pre and post differ by more than uptake: about as much tissue is darker after the "
            "agent as is brighter. Are the two aligned (--align rigid), and does the mask hold the "
            "brain or breast only (--in mask=FILE)?"
        )
    if not USUAL_GAIN[0] <= gain <= USUAL_GAIN[1]:
        found.append(
            f"The post scan is {gain:.3g} times as bright as the pre scan in tissue without "
            "uptake. Were both exported from one session without rescaling?"
        )
    return found


def change_of_signal(pre: Volume, post: Volume, inside: BoolArray, gain: float) -> Change:
    """Return how much of post / gain - pre is rise and how much is fall.

    ``inside`` (k, j, i) holds the voxels that are above 0 in both scans, at least one.
    """
    difference = np.where(inside, post.array / np.float32(gain) - pre.array, np.float32(0))
    cube = [min(CUBE_VOXELS, length) for length in inside.shape]
    total = ndi.uniform_filter(difference, cube, mode="constant")[inside]
    filled = ndi.uniform_filter(inside.astype(np.float32), cube, mode="constant")[inside]
    # By the root of the number of voxels: the noise is then the same at the edge of the brain.
    smooth = total / np.sqrt(filled)
    # The side that the agent does not reach shows the noise.
    sides = [side[side >= 0] for side in (smooth, -smooth)]
    deviation = 1.4826 * min(float(np.median(side)) if side.size else 0.0 for side in sides)
    smallest = SMALLEST_CHANGE * float(np.median(pre.array[inside]))
    threshold = max(DEVIATIONS * deviation, smallest)
    rise = np.maximum(smooth - threshold, 0)
    fall = np.maximum(-smooth - threshold, 0)
    up, down = float(rise.sum(dtype=np.float64)), float(fall.sum(dtype=np.float64))
    return Change(
        brighter=float((rise > 0).mean()),
        darker=float((fall > 0).mean()),
        balance=(up - down) / (up + down) if up + down > 0 else 0.0,
    )
