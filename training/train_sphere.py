"""Train SPHERE, an ablation of it, or a direct baseline, from post- to pre-contrast slices.

    python training/slices.py POOL --patients 400
    python training/train_features.py --data POOL --out runs/features --minutes 6
    python training/train_sphere.py --data POOL --features runs/features/bundle \
        --out runs/sphere --minutes 120

The losses and their weights are those of the paper's appendix B (eq. 29-34). With ``--schedule
staged`` (the default, appendix C.2) the uptake is learnt first, then inpainting+ with stage 1
frozen, then all of eq. 34 together; ``joint`` (eq. 34) is the last of these from the start.
Stop it and start it again with the same ``--out``: it goes on. On several GPUs: ``--devices 4
--precision bf16-mixed``. A few cases of your own: ``--data PREPARED --target second_scan
--fine-tune sphere --learning-rate 2e-4``.
"""

from __future__ import annotations

import argparse
from pathlib import Path
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
from monai.networks.nets import PatchDiscriminator
from slices import NEIGHBOURS
from torch import Tensor, nn

from ContrastSynthLib.inference.networks import load_network
from ContrastSynthLib.losses import (
    discriminator_loss,
    generator_loss,
    hyperintensity_penalty,
    l1_loss,
    perceptual_loss,
    physics_penalty,
    ssim_loss,
    uptake_loss,
)
from ContrastSynthLib.networks import build_network
from ContrastSynthLib.networks.baselines import ARCHITECTURES, parameters_of, width_for
from ContrastSynthLib.networks.features import load_vgg16
from ContrastSynthLib.networks.sphere import Sphere, middle
from ContrastSynthLib.physics.constants import UPTAKE_THRESHOLD
from ContrastSynthLib.weights.bundles import find_bundle, read_bundle

WEIGHTS = {
    "l1": 1.0,
    "ssim": 10.0,
    "perceptual": 0.5,
    "adversarial": 1.0,
    "autoencoder": 1.0,
    "bce": 10.0,
    "hyper": 0.1,
    "psyn": 0.01,
}
"""The lambdas of eq. 31 and 34."""
DATA_RANGE = 2.0
"""What SSIM takes for the span of intensities, in means of the brain: our choice."""
STAGES = {
    "staged": (("uptake", 0.25), ("inpainting", 0.4), ("joint", 0.35)),
    "joint": (("joint", 1.0),),
}
"""What is learnt in which share of a run: our choice, the paper leaves it open."""
JOINT_AFTER_STAGES_RATE = 0.4
"""Share of the learning rate in the last of several stages."""
JUDGE_RATE = 0.25
"""Learning rate of the discriminator, as a share of the generator's: our choice."""
ABLATIONS = ("hyperintensity", "segmentation", "autoencoder")


def main() -> None:
    """Train, and keep the average of the weights as a bundle in ``OUT/bundle``."""
    arguments = read_arguments()
    fabric = start(arguments)
    name, options, network = make_network(arguments)
    average = Average(fabric.to_device(network))
    judge = PatchDiscriminator(
        spatial_dims=2, channels=arguments.judge_width, in_channels=1, num_layers_d=3
    )
    rate = arguments.learning_rate
    optimiser = torch.optim.AdamW(network.parameters(), lr=rate, weight_decay=1e-4)
    judging = torch.optim.AdamW(judge.parameters(), lr=rate, betas=(0.5, 0.999))
    network, optimiser = fabric.setup(fast_layout(network), optimiser)
    judge, judging = fabric.setup(fast_layout(judge), judging)
    features = fast_layout(fabric.to_device(read_features(arguments)))

    clock, checkpoint = Clock(arguments, fabric.device), arguments.out / "checkpoint.pt"
    parts = {"network": network, "judge": judge, "average": average.network}
    parts |= {"optimiser": optimiser, "judging": judging}
    if load_checkpoint(checkpoint, clock, **parts):
        average.updates = clock.step
    slices = stream(arguments, fabric, clock, tau=arguments.tau, target=arguments.target)
    curves = Curves(arguments.out, clock.step) if fabric.is_global_zero else None
    while (progress := shared_progress(fabric, clock)) < 1:
        batch = next(slices)
        stage, along, share = stage_at(progress, name, arguments.schedule)
        for optimise, lead in ((optimiser, 1.0), (judging, JUDGE_RATE)):
            for group in optimise.param_groups:
                group["lr"] = rate * share * lead * rate_at(along)
        made, terms = learn(
            fabric, network, optimiser, batch, stage, judge, features, arguments.weigh
        )
        if "pre" in made:
            terms["judge"] = learn_to_judge(fabric, judge, judging, batch["pre"], made["pre"])
        average.update(network)
        clock.step += 1
        if curves is None:
            continue
        curves.add(clock.step, {**told(terms), **by_region(made, batch)})
        if clock.step % arguments.keep_every == 0:
            save_checkpoint(checkpoint, clock, **parts)
            keep(arguments, name, options, average, clock, fabric.device)
    if curves is not None:
        save_checkpoint(checkpoint, clock, **parts)
        keep(arguments, name, options, average, clock, fabric.device)


def learn(
    fabric: Any,
    network: Any,
    optimiser: Any,
    batch: dict[str, Tensor],
    stage: str,
    judge: Any,
    features: nn.Module,
    weights: dict[str, float],
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Take one step of the generator; return what it made and the terms of the loss."""
    made, terms = answer(network, batch, stage)
    if "pre" in made:
        with fabric.autocast():
            terms |= compare(made, batch, judge, features)
    loss = sum(weights[term] * value for term, value in terms.items())
    optimiser.zero_grad()
    fabric.backward(loss)
    fabric.clip_gradients(network, optimiser, max_norm=5.0, error_if_nonfinite=False)
    optimiser.step()
    return made, terms


def learn_to_judge(
    fabric: Any, judge: Any, judging: Any, real: Tensor, synthetic: Tensor
) -> Tensor:
    """Take one step of the discriminator, eq. 30; return its loss."""
    loss = discriminator_loss(judge(real)[-1], judge(synthetic.detach())[-1])
    judging.zero_grad()
    fabric.backward(loss)
    judging.step()
    return loss


def read_arguments() -> argparse.Namespace:
    """Return what was asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_common_arguments(parser)
    parser.add_argument("--network", choices=("sphere", *ARCHITECTURES), default="sphere")
    parser.add_argument("--width", type=int, default=8, help="SPHERE's; baselines are matched")
    parser.add_argument("--without", action="append", choices=ABLATIONS, default=[])
    parser.add_argument("--schedule", choices=tuple(STAGES), default="staged")
    parser.add_argument(
        "--tau", type=float, default=UPTAKE_THRESHOLD, help="of eq. 22; 0.06 to 0.14 studied"
    )
    parser.add_argument("--target", choices=("same_scan", "second_scan"), default="same_scan")
    parser.add_argument("--features", type=Path, help="bundle of train_features.py")
    parser.add_argument("--vgg", type=Path, help="torchvision's vgg16 weights, in its stead")
    parser.add_argument("--judge-width", type=int, default=16, help="of the discriminator")
    parser.add_argument("--keep-every", type=int, default=500, help="steps between checkpoints")
    parser.add_argument("--name", default="sphere", help="of the weights")
    parser.add_argument("--version", default="1.0")
    parser.add_argument(
        "--weigh",
        type=read_weight,
        action="append",
        default=[],
        metavar="TERM=WEIGHT",
        help="other than the paper",
    )
    arguments = parser.parse_args()
    arguments.weigh = {**WEIGHTS, **dict(arguments.weigh)}
    if set(arguments.weigh) != set(WEIGHTS):
        parser.error(f"--weigh takes one of {', '.join(WEIGHTS)}")
    if not (arguments.features or arguments.vgg):
        parser.error("give --features or --vgg: the perceptual loss needs one of them")
    if {"hyperintensity", "segmentation"} <= set(arguments.without):
        parser.error("--without hyperintensity and segmentation: nothing would find the uptake")
    return arguments


def read_weight(text: str) -> tuple[str, float]:
    """Return the term and the weight of TERM=WEIGHT."""
    term, _, weight = text.partition("=")
    return term, float(weight)


def make_network(arguments: argparse.Namespace) -> tuple[str, dict[str, Any], nn.Module]:
    """Return name, arguments and network; baselines get SPHERE's number of parameters."""
    if arguments.fine_tune:
        bundle = find_bundle(arguments.fine_tune, "sphere")
        network = bundle.metadata["network"]
        return network["name"], network["arguments"], load_network(bundle)
    name = "sphere"
    options: dict[str, Any] = {
        "in_channels": NEIGHBOURS,
        "width": arguments.width,
        "autoencoder_width": max(2, arguments.width // 2),
        **dict.fromkeys(arguments.without, False),
    }
    if arguments.network != "sphere":
        name, parameters = "direct", parameters_of(Sphere(**options))
        width = width_for(arguments.network, NEIGHBOURS, parameters)
        options = {"architecture": arguments.network, "in_channels": NEIGHBOURS, "width": width}
    network = build_network(name, options)
    print(f"{arguments.network}: {parameters_of(network)} parameters, {options}", flush=True)
    return name, options, network


def read_features(arguments: argparse.Namespace) -> nn.Module:
    """Return the network of the perceptual loss, frozen."""
    if arguments.vgg:
        return load_vgg16(arguments.vgg, DATA_RANGE)
    return load_network(read_bundle(arguments.features)).eval().requires_grad_(False)


def stage_at(progress: float, name: str, schedule: str) -> tuple[str, float, float]:
    """Return the stage at a point of the run, how far it is, and its share of the rate."""
    if name == "direct":
        return "joint", progress, 1.0
    stages = STAGES[schedule]
    first = 0.0
    for index, (stage, length) in enumerate(stages):
        if progress < first + length or index == len(stages) - 1:
            last = index > 0 and index == len(stages) - 1
            share = JOINT_AFTER_STAGES_RATE if last else 1.0
            return stage, min((progress - first) / length, 1.0), share
        first += length
    raise AssertionError("a schedule has no stage")


def answer(
    network: Any, batch: dict[str, Tensor], stage: str
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Return what the network makes in a stage, and the terms of stage 1 (eq. 32-33)."""
    post = batch["post"]
    if stage == "inpainting":
        return network(post, stage=stage), {}
    made = network(post, stage=stage) if stage != "joint" else network(post)
    terms = {}
    if "uptake_logits" in made:
        terms["bce"] = uptake_loss(made["uptake_logits"], batch["uptake"])
    if "reconstruction" in made:
        terms["autoencoder"] = l1_loss(made["reconstruction"], middle(post))
    if "hyperintensity" in made:
        terms["hyper"] = hyperintensity_penalty(made["uptake"], made["hyperintensity"])
    return made, terms


def compare(
    made: dict[str, Tensor], batch: dict[str, Tensor], judge: nn.Module, features: nn.Module
) -> dict[str, Tensor]:
    """Return the terms of inpainting+ (eq. 29) and R_psyn (eq. 33)."""
    terms = {
        "l1": l1_loss(made["pre"], batch["pre"]),
        "ssim": ssim_loss(made["pre"], batch["pre"], data_range=DATA_RANGE),
        "perceptual": perceptual_loss(made["pre"], batch["pre"], features),
        "adversarial": generator_loss(judge(made["pre"])[-1]),
    }
    if "uptake" in made:
        post = middle(batch["post"])
        terms["psyn"] = physics_penalty(made["pre"], post, made["uptake"])
    return terms


def told(terms: dict[str, Tensor]) -> dict[str, float]:
    """Return the losses as numbers, without their weights."""
    return {name: value.item() for name, value in terms.items()}


def by_region(made: dict[str, Tensor], batch: dict[str, Tensor]) -> dict[str, float]:
    """Return L1 where contrast agent went and in the rest of the brain, for appendix C.3."""
    if "pre" not in made:
        return {}
    error = (made["pre"].detach() - batch["pre"]).abs()
    uptake = batch["uptake"] * batch["brain"]
    rest = (1 - batch["uptake"]) * batch["brain"]
    return {
        "l1_contrast": float((error * uptake).sum() / uptake.sum().clamp(min=1)),
        "l1_structure": float((error * rest).sum() / rest.sum().clamp(min=1)),
    }


def keep(
    arguments: argparse.Namespace,
    name: str,
    options: dict[str, Any],
    average: Average,
    clock: Clock,
    device: Any,
) -> None:
    """Write the average of the weights with their model card."""
    card = {
        "name": arguments.name,
        "version": arguments.version,
        "task": "pre-contrast from post-contrast T1-weighted brain scans",
        "method": "sphere",
        "network": {"name": name, "arguments": options},
        "inputs": {"post": f"{NEIGHBOURS} axial slices 1 mm apart, pixels of about 1 mm"},
        "normalisation": "mean",
        "training": {
            "losses": arguments.weigh,
            "tau": arguments.tau,
        },
        "limits": "Brains after gadolinium, T1-weighted. "
        "Not for diagnosis: enhancement may be left over, or tissue darkened that is bright "
        "without agent.",
    }
    write_bundle(arguments, average.network, card, clock, device)


if __name__ == "__main__":
    main()
