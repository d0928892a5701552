"""Train the high-resolution FCN: contrast enhancement from scans without an agent.

    python training/make_slabs.py scans --for hrfcn --patients 100 --first-seed 50000
    python training/make_slabs.py scans_real --for hrfcn --pairs PAIRS
    python training/train_hrfcn.py --data scans --real scans_real --out runs/hrfcn --minutes 60

Scans are left out of examples at random, so that one network serves any of them (Table III), and
``--inputs`` may name fewer from the start. The loss is L1 + (1 - SSIM) + w local loss. The paper
has w = 1, and a second stage, the last fifth, with weights of 0.1, 0.1 and 10 at a tenth of the
rate (``--two-stages``). Since the local loss is a mean over the few voxels that enhance, it then
weighs an error there many times one elsewhere, and much that does not enhance is made bright:
w = 0.1 in one stage is our choice. ``--preset paper`` takes loss and network of the paper, whose
output is not added to T1; ``--network bayesian_unet`` the U-Net with dropout that it is compared
with, ``--dropout 0`` one without; ``--flat`` either of them in two dimensions; ``--preset
authors_code`` differs from the paper's in four branches, of which two are joined, multi-scale SSIM,
and a local loss without vessels. ``--no-fusion`` and ``--squared`` are ablations of our own. Stop
it and start it again with the same ``--out``: it goes on.

Every ``--keep-every`` steps the averaged weights are measured on slices of the patients held out of
``--real`` (``evaluation/held_out_hrfcn.py``), and the best stay in ``OUT/best``.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch
from data.dose_pairs import HELD_OUT
from data.enhance_slabs import SCANS, EnhanceSlices
from data.pair_options import add_same_patient, add_source, patient_of
from data.slabs import in_batches
from evaluation.held_out_hrfcn import judge, read_cases
from loop import Average, Learner, add_common_arguments, rate_at, start, train
from torch import Tensor, nn

from ContrastSynthLib.errors import ContrastSynthError
from ContrastSynthLib.losses import l1_loss, local_loss, ms_ssim_loss, ssim_loss
from ContrastSynthLib.networks import build_network
from ContrastSynthLib.networks.baselines import parameters_of
from ContrastSynthLib.networks.bayesian_unet import DROPOUT
from ContrastSynthLib.networks.hrfcn import NORMS

Batch = dict[str, Tensor]
UNET = "bayesian_unet"
DEPTH = 3
"""Slices of an example: the paper's slabs."""
SECOND_STAGE = 0.8
"""Share of the training after which it begins: 40 of 50 epochs."""
FIRST = "first stage"
STAGES = {
    FIRST: {"l1": 1.0, "ssim": 1.0, "local": 1.0},
    "second stage": {"l1": 0.1, "ssim": 0.1, "local": 10.0},
}
SECOND_RATE = 0.1
"""Rate of the second stage, as a share of that of the first."""
ERRORS = {False: ("l1", l1_loss, 1.0), True: ("squared", nn.functional.mse_loss, 10.0)}
"""Name, loss and weight without and with ``--squared``: both are equal for errors of 0.1."""
OWN = {
    "hrfcn": {"blocks": 2, "norm": "instance", "joined": None, "fused": True},
    UNET: {"dropout": DROPOUT},
}
"""Arguments that one network alone has, and what they are unless they are given."""
PAPER = {
    **{"widths": (64, 128, 256), "blocks": 4, "crop": 192, "batch": 3},
    **{
        "learning_rate": 1e-4,
        "base": False,
        "norm": "batch",
        "weigh_local": 1.0,
        "two_stages": True,
    },
}
AUTHORS_CODE = {"widths": (32, 64, 128, 256), "joined": 2, "multi_scale": True, "most": 0.6}
PRESETS = {"paper": PAPER, "authors_code": PAPER | AUTHORS_CODE}


def main() -> None:
    """Train, and keep the averaged weights in ``OUT/bundle`` and the best in ``OUT/best``."""
    arguments = read_arguments()
    fabric = start(arguments)
    options = options_of(arguments)
    network = build_network(arguments.network, options)
    print(f"{parameters_of(network)} parameters, {options}", flush=True)
    network = fabric.to_device(network)
    average = Average(network)
    adam = torch.optim.Adam(network.parameters(), lr=arguments.learning_rate)
    learner = Learner(fabric, network, adam, max_norm=5.0)
    stages = [*stages_of(arguments).values()]

    def learn(batch: Batch, progress: float) -> dict[str, Tensor]:
        """Take one step; return the terms of the loss."""
        second = arguments.two_stages and progress >= SECOND_STAGE
        with fabric.autocast():
            terms = compare(learner.network, batch, arguments)
        loss = torch.stack([stages[second][name] * term for name, term in terms.items()]).sum()
        rate = arguments.learning_rate * (SECOND_RATE if second else rate_at(progress))
        learner.descend(loss, rate)
        return {name: term.detach() for name, term in terms.items()}

    source = partial(batches, arguments)
    files = sorted((arguments.real / HELD_OUT).glob("*.npy")) if arguments.real else []
    cases = read_cases(files, arguments.inputs)
    judged = partial(judge, cases=cases) if cases else None
    card = card_of(arguments, options, files)
    train(arguments, fabric, {"network": learner}, average, source, learn, card, judge=judged)


def stages_of(arguments: argparse.Namespace) -> dict[str, dict[str, float]]:
    """Return the weights of the terms of the loss in each stage of the training, by its name."""
    error, _, weight = ERRORS[arguments.squared]
    return {
        name: {
            error: stage["l1"] * weight,
            "ssim": stage["ssim"],
            "local": stage["local"] * arguments.weigh_local,
        }
        for name, stage in STAGES.items()
        if arguments.two_stages or name == FIRST
    }


def compare(network: nn.Module, batch: Batch, arguments: argparse.Namespace) -> dict[str, Tensor]:
    """Return the terms of the loss of a batch of slabs (n, ..., slices, rows, columns)."""
    scans, t1, post = (batch[name] for name in ("scans", "t1", "post"))
    made = network(scans)["post"]
    slices = (image.transpose(1, 2).flatten(0, 1) for image in (made, post))
    compare_slices = ms_ssim_loss if arguments.multi_scale else ssim_loss
    error, compare_voxels, _ = ERRORS[arguments.squared]
    return {
        error: compare_voxels(made, post),
        "ssim": compare_slices(*slices, data_range=1.0),
        "local": local_loss(made, post, t1, most=arguments.most),
    }


def batches(
    arguments: argparse.Namespace, data: str, *, crop: int, batch: int, seed: int, workers: int
) -> Iterator[Batch]:
    """Yield batches for ever, of the slabs in ``data`` and those of real pairs."""
    virtual = sorted(Path(data).glob("*.npy"))
    pairs = sorted(arguments.real.glob("*.npy")) if arguments.real else []
    share = arguments.real_share if pairs else 0.0
    examples = EnhanceSlices(
        virtual, pairs, real=share, depth=DEPTH, crop=crop, roles=arguments.inputs, seed=seed
    )
    return in_batches(examples, batch, workers)


# ---- arguments


def options_of(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the arguments of the network."""
    base = 0 if arguments.base and arguments.inputs[0] == "t1" else None
    shared = {
        **{"inputs": list(arguments.inputs), "widths": list(arguments.widths), "base": base},
        "dimensions": 2 if arguments.flat else 3,
    }
    return {**shared, **{name: getattr(arguments, name) for name in OWN[arguments.network]}}


def read_arguments() -> argparse.Namespace:
    """Return what the command line asks for; its options win over those of ``--preset paper``."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_common_arguments(parser)
    parser.set_defaults(crop=96, batch=3, learning_rate=1e-3)
    add = parser.add_argument
    add("--preset", choices=tuple(PRESETS), help="network, loss, crop, batch and rate as published")
    add("--real", type=Path, help="folder of make_slabs.py --for hrfcn --pairs")
    add("--real-share", type=float, default=0.5, help="of examples from --real")
    add("--inputs", nargs="+", choices=SCANS, default=SCANS, help="scans that the network may see")
    add("--network", choices=tuple(OWN), default="hrfcn")
    add("--dropout", type=float, help=f"of the U-Net, {DROPOUT} unless given; 0: without")
    add("--widths", type=int, nargs="+", default=(12, 24, 48), help="of the scales, finest first")
    add("--blocks", type=int, help="residual blocks in a branch of a stage, 2 unless given")
    add("--flat", action="store_true", help="two dimensions: slices instead of slabs")
    add(
        "--base",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="the output is added to T1; the paper's is not",
    )
    add("--norm", choices=tuple(NORMS), help="of features, instance unless given; the paper: batch")
    add(
        "--no-fusion",
        dest="fused",
        action="store_const",
        const=False,
        help="branches meet at the end alone",
    )
    add("--squared", action="store_true", help="squared errors in place of L1")
    add("--weigh-local", type=float, default=0.1, help="local loss, as a share of the paper's")
    add("--most", type=float, help="largest rise that counts in the local loss")
    add("--multi-scale", action="store_true", help="SSIM of several scales, crops of 176 or more")
    add("--joined", type=int, help="finest branches that the last stage joins; without it all")
    add("--two-stages", action="store_true", help="the second stage of the paper")
    add_same_patient(parser)
    add_source(parser)
    add("--name", help="of the weights; that of the network without it")
    add("--version", default="1.0", help="of the weights")
    chosen, _ = parser.parse_known_args()
    others = {name for network, own in OWN.items() if network != chosen.network for name in own}
    preset = PRESETS.get(chosen.preset, {})
    parser.set_defaults(**{name: value for name, value in preset.items() if name not in others})
    arguments = parser.parse_args()
    if wrong := sorted(name for name in others if getattr(arguments, name) is not None):
        parser.error(f"the network {arguments.network} has no {', '.join(wrong)}")
    for name, value in OWN[arguments.network].items():
        if getattr(arguments, name) is None:
            setattr(arguments, name, value)
    if arguments.fine_tune:
        parser.error("the high-resolution FCN is trained from the start")
    if arguments.data == "virtual":
        parser.error("give --data, a folder of make_slabs.py --for hrfcn")
    return arguments


def card_of(
    arguments: argparse.Namespace, options: dict[str, Any], held_out: list[Path]
) -> dict[str, Any]:
    """Return the part of the model card that only this script knows."""
    shown = arguments.real if arguments.real_share > 0 else None
    pairs = [path.stem for path in shown.glob("*.npy")] if shown else []
    virtual = not pairs or arguments.real_share < 1
    patients = patient_of(arguments.same_patient)
    sources = [f"{len(pairs)} pairs of scans ({arguments.source})"] if pairs else []
    sources += ["virtual brains"] if virtual else []
    return {
        "name": arguments.name or arguments.network,
        "version": arguments.version,
        "task": "the scan after the full dose from scans without an agent, brain",
        "method": arguments.network,
        "network": {"name": arguments.network, "arguments": options},
        "inputs": {role: "optional; voxels of about 1 mm" for role in arguments.inputs},
        "normalisation": "unit",
        "trained_on_virtual_patients": virtual,
        "training": {
            "data": " and ".join(sources),
            "data_licence": f"pairs: {arguments.terms}; virtual brains: Apache-2.0",
            "real_patients": len({patients.get(case, case) for case in pairs}),
            "losses": stages_of(arguments),
            "held_out_cases": [path.stem for path in held_out],
            "chosen_by": "highest 1 - (mean left + mean elsewhere) / 2 of the held-out cases",
        },
        "limits": "Brains. Where an agent would go cannot be seen in scans without one: what is "
        "shown is a guess from other scans. Not for diagnosis.",
    }


if __name__ == "__main__":
    try:
        main()
    except ContrastSynthError as error:
        sys.exit(str(error))
