"""Train the low-dose GAN: what any dose adds to a native scan, with the noise of a scan.

    python training/make_slabs.py maps --for real_pairs --patients 60 --first-seed 30000
    python training/train_lowdose_gan.py --data PAIRS --maps maps --out runs/lowdose --minutes 60

PAIRS is a folder of pairs as train_sphere_real.py takes it; their low doses are simulated, see
``data/dose_patches.py``. In a warm-up, which a short training needs (``--warm-up``), the generator
learns the content loss alone. Then a step teaches the critic, and every few of them
(``--critic-steps``) the generator too: by eq. 1 of the paper, with a critic that is told doses
which are blurred, and a generator asked for doses of 0.05 to 0.5. The content loss is the
noise-preserving one at every head (``--content np``), L1, or that of features of slices
(``perceptual``, with ``--features``). ``--preset paper`` takes the width, patch, batch and rate of
the paper, and its network, which does not begin with the linear interpolation between the scans and
the noise.

Some patients are held out, by a hash of their names. Every ``--keep-every`` steps the averaged
weights are measured on patches of them (``evaluation/held_out_lowdose.py``), and the best stay in
``OUT/best``. Stop it and start it again with the same ``--out``: it goes on.
"""

from __future__ import annotations

import argparse
import itertools
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from data.agent_maps import KeptMaps
from data.dose_patches import (
    DosePair,
    DosePatches,
    PatchSources,
    as_example,
    read_pairs,
    seen_by_generator,
)
from data.pair_options import add_mixture, check_mixture, mixture_record, shows_virtual
from data.slabs import in_batches
from evaluation.held_out_lowdose import can_be_measured, judge
from loop import Average, Learner, add_common_arguments, parent_record, rate_at, start, train
from torch import Tensor, nn

from ContrastSynthLib.errors import ContrastSynthError
from ContrastSynthLib.inference.networks import load_network
from ContrastSynthLib.losses import l1_loss, noise_preserving_loss, perceptual_loss
from ContrastSynthLib.losses.noise_preserving import SOLVERS, draw_offset, over_heads
from ContrastSynthLib.losses.wasserstein_gan import critic_loss, fooling_loss, gradient_penalty
from ContrastSynthLib.networks import build_network
from ContrastSynthLib.networks.baselines import parameters_of
from ContrastSynthLib.networks.lowdose_gan import LowDoseDiscriminator, condition
from ContrastSynthLib.weights.bundles import find_bundle, read_bundle

Batch = dict[str, Tensor]
Content = Callable[[Tensor, Tensor], Tensor]
GENERATED_DOSES = (0.05, 0.5)
"""The doses that the generator is asked for, uniform: the paper's."""
DOSE_BLUR = 0.05
"""Standard deviation of the noise on the dose of a real image: the paper's."""
PENALTY = 100.0
"""Weight of the gradient penalty: the paper's."""
MEASURED_PER_PAIR, MEASURED_SIDE = 3, 48
"""Patches of each pair held out, and their side in voxels."""
PAPER = {
    **{"width": 12, "critic_width": 32, "crop": 64, "batch": 12, "learning_rate": 1e-4},
    **{"interpolated": False, "warm_up": 0.0},
}


def main() -> None:
    """Train, and keep the averaged generator in ``OUT/bundle`` and the best in ``OUT/best``."""
    arguments = read_arguments()
    fabric = start(arguments)
    learnt, others = read_pairs(arguments)
    options, generator, parents = make_generator(arguments)
    shared = generator.embedding if arguments.shared_embedding else None
    critic = LowDoseDiscriminator(arguments.critic_width, shared)
    print(f"{parameters_of(generator)} parameters, the critic {parameters_of(critic)}", flush=True)
    generator = fabric.to_device(generator)
    average = Average(generator)
    rate = arguments.learning_rate
    learners = {
        name: Learner(
            fabric,
            network,
            torch.optim.Adam(network.parameters(), lr=rate, betas=(0.5, 0.9)),
        )
        for name, network in (("network", generator), ("critic", critic))
    }
    content = content_of(arguments)
    turns = itertools.count(1)

    def learn(batch: Batch, progress: float) -> dict[str, Tensor]:
        """Teach the critic, in every few steps the generator too; return the terms."""
        if progress < arguments.warm_up:
            return warm_up_step(learners, batch, rate * rate_at(progress), content)
        terms = critic_step(learners, batch, rate * rate_at(progress))
        if next(turns) % arguments.critic_steps == 0:
            weigh = arguments.weigh_content
            terms |= generator_step(learners, batch, rate * rate_at(progress), content, weigh)
        return terms

    source = partial(batches, learnt, arguments.maps, arguments.real_share)
    card = card_of(arguments, options, learnt, others)
    card["training"]["parents"] = parents
    cases = measured_patches(others)
    judged = partial(judge, examples=cases) if cases else None
    train(arguments, fabric, learners, average, source, learn, card, judge=judged)


def make_generator(arguments: argparse.Namespace) -> tuple[dict[str, Any], nn.Module, list[Any]]:
    """Return a generator's arguments, the generator, and its parents for the card."""
    if not arguments.fine_tune:
        options = {"width": arguments.width, "interpolated": arguments.interpolated}
        return options, build_network("lowdose_generator", options), []
    bundle = find_bundle(arguments.fine_tune, "lowdose_gan")
    options, network = bundle.metadata["network"]["arguments"], load_network(bundle)
    return options, network, [parent_record(bundle)]


# ---- steps


def critic_step(learners: dict[str, Learner], batch: Batch, rate: float) -> dict[str, Tensor]:
    """Teach the critic to tell real residual images from synthetic ones."""
    blurred = batch["dose"] + DOSE_BLUR * torch.randn_like(batch["dose"])
    told, asked = condition(blurred, batch["field"]), asked_for(batch)
    with torch.no_grad():
        made = learners["network"].network(seen_by_generator(batch), asked)["residual"]
    critic = learners["critic"].network
    real, synthetic = (seen_by_critic(image, batch) for image in (batch["residual"], made))
    distance = critic_loss(critic(real, told), critic(synthetic, asked))
    share = torch.rand(len(told), device=told.device)
    penalty = gradient_penalty(critic, (real, told), (synthetic, asked), share)
    learners["critic"].descend(distance + PENALTY * penalty, rate)
    return {"critic": distance.detach(), "penalty": penalty.detach()}


def warm_up_step(
    learners: dict[str, Learner], batch: Batch, rate: float, content: Content
) -> dict[str, Tensor]:
    """Teach the generator the content alone."""
    told = condition(batch["dose"], batch["field"])
    heads = learners["network"].network(seen_by_generator(batch), told)["heads"]
    term = over_heads(content, heads, batch["residual"])
    learners["network"].descend(term, rate)
    return {"content": term.detach()}


def generator_step(
    learners: dict[str, Learner], batch: Batch, rate: float, content: Content, weigh: float
) -> dict[str, Tensor]:
    """Teach the generator: to be taken for real at any dose, and the content at a real one."""
    generator, critic = (learners[name].network for name in ("network", "critic"))
    asked, told = asked_for(batch), condition(batch["dose"], batch["field"])
    made = generator(seen_by_generator(batch), asked)["residual"]
    fooling = fooling_loss(critic(seen_by_critic(made, batch), asked))
    heads = generator(seen_by_generator(batch), told)["heads"]
    term = over_heads(content, heads, batch["residual"])
    learners["network"].descend(fooling + weigh * term, rate)
    return {"fooling": fooling.detach(), "content": term.detach()}


def asked_for(batch: Batch) -> Tensor:
    """Return conditions with doses drawn from GENERATED_DOSES."""
    low, high = GENERATED_DOSES
    return condition(low + (high - low) * torch.rand_like(batch["dose"]), batch["field"])


def seen_by_critic(residual: Tensor, batch: Batch) -> Tensor:
    """Return residual image, native and standard scan (n, 3, k, j, i)."""
    return torch.cat([residual, batch["native"], batch["standard"]], dim=1)


def content_of(arguments: argparse.Namespace) -> Content:
    """Return the content loss of two residual images (n, 1, k, j, i)."""
    if arguments.content == "l1":
        return l1_loss
    if arguments.content == "perceptual":
        features = load_network(read_bundle(arguments.features)).eval().requires_grad_(False)

        def of_slices(made: Tensor, wanted: Tensor) -> Tensor:
            slices = (image.transpose(1, 2).flatten(0, 1) for image in (made, wanted))
            return perceptual_loss(*slices, features)

        return of_slices

    def of_patches(made: Tensor, wanted: Tensor) -> Tensor:
        return noise_preserving_loss(made, wanted, offset=draw_offset(), solver=arguments.solver)

    return of_patches


# ---- data


def batches(
    pairs: list[DosePair],
    maps: Path | None,
    real: float,
    data: str,
    *,
    crop: int,
    batch: int,
    seed: int,
    workers: int,
) -> Iterator[Batch]:
    """Yield batches for ever; ``data`` names the folder that the pairs came from."""
    sources = PatchSources(pairs, KeptMaps(maps) if maps else None, real, crop)
    return in_batches(DosePatches(sources, seed), batch, workers)


def measured_patches(others: list[DosePair]) -> list[Batch]:
    """Return patches of the pairs held out in which enough enhances and enough does not."""
    found = []
    for pair in others:
        rng = np.random.default_rng([0, len(found)])
        sources = PatchSources([pair], None, side=MEASURED_SIDE)
        drawn = (as_example(sources.draw(rng), rng) for _ in range(4 * MEASURED_PER_PAIR))
        found += [*itertools.islice(filter(can_be_measured, drawn), MEASURED_PER_PAIR)]
    return found


# ---- arguments


def read_arguments() -> argparse.Namespace:
    """Return what the command line asks for; its options win over those of ``--preset paper``."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_common_arguments(parser)
    parser.set_defaults(crop=32, batch=4, learning_rate=2e-4)
    add = parser.add_argument
    add("--preset", choices=("paper",), help="width, patch, batch and rate as published")
    add_mixture(parser, 0.5)
    add("--clean", type=Path, help="folder to keep denoised pairs in; OUT/clean without it")
    add("--width", type=int, default=8, help="features of the generator at the finest scale")
    add(
        "--interpolated",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="the network adds to the linear interpolation and the noise; the paper's does not",
    )
    add("--critic-width", type=int, default=8, help="features of the critic at the finest scale")
    add("--shared-embedding", action="store_true", help="one embedding for both (Table 3)")
    add("--content", choices=("np", "l1", "perceptual"), default="np", help="the content loss")
    add("--solver", choices=tuple(SOLVERS), default="exact", help="of the noise-preserving loss")
    add("--features", type=Path, help="bundle of train_features.py, for --content perceptual")
    add("--weigh-content", type=float, default=200.0, help="the loss is a mean: our choice")
    add(
        "--warm-up",
        type=float,
        default=0.7,
        help="share of the training without the critic: our choice, for short ones; paper: 0",
    )
    add("--critic-steps", type=int, default=5, help="steps of the critic for one of the generator")
    add("--name", default="lowdose_gan", help="of the weights")
    add("--version", default="1.0", help="of the weights")
    chosen, _ = parser.parse_known_args()
    if chosen.preset == "paper":
        parser.set_defaults(**PAPER)
    arguments = parser.parse_args()
    check_mixture(parser, arguments)
    if arguments.content == "perceptual" and arguments.features is None:
        parser.error("--content perceptual needs --features")
    if arguments.crop % 16:
        parser.error("--crop is a multiple of 16, so that every head has whole patches")
    return arguments


def card_of(
    arguments: argparse.Namespace,
    options: dict[str, Any],
    learnt: list[DosePair],
    others: list[DosePair],
) -> dict[str, Any]:
    """Return the part of the model card that only this script knows."""
    patients, held_out = ([each.pair.patient for each in pairs] for pairs in (learnt, others))
    return {
        "name": arguments.name,
        "version": arguments.version,
        "task": "a low dose from the pre-contrast and the full-dose scan, brain",
        "method": "lowdose_gan",
        "network": {"name": "lowdose_generator", "arguments": options},
        "inputs": {
            "native": "voxels of about 1 mm, skull-stripped",
            "standard": "the same after the full dose",
        },
        "normalisation": "p95",
        "trained_on_virtual_patients": shows_virtual(arguments),
        "training": {
            **mixture_record(arguments, patients, held_out, ", their low dose simulated"),
            "losses": {
                "adversarial": 1.0,
                "gradient penalty": PENALTY,
                arguments.content: arguments.weigh_content,
            },
            "chosen_by": "highest 1 - (mean rise + mean sigma) / 2 of the held-out patients",
        },
        "limits": "Brains, T1-weighted, doses of 0.05 to 0.5 of the full one. The low doses of the "
        "training were simulated. Not for diagnosis: enhancement may be missed or invented.",
    }


if __name__ == "__main__":
    try:
        main()
    except ContrastSynthError as error:
        sys.exit(str(error))
