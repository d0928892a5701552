"""Train one of the four networks of LIP-CAR: two forward operators, two direct ones.

    python training/dose_slices.py POOL --patients 200
    python training/train_lip_car.py --task ph2l --data POOL --out runs/ph2l --minutes 20

``h2l`` and ``ph2l`` go from the full dose to the low one (eq. 3 and 7), ``l2h`` and ``pl2h`` from
the low dose to the full one (eq. 2 and 5); those with a ``p`` see the pre scan as well. The loss
is 1 - SSIM (eq. 11), the optimiser Adam. ``--preset paper`` is the paper's width, batch and rate.
Stop it and start it again with the same ``--out``: it goes on. A hospital's own data:
``--data PREPARED --fine-tune ph2l``.
"""

from __future__ import annotations

import argparse
from typing import Any

import torch
from common import (
    Average,
    Clock,
    Curves,
    add_common_arguments,
    fast_layout,
    load_checkpoint,
    rate_at,
    save_checkpoint,
    shared_progress,
    start,
    stream,
    write_bundle,
)
from ContrastSynthLib.inference.networks import load_network
from dose_slices import DOSE, batches
from torch import Tensor, nn

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
"""What each network sees, the scan that is to change last, and what it aims at."""
DIRECT = ("l2h", "pl2h")
PAPER = {"width": 12, "batch": 16, "learning_rate": 1e-3, "weigh_l1": 0.0, "base": False}


def main() -> None:
    """Train, and keep the average of the weights as a bundle in ``OUT/bundle``."""
    arguments = read_arguments()
    fabric = start(arguments)
    options, network = make_network(arguments)
    average = Average(fabric.to_device(network))
    optimiser = torch.optim.Adam(network.parameters(), lr=arguments.learning_rate)
    network, optimiser = fabric.setup(fast_layout(network), optimiser)
    clock, checkpoint = Clock(arguments, fabric.device), arguments.out / "checkpoint.pt"
    parts = {"network": network, "average": average.network, "optimiser": optimiser}
    if load_checkpoint(checkpoint, clock, **parts):
        average.updates = clock.step
    examples = stream(arguments, fabric, clock, source=batches)
    curves = Curves(arguments.out, clock.step) if fabric.is_global_zero else None
    while (progress := shared_progress(fabric, clock)) < 1:
        for group in optimiser.param_groups:
            group["lr"] = arguments.learning_rate * rate_at(progress)
        terms = learn(fabric, network, optimiser, next(examples), arguments)
        average.update(network)
        clock.step += 1
        if curves is None:
            continue
        curves.add(clock.step, terms)
        if clock.step % arguments.keep_every == 0:
            save_checkpoint(checkpoint, clock, **parts)
            keep(arguments, options, average, clock, fabric.device)
    if curves is not None:
        save_checkpoint(checkpoint, clock, **parts)
        keep(arguments, options, average, clock, fabric.device)


def learn(
    fabric: Any,
    network: Any,
    optimiser: Any,
    batch: dict[str, Tensor],
    arguments: argparse.Namespace,
) -> dict[str, float]:
    """Take one step; return the terms of the loss."""
    seen, aim = TASKS[arguments.task]
    made = network(torch.cat([batch[role] for role in seen], dim=1))
    with fabric.autocast():
        ssim = ssim_loss(made, batch[aim], data_range=1.0)
        l1 = l1_loss(made, batch[aim])
    loss = ssim + arguments.weigh_l1 * l1
    optimiser.zero_grad()
    fabric.backward(loss)
    fabric.clip_gradients(network, optimiser, max_norm=5.0, error_if_nonfinite=False)
    optimiser.step()
    return {"ssim": ssim.item(), "l1": l1.item()}


def read_arguments() -> argparse.Namespace:
    """Return what was asked for; ``--preset paper`` comes before what is given beside it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_common_arguments(parser)
    parser.set_defaults(learning_rate=1e-3, batch=8)
    parser.add_argument("--task", choices=tuple(TASKS), required=True)
    parser.add_argument("--preset", choices=("paper",), help="width, batch, rate as published")
    parser.add_argument("--width", type=int, default=6, help="features at the finest level")
    parser.add_argument(
        "--weigh-l1", type=float, default=0.5, help="SSIM alone says little of a level; paper: 0"
    )
    parser.add_argument(
        "--base",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="add the answer to the scan that is to change; the paper does not",
    )
    parser.add_argument("--dose", type=float, default=DOSE, help="of the low scans, for the card")
    parser.add_argument("--keep-every", type=int, default=500, help="steps between checkpoints")
    parser.add_argument("--version", default="1.0")
    chosen, _ = parser.parse_known_args()
    if chosen.preset == "paper":
        parser.set_defaults(**PAPER)
    return parser.parse_args()


def make_network(arguments: argparse.Namespace) -> tuple[dict[str, Any], nn.Module]:
    """Return the arguments of the network and the network."""
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


def keep(
    arguments: argparse.Namespace,
    options: dict[str, Any],
    average: Average,
    clock: Clock,
    device: Any,
) -> None:
    """Write the average of the weights with their model card."""
    seen, aim = TASKS[arguments.task]
    direct = arguments.task in DIRECT
    card = {
        "name": arguments.task,
        "version": arguments.version,
        "task": f"{aim} from {' and '.join(seen)}, T1-weighted brain scans",
        "method": "direct_low_to_full" if direct else "lip_car",
        "network": {"name": "vnet", "arguments": options},
        "inputs": {role: "one axial slice, pixels of about 1 mm" for role in seen},
        "normalisation": "low_dose",
        "dose": arguments.dose,
        "training": {"losses": {"ssim": 1.0, "l1": arguments.weigh_l1}},
        "limits": f"Brains, T1-weighted, a low dose of {arguments.dose:g} of the full one. Not "
        "for diagnosis: enhancement may be missed or invented.",
    }
    write_bundle(arguments, average.network, card, clock, device)


if __name__ == "__main__":
    main()
