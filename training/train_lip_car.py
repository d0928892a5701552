"""Train one of the four networks of LIP-CAR: two forward operators and two direct networks.

    python training/make_slabs.py doses --for lip_car --patients 200
    python training/train_lip_car.py --task ph2l --data doses --out runs/ph2l --minutes 20

The forward operators ``h2l`` and ``ph2l`` make the low dose from the full one (eq. 3 and 7), the
direct networks ``l2h`` and ``pl2h`` the full dose from the low one (eq. 2 and 5); those with a
``p`` see the pre-contrast scan as well. The loss is 1 - SSIM (eq. 11) and a share of L1, the
optimiser Adam. ``--preset paper`` takes the width, batch and rate of the paper. Stop it and start
it again with the same ``--out``: it goes on. Data of your own: ``--data PREPARED --fine-tune
ph2l``.
"""

from __future__ import annotations

import argparse
from typing import Any

import torch
from data import DOSE
from data.dose_slices import batches
from loop import Average, Learner, add_common_arguments, rate_at, start, train
from torch import Tensor, nn

from ContrastSynthLib.inference.networks import load_network
from ContrastSynthLib.losses import l1_loss, ssim_loss
from ContrastSynthLib.networks import build_network
from ContrastSynthLib.networks.baselines import parameters_of
from ContrastSynthLib.weights.bundles import look_up

TASKS = {
    "h2l": (("post",), "denoised"),
    "ph2l": (("pre", "post"), "denoised"),
    "l2h": (("low",), "post"),
    "pl2h": (("pre", "low"), "post"),
}
"""The scans that each network sees, the one that it is to change last, and the one to make."""
DIRECT = ("l2h", "pl2h")
PAPER = {"width": 12, "batch": 16, "learning_rate": 1e-3, "weigh_l1": 0.0, "base": False}


def main() -> None:
    """Train, and keep the average of the weights as a bundle in ``OUT/bundle``."""
    arguments = read_arguments()
    fabric = start(arguments)
    options, network = make_network(arguments)
    network = fabric.to_device(network)
    average = Average(network)
    adam = torch.optim.Adam(network.parameters(), lr=arguments.learning_rate)
    learner = Learner(fabric, network, adam, max_norm=5.0)

    def learn(batch: dict[str, Tensor], progress: float) -> dict[str, Tensor]:
        """Take one step; return the terms of the loss."""
        with fabric.autocast():
            loss, terms = loss_of(learner.network, batch, arguments)
        learner.descend(loss, arguments.learning_rate * rate_at(progress))
        return terms

    card = card_of(arguments, options)
    train(arguments, fabric, {"network": learner}, average, batches, learn, card)


def loss_of(
    network: nn.Module, batch: dict[str, Tensor], arguments: argparse.Namespace
) -> tuple[Tensor, dict[str, Tensor]]:
    """Return the loss of a batch of images (n, 1, rows, cols), and its terms."""
    seen, wanted = TASKS[arguments.task]
    made = network(torch.cat([batch[role] for role in seen], dim=1))["image"]
    terms = {
        "ssim": ssim_loss(made, batch[wanted], data_range=1.0),
        "l1": l1_loss(made, batch[wanted]),
    }
    return terms["ssim"] + arguments.weigh_l1 * terms["l1"], terms


def make_network(arguments: argparse.Namespace) -> tuple[dict[str, Any], nn.Module]:
    """Return the arguments of the network and the network.

    Ends the script with a message for weights of another task.
    """
    seen, _ = TASKS[arguments.task]
    options = {
        "in_channels": len(seen),
        "width": arguments.width,
        "base": len(seen) - 1 if arguments.base else None,
    }
    if arguments.fine_tune:
        bundle = look_up(arguments.fine_tune)
        if bundle.name != arguments.task:
            raise SystemExit(f"{bundle.id} are not weights of {arguments.task}: give other ones")
        return bundle.metadata["network"]["arguments"], load_network(bundle)
    network = build_network("vnet", options)
    print(f"{arguments.task}: {parameters_of(network)} parameters, {options}", flush=True)
    return options, network


def read_arguments() -> argparse.Namespace:
    """Return what the command line asks for; its options win over those of ``--preset paper``."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_common_arguments(parser)
    parser.set_defaults(learning_rate=1e-3, batch=8)
    parser.add_argument("--task", choices=tuple(TASKS), required=True)
    parser.add_argument("--preset", choices=("paper",), help="width, batch and rate as published")
    parser.add_argument("--width", type=int, default=6, help="features at the finest level")
    parser.add_argument(
        "--weigh-l1",
        type=float,
        default=0.5,
        help="weight of the L1 term; SSIM alone hardly sees the level of intensities; paper: 0",
    )
    parser.add_argument(
        "--base",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="the network makes the change of the scan, not all of it; the paper does not",
    )
    parser.add_argument("--dose", type=float, default=DOSE, help="of the low scans, for the card")
    parser.add_argument("--version", default="1.0", help="of the weights")
    chosen, _ = parser.parse_known_args()
    if chosen.preset == "paper":
        parser.set_defaults(**PAPER)
    return parser.parse_args()


def card_of(arguments: argparse.Namespace, options: dict[str, Any]) -> dict[str, Any]:
    """Return the part of the model card that only this script knows."""
    seen, wanted = TASKS[arguments.task]
    return {
        "name": arguments.task,
        "version": arguments.version,
        "task": f"{wanted} from {' and '.join(seen)}, T1-weighted brain scans",
        "method": "direct_low_to_full" if arguments.task in DIRECT else "lip_car",
        "network": {"name": "vnet", "arguments": options},
        "inputs": {role: "one axial slice, pixels of about 1 mm" for role in seen},
        "normalisation": "low_dose",
        "dose": arguments.dose,
        "training": {"losses": {"ssim": 1.0, "l1": arguments.weigh_l1}},
        "limits": f"Brains, T1-weighted, a low dose of {arguments.dose:g} of the full one. Not "
        "for diagnosis: enhancement may be missed or invented.",
    }


if __name__ == "__main__":
    main()
