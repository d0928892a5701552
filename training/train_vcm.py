"""Train the virtual contrast model: the full dose from a native and a low-dose scan.

    python training/make_slabs.py maps --for real_pairs --patients 60 --first-seed 30000
    python training/train_vcm.py --data PAIRS --maps maps --out runs/vcm --minutes 40

PAIRS is a folder of pairs as train_sphere_real.py takes it; their low doses are simulated, see
``data/dose_patches.py``. With ``--generator BUNDLE`` they are synthesised by a low-dose GAN
instead, and those of virtual patients too: the augmentation of the paper, the right half of its
Table 1. The loss is L1, with more weight where tissue enhances, and a share of 1 - SSIM (our
choice). ``--preset paper`` takes the dose and the crop of the paper.

Some patients are held out, by a hash of their names. Every ``--keep-every`` steps the averaged
weights are measured on slices of them, with simulated low doses whatever was learnt from
(``evaluation/held_out_vcm.py``), and the best stay in ``OUT/best``.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch
from data.agent_maps import KeptMaps
from data.dose_patches import (
    DosePair,
    DosePatches,
    PatchSources,
    read_pairs,
    seen_by_generator,
)
from data.pair_options import add_mixture, check_mixture, mixture_record, shows_virtual
from data.slabs import in_batches
from data.vcm_slices import as_slices, with_gain
from evaluation.held_out_vcm import judge, measured_slices
from loop import Average, Learner, add_common_arguments, rate_at, start, train
from torch import Tensor, nn

from ContrastSynthLib.errors import ContrastSynthError
from ContrastSynthLib.inference.networks import load_network
from ContrastSynthLib.losses import ssim_loss
from ContrastSynthLib.networks import build_network
from ContrastSynthLib.networks.baselines import parameters_of
from ContrastSynthLib.networks.lowdose_gan import condition
from ContrastSynthLib.weights.bundles import Bundle, look_up

Batch = dict[str, Tensor]
SLICES = 7
DEEP = 16
"""Slices of a patch for a generator, which sees in three dimensions."""
DOSES = (0.1, 0.33)
"""The range of low doses, uniform; the paper's virtual contrast model learnt from 0.33 alone."""
WEIGHT_OF_ENHANCING = 4.0
"""Of the error where tissue enhances, beside 1 of all tissue: our choice."""
WEIGHT_OF_SSIM = 0.1
PAPER = {"doses": (0.33, 0.33), "crop": 256}


def main() -> None:
    """Train, and keep the averaged weights in ``OUT/bundle`` and the best in ``OUT/best``."""
    arguments = read_arguments()
    fabric = start(arguments)
    learnt, others = read_pairs(arguments)
    options = {"width": arguments.width, "slices": SLICES}
    network = build_network("virtual_contrast", options)
    print(f"{parameters_of(network)} parameters, {options}", flush=True)
    network = fabric.to_device(network)
    average = Average(network)
    adam = torch.optim.Adam(network.parameters(), lr=arguments.learning_rate)
    learner = Learner(fabric, network, adam, max_norm=5.0)
    synthesise = synthesiser(arguments, fabric.device)

    def learn(batch: Batch, progress: float) -> dict[str, Tensor]:
        """Take one step; return the terms of the loss."""
        with fabric.autocast():
            shown = as_slices(with_gain(synthesise(batch)), SLICES)
            terms = compare(learner.network(shown["seen"])["post"], shown)
        loss = terms["l1"] + terms["enhancing"] + terms["ssim"]
        learner.descend(loss, arguments.learning_rate * rate_at(progress))
        return {name: term.detach() for name, term in terms.items()}

    source = partial(batches, learnt, arguments)
    card = card_of(arguments, options, learnt, others)
    cases = measured_slices(others, SLICES)
    judged = partial(judge, cases=cases) if cases else None
    train(arguments, fabric, {"network": learner}, average, source, learn, card, judge=judged)


def compare(made: Tensor, shown: Batch) -> dict[str, Tensor]:
    """Return the terms of the loss of an image (n, 1, h, w), weighted."""
    error = (made - shown["post"]).abs()
    rises = shown["rises"]
    return {
        "l1": error.mean(),
        "enhancing": WEIGHT_OF_ENHANCING * (error * rises).sum() / rises.sum().clamp(min=1),
        "ssim": WEIGHT_OF_SSIM * ssim_loss(made, shown["post"], data_range=1.0),
    }


def synthesiser(arguments: argparse.Namespace, device: torch.device) -> Callable[[Batch], Batch]:
    """Return what replaces the low dose of a batch by that of ``--generator``, or leaves it."""
    if arguments.generator is None:
        return lambda batch: batch
    generator: nn.Module = load_network(look_up(str(arguments.generator)))
    generator = generator.to(device).eval().requires_grad_(False)

    @torch.no_grad()
    def synthesise(batch: Batch) -> Batch:
        asked = condition(batch["dose"], batch["field"])
        made = generator(seen_by_generator(batch), asked)["residual"]
        return {**batch, "residual": made * (batch["native"] > 0)}

    return synthesise


def batches(
    pairs: list[DosePair],
    arguments: argparse.Namespace,
    data: str,
    *,
    crop: int,
    batch: int,
    seed: int,
    workers: int,
) -> Iterator[Batch]:
    """Yield batches for ever; ``data`` names the folder that the pairs came from."""
    sources = PatchSources(
        pairs,
        KeptMaps(arguments.maps) if arguments.maps else None,
        arguments.real_share,
        crop,
        depth=DEEP if arguments.generator else SLICES,
        all_views=True,
        doses=arguments.doses,
    )
    return in_batches(DosePatches(sources, seed), batch, workers)


# ---- arguments


def read_arguments() -> argparse.Namespace:
    """Return what the command line asks for; its options win over those of ``--preset paper``."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_common_arguments(parser)
    parser.set_defaults(crop=96, batch=8, learning_rate=1e-3)
    add = parser.add_argument
    add("--preset", choices=("paper",), help="dose and crop as published")
    add_mixture(parser, 0.5)
    add("--clean", type=Path, help="folder to keep denoised pairs in; OUT/clean without it")
    add("--width", type=int, default=16, help="features at the finest scale")
    add("--doses", type=float, nargs=2, default=DOSES, help="lowest and highest of the low doses")
    add("--generator", type=Path, help="bundle of train_lowdose_gan.py: it makes the low doses")
    add("--name", default="vcm", help="of the weights")
    add("--version", default="1.0", help="of the weights")
    chosen, _ = parser.parse_known_args()
    if chosen.preset == "paper":
        parser.set_defaults(**PAPER)
    arguments = parser.parse_args()
    check_mixture(parser, arguments)
    if arguments.fine_tune:
        parser.error("the virtual contrast model is trained from the start")
    return arguments


def card_of(
    arguments: argparse.Namespace,
    options: dict[str, Any],
    learnt: list[DosePair],
    others: list[DosePair],
) -> dict[str, Any]:
    """Return the part of the model card that only this script knows."""
    patients, held_out = ([each.pair.patient for each in pairs] for pairs in (learnt, others))
    generator: Bundle | None = look_up(str(arguments.generator)) if arguments.generator else None
    how = f"synthesised by {generator.id}" if generator else "simulated"
    return {
        "name": arguments.name,
        "version": arguments.version,
        "task": "the full dose from the pre-contrast and a low-dose scan, brain",
        "method": "vcm",
        "network": {"name": "virtual_contrast", "arguments": options},
        "inputs": {
            "native": f"{SLICES} slices, 1 mm apart, pixels of about 1 mm, skull-stripped",
            "low": "the same, extrapolated from its dose to the full one",
        },
        "normalisation": "p95",
        "doses": list(arguments.doses),
        "trained_on_virtual_patients": shows_virtual(arguments),
        "training": {
            **mixture_record(arguments, patients, held_out, f", their low dose {how}"),
            "losses": {"l1": 1.0, "l1 enhancing": WEIGHT_OF_ENHANCING, "ssim": WEIGHT_OF_SSIM},
            "chosen_by": "highest 1 - (mean left + mean elsewhere) / 2 of the held-out patients",
        },
        "limits": f"Brains, T1-weighted, low doses of {min(arguments.doses):g} to "
        f"{max(arguments.doses):g} of the full one, which the training {how}. Not for diagnosis: "
        "enhancement may be missed or invented.",
    }


if __name__ == "__main__":
    try:
        main()
    except ContrastSynthError as error:
        sys.exit(str(error))
