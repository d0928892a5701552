"""The options that all training scripts share, and the devices that they ask for."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import torch
from lightning_fabric import Fabric

from ContrastSynthLib.weights.model_card import check_form


def add_common_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options that every training script takes."""
    add = parser.add_argument
    add("--data", default="virtual", help="a folder of slabs or of prepared cases, or 'virtual'")
    add("--out", type=Path, required=True, help="folder of this run; goes on if it holds one")
    add("--steps", type=int, default=100_000, help="end after this many steps")
    add("--minutes", type=float, help="end after these minutes of CPU time, or of a GPU's time")
    add("--batch", type=int, default=8, help="slices in a batch, for each process")
    add("--crop", type=int, default=128, help="width of a training image: pixels, a multiple of 16")
    add("--learning-rate", type=float, default=2e-3)
    add("--seed", type=int, default=0)
    add("--workers", type=int, default=0, help="processes that load slices, for each that trains")
    add("--devices", type=int, default=1, help="processes that train, each on a device of its own")
    add("--precision", default="32-true", help="32-true, or bf16-mixed on a GPU")
    add("--threads", type=int, default=os.cpu_count())
    add("--fine-tune", help="start from these trained weights: a name, an id or a folder")
    add("--keep-every", type=int, default=500, help="steps between checkpoints")


def start(arguments: argparse.Namespace) -> Fabric:
    """Return Fabric on the devices that were asked for, each process with a seed of its own.

    Raises RequestError for a name or a version that the weights could not be kept under.
    """
    for key in ("name", "version"):
        if text := getattr(arguments, key, None):
            check_form(key, text, f"--{key}")
    torch.set_num_threads(arguments.threads)
    # In a stage of a training, some parameters have no gradient.
    several = "ddp_find_unused_parameters_true"
    fabric = Fabric(
        devices=arguments.devices,
        precision=arguments.precision,
        strategy=several if arguments.devices > 1 else "auto",
    )
    fabric.launch()
    fabric.seed_everything(arguments.seed + fabric.global_rank)
    if fabric.is_global_zero:
        arguments.out.mkdir(parents=True, exist_ok=True)
    return fabric
