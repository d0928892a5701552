"""Train SPHERE, an ablation of it, or a direct baseline, from post- to pre-contrast slices.

    python training/make_slabs.py pool --patients 400
    python training/train_features.py --data pool --out runs/features --minutes 6
    python training/train_sphere.py --data pool --features runs/features/bundle \
        --out runs/sphere --minutes 120

The losses and their weights are those of the paper's appendix B (eq. 29-34). With ``--schedule
staged`` (the default, appendix C.2) the network first learns where contrast agent went, then to
paint what lies under it ("inpainting+") with the first part frozen, then all of eq. 34 together;
``joint`` (eq. 34) is the last of these from the start. ``--masked-loss`` compares inside the
uptake alone, as appendix C.2 has it and eq. 31 has not. With ``--validation``, a folder of
make_slabs.py with other patients (``--first-seed``), the averaged weights are measured on them
every ``--keep-every`` steps, and the best stay in ``OUT/best``. Stop it and start it again with the
same ``--out``: it goes on. On several GPUs: ``--devices 4 --precision bf16-mixed``. A few cases of
your own: ``--data PREPARED --target second_scan --fine-tune sphere --learning-rate 2e-4``.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from data.slabs import NEIGHBOURS
from data.slices import batches
from evaluation.held_out_slices import judge, read_examples
from loop import Average, Learner, add_common_arguments, fast_layout, rate_at, start, train
from monai.networks.nets import PatchDiscriminator
from torch import Tensor, nn

from ContrastSynthLib.errors import ContrastSynthError, RequestError
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

Images = dict[str, Tensor]
"""Images by their names, (n, 1, rows, cols): a batch, or what the network made."""
NETWORKS = ("sphere", "direct")
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
OF_BICEPS = {"reverse": 1.0, "anatomy": 0.5}
"""Weights of the terms of BICEPS alone, eq. 34 has none: our choice."""
DATA_RANGE = 2.0
"""What SSIM takes for the span of intensities, in means of the brain: our choice."""
STAGES = {
    "staged": (("uptake", 0.25), ("inpainting", 0.4), ("joint", 0.35)),
    "joint": (("joint", 1.0),),
}
"""What is trained in which share of a training: our choice, the paper leaves it open."""
JOINT_AFTER_STAGES_RATE = 0.4
"""Share of the learning rate in the last of several stages."""
DISCRIMINATOR_RATE = 0.25
"""Learning rate of the discriminator, as a share of the generator's: our choice."""
ABLATIONS = ("hyperintensity", "segmentation", "autoencoder", "learnt_threshold")


# ---- training


def main() -> None:
    """Train, and keep the average of the weights as a bundle in ``OUT/bundle``."""
    arguments = read_arguments()
    fabric = start(arguments)
    name, options, network = make_network(arguments)
    both_ways = options.get("architecture") == "biceps"
    if both_ways:
        arguments.weigh = OF_BICEPS | arguments.weigh
    if arguments.masked_loss and name == "direct":
        raise RequestError("--masked-loss needs an uptake M, which no direct baseline finds.")
    network = fabric.to_device(network)
    average = Average(network)
    discriminator = PatchDiscriminator(
        spatial_dims=2, channels=arguments.discriminator_width, in_channels=1, num_layers_d=3
    )
    rate = arguments.learning_rate
    adam = torch.optim.AdamW(network.parameters(), lr=rate, weight_decay=1e-4)
    adam_d = torch.optim.AdamW(discriminator.parameters(), lr=rate, betas=(0.5, 0.999))
    generator = Learner(fabric, network, adam, max_norm=5.0)
    discriminator = Learner(fabric, discriminator, adam_d)
    features = fast_layout(fabric.to_device(read_features(arguments)))

    def learn(batch: Images, progress: float) -> dict[str, Tensor]:
        """Take one step of the generator and one of the discriminator; return the losses."""
        stage, along, share = stage_at(progress, name, arguments.schedule)
        stage_rate = rate * share * rate_at(along)
        made, terms = answer(generator.network, batch, stage, both_ways=both_ways)
        if "pre" in made:
            with fabric.autocast():
                masked = arguments.masked_loss
                terms |= compare(made, batch, discriminator.network, features, masked=masked)
        generator.descend(sum(arguments.weigh[t] * terms[t] for t in terms), stage_rate)
        if "pre" not in made:
            return terms
        # Eq. 30: the discriminator learns to tell real from synthetic pre-contrast slices.
        real = discriminator.network(batch["pre"])[-1]
        loss = discriminator_loss(real, discriminator.network(made["pre"].detach())[-1])
        discriminator.descend(loss, stage_rate * DISCRIMINATOR_RATE)
        return {**terms, "discriminator": loss, **by_region(made, batch)}

    learners = {"network": generator, "discriminator": discriminator}
    source = partial(batches, tau=arguments.tau, target=arguments.target)
    card = card_of(arguments, name, options)
    judged = None
    if arguments.validation:
        examples = read_examples(arguments.validation, arguments.crop, target=arguments.target)
        judged = partial(judge, examples=examples)
    train(arguments, fabric, learners, average, source, learn, card, judge=judged)


def stage_at(progress: float, name: str, schedule: str) -> tuple[str, float, float]:
    """Return the stage at a point of the training, how far it is, and its share of the rate."""
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


# ---- losses


def answer(
    network: nn.Module, batch: Images, stage: str, *, both_ways: bool = False
) -> tuple[Images, dict[str, Tensor]]:
    """Return what the network makes in a stage, and the terms of its first part (eq. 32-33).

    ``both_ways`` is for BICEPS, which makes the post scan of the pre scan as well.
    """
    post = batch["post"]
    if stage == "inpainting":
        return network(post, stage=stage), {}
    if both_ways:
        made = network(post, pre=batch["pre"])
    else:
        made = network(post, stage=stage) if stage != "joint" else network(post)
    terms = {}
    if "uptake_logits" in made:
        terms["bce"] = uptake_loss(made["uptake_logits"], batch["uptake"])
    if "reconstruction" in made:
        terms["autoencoder"] = l1_loss(made["reconstruction"], middle(post))
    if "hyperintensity" in made:
        terms["hyper"] = hyperintensity_penalty(made["uptake"], made["hyperintensity"])
    if both_ways:
        terms["reverse"] = l1_loss(made["post"], middle(post))
        images = (made["image_of_post"], made["image_of_pre"])
        terms["anatomy"] = sum(l1_loss(image, batch["pre"]) for image in images)
    return made, terms


def compare(
    made: Images,
    batch: Images,
    discriminator: nn.Module,
    features: nn.Module,
    *,
    masked: bool = False,
) -> dict[str, Tensor]:
    """Return the terms of inpainting+ (eq. 29) and R_psyn (eq. 33).

    ``masked`` multiplies the differences that the first three compare by the uptake M (appendix
    C.2), which gets no gradient of that: a smaller M is not to make the loss smaller.
    """
    pre, wanted = made["pre"], batch["pre"]
    if masked:
        pre = wanted + made["uptake"].detach() * (pre - wanted)
    terms = {
        "l1": l1_loss(pre, wanted),
        "ssim": ssim_loss(pre, wanted, data_range=DATA_RANGE),
        "perceptual": perceptual_loss(pre, wanted, features),
        "adversarial": generator_loss(discriminator(made["pre"])[-1]),
    }
    if "uptake" in made:
        post = middle(batch["post"])
        terms["psyn"] = physics_penalty(made["pre"], post, made["uptake"])
    return terms


def by_region(made: Images, batch: Images) -> dict[str, Tensor]:
    """Return L1 where contrast agent went and in the rest of the brain, for appendix C.3."""
    error = (made["pre"].detach() - batch["pre"]).abs()
    uptake = batch["uptake"] * batch["brain"]
    rest = (1 - batch["uptake"]) * batch["brain"]
    return {
        "l1_contrast": (error * uptake).sum() / uptake.sum().clamp(min=1),
        "l1_structure": (error * rest).sum() / rest.sum().clamp(min=1),
    }


# ---- networks


def make_network(arguments: argparse.Namespace) -> tuple[str, dict[str, Any], nn.Module]:
    """Return name, arguments and network; baselines get as many parameters as SPHERE.

    Raises RequestError for weights of a network that this script does not train.
    """
    if arguments.fine_tune:
        bundle = find_bundle(arguments.fine_tune, "sphere")
        network = bundle.metadata["network"]
        if network["name"] not in NETWORKS:
            raise RequestError(
                f"{bundle.id} are weights of the network {network['name']}, which "
                "train_sphere_real.py goes on with."
            )
        return network["name"], network["arguments"], load_network(bundle)
    name = "sphere"
    options = sphere_options(arguments.width, arguments.without)
    if arguments.network != "sphere":
        name, parameters = "direct", parameters_of(Sphere(**options))
        width = width_for(arguments.network, NEIGHBOURS, parameters)
        options = {"architecture": arguments.network, "in_channels": NEIGHBOURS, "width": width}
    network = build_network(name, options)
    print(f"{arguments.network}: {parameters_of(network)} parameters, {options}", flush=True)
    return name, options, network


def sphere_options(width: int, without: Sequence[str] = ()) -> dict[str, Any]:
    """Return the arguments of SPHERE; the baselines have as many parameters as it."""
    return {
        "in_channels": NEIGHBOURS,
        "width": width,
        "autoencoder_width": max(2, width // 2),
        **dict.fromkeys(without, False),
    }


def read_features(arguments: argparse.Namespace) -> nn.Module:
    """Return the network of the perceptual loss, frozen."""
    if arguments.vgg:
        return load_vgg16(arguments.vgg, DATA_RANGE)
    return load_network(read_bundle(arguments.features)).eval().requires_grad_(False)


# ---- arguments


def read_arguments() -> argparse.Namespace:
    """Return what the command line asks for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_common_arguments(parser)
    add = parser.add_argument
    add("--network", choices=("sphere", *ARCHITECTURES), default="sphere")
    add("--width", type=int, default=8, help="features of SPHERE; baselines match its parameters")
    add("--without", action="append", choices=ABLATIONS, default=[], help="ablation: leave it out")
    add("--schedule", choices=tuple(STAGES), default="staged", help="in stages, or all at once")
    add("--tau", type=float, default=UPTAKE_THRESHOLD, help="of eq. 22; 0.06 to 0.14 studied")
    add("--target", choices=("same_scan", "second_scan"), default="same_scan", help="what pre is")
    add("--features", type=Path, help="bundle of train_features.py, for the perceptual loss")
    add("--vgg", type=Path, help="torchvision's vgg16 weights, instead of --features")
    add(
        "--masked-loss",
        action="store_true",
        help="compare where M says that agent went, as in appendix C.2; no baseline has an M",
    )
    add("--validation", type=Path, help="slabs of other patients to measure on while training")
    add("--discriminator-width", type=int, default=16, help="features of the discriminator")
    add("--name", default="sphere", help="of the weights")
    add("--version", default="1.0", help="of the weights")
    add(
        "--weigh",
        type=read_weight,
        action="append",
        default=[],
        metavar="TERM=WEIGHT",
        help="weight of a term of the loss, other than that of the paper",
    )
    arguments = parser.parse_args()
    arguments.weigh = {**WEIGHTS, **dict(arguments.weigh)}
    if not set(arguments.weigh) <= {*WEIGHTS, *OF_BICEPS}:
        parser.error(f"--weigh takes one of {', '.join((*WEIGHTS, *OF_BICEPS))}")
    if not (arguments.features or arguments.vgg):
        parser.error("give --features or --vgg: the perceptual loss needs one of them")
    if {"hyperintensity", "segmentation"} <= set(arguments.without):
        parser.error("--without hyperintensity and segmentation: nothing would find the uptake")
    return arguments


def read_weight(text: str) -> tuple[str, float]:
    """Return the term and the weight of TERM=WEIGHT."""
    term, _, weight = text.partition("=")
    return term, float(weight)


def card_of(arguments: argparse.Namespace, name: str, options: dict[str, Any]) -> dict[str, Any]:
    """Return the part of the model card that only this script knows."""
    return {
        "name": arguments.name,
        "version": arguments.version,
        "task": "pre-contrast from post-contrast T1-weighted brain scans",
        "method": "sphere",
        "network": {"name": name, "arguments": options},
        "inputs": {"post": f"{NEIGHBOURS} axial slices 1 mm apart, pixels of about 1 mm"},
        "normalisation": "mean",
        "training": {
            "losses": arguments.weigh,
            "masked_loss": arguments.masked_loss,
            "tau": arguments.tau,
        },
        "limits": "Brains after gadolinium, T1-weighted. "
        "Not for diagnosis: enhancement may be left over, or tissue darkened that is bright "
        "without agent.",
    }


if __name__ == "__main__":
    try:
        main()
    except ContrastSynthError as error:
        sys.exit(str(error))
