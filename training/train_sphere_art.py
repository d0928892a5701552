"""Train SPHERE-Art, or a direct baseline of it, to take artefacts out of pre-contrast slices.

    python training/train_sphere_art.py --data POOL --sphere runs/sphere/bundle \
        --out runs/sphere_art --minutes 60

SPHERE-Art contains a trained SPHERE, which stays as it is. Its seven routes (images that it makes
on the way, each from other parts) are compared by L1 and SSIM, all with the same weight: our
choice, the paper gives none. What structure and contrast are, the paper leaves open; here contrast
is the image without detail under a few millimetres, and structure that detail. Baselines
(``--network``) see the same slices and have as many parameters. Stop it and start it again with
the same ``--out``: it goes on.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import torch
from data.slabs import NEIGHBOURS
from data.slices import batches
from loop import Average, Learner, add_common_arguments, rate_at, start, train
from monai.networks.layers import GaussianFilter
from torch import Tensor, nn

from ContrastSynthLib.losses import l1_loss, ssim_loss
from ContrastSynthLib.methods.sphere_art import CONTRAST_MM
from ContrastSynthLib.networks import build_network
from ContrastSynthLib.networks.baselines import ARCHITECTURES, parameters_of, width_for
from ContrastSynthLib.networks.sphere_art import ROUTES, SphereArt
from ContrastSynthLib.weights.bundles import find_bundle, read_bundle
from ContrastSynthLib.weights.storage import load_state

WEIGHTS = {"l1": 1.0, "ssim": 1.0}
"""Of each route: our choice."""
DATA_RANGE = 2.0
"""What SSIM takes for the span of intensities, in means of the brain: our choice."""
CONTRAST_SIGMA = CONTRAST_MM
"""In pixels, which are of about 1 mm."""


def main() -> None:
    """Train, and keep the average of the weights as a bundle in ``OUT/bundle``."""
    arguments = read_arguments()
    fabric = start(arguments)
    name, options, network = make_network(arguments)
    network = fabric.to_device(network)
    average = Average(network)
    trained = [p for key, p in network.named_parameters() if not key.startswith("sphere.")]
    adam = torch.optim.AdamW(trained, lr=arguments.learning_rate, weight_decay=1e-4)
    learner = Learner(fabric, network, adam, max_norm=5.0)
    if name == "sphere_art":
        learner.network.mark_forward_method("routes")
    smooth = fabric.to_device(GaussianFilter(spatial_dims=2, sigma=CONTRAST_SIGMA))

    def learn(batch: dict[str, Tensor], progress: float) -> dict[str, Tensor]:
        """Take one step; return the terms of the loss."""
        terms = compare(learner.network, name, batch, smooth)
        loss = sum(WEIGHTS[term.split()[0]] * value for term, value in terms.items())
        learner.descend(loss, arguments.learning_rate * rate_at(progress))
        return terms

    card = card_of(arguments, name, options)
    train(arguments, fabric, {"network": learner}, average, batches, learn, card)


def compare(
    network: Any, name: str, batch: dict[str, Tensor], smooth: nn.Module
) -> dict[str, Tensor]:
    """Return L1 and SSIM of each route against its own image of the clean pre scan."""
    given = torch.cat([batch["post"], batch["corrupted"]], dim=1)
    if name == "direct":
        made = {"pre": network(given)["pre"]}
    else:
        # SPHERE answers as it does in use: its batch statistics are not to change either.
        network.module.sphere.eval()
        made = {route: image for route, image in network.routes(given).items() if route in ROUTES}
    contrast = smooth(batch["second"])
    truth = {"contrast": contrast, "structure": batch["second"] - contrast}
    terms = {}
    for route, image in made.items():
        wanted = truth.get(route.split("_")[0], batch["second"])
        terms[f"l1 {route}"] = l1_loss(image, wanted)
        terms[f"ssim {route}"] = ssim_loss(image, wanted, data_range=DATA_RANGE)
    return terms


def make_network(arguments: argparse.Namespace) -> tuple[str, dict[str, Any], nn.Module]:
    """Return name, arguments and network, SPHERE-Art with the trained SPHERE in it."""
    sphere = read_bundle(arguments.sphere)
    options: dict[str, Any] = {
        "sphere": sphere.metadata["network"]["arguments"],
        "width": arguments.width,
    }
    network = SphereArt(**options)
    if arguments.network != "sphere_art":
        width = width_for(arguments.network, NEIGHBOURS + 1, parameters_of(network))
        options = {
            "architecture": arguments.network,
            "in_channels": NEIGHBOURS + 1,
            "width": width,
            "base": NEIGHBOURS,
        }
        return "direct", options, build_network("direct", options)
    if arguments.fine_tune:
        network.load_state_dict(load_state(find_bundle(arguments.fine_tune, "sphere_art")))
    network.sphere.load_state_dict(load_state(sphere))
    network.sphere.requires_grad_(False)
    return "sphere_art", options, network


def read_arguments() -> argparse.Namespace:
    """Return what the command line asks for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_common_arguments(parser)
    parser.add_argument("--sphere", type=Path, required=True, help="bundle of train_sphere.py")
    parser.add_argument("--network", choices=("sphere_art", *ARCHITECTURES), default="sphere_art")
    parser.add_argument("--width", type=int, default=8, help="features at the finest level")
    parser.add_argument("--name", default="sphere_art", help="of the weights")
    parser.add_argument("--version", default="1.0", help="of the weights")
    arguments = parser.parse_args()
    if arguments.fine_tune and arguments.network != "sphere_art":
        parser.error("--fine-tune goes on with SPHERE-Art only; baselines start anew")
    return arguments


def card_of(arguments: argparse.Namespace, name: str, options: dict[str, Any]) -> dict[str, Any]:
    """Return the part of the model card that only this script knows."""
    return {
        "name": arguments.name,
        "version": arguments.version,
        "task": "clean pre-contrast from a corrupted one and the post-contrast scan, brain",
        "method": "sphere_art",
        "network": {"name": name, "arguments": options},
        "inputs": {
            "post": f"{NEIGHBOURS} axial slices 1 mm apart, pixels of about 1 mm",
            "corrupted": "the middle one of these slices of the corrupted pre-contrast scan",
        },
        "normalisation": "mean, each scan by its own",
        "training": {
            "losses": WEIGHTS,
            "sphere": read_bundle(arguments.sphere).id,
        },
        "limits": "Virtual artefacts are motion, aliasing and zippers made by the library. "
        "Brains after gadolinium, T1-weighted. Not for diagnosis.",
    }


if __name__ == "__main__":
    main()
