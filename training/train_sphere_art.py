"""Train SPHERE-Art, or a direct baseline of it, to take artefacts out of pre-contrast slices.

    python training/train_sphere_art.py --data POOL --sphere runs/sphere/bundle \
        --out runs/sphere_art --minutes 60

``--sphere`` names trained weights of the method sphere, whichever network they are of: as they
are, they make the synthetic pre scan of each batch, which SPHERE-Art sees beside the corrupted one.
Its seven routes (images that it makes on the way, each from other parts) are compared by L1 and
SSIM, all with the same weight: our choice, the paper gives none. What structure and contrast are,
the paper leaves open; here contrast is the image without detail under a few millimetres, and
structure that detail. Baselines (``--network``) see the post scan that SPHERE sees, and the
corrupted one, and have as many parameters as SPHERE and SPHERE-Art together. Stop it and start it
again with the same ``--out``: it goes on.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from data.slices import batches
from evaluation.held_out_slices import judge_cleaned, read_examples
from loop import Average, Learner, add_common_arguments, rate_at, start, train
from monai.networks.layers import GaussianFilter
from torch import Tensor, nn

from ContrastSynthLib.errors import ContrastSynthError
from ContrastSynthLib.inference.networks import load_network, slices_seen
from ContrastSynthLib.losses import l1_loss, ssim_loss
from ContrastSynthLib.methods.sphere_art import CONTRAST_MM
from ContrastSynthLib.networks import build_network
from ContrastSynthLib.networks.baselines import ARCHITECTURES, parameters_of, width_for
from ContrastSynthLib.networks.sphere_art import ROUTES
from ContrastSynthLib.weights.bundles import Bundle, find_bundle
from ContrastSynthLib.weights.storage import load_state

Images = dict[str, Tensor]
"""Images by their names, (n, 1, rows, cols): a batch, or what the network made."""
WEIGHTS = {"l1": 1.0, "ssim": 1.0}
"""Of each route: our choice."""
DATA_RANGE = 2.0
"""What SSIM takes for the span of intensities, in means of the brain: our choice."""
CONTRAST_SIGMA = CONTRAST_MM
"""In pixels, which are of about 1 mm."""
BASELINES = tuple(name for name in ARCHITECTURES if name != "biceps")
"""BICEPS learns from pre and post, neither of which a corrupted scan is."""
LEAST_MEAN = 0.1
"""Of a synthetic scan, in means of the post scan: one below is no scan to divide by its mean."""


def main() -> None:
    """Train, and keep the average of the weights as a bundle in ``OUT/bundle``."""
    arguments = read_arguments()
    parent = find_bundle(arguments.sphere, "sphere")
    seen = slices_seen(parent.metadata["network"]["arguments"])
    fabric = start(arguments)
    sphere = load_network(parent)
    name, options, network = make_network(arguments, parameters_of(sphere), seen)
    # SPHERE answers as it does in use: its batch statistics are not to change either.
    sphere = fabric.to_device(sphere.eval().requires_grad_(False))
    network = fabric.to_device(network)
    average = Average(network)
    adam = torch.optim.AdamW(network.parameters(), lr=arguments.learning_rate, weight_decay=1e-4)
    learner = Learner(fabric, network, adam, max_norm=5.0)
    if name == "sphere_art":
        learner.network.mark_forward_method("routes")
    smooth = fabric.to_device(GaussianFilter(spatial_dims=2, sigma=CONTRAST_SIGMA))

    def learn(batch: Images, progress: float) -> dict[str, Tensor]:
        """Take one step; return the terms of the loss."""
        if name == "sphere_art":
            batch = stripped(batch)
            with fabric.autocast():
                given = seen_by_art(sphere, batch)
            routes = learner.network.routes(given)
            terms = compare({route: routes[route] for route in ROUTES}, batch, smooth)
        else:
            given = torch.cat([batch["post"], batch["corrupted"]], dim=1)
            terms = compare({"pre": learner.network(given)["pre"]}, batch, smooth)
        loss = sum(WEIGHTS[term.split()[0]] * value for term, value in terms.items())
        learner.descend(loss, arguments.learning_rate * rate_at(progress))
        return terms

    source = partial(batches, neighbours=seen)
    card = card_of(arguments, name, options, parent)
    judged = judge_of(arguments, sphere, name, seen) if arguments.validation else None
    train(arguments, fabric, {"network": learner}, average, source, learn, card, judge=judged)


def judge_of(
    arguments: argparse.Namespace, sphere: nn.Module, name: str, seen: int
) -> Callable[[nn.Module], dict[str, float]]:
    """Return what measures a network on the slabs of ``--validation``."""
    examples = read_examples(arguments.validation, arguments.crop, neighbours=seen)
    device = next(sphere.parameters()).device
    stacks = {role: np.stack([example[role] for example in examples]) for role in examples[0]}
    batch = {role: torch.from_numpy(stack).to(device) for role, stack in stacks.items()}
    if name == "sphere_art":
        given = seen_by_art(sphere, stripped(batch))
    else:
        given = torch.cat([batch["post"], batch["corrupted"]], dim=1)
    return partial(judge_cleaned, given=given.cpu().numpy(), examples=examples)


def seen_by_art(sphere: Callable[[Tensor], Images], batch: Images) -> Tensor:
    """Return the synthetic and the corrupted scan (n, 2, rows, cols) of a stripped batch."""
    return torch.cat([synthetic_of(sphere, batch), batch["corrupted"]], dim=1)


def stripped(batch: Images) -> Images:
    """Return the batch with 0 outside the brain, as the networks see a scan in use."""
    scans = ("post", "second", "corrupted")
    return batch | {role: batch[role] * batch["brain"] for role in scans}


@torch.no_grad()
def synthetic_of(sphere: Callable[[Tensor], Images], batch: Images) -> Tensor:
    """Return the pre scan that SPHERE makes of the post scan, divided by its mean in the brain."""
    made = sphere(batch["post"])["pre"].float()
    brain = batch["brain"]
    mean = (made * brain).sum(dim=(1, 2, 3), keepdim=True) / brain.sum(
        dim=(1, 2, 3), keepdim=True
    ).clamp(min=1)
    return made / torch.where(mean > LEAST_MEAN, mean, torch.ones_like(mean))


def compare(made: Images, batch: Images, smooth: nn.Module) -> dict[str, Tensor]:
    """Return L1 and SSIM of each route against its own image of the clean pre scan."""
    contrast = smooth(batch["second"])
    truth = {"contrast": contrast, "structure": batch["second"] - contrast}
    terms = {}
    for route, image in made.items():
        wanted = truth.get(route.split("_")[0], batch["second"])
        terms[f"l1 {route}"] = l1_loss(image, wanted)
        terms[f"ssim {route}"] = ssim_loss(image, wanted, data_range=DATA_RANGE)
    return terms


def make_network(
    arguments: argparse.Namespace, parameters: int, seen: int
) -> tuple[str, dict[str, Any], nn.Module]:
    """Return name, arguments and network.

    ``parameters`` are those of SPHERE, which sees ``seen`` slices of the post scan.
    """
    options: dict[str, Any] = {"width": arguments.width}
    network = build_network("sphere_art", options)
    if arguments.network != "sphere_art":
        width = width_for(arguments.network, seen + 1, parameters + parameters_of(network))
        options = {
            "architecture": arguments.network,
            "in_channels": seen + 1,
            "width": width,
            "base": seen,
        }
        return "direct", options, build_network("direct", options)
    if arguments.fine_tune:
        state = load_state(find_bundle(arguments.fine_tune, "sphere_art"))
        # Weights of version 1.1 and older have a SPHERE inside.
        network.load_state_dict({k: v for k, v in state.items() if not k.startswith("sphere.")})
    return "sphere_art", options, network


def read_arguments() -> argparse.Namespace:
    """Return what the command line asks for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_common_arguments(parser)
    parser.add_argument(
        "--sphere", required=True, help="trained weights of sphere: a name, an id or a folder"
    )
    parser.add_argument("--network", choices=("sphere_art", *BASELINES), default="sphere_art")
    parser.add_argument("--width", type=int, default=8, help="features at the finest level")
    parser.add_argument(
        "--validation", type=Path, help="slabs of other patients to measure on while training"
    )
    parser.add_argument("--name", default="sphere_art", help="of the weights")
    parser.add_argument("--version", default="1.0", help="of the weights")
    arguments = parser.parse_args()
    if arguments.fine_tune and arguments.network != "sphere_art":
        parser.error("--fine-tune goes on with SPHERE-Art only; baselines start anew")
    return arguments


def card_of(
    arguments: argparse.Namespace, name: str, options: dict[str, Any], parent: Bundle
) -> dict[str, Any]:
    """Return the part of the model card that only this script knows; ``parent`` is SPHERE's."""
    seen = slices_seen(parent.metadata["network"]["arguments"])
    post = {"post": f"{seen} axial slices 1 mm apart, pixels of about 1 mm"}
    synthetic = {"synthetic": "one axial slice of what SPHERE makes, pixels of about 1 mm"}
    return {
        "name": arguments.name,
        "version": arguments.version,
        "task": "clean pre-contrast from a corrupted one and the post-contrast scan, brain",
        "method": "sphere_art",
        "network": {"name": name, "arguments": options},
        "inputs": {
            **(synthetic if name == "sphere_art" else post),
            "corrupted": "the same slice, or the middle one, of the corrupted pre-contrast scan",
        },
        "normalisation": "mean, each scan by its own",
        "training": {
            "losses": WEIGHTS,
            "sphere": {"id": parent.id, "sha256": parent.sha256},
        },
        "not_as_in_the_paper": "The refinement of the corrupted scan also sees the synthetic "
        "scan; the result is a change of the refined scan; the synthetic scan is that of other "
        "weights of sphere, which stay as they are; the seven routes weigh the same, since the "
        "paper gives no weights.",
        "limits": "Virtual artefacts are those of the library: motion, aliasing, zippers, "
        "ringing, streaks. Brains after gadolinium, T1-weighted. Not for diagnosis.",
    }


if __name__ == "__main__":
    try:
        main()
    except ContrastSynthError as error:
        sys.exit(str(error))
