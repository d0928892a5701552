"""Train iterU-Net: the later phases of a breast from the pre-contrast scan and one phase.

    python training/make_slabs.py breasts --for iter_unet --patients 120 --first-seed 70000
    python training/train_iter_unet.py --data breasts --out runs/iter_unet --minutes 60

In the first quarter (the paper: half), the warm-up, each step is given the real phase (teacher
forcing); then the phase that the network itself made, as in use. A series begins with any of its
phases, most often with the first. The loss is the paper's: 0.1 L1 + SSIM + perceptual + 0.1
gradient difference. The perceptual one compares features of Med3D (``--med3d``, a file of
MedicalNet's weights of ResNet-10). Without that file L1 has the weight 1, and the squared error in
the lesions the weight 3: our choice, since SSIM hardly minds how bright a lesion is, and L1 forgets
what fills a hundredth of a crop. Squared, it is least for the mean of what such lesions do; the
least L1 is at their median, a plateau for nearly all.
``--without-warm-up``, ``--clock none`` and ``--without-memory`` are the ablations of Table 2,
``--only N`` the baseline that makes the Nth later phase in one step. ``--preset paper`` takes the
widths, crop and rate of the paper.

Every tenth series is held out. Every ``--keep-every`` steps the averaged weights are measured on
them (``evaluation/held_out_iter_unet.py``), and the best stay in ``OUT/best``. Stop it and start it
again with the same ``--out``: it goes on.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from data.breast_series import ABOUT_LESION, CROP, PHASES, BreastCrops
from data.slabs import in_batches
from evaluation.held_out_iter_unet import judge, read_cases
from loop import Average, Learner, add_common_arguments, rate_at, start, train
from torch import Tensor

from ContrastSynthLib.errors import ContrastSynthError
from ContrastSynthLib.losses import gradient_difference_loss, l1_loss, ssim_loss
from ContrastSynthLib.losses.volumes import med3d_loss
from ContrastSynthLib.networks import build_network
from ContrastSynthLib.networks.baselines import parameters_of
from ContrastSynthLib.networks.iter_unet import CLOCKS, FEATURES, IterUNet
from ContrastSynthLib.networks.med3d import features_of

Batch = dict[str, Tensor]
WEIGHTS = {"l1": 0.1, "ssim": 1.0, "perceptual": 1.0, "gradient": 0.1}
"""Of the terms of the loss: the paper's."""
WITHOUT_PERCEPTUAL = {"l1": 1.0, "ssim": 1.0, "gradient": 0.1, "lesion": 3.0}
RANGE = 6.0
"""Data range of SSIM in standard deviations: our choice."""
SSIM_EVERY = 4
"""Slices from one that it compares to the next: it would take as long as the network."""
WARM_UP = 0.25
"""Share of the training with real phases as input: our choice; the paper has 40 of 80 epochs. What
a lesion will do has to be seen in the first phase, and that is learnt from the recursion."""
FROM_FIRST = 0.7
"""Share of the series that begin with the first phase; the others begin with any: our choice."""
HELD_OUT_EVERY = 10
PAPER = {"features": FEATURES, "crop": 96, "depth": 48, "learning_rate": 1e-4}


def main() -> None:
    """Train, and keep the averaged weights in ``OUT/bundle`` and the best in ``OUT/best``."""
    arguments = read_arguments()
    fabric = start(arguments)
    options = options_of(arguments)
    network = build_network("iter_unet", options)
    print(f"{parameters_of(network)} parameters, {options}", flush=True)
    network = fabric.to_device(network)
    average = Average(network)
    adam = torch.optim.AdamW(network.parameters(), lr=arguments.learning_rate)
    # Channels last is not for it: in bfloat16 its gradients are sometimes not finite then.
    learner = Learner(fabric, network, adam, max_norm=1.0, channels_last=False)
    perceptual = None
    if arguments.med3d:
        perceptual = partial(med3d_loss, features=fabric.to_device(features_of(arguments.med3d)))
    weights = WEIGHTS if perceptual else WITHOUT_PERCEPTUAL
    warm_up = 0.0 if arguments.without_warm_up else WARM_UP

    def learn(batch: Batch, progress: float) -> dict[str, Tensor]:
        """Take one step; return the terms of the loss."""
        with fabric.autocast():
            wanted = [arguments.only] if arguments.only else later_phases()
            made = steps(learner.network, batch, wanted, forced=progress < warm_up)
            terms = compare(made, batch["phases"][:, wanted], batch["lesions"], perceptual)
        loss = torch.stack([weights[name] * term for name, term in terms.items()]).sum()
        learner.descend(loss, arguments.learning_rate * rate_at(progress))
        return {name: term.detach() for name, term in terms.items()}

    learnt, others = split(Path(arguments.data))
    source = partial(batches, learnt, arguments.depth, arguments.about_lesions)
    cases = read_cases(others, size_of(arguments.depth, arguments.crop))
    wanted = [arguments.only] if arguments.only else [*range(1, PHASES)]
    judged = partial(judge, cases=cases, wanted=wanted) if cases else None
    card = card_of(arguments, options, weights, len(learnt))
    train(arguments, fabric, {"network": learner}, average, source, learn, card, judge=judged)


def later_phases() -> list[int]:
    """Return the numbers of the phases of a series that follow the one it begins with."""
    first = 0
    if torch.rand(()) >= FROM_FIRST:
        first = int(torch.randint(PHASES - 1, ()))
    return [*range(first + 1, PHASES)]


def steps(network: IterUNet, batch: Batch, wanted: Sequence[int], *, forced: bool) -> Tensor:
    """Return the phases ``wanted`` (n, phases, k, j, i), each made from the one before it.

    That is the real one where they are ``forced``. The first comes before the first wanted one; for
    a single one it is that of the series.
    """
    begin = wanted[0] - 1 if len(wanted) > 1 else 0
    real, times = batch["phases"][:, [begin, *wanted[:-1]]], batch["times"][:, [begin, *wanted]]
    made = network.recursion(batch["pre"], real[:, :1], times, begin, real=real if forced else None)
    return torch.cat(made, dim=1)


def compare(
    made: Tensor,
    real: Tensor,
    lesions: Tensor,
    perceptual: Callable[[Tensor, Tensor], Tensor] | None,
) -> dict[str, Tensor]:
    """Return the terms of the loss of phases (n, phases, k, j, i); lesions are (n, 1, k, j, i)."""
    volumes = [image.flatten(0, 1)[:, None] for image in (made, real)]
    slices = [image[:, :, 1::SSIM_EVERY].flatten(0, 2)[:, None] for image in (made, real)]
    terms = {
        "l1": l1_loss(made, real),
        "ssim": ssim_loss(*slices, data_range=RANGE),
        "gradient": gradient_difference_loss(*volumes),
    }
    if perceptual:
        return terms | {"perceptual": perceptual(*volumes)}
    return terms | {"lesion": error_inside(made, real, lesions)}


def error_inside(made: Tensor, real: Tensor, where: Tensor) -> Tensor:
    """Return the mean squared error where a mask is 1, 0 for an empty one."""
    weight = where.expand_as(made)
    return ((made - real).square() * weight).sum() / weight.sum().clamp(min=1)


# ---- data and arguments


def split(folder: Path) -> tuple[list[Path], list[Path]]:
    """Return the series to learn from, and those held out."""
    paths = sorted(folder.glob("*.npy"))
    others = paths[::HELD_OUT_EVERY] if len(paths) > 1 else []
    return [path for path in paths if path not in others], others


def size_of(depth: int, crop: int) -> tuple[int, int, int]:
    """Return slices, rows and columns of a crop."""
    return depth, crop, crop


def batches(
    paths: list[Path],
    depth: int,
    about: float,
    data: str,
    *,
    crop: int,
    batch: int,
    seed: int,
    workers: int,
) -> Iterator[Batch]:
    """Yield batches for ever; ``data`` names the folder that the series came from."""
    return in_batches(BreastCrops(paths, size_of(depth, crop), seed, about), batch, workers)


def options_of(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the arguments of the network."""
    return {
        "features": list(arguments.features),
        "clock": arguments.clock,
        "remembers": not arguments.without_memory,
    }


def read_arguments() -> argparse.Namespace:
    """Return what the command line asks for; its options win over those of ``--preset paper``."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_common_arguments(parser)
    parser.set_defaults(crop=CROP[1], batch=4, learning_rate=1e-3)
    add = parser.add_argument
    add("--preset", choices=("paper",), help="widths, crop and rate as published")
    add("--depth", type=int, default=CROP[0], help="slices of a crop, a multiple of 16")
    add("--about-lesions", type=float, default=ABOUT_LESION, help="share of crops about a lesion")
    add("--features", type=int, nargs=6, default=(8, 16, 32, 64, 64, 8), help="of the six stages")
    add("--clock", choices=tuple(CLOCKS), default="seconds", help="how the time is told")
    add("--without-memory", action="store_true", help="ablation: no LSTM")
    add("--without-warm-up", action="store_true", help="ablation: no teacher forcing")
    add("--only", type=int, choices=range(1, PHASES), help="baseline: this phase alone, in a step")
    add("--med3d", type=Path, help="file of MedicalNet's weights, resnet_10_23dataset.pth")
    add("--name", default="iter_unet", help="of the weights")
    add("--version", default="1.0", help="of the weights")
    chosen, _ = parser.parse_known_args()
    if chosen.preset == "paper":
        parser.set_defaults(**PAPER)
    arguments = parser.parse_args()
    if arguments.fine_tune:
        parser.error("iterU-Net is trained from the start")
    if arguments.data == "virtual":
        parser.error("give --data, a folder of make_slabs.py --for iter_unet")
    if arguments.crop % 16 or arguments.depth % 16:
        parser.error("--crop and --depth are multiples of 16")
    return arguments


def card_of(
    arguments: argparse.Namespace,
    options: dict[str, Any],
    weights: dict[str, float],
    patients: int,
) -> dict[str, Any]:
    """Return the part of the model card that only this script knows."""
    return {
        "name": arguments.name,
        "version": arguments.version,
        "task": "the later phases of a dynamic series from the first scan and one phase, breast",
        "method": "iter_unet",
        "network": {"name": "iter_unet", "arguments": options},
        "inputs": {"pre": "voxels of 1.6 to 2.6 mm", "phase": "one phase after the agent"},
        "normalisation": "ti",
        "trained_on_virtual_patients": True,
        "training": {
            "data": f"{patients} series of virtual breasts, with {PHASES} phases",
            "data_licence": "Apache-2.0",
            "losses": weights,
            "chosen_by": "highest 1 - (enhancement + image) / 2 of the held-out series",
        },
        "limits": "Breasts, T1-weighted gradient echoes. It learnt from virtual series alone: what "
        "washes out and what does not is guessed from shape and early enhancement. Not for "
        "diagnosis.",
    }


if __name__ == "__main__":
    try:
        main()
    except ContrastSynthError as error:
        sys.exit(str(error))
