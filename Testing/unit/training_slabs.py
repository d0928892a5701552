"""What tests of the training share: small slabs of smooth noise, one thread, a power failure."""

from __future__ import annotations

import importlib
import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

torch = pytest.importorskip("torch")

SIZE, DEPTH = 48, 5
DOSE_ROLES = ("pre", "low", "post", "denoised")


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@contextmanager
def power_failure(monkeypatch: pytest.MonkeyPatch, after: int) -> Iterator[None]:
    """Break off the training inside, after so many steps; fails where it comes to its end."""
    learner = importlib.import_module("loop.learner").Learner
    descend, steps = learner.descend, itertools.count(1)

    def until_the_power_goes(*given):
        if next(steps) > after:
            raise KeyboardInterrupt
        return descend(*given)

    with monkeypatch.context() as patch:
        patch.setattr(learner, "descend", until_the_power_goes)
        with pytest.raises(KeyboardInterrupt):
            yield


def write_pool(folder: Path, slab: Callable[[int], np.ndarray]) -> Path:
    """Write two slabs as ``make_slabs.py`` would."""
    for seed in range(2):
        np.save(folder / f"{seed:05d}_0.npy", slab(seed))
    return folder


def pair_slab(seed: int) -> np.ndarray:
    """A smooth brain with a blob of agent: the ROLES of ``data.slabs``, (6, slices, rows, cols)."""
    rng = np.random.default_rng(seed)
    shape = (DEPTH, SIZE, SIZE)
    rows, cols = np.mgrid[:SIZE, :SIZE] - SIZE / 2
    brain = np.broadcast_to((rows / 22) ** 2 + (cols / 18) ** 2 < 1, shape)
    smooth = gaussian_filter(rng.normal(size=shape), (1, 3, 3))
    clean = (800 + 150 * smooth / smooth.std()).clip(200) * brain
    blob = np.exp(-((rows - 3) ** 2 + (cols + 4) ** 2) / 60) * brain
    post = clean * (1 + 0.8 * blob) + rng.normal(0, 5, shape) * brain
    pre = 0.7 * (clean + rng.normal(0, 10, shape)) * brain
    corrupted = 0.8 * pre + 0.2 * np.roll(pre, SIZE // 3, axis=1)
    tissue = np.where(brain, 1 + 4 * (smooth > 0), 0)
    roles = (post, clean, pre, corrupted, brain, tissue)
    return np.stack(roles).astype(np.float16)


def dose_scans(
    seed: int, noise: float = 12.0
) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray]:
    """Scans (slices, rows, cols) with their heads, in units and at gains of their own.

    Returns them, the brain, and where in the brain the agent goes.
    """
    rng = np.random.default_rng(seed)
    shape = (DEPTH, SIZE, SIZE)
    rows, cols = np.mgrid[:SIZE, :SIZE] - SIZE / 2
    brain = np.broadcast_to((rows / 22) ** 2 + (cols / 18) ** 2 < 1, shape)
    smooth = gaussian_filter(rng.normal(size=shape), (1, 4, 4))
    tissue = 800 * (1 + 0.1 * smooth / smooth.std()).clip(0.6)
    agent = (np.hypot(rows - 4, cols + 5) < 6) & brain
    found = {}
    for role, gain, rise in (("pre", 1.3, 0.0), ("low", 1.0, 0.2), ("post", 0.8, 0.8)):
        scan = tissue * (1 + rise * agent) + noise * rng.normal(size=shape)
        found[role] = (gain * scan).astype(np.float32)
    return found, brain, agent


def dose_slab(seed: int) -> np.ndarray:
    """What ``as_examples`` makes of such scans: the DOSE_ROLES, in thirds of a median."""
    given, brain, _ = dose_scans(seed)
    level = 3 * np.median(given["low"][brain])
    images = {role: given[role] / gain for role, gain in (("pre", 1.3), ("low", 1), ("post", 0.8))}
    images["denoised"] = gaussian_filter(images["low"], (0, 1, 1))
    return np.stack([images[role] * brain / level for role in DOSE_ROLES]).astype(np.float16)
