"""Cases with a low-dose scan: simulated from pairs, or slabs that networks were trained on.

That simulation is :mod:`data.dose_simulation`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
from data import DOSE
from data.dose_simulation import SIMULATIONS, Simulation, simulated_low_dose

from ContrastSynthLib.analysis.uptake import uptake
from ContrastSynthLib.errors import RequestError
from ContrastSynthLib.geometry import Grid
from ContrastSynthLib.preprocessing.normalisation import radiometric_gain
from ContrastSynthLib.preprocessing.shading import gain_field
from ContrastSynthLib.volumes import BoolArray, FloatArray, Volume
from evaluation.cases import Item, Scans, grid_of, neighbours_with_most

UPTAKE_CONVENTION = "real_scans"
MARK = "simulated for an evaluation, research only"


def pre_like_low(scans: Scans) -> FloatArray:
    """Return the pre scan (k, j, i) with the gain and shading of the low-dose scan."""
    low, pre = scans["low"], scans["pre"].array
    return pre / gain_field(low.array, pre, scans.brain, low.grid.spacing_mm[::-1])


def with_full_dose_like_low(scans: Scans) -> Scans:
    """Return the case with ``post`` at the gain and shading of the low-dose scan."""
    low, post = scans["low"], scans["post"]
    gain = gain_field(low.array, post.array, scans.brain, low.grid.spacing_mm[::-1])
    return scans.with_scan("post", Volume(post.array / gain, low.grid, synthetic=MARK))


def pool_items(folder: Path, count: int, slices: int | None) -> list[Item]:
    """Return slabs of ``make_slabs.py --for lip_car``, one of each seed: patients of a training.

    Raises RequestError where there is none.
    """
    files = sorted(folder.glob("*_0.npy"))[:count]
    if not files:
        raise RequestError(f"{folder} holds no slabs: run make_slabs.py --for lip_car first.")
    return [Item(file.stem, file.stem, partial(_of_pool, file, slices)) for file in files]


def _of_pool(file: Path, slices: int | None) -> Scans:
    pre, low, full, _ = np.load(file, mmap_mode="r")
    slices = slices or len(low)
    first = (len(low) - slices) // 2
    cut = [np.asarray(i[first : first + slices], dtype=np.float32) for i in (pre, low, full)]
    grid = Grid(cut[0].shape[::-1])
    scans = {
        role: Volume(image, grid, synthetic=MARK)
        for role, image in zip(("pre", "low", "post"), cut, strict=True)
    }
    return Scans(scans, _mask(cut[1] > 0, grid))


def simulated_items(
    items: Sequence[Item],
    simulation: str,
    noise: float,
    slices: int | None,
    seed: int = 0,
    *,
    dose: float = DOSE,
) -> list[Item]:
    """Return pairs with a simulated low dose, whole or ``slices`` slices about the most uptake.

    ``simulation`` is a key of SIMULATIONS, ``noise`` the standard deviation of the Rician noise of
    the low-dose scan in medians of the brain, ``dose`` a fraction of the full dose.
    """
    by = SIMULATIONS[simulation]
    return [replace(i, read=partial(_simulated, i, by, noise, slices, seed, dose)) for i in items]


def at_dose(scan: Volume, dose: float) -> Volume:
    """Return a scan whose acquisition says after which fraction of the full dose it was taken."""
    return replace(scan, acquisition=replace(scan.acquisition, dose_fraction=dose))


def _simulated(
    item: Item, simulation: Simulation, noise: float, slices: int | None, seed: int, dose: float
) -> Scans:
    pair = item.read()
    pre, post, brain = pair["pre"], pair["post"], pair.brain
    agent = uptake(pre, post, brain, convention=UPTAKE_CONVENTION).binary.sum(axis=(1, 2))
    cut = neighbours_with_most(agent, slices)
    before, after, inside = (array[cut] for array in (pre.array, post.array, brain))
    grid = grid_of(pre.grid, cut)
    before, after = (np.maximum(image, 0).astype(np.float32) for image in (before, after))
    full = after / radiometric_gain(before, after, inside) * simulation.gain
    unit = full / simulation.gain
    low = simulated_low_dose(before, unit, inside, simulation, noise, seed, dose)
    images = {"pre": before, "low": low * inside, "post": full}
    scans = {role: Volume(image, grid) for role, image in images.items()}
    return Scans({**scans, "low": at_dose(scans["low"], dose)}, _mask(inside, grid))


def _mask(brain: BoolArray, grid: Grid) -> Volume:
    return Volume(brain.astype(np.float32), grid, synthetic=MARK)
