r"""Train one of the four networks of LIP-CAR: two forward operators and two direct networks.

    python training/make_slabs.py doses --for lip_car --patients 110 --first-seed 20000
    python training/make_slabs.py doses_real --for lip_car --pairs PAIRS
    python training/train_lip_car.py --task ph2l --data doses --real doses_real --out runs/ph2l \
        --minutes 20

The forward operators ``h2l`` and ``ph2l`` make the low dose from the full one (eq. 3 and 7), the
direct networks ``l2h`` and ``pl2h`` the full dose from the low one (eq. 2 and 5); those with a
``p`` see the pre-contrast scan as well. The low dose of a direct network is the scan, that of a
forward operator the scan after denoising; ``--low`` says otherwise, so that each row of the paper's
Table 1 can have a network of its own. The loss is 1 - SSIM (eq. 11) and a share of L1, the
optimiser Adam. ``--preset paper`` takes what the paper says of network and training,
``authors_code`` what the authors' code has instead. Stop it and start it again with the same
``--out``: it goes on. Data of your own: ``--data PREPARED --fine-tune ph2l``.

With ``--real``, slabs of real pairs whose low dose is simulated (``data/dose_pairs.py``),
``--real-share`` of the examples come from them. Every ``--keep-every`` steps the averaged weights
are measured on the patients held out of them (``evaluation/held_out_doses.py``), and those with the
highest score stay in ``OUT/best``: 1 less the mean of two figures, the loss of the training and the
mean absolute error inside the uptake, each relative to returning the scan that is to be changed.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from data import DOSE
from data.dose_pairs import RECORD, PairSlabs
from data.dose_slices import batches
from data.pair_options import add_source
from data.prepared_cases import holds_pairs
from evaluation.held_out_doses import judge, read_cases
from loop import Average, Learner, add_common_arguments, parent_record, rate_at, start, train
from torch import Tensor, nn

from ContrastSynthLib.errors import ContrastSynthError, RequestError
from ContrastSynthLib.inference.networks import load_network
from ContrastSynthLib.losses import l1_loss, ssim_loss
from ContrastSynthLib.networks import build_network
from ContrastSynthLib.networks.baselines import parameters_of
from ContrastSynthLib.weights.bundles import look_up

TASKS = {
    "h2l": (("post",), "low"),
    "ph2l": (("pre", "post"), "low"),
    "l2h": (("low",), "post"),
    "pl2h": (("pre", "low"), "post"),
}
"""The scans that each network sees, the one that it is to change last, and the one to make."""
DIRECT = ("l2h", "pl2h")
LOW = {"scanned": "low", "denoised": "denoised"}
"""The low dose of a network, as ``--low`` names it and as ``data/dose_slices.py`` does."""
PAPER = {
    **{"width": 12, "batch": 16, "learning_rate": 1e-3, "weigh_l1": 0.0},
    **{"base": False, "fixed_rate": True},
}
PRESETS = {"paper": PAPER, "authors_code": {**PAPER, "learning_rate": 1e-4}}
"""The paper trains for 80 epochs, the code for 85: ``--steps`` is for the data at hand."""


def main() -> None:
    """Train, and keep the averaged weights in ``OUT/bundle``, with ``--real`` the best in
    ``OUT/best``."""
    arguments = read_arguments()
    real = read_real(arguments)
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
        share = 1.0 if arguments.fixed_rate else rate_at(progress)
        learner.descend(loss, arguments.learning_rate * share)
        return terms

    source = partial(batches, real=arguments.real, share=arguments.real_share)
    card = card_of(arguments, options, real)
    judged = judge_of(arguments, real) if real else None
    train(arguments, fabric, {"network": learner}, average, source, learn, card, judge=judged)


def loss_of(
    network: nn.Module, batch: dict[str, Tensor], arguments: argparse.Namespace
) -> tuple[Tensor, dict[str, Tensor]]:
    """Return the loss of a batch of images (n, 1, rows, cols), and its terms."""
    seen, wanted = roles_of(arguments)
    made = network(torch.cat([batch[role] for role in seen], dim=1))["image"]
    terms = compare(made, batch[wanted])
    return weighed(terms, arguments.weigh_l1), terms


def roles_of(arguments: argparse.Namespace) -> tuple[tuple[str, ...], str]:
    """Return the scans that the network sees, and the one to make, by the names of a batch."""
    seen, wanted = TASKS[arguments.task]
    named = {"low": LOW[arguments.low]}
    return tuple(named.get(role, role) for role in seen), named.get(wanted, wanted)


def compare(made: Tensor, wanted: Tensor) -> dict[str, Tensor]:
    """Return the terms of the loss between images (n, 1, rows, cols)."""
    return {"ssim": ssim_loss(made, wanted, data_range=1.0), "l1": l1_loss(made, wanted)}


def weighed(terms: dict[str, Tensor], weigh_l1: float) -> Tensor:
    """Return the loss of its terms."""
    return terms["ssim"] + weigh_l1 * terms["l1"]


def judge_of(
    arguments: argparse.Namespace, real: PairSlabs
) -> Callable[[nn.Module], dict[str, float]] | None:
    """Return what measures a network on the patients held out, or None where there are none."""
    files = [file for pair in real.held_out for file in real.files(arguments.real, pair)]
    cases = read_cases(files, *roles_of(arguments))
    print(
        f"{len(real.learnt)} pairs to learn from, "
        f"{len(cases)} slabs of {len(set(real.held_out.values()))} patients held out",
        flush=True,
    )

    def loss(made: Tensor, wanted: Tensor) -> Tensor:
        return weighed(compare(made, wanted), arguments.weigh_l1)

    return partial(judge, cases=cases, loss=loss) if cases else None


def read_real(arguments: argparse.Namespace) -> PairSlabs | None:
    """Return whose slabs ``--real`` holds. Raises RequestError for a folder that lacks some."""
    if arguments.data != "virtual" and (Path(arguments.data) / RECORD).exists():
        raise RequestError(f"{Path(arguments.data).name} holds slabs of pairs: give it as --real.")
    if arguments.real is None:
        return None
    real = PairSlabs.read(arguments.real)
    real.check_whole(arguments.real)
    return real


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
    """Return what the command line asks for; its options win over those of ``--preset``."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_common_arguments(parser)
    parser.set_defaults(learning_rate=1e-3, batch=8)
    parser.add_argument("--task", choices=tuple(TASKS), required=True)
    parser.add_argument("--preset", choices=tuple(PRESETS), help="as published, or as in the code")
    parser.add_argument(
        "--low", choices=tuple(LOW), help="the low dose: scanned (direct) or denoised (forward)"
    )
    parser.add_argument(
        "--fixed-rate",
        action=argparse.BooleanOptionalAction,
        default=False,
        help="one learning rate to the end, as the paper; else it falls",
    )
    parser.add_argument("--width", type=int, default=6, help="features at the finest level")
    parser.add_argument(
        "--weigh-l1",
        type=float,
        default=0.5,
        help="weight of the L1 term; SSIM alone hardly sees the level of intensities; paper: 0",
    )
    parser.add_argument("--real", type=Path, help="folder of make_slabs.py --for lip_car --pairs")
    parser.add_argument("--real-share", type=float, default=0.5, help="of examples from --real")
    add_source(parser)
    parser.add_argument(
        "--base",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="the network makes the change of the scan, not all of it; the paper does not",
    )
    parser.add_argument("--dose", type=float, default=DOSE, help="of the low scans, for the card")
    parser.add_argument("--version", default="1.0", help="of the weights")
    chosen, _ = parser.parse_known_args()
    parser.set_defaults(**PRESETS.get(chosen.preset, {}))
    arguments = parser.parse_args()
    if arguments.low is None:
        arguments.low = "scanned" if arguments.task in DIRECT else "denoised"
    if not 0 < arguments.real_share <= 1:
        parser.error("--real-share is above 0, and 1 for real pairs alone")
    return arguments


def card_of(
    arguments: argparse.Namespace, options: dict[str, Any], real: PairSlabs | None
) -> dict[str, Any]:
    """Return the part of the model card that only this script knows."""
    inputs, (seen, wanted) = TASKS[arguments.task][0], roles_of(arguments)
    parents = [look_up(arguments.fine_tune)] if arguments.fine_tune else []
    card = {
        "name": arguments.task,
        "version": arguments.version,
        "task": f"{wanted} from {' and '.join(seen)}, T1-weighted brain scans",
        "method": "direct_low_to_full" if arguments.task in DIRECT else "lip_car",
        "network": {"name": "vnet", "arguments": options},
        "inputs": dict.fromkeys(inputs, "one axial slice, pixels of about 1 mm"),
        "low_dose": arguments.low,
        "normalisation": "low_dose",
        "dose": arguments.dose,
        "training": {
            "losses": {"ssim": 1.0, "l1": arguments.weigh_l1},
            "parents": [parent_record(bundle) for bundle in parents],
        },
        "limits": f"Brains, T1-weighted, a low dose of {arguments.dose:g} of the full one. Not "
        "for diagnosis: enhancement may be missed or invented.",
    }
    if real:
        others = arguments.real_share < 1 and holds_pairs(arguments.data)
        virtual = arguments.real_share < 1 and not others
        from_virtual = any(bundle.metadata["trained_on_virtual_patients"] for bundle in parents)
        card["trained_on_virtual_patients"] = virtual or from_virtual
        card["training"] |= data_of(arguments, real, virtual=virtual, others=others)
        card["limits"] += " The low dose of the real pairs was simulated."
    return card


def data_of(
    arguments: argparse.Namespace, real: PairSlabs, *, virtual: bool, others: bool
) -> dict[str, Any]:
    """Return what the card says of the data: pairs, and perhaps virtual or ``others`` patients."""
    patients = len(set(real.learnt.values()))
    data = (
        f"{len(real.learnt)} pairs of scans of {patients} patients "
        f"({arguments.source}), their low dose simulated"
    )
    licence = f"pairs: {arguments.terms}"
    if virtual:
        data, licence = f"{data}, and virtual brains", f"{licence}; virtual brains: Apache-2.0"
    if others:
        data, licence = f"{data}, and scans with a low dose", f"{licence}; the others: not stated"
    return {
        "data": data,
        "data_licence": licence,
        "real_patients": patients,
        "held_out_patients": sorted(set(real.held_out.values())),
        "chosen_by": "highest 1 - (mean loss + mean left) / 2 of the held-out patients",
    }


if __name__ == "__main__":
    try:
        main()
    except ContrastSynthError as error:
        sys.exit(str(error))
