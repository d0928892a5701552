"""How well a map of uncertainty tells where a result is wrong, and by how much.

The ranking: what share of the absolute error lies in the tenth of voxels with the highest
uncertainty, beside that of a perfect ranking, by the error itself, and of ranking by the
brightness of the post scan; chance gives a tenth. The calibration: the mean error beside the mean
uncertainty in ten bins of equally many voxels, from the least to the most uncertain.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ContrastSynthLib.volumes import FloatArray
from evaluation.intervals import by_patient
from evaluation.task import Measures

TOP = 0.1
"""The share of voxels that is looked at: what chance reaches."""
BINS = 10
RANKINGS = {
    "error_in_uncertain": "error in the most uncertain tenth ↑",
    "error_in_worst": "perfect ranking",
    "error_in_bright": "by brightness",
}
UNCERTAINTY = tuple(f"uncertainty_{number}" for number in range(1, BINS + 1))
ERROR = tuple(f"error_{number}" for number in range(1, BINS + 1))
MEASURES = (*RANKINGS, *UNCERTAINTY, *ERROR)
MEANS = "means of the brain"


def measure_uncertainty(
    error: FloatArray, uncertainty: FloatArray | None, post: FloatArray
) -> Measures:
    """Return MEASURES of voxels (n,), all in means of the brain; ``error`` is absolute.

    Without ``uncertainty`` its own measures are None.
    """
    found: Measures = dict.fromkeys(MEASURES)
    found["error_in_worst"] = share_in_top(error, error)
    found["error_in_bright"] = share_in_top(error, post)
    if uncertainty is not None:
        found["error_in_uncertain"] = share_in_top(error, uncertainty)
        expected, true = calibration(error, uncertainty)
        found |= dict(zip(UNCERTAINTY, expected, strict=True))
        found |= dict(zip(ERROR, true, strict=True))
    return found


def share_in_top(error: FloatArray, rank: FloatArray, top: float = TOP) -> float | None:
    """Return the share of ``error`` (n,) in the share ``top`` of voxels where ``rank`` is highest.

    Where voxels of one rank are partly in it, their mean error counts. None without any error.
    """
    total = float(error.sum(dtype=np.float64))
    if not total:
        return None
    count = max(round(top * error.size), 1)
    least = np.partition(rank, -count)[-count]
    above, level = rank > least, rank == least
    rest = count - int(above.sum())
    inside = error[above].sum(dtype=np.float64) + rest * error[level].mean(dtype=np.float64)
    return float(inside / total)


def calibration(
    error: FloatArray, uncertainty: FloatArray, bins: int = BINS
) -> tuple[list[float | None], list[float | None]]:
    """Return the mean uncertainty and the mean error of each bin of equally many voxels.

    The first bin holds the least uncertain voxels. None for bins that have no voxel.
    """
    order = np.argsort(uncertainty, kind="stable")
    pieces = np.array_split(order, bins)

    def means(values: FloatArray) -> list[float | None]:
        return [float(values[p].mean(dtype=np.float64)) if p.size else None for p in pieces]

    return means(uncertainty), means(error)


def calibration_table(lines: Sequence[Mapping[str, str]], labels: Sequence[str]) -> str:
    """Return, for each row that has an uncertainty, a table of its bins: means over patients."""
    texts = []
    for label in labels:
        columns = [
            [list(by_patient(lines, label, name).values()) for name in names]
            for names in (UNCERTAINTY, ERROR)
        ]
        if not columns[0][0]:
            continue
        head = f"| {label}, tenth of voxels | mean uncertainty ({MEANS}) | mean error ({MEANS}) |"
        rows = [
            f"| {number} | {np.mean(expected):.4f} | {np.mean(true):.4f} |"
            for number, (expected, true) in enumerate(zip(*columns, strict=True), start=1)
            if expected
        ]
        texts.append("\n".join([head, "|---|---|---|", *rows]))
    return "\n\n".join(texts)
