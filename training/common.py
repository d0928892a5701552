"""What the training scripts share: devices, the pace of learning, averages, curves, checkpoints."""

from __future__ import annotations

import argparse
import copy
import csv
import math
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from slices import batches, holds_pairs
from torch import Tensor, nn

from ContrastSynthLib import __version__
from ContrastSynthLib.resources import resource
from ContrastSynthLib.weights.bundles import save_bundle

WARM_UP = 0.03
"""Share of a stage in which the learning rate rises."""
LAST_RATE = 0.02
"""Share of the learning rate that is left at the end of a stage."""


def add_common_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what every training script takes."""
    parser.add_argument("--data", default="virtual", help="virtual, kept slabs or prepared pairs")
    parser.add_argument("--out", type=Path, required=True, help="folder of this run")
    parser.add_argument("--steps", type=int, default=100_000, help="at most so many")
    parser.add_argument("--minutes", type=float, help="CPU (or GPU wall) minutes, at most")
    parser.add_argument("--batch", type=int, default=8, help="slices a step and process")
    parser.add_argument("--crop", type=int, default=128, help="pixels, a multiple of 16")
    parser.add_argument("--learning-rate", type=float, default=2e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=0, help="processes that make slices")
    parser.add_argument("--devices", type=int, default=1, help="processes that train")
    parser.add_argument("--precision", default="32-true", help="bf16-mixed on a GPU")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--fine-tune", help="start from these weights: a name, id or folder")


def start(arguments: argparse.Namespace) -> Fabric:
    """Return Fabric on the devices that were asked for, all of them seeded."""
    torch.set_num_threads(arguments.threads)
    # A stage leaves the parameters of the others without a gradient.
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


def fast_layout(network: nn.Module) -> nn.Module:
    """Return the network with channels last in memory, which convolutions are faster on."""
    fast: nn.Module = network.to(memory_format=torch.channels_last)
    return fast


class Clock:
    """How far a run is, from 0 to 1, by steps or by minutes, whichever comes first.

    On a CPU the minutes are those of its cores, so that runs beside each other compare.
    """

    def __init__(self, arguments: argparse.Namespace, device: torch.device) -> None:
        self.steps, self.minutes = arguments.steps, arguments.minutes
        self._now = time.process_time if device.type == "cpu" else time.perf_counter
        self.spent_s, self._started = 0.0, self._now()
        self.step = 0

    @property
    def seconds(self) -> float:
        """Seconds so far, those before an interruption included."""
        return self.spent_s + self._now() - self._started

    @property
    def progress(self) -> float:
        """Share of the run that is done."""
        by_time = self.seconds / (60 * self.minutes) if self.minutes else 0.0
        return min(max(self.step / self.steps, by_time), 1.0)


def shared_progress(fabric: Fabric, clock: Clock) -> float:
    """Return how far the first process is: all are to take the same stage, and the same end."""
    progress: float = fabric.broadcast(clock.progress)
    return progress


def rate_at(progress: float) -> float:
    """Return the share of the learning rate at a point of a stage: a rise, then half a cosine."""
    if progress < WARM_UP:
        return max(progress / WARM_UP, 0.05)
    fall = 0.5 * (1 + math.cos(math.pi * (progress - WARM_UP) / (1 - WARM_UP)))
    return LAST_RATE + (1 - LAST_RATE) * fall


class Average:
    """The running average of a network's weights, which is what is kept in the end."""

    def __init__(self, network: nn.Module, decay: float = 0.998) -> None:
        self.network = copy.deepcopy(network).eval().requires_grad_(False)
        self.decay, self.updates = decay, 0

    @torch.no_grad()
    def update(self, network: nn.Module) -> None:
        """Take one step towards the weights of the network; counters are copied."""
        self.updates += 1
        decay = min(self.decay, self.updates / (self.updates + 10))
        own = self.network.state_dict()
        for name, value in network.state_dict().items():
            if value.is_floating_point():
                own[name].lerp_(value, 1 - decay)
            else:
                own[name].copy_(value)


class Curves:
    """Losses over the steps: means of a few dozen, as CSV and for TensorBoard."""

    def __init__(self, folder: Path, step: int = 0, every: int = 25) -> None:
        """Go on from ``step``: what was written of later ones is left out."""
        from torch.utils.tensorboard import SummaryWriter

        self.board = SummaryWriter(str(folder / "tensorboard"), purge_step=step + 1)
        self.path, self.every = folder / "curves.csv", every
        self.sums: dict[str, list[float]] = {}
        self.columns: list[str] = []
        if self.path.exists():
            with open(self.path, encoding="utf-8") as file:
                header, *rows = csv.reader(file)
            self.columns = header
            with open(self.path, "w", newline="", encoding="utf-8") as file:
                csv.writer(file).writerows([header, *(r for r in rows if int(r[0]) <= step)])

    def add(self, step: int, losses: Mapping[str, Tensor | float]) -> None:
        """Take the losses of one step; every few steps their means are written."""
        for name, value in losses.items():
            self.sums.setdefault(name, []).append(float(value))
        if step % self.every:
            return
        means = {name: sum(values) / len(values) for name, values in self.sums.items()}
        self.sums = {}
        for name, value in means.items():
            self.board.add_scalar(name, value, step)
        self._write({"step": step, **means})
        told = "  ".join(f"{name} {value:.4f}" for name, value in means.items())
        print(f"{step:6d}  {told}", flush=True)

    def _write(self, row: dict[str, float]) -> None:
        new = [name for name in row if name not in self.columns]
        rows = []
        if new and self.columns:
            with open(self.path, encoding="utf-8") as file:
                rows = list(csv.DictReader(file))
        if new:
            self.columns += new
            with open(self.path, "w", newline="", encoding="utf-8") as file:
                writer = csv.DictWriter(file, self.columns)
                writer.writeheader()
                writer.writerows(rows)
        with open(self.path, "a", newline="", encoding="utf-8") as file:
            csv.DictWriter(file, self.columns).writerow(row)


def save_checkpoint(path: Path, clock: Clock, **parts: Any) -> None:
    """Keep all that a run needs to go on; the old checkpoint stays until the new one is whole."""
    state = {name: part.state_dict() for name, part in parts.items()}
    state |= {"step": clock.step, "seconds": clock.seconds}
    torch.save(state, path.with_suffix(".part"))
    os.replace(path.with_suffix(".part"), path)


def load_checkpoint(path: Path, clock: Clock, **parts: Any) -> bool:
    """Go on from a checkpoint, where there is one."""
    if not path.exists():
        return False
    state = torch.load(path, map_location="cpu", weights_only=True)
    for name, part in parts.items():
        part.load_state_dict(state[name])
    clock.step, clock.spent_s = state["step"], state["seconds"]
    print(f"going on from step {clock.step}", flush=True)
    return True


def training_record(arguments: argparse.Namespace, clock: Clock, device: Any) -> dict[str, Any]:
    """Return how weights were made, for their model card; folders by their last name only."""
    options = {name: _without_folders(value) for name, value in vars(arguments).items()}
    command = " ".join(map(_without_folders, sys.argv))
    return {
        "command": f"python training/{command}",
        "commit": _commit(),
        "library_version": __version__,
        "seed": arguments.seed,
        "steps": clock.step,
        "hours": round(clock.seconds / 3600, 2),
        "hours_of": "CPU cores" if device.type == "cpu" else "GPU",
        "hardware": _hardware(device),
        "options": options,
    }


def _without_folders(value: Any) -> Any:
    """Return a path as its last name: a card tells how weights were made, not where."""
    if not isinstance(value, Path) and "/" not in str(value):
        return value
    text = str(value)
    option, equals, path = text.partition("=") if text.startswith("--") else ("", "", text)
    return f"{option}{equals}{Path(path).name}"


def _commit() -> str:
    here = Path(__file__).resolve().parent
    done = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=here, capture_output=True, text=True, check=False
    )
    return done.stdout.strip() or "unknown"


def _hardware(device: Any) -> str:
    if device.type == "cuda":
        return str(torch.cuda.get_device_name(device))
    return f"{os.cpu_count()} CPU cores, {platform.machine()}"


def stream(
    arguments: argparse.Namespace,
    fabric: Fabric,
    clock: Clock,
    source: Callable[..., Iterator[dict[str, Tensor]]] = batches,
    **options: Any,
) -> Iterator[dict[str, Tensor]]:
    """Yield this process's batches on its device; a run that goes on later sees other ones."""
    examples = source(
        arguments.data,
        crop=arguments.crop,
        batch=arguments.batch,
        seed=arguments.seed + 1000 * fabric.global_rank + 10_000 * clock.step,
        workers=arguments.workers,
        **options,
    )
    for batch in examples:
        yield {name: value.to(fabric.device) for name, value in batch.items()}


def write_bundle(
    arguments: argparse.Namespace,
    network: nn.Module,
    card: Mapping[str, Any],
    clock: Clock,
    device: Any,
) -> None:
    """Keep a network as a bundle in ``OUT/bundle``; ``card`` is what only its script can tell."""
    pairs = holds_pairs(arguments.data)
    metadata = {
        "version": "1.0",
        "oldest_library_version": "0.1.0",
        "metrics": {},
        "licence": "Apache-2.0",
        "trained_on_virtual_patients": not pairs or arguments.fine_tune is not None,
        **card,
        "training": {
            "data": "pairs of scans" if pairs else "virtual brains",
            "data_licence": "that of the pairs, not ours to state" if pairs else "Apache-2.0",
            **card.get("training", {}),
            **training_record(arguments, clock, device),
        },
    }
    folder = arguments.out / "bundle"
    save_bundle(folder, network.state_dict(), metadata, licence_of_weights(), replace=True)


def licence_of_weights() -> str:
    """Return the text that goes with shipped weights."""
    folder = resource("Citations.json").parents[1]
    return (folder / "LICENSE").read_text(encoding="utf-8")
