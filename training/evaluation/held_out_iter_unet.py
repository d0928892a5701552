"""How well iterU-Net does on lesions of virtual breasts that are not learnt from.

About each lesion all later phases are made from the first, one after the other. Both figures are
relative to taking the first phase for the later ones:

    enhancement    squared error of the mean of the lesion in the last phase, as in the paper
    image          mean absolute error of the crop, over all phases
    score          1 - (mean enhancement + mean image) / 2: 0 for the first phase held

The score chooses the checkpoint.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import torch
from data.breast_series import LABELS, BreastSeries
from torch import Tensor, nn

Case = dict[str, Tensor]
LEAST_ERROR = 1e-6


def read_cases(paths: Iterable[Path], size: Sequence[int]) -> list[Case]:
    """Return a crop (1, ...) about each lesion of the series; ``lesions`` is where that one is."""
    cases = []
    for series in map(BreastSeries, paths):
        labels = np.asarray(series.images[LABELS])
        for label in np.unique(labels[labels > 0]):
            where = np.argwhere(labels == label)
            crop = series.crop(where.mean(axis=0).astype(int), size)
            crop["lesions"] = (crop.pop("labels") == label).astype("f4")
            case = {name: torch.from_numpy(image)[None] for name, image in crop.items()}
            if case["lesions"].any():
                cases.append(case | {"times": torch.tensor([series.times_s])})
    return cases


@torch.no_grad()
def judge(network: nn.Module, cases: Sequence[Case], wanted: Sequence[int]) -> dict[str, float]:
    """Return the means of both figures over cases, and the ``score``.

    ``wanted`` are the phases that the network makes after the first, by their numbers.
    """
    network.eval()
    device = next(network.parameters()).device
    sums: dict[str, list[float]] = {"enhancement": [], "held": [], "image": [], "held_image": []}
    for case in cases:
        first, real = case["phases"][:, :1], case["phases"][:, [*wanted]]
        times = case["times"][:, [0, *wanted]]
        made = network.recursion(*(each.to(device) for each in (case["pre"], first, times)))
        phases = torch.cat(made, dim=1).float().cpu()
        lesion = case["lesions"][0, 0] > 0
        last = real[0, -1][lesion].mean()
        sums["enhancement"].append(float((phases[0, -1][lesion].mean() - last) ** 2))
        sums["held"].append(float((first[0, 0][lesion].mean() - last) ** 2))
        sums["image"].append(float((phases - real).abs().mean()))
        sums["held_image"].append(float((first - real).abs().mean()))
    means = {name: float(np.mean(values)) for name, values in sums.items()}
    figures = {
        "enhancement": means["enhancement"] / max(means["held"], LEAST_ERROR),
        "image": means["image"] / max(means["held_image"], LEAST_ERROR),
    }
    return {"score": 1 - sum(figures.values()) / 2, **figures}
