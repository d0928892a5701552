"""Dynamic series of virtual breasts for iterU-Net, kept on the disk by ``make_slabs.py``.

A file holds images (channels, k, j, i), half precision: the scan before the agent, PHASES phases
after it, then the labels of the lesions and the body. Scans are in means of the body before the
agent. The times of the phases follow from the seed (:func:`times_of`), which is in the file's name;
those of every second seed are the paper's.

An example is a dictionary of tensors, a crop about a lesion as often as anywhere in the body:

    pre      the scan before the agent (1, k, j, i)
    phases   the phases (PHASES, k, j, i)
    lesions  where lesions are (1, k, j, i), as 0 and 1
    times    of the phases after the injection, in seconds, (PHASES,)

Scans have the mean 0 and the standard deviation 1 of the first phase (TI-norm, eq. 1).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import IterableDataset

from ContrastSynthLib.phantom.breast.lesions import PAPER_TIMES_S
from ContrastSynthLib.phantom.breast.patient import breast_patient
from ContrastSynthLib.phantom.breast.space import AIR
from ContrastSynthLib.preprocessing.normalisation import fit
from data.mixed_crops import window

PHASES = len(PAPER_TIMES_S) - 1
LABELS = -2
"""Channel of the labels of lesions."""
SIDES, DEPTHS = (128, 208), (40, 72)
"""Voxels of a volume of 333 x 333 x 150 mm: the resolution differs from patient to patient."""
SNR = (12.0, 35.0)
MOTION_MM = 0.6
"""Of every second patient, along each axis."""
FIRST_PHASE_S, STEP_S = (60.0, 120.0), (40.0, 110.0)
"""Time of the first phase after the agent, and between phases, where they are not the paper's."""
CROP = (16, 48, 48)
"""Slices, rows, columns: our choice; the paper has 48 x 96 x 96."""
ABOUT_LESION = 0.5
"""Share of the examples whose crop lies about a lesion."""


def times_of(seed: int) -> tuple[float, ...]:
    """Return the times of the phases in seconds, the scan before the agent left out."""
    if seed % 2 == 0:
        return PAPER_TIMES_S[1:]
    rng = np.random.default_rng([seed, 1])
    steps = rng.uniform(*STEP_S, PHASES - 1)
    times = rng.uniform(*FIRST_PHASE_S) + np.concatenate([[0.0], np.cumsum(steps)])
    return tuple(round(float(time), 1) for time in times)


def make_series(seed: int) -> Iterator[np.ndarray]:
    """Yield the images of one patient, see above."""
    rng = np.random.default_rng([seed, 2])
    side, depth = (int(rng.integers(*ends)) for ends in (SIDES, DEPTHS))
    patient = breast_patient(
        seed,
        size=(side, side, depth),
        times_s=(0.0, *times_of(seed)),
        snr=float(rng.uniform(*SNR)),
        motion_mm=MOTION_MM * float(rng.random() < 0.5),
    )
    body = patient.tissue != AIR
    scans = np.stack([phase.array for phase in patient.phases])
    yield np.concatenate(
        [scans / scans[0][body].mean(), patient.lesion_labels[None], body[None]]
    ).astype(np.float16)


class BreastSeries:
    """A series on the disk: ``images`` (channels, k, j, i), its times, where its lesions are."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.images = np.load(path, mmap_mode="r")
        self.times_s = times_of(int(path.stem.split("_")[0]))
        every = np.asarray(self.images[:, ::2, ::2, ::2], dtype=np.float32)
        lesions, body = every[-2:] > 0
        self.lesions, self.inside = (_places(where) for where in (lesions, body))
        self.unit = fit("ti", every[1], body)

    def crop(self, middle: np.ndarray, size: Sequence[int]) -> dict[str, np.ndarray]:
        """Return the images of an example about a voxel, and the ``labels`` of its lesions.

        What is outside of the volume is 0.
        """
        depth, rows, columns = size
        assert rows == columns
        images = window(self.images, middle, depth, rows).astype(np.float32)
        scans = self.unit.apply(images[: PHASES + 1])
        return {"pre": scans[:1], "phases": scans[1:], "labels": images[LABELS][None]}


def _places(where: np.ndarray) -> np.ndarray:
    found = np.argwhere(where) * 2
    return np.asarray(found[:: 1 + len(found) // 500])


class BreastCrops(IterableDataset):
    """Examples for ever; each worker of each process has its own stream.

    Ends the script with a message for a folder without series.
    """

    def __init__(
        self, paths: Sequence[Path], size: Sequence[int], seed: int, about: float = ABOUT_LESION
    ) -> None:
        if not paths:
            raise SystemExit("There are no series to learn from: run make_slabs.py --for iter_unet")
        self.series = [BreastSeries(path) for path in paths]
        self.size, self.seed, self.about = tuple(size), seed, about

    def __iter__(self) -> Iterator[dict[str, torch.Tensor]]:
        """Yield single examples, half of them with left as right."""
        worker = torch.utils.data.get_worker_info()
        rng = np.random.default_rng([self.seed, worker.id if worker else 0])
        while True:
            series = self.series[int(rng.integers(len(self.series)))]
            about = len(series.lesions) and rng.random() < self.about
            places = series.lesions if about else series.inside
            middle = places[int(rng.integers(len(places)))]
            middle = middle + rng.integers(-6, 7, 3)
            crop = series.crop(middle, self.size)
            crop["lesions"] = (crop.pop("labels") > 0).astype("f4")
            if rng.random() < 0.5:
                crop = {name: image[..., ::-1] for name, image in crop.items()}
            example = {n: torch.from_numpy(np.ascontiguousarray(i)) for n, i in crop.items()}
            yield example | {"times": torch.tensor(series.times_s, dtype=torch.float32)}
