"""Train a residual U-Net for SPHERE on pairs of real scans and on virtual patients, mixed.

    python training/make_slabs.py maps --for real_pairs --patients 60 --first-seed 30000
    python training/train_sphere_real.py --data PAIRS --maps maps --out runs/real --minutes 120

PAIRS holds ``cases.json`` and a folder for each case, see ``data/real_pairs.py``. The network sees
five slices and predicts what to subtract from the middle one. What it is to make of a real scan is
the pre scan in the contrast of the post scan (``data/matched.py``), of a virtual one the same scan
without agent.

Before anything is trained some patients are held out, by a hash of their names alone. Every
``--keep-every`` steps the averaged weights are measured on them (``evaluation/held_out.py``), and
those with the highest mean share - mean left stay in ``OUT/best``. Stop it and start it again with
the same ``--out``: it goes on. ``--fine-tune BUNDLE`` starts from weights that are there. Without
``--maps`` real pairs are the only data; with ``--real-share 0`` virtual patients are.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import torch
from data.agent_maps import KeptMaps
from data.mixed_crops import SEEN, Crops, Recipe, Sources
from data.pair_options import add_mixture, check_mixture, mixture_record, shows_virtual
from data.real_pairs import RealPair, drawn, held_out_of, prepare_pairs, read_table
from data.slabs import in_batches
from evaluation.held_out import Slices, judge
from loop import Average, Learner, add_common_arguments, parent_record, rate_at, start, train
from torch import Tensor, nn
from torch.nn import functional

from ContrastSynthLib.errors import ContrastSynthError, RequestError
from ContrastSynthLib.inference.networks import load_network
from ContrastSynthLib.losses import physics_penalty
from ContrastSynthLib.networks import build_network
from ContrastSynthLib.networks.baselines import parameters_of
from ContrastSynthLib.networks.residual_unet import FEATURES
from ContrastSynthLib.networks.sphere import middle
from ContrastSynthLib.weights.bundles import find_bundle

Images = dict[str, Tensor]
NETWORK = "residual_unet"
WEIGHTS = {"charbonnier": 1.0, "squared": 3.0, "gradient": 0.2, "uptake": 0.05, "error": 0.5}
PSYN = 0.01
"""Weight of R_psyn with ``--with-physics``, as in the paper."""
IN_UPTAKE = 2.0
"""What the soft label of the uptake adds to the weight of a voxel of the brain, which is 1, unless
``--in-uptake`` gives another number."""
OUTSIDE = 0.05
"""Weight of a voxel outside of the brain."""
SMOOTH = 0.01
"""Of the Charbonnier loss, sqrt(d^2 + SMOOTH^2), in means of the brain."""
PARTS_OF_NETWORK = ("hyperintensity",)


def main() -> None:
    """Train, and keep the averaged weights in ``OUT/bundle`` and the best in ``OUT/best``."""
    arguments = read_arguments()
    fabric = start(arguments)
    table = read_table(Path(arguments.data), arguments.same_patient)
    others = held_out_of(table, arguments.held_out)
    pairs = prepare_pairs(table, arguments.pairs or arguments.out / "pairs")
    learnt = learnt_from(pairs, others, arguments.learn_from)
    cases = [Slices.of(pair) for pair in pairs if pair.patient in others]
    print(f"{len(learnt)} pairs to learn from, {len(cases)} of {len(others)} patients held out")
    options, network, parents = make_network(arguments)
    network = fabric.to_device(network)
    average = Average(network)
    adam = torch.optim.AdamW(network.parameters(), lr=arguments.learning_rate, weight_decay=1e-3)
    # On a CPU in bfloat16 this network takes three times longer with channels last.
    learner = Learner(fabric, network, adam, max_norm=1.0, channels_last=False)

    def learn(batch: Images, progress: float) -> dict[str, Tensor]:
        """Take one step; return the terms of the loss."""
        made = learner.network(batch["post"])
        terms = compare(made, batch, arguments.in_uptake)
        loss = sum(WEIGHTS[name] * terms[name] for name in WEIGHTS)
        if "peak" in made:
            given = (made["pre"], middle(batch["post"]), made["uptake"], made["peak"])
            terms["psyn"] = physics_penalty(*given)
            loss = loss + PSYN * terms["psyn"]
        rate = arguments.learning_rate * rate_at(progress)
        learner.descend(loss, rate)
        return terms

    source = partial(batches, learnt, arguments.maps, Recipe(**arguments.recipe))
    card = card_of(arguments, options, learnt, others)
    card["training"]["parents"] = parents
    judged = partial(judge, cases=cases) if cases else None
    train(arguments, fabric, {"network": learner}, average, source, learn, card, judge=judged)


def learnt_from(pairs: Sequence[RealPair], others: set[str], count: int | None) -> list[RealPair]:
    """Return the pairs of the patients who are not held out, or of ``count`` of them."""
    free = {pair.patient for pair in pairs} - others
    chosen = free if count is None else drawn(free, count)
    return [pair for pair in pairs if pair.patient in chosen]


def make_network(
    arguments: argparse.Namespace,
) -> tuple[dict[str, Any], nn.Module, list[dict[str, Any]]]:
    """Return the arguments of the network, itself, and what its weights were made from.

    Raises RequestError for weights of another network.
    """
    parents = []
    if arguments.fine_tune:
        bundle = find_bundle(arguments.fine_tune, "sphere")
        found = bundle.metadata["network"]
        if found["name"] != NETWORK:
            raise RequestError(
                f"{bundle.id} are weights of the network {found['name']}, which train_sphere.py "
                "goes on with."
            )
        options, network = found["arguments"], load_network(bundle)
        parents = [parent_record(bundle)]
    else:
        options = {
            "in_channels": SEEN,
            "features": list(arguments.features),
            "hyperintensity": "hyperintensity" not in arguments.without,
            "masked": arguments.masked,
            "physics": arguments.with_physics,
        }
        network = build_network(NETWORK, options)
    print(f"{parameters_of(network)} parameters", flush=True)
    return options, network, parents


def batches(
    pairs: Sequence[RealPair],
    maps: Path | None,
    recipe: Recipe,
    data: str,
    *,
    crop: int,
    batch: int,
    seed: int,
    workers: int,
) -> Iterator[Images]:
    """Yield batches for ever; ``data`` names the folder that the pairs came from."""
    sources = Sources(pairs, KeptMaps(maps) if maps else None, crop, recipe)
    return in_batches(Crops(sources, seed), batch, workers)


def compare(made: Images, batch: Images, in_uptake: float = IN_UPTAKE) -> dict[str, Tensor]:
    """Return the terms of the loss, and the mean absolute errors inside and outside the uptake."""
    brain, uptake = batch["brain"], batch["uptake"]
    weight = (OUTSIDE + (1 - OUTSIDE) * brain + in_uptake * uptake) * batch["trust"]
    weight = weight / weight.sum()
    error = made["pre"] - batch["pre"]
    found, away = uptake * brain, error.detach().abs()
    down, right = error.diff(dim=-2), error.diff(dim=-1)
    label = functional.binary_cross_entropy_with_logits(
        made["uptake_logits"], uptake, reduction="none"
    )
    return {
        "charbonnier": (weight * (error.square() + SMOOTH**2).sqrt()).sum(),
        "squared": (weight * error.square()).sum(),
        "gradient": (weight[..., 1:, :] * down.abs()).sum()
        + (weight[..., :, 1:] * right.abs()).sum(),
        "uptake": (weight * label).sum(),
        # Least squares make it the mean of the errors that look alike.
        "error": (weight * (made["error"] - away).square()).sum(),
        "inside": (away * found).sum() / found.sum().clamp(min=1),
        "outside": (away * (1 - uptake) * brain).sum() / brain.sum().clamp(min=1),
    }


def read_share(text: str) -> tuple[str, float]:
    """Return the part and the share of PART=SHARE."""
    part, _, share = text.partition("=")
    return part, float(share)


def read_arguments() -> argparse.Namespace:
    """Return what the command line asks for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_common_arguments(parser)
    parser.set_defaults(crop=112, learning_rate=1e-3)
    add = parser.add_argument
    add_mixture(parser, Recipe.real)
    add(
        "--share",
        type=read_share,
        action="append",
        default=[],
        metavar="PART=SHARE",
        help="another share of a part of the recipe, see --without",
    )
    add("--in-uptake", type=float, default=IN_UPTAKE, help="what uptake adds to a voxel's weight")
    add("--without", nargs="+", default=[], metavar="PART", help=Recipe.__doc__)
    add("--learn-from", type=int, metavar="N", help="N of the others alone, to see what more bring")
    add("--features", type=int, nargs="+", default=FEATURES, help="of the scales, finest first")
    add("--masked", action="store_true", help="multiply the rise by the uptake")
    add("--with-physics", action="store_true", help="add R_psyn of eq. 33, with a map of beta")
    add("--name", default="sphere_real", help="of the weights")
    add("--version", default="1.0", help="of the weights")
    arguments = parser.parse_args()
    check_mixture(parser, arguments)
    parts = [part for part in arguments.without if part not in PARTS_OF_NETWORK]
    recipe = Recipe(real=arguments.real_share).changed_to(dict(arguments.share)).without(parts)
    # With the rest of the arguments it goes into the card.
    arguments.recipe = asdict(recipe)
    return arguments


def card_of(
    arguments: argparse.Namespace,
    options: dict[str, Any],
    learnt: Sequence[RealPair],
    others: set[str],
) -> dict[str, Any]:
    """Return the part of the model card that only this script knows."""
    return {
        "name": arguments.name,
        "version": arguments.version,
        "task": "pre-contrast from post-contrast T1-weighted brain scans",
        "method": "sphere",
        "network": {"name": NETWORK, "arguments": options},
        "inputs": {"post": f"{SEEN} axial slices 1 mm apart, pixels of about 1 mm"},
        "normalisation": "mean",
        "trained_on_virtual_patients": shows_virtual(arguments),
        "training": {
            **mixture_record(arguments, [pair.patient for pair in learnt], others),
            "losses": WEIGHTS,
            "chosen_by": "highest mean share - mean left of the held-out patients",
        },
        "not_as_in_the_paper": "A residual U-Net with losses of its own instead of the three "
        "networks and losses of the paper; sphere_paper has those.",
        "limits": "Brains after gadolinium, T1-weighted. "
        "Not for diagnosis: enhancement may be left over, or tissue darkened that is bright "
        "without agent.",
    }


if __name__ == "__main__":
    try:
        main()
    except ContrastSynthError as error:
        sys.exit(str(error))
