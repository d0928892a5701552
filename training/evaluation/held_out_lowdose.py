"""How well a low-dose generator does on patches of real pairs that are not learnt from.

Each patch (:mod:`data.dose_patches`) is measured at its dose, in 0.95 quantiles of the native scan;
tissue that enhances rises by more than 0.1 of that at the full dose, as in the paper. The figures
are relative to the native scan plus ``dose`` times what the full dose adds: linear interpolation.

    ce       mean absolute error of the residual where tissue enhances
    rise     absolute error of its mean there
    sigma    error of its standard deviation where none does
    score    1 - (mean rise + mean sigma) / 2: 0 for linear interpolation, 1 for what is wanted

The score chooses the checkpoint. ``ce`` is not in it: the noise of a low dose is its own, and an
image with as much noise as a scan is further from another scan than one that is smooth.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from ContrastSynthLib.metrics import mae_ce, mae_sigma
from ContrastSynthLib.metrics.contrast import ENHANCING_SHARE
from ContrastSynthLib.networks.lowdose_gan import condition

LEAST_VOXELS = 50
"""That enhance, and that do not, in a patch that is measured."""
LEAST_ERROR = 1e-6
Example = dict[str, Tensor]


def can_be_measured(example: Example) -> bool:
    """Return whether enough voxels of an example enhance, and enough do not."""
    rises, quiet = regions(example)
    return bool(min(rises.sum(), quiet.sum()) >= LEAST_VOXELS)


def regions(example: Example) -> tuple[Tensor, Tensor]:
    """Return where tissue enhances and where it does not, as booleans."""
    rises = example["standard"] - example["native"] > ENHANCING_SHARE
    return rises, (example["native"] > 0) & ~rises


def errors(made: Tensor, example: Example) -> dict[str, float]:
    """Return ``ce``, ``rise`` and ``sigma`` of a residual image, in the unit of the example."""
    rises, quiet = regions(example)
    wanted, found, none = example["residual"].numpy(), made.numpy(), np.zeros(made.shape)
    return {
        "ce": mae_ce(wanted, found, enhancing=rises.numpy()),
        "rise": abs(float((made - example["residual"])[rises].mean())),
        "sigma": mae_sigma(
            wanted, found, native=none, enhancing=rises.numpy(), mask=(rises | quiet).numpy()
        ),
    }


def linear(example: Example) -> Tensor:
    """Return the residual image of linear interpolation between both scans."""
    return example["dose"] * (example["standard"] - example["native"])


@torch.no_grad()
def judge(network: nn.Module, examples: Sequence[Example]) -> dict[str, float]:
    """Return the means of the figures over examples (1, k, j, i), and the ``score``.

    The noise given to the network is the same at each call.
    """
    network.eval()
    device = next(network.parameters()).device
    generator = torch.Generator().manual_seed(0)
    sums = {"ce": 0.0, "rise": 0.0, "sigma": 0.0}
    by_linear = dict(sums)
    for example in examples:
        native, standard = example["native"], example["standard"]
        noise = example["noise"] * torch.randn(native.shape, generator=generator)
        image = torch.stack([noise, native, standard], dim=1).to(device)
        told = condition(example["dose"][None], example["field"][None]).to(device)
        made = network(image, told)["residual"][0].float().cpu()
        for total, residual in ((sums, made), (by_linear, linear(example))):
            for name, error in errors(residual, example).items():
                total[name] += error
    figures = {name: sums[name] / max(by_linear[name], LEAST_ERROR) for name in sums}
    return {"score": 1 - (figures["rise"] + figures["sigma"]) / 2, **figures}
