"""How fast SPHERE and its baselines are: Table 7 of the paper, on the machine at hand.

    python training/runtime.py --csv runtime.csv
    python training/runtime.py --device cuda --size 256 --batch 16
    python training/runtime.py --later-phases --size 64 --batch 1

With ``--later-phases`` it is iterU-Net that is timed, with the paper's features, on cubes of
``--size``: for one phase, as a network that is trained for it takes, and for as many as wanted.

All networks have as many parameters as SPHERE and get the same images of random numbers, since
weights and contents cost no time. Half precision is bfloat16 on a CPU and float16 on a GPU. In each
of ``--repeats`` rounds every network has its turn, so that what else runs on the machine slows all
of them; the first image of each, for which memory is taken, is not counted. Only the network is
timed: reading, alignment and writing are not.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import torch
from data.slabs import NEIGHBOURS
from evaluation.claims import OF_RUNTIME as HEADINGS
from evaluation.intervals import interval
from loss_curves import as_csv
from torch import nn
from train_sphere import sphere_options

from ContrastSynthLib.networks import build_network
from ContrastSynthLib.networks.baselines import parameters_of, width_for
from ContrastSynthLib.networks.iter_unet import IterUNet, LaterPhases
from ContrastSynthLib.phantom.breast.lesions import PAPER_TIMES_S

OF_TABLE = ("unet", "attention_unet", "unet_plus_plus", "swinir", "ukan", "mambair", "biceps")
HALF = {"cpu": torch.bfloat16, "cuda": torch.float16}
WIDTH = 8
"""Features of SPHERE, as ``train_sphere.py`` has it."""
Measured = tuple[str, dict[str, float]]


def networks(names: Sequence[str], width: int) -> dict[str, nn.Module]:
    """Return SPHERE and its baselines by name, in the mode in which they are used."""
    options = sphere_options(width)
    made = {"sphere": build_network("sphere", options)}
    parameters = parameters_of(made["sphere"])
    for name in names:
        fitting = width_for(name, NEIGHBOURS, parameters)
        direct = {"architecture": name, "in_channels": NEIGHBOURS, "width": fitting}
        made[name] = build_network("direct", direct)
    return {name: network.eval() for name, network in made.items()}


def later_phases() -> dict[str, nn.Module]:
    """Return iterU-Net for one phase and for each number of more, at the times of the paper."""
    network, given, most = IterUNet().eval(), 1, len(PAPER_TIMES_S) - 2
    times = {count: PAPER_TIMES_S[given : given + count + 1] for count in range(1, most + 1)}
    return {
        f"{count} phase{'s' * (count > 1)}": LaterPhases(network, some).eval()
        for count, some in times.items()
    }


@torch.inference_mode()
def seconds_an_image(network: nn.Module, images: torch.Tensor, *, half: bool) -> float:
    """Return the time for images (n, channels, ...), by their number."""
    device = images.device.type
    with torch.autocast(device, dtype=HALF[device], enabled=half):
        network(images[:1])
        _wait_for(device)
        begin = time.perf_counter()
        network(images)
        _wait_for(device)
    return (time.perf_counter() - begin) / len(images)


def _wait_for(device: str) -> None:
    """Wait until a GPU has done what it was given."""
    if device == "cuda":
        torch.cuda.synchronize()


def measure(chosen: argparse.Namespace) -> list[Measured]:
    """Return the measures of HEADINGS of each network and precision, round by round."""
    made = later_phases() if chosen.later_phases else networks(chosen.only, chosen.width)
    shape = (2, *[chosen.size] * 3) if chosen.later_phases else (NEIGHBOURS, *[chosen.size] * 2)
    images = torch.rand(chosen.batch, *shape, device=chosen.device)
    found = []
    for _ in range(chosen.repeats):
        for name, network in made.items():
            network.to(images.device)
            for half in (False, True):
                latency = seconds_an_image(network, images, half=half)
                row = f"{name}, half" if half else name
                found.append((row, {"images_per_s": 1 / latency, "latency_s": latency}))
    return found


def table(found: Sequence[Measured]) -> str:
    """Return means and 95 % intervals over the rounds as a table."""
    lines = [f"| network | {' | '.join(HEADINGS.values())} |", "|---" * (len(HEADINGS) + 1) + "|"]
    for name in dict.fromkeys(name for name, _ in found):
        cells = []
        for key in HEADINGS:
            values = torch.tensor([values[key] for row, values in found if row == name]).numpy()
            low, high = interval(values)
            cells.append(f"{values.mean():.3g} [{low:.3g}, {high:.3g}]")
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> int:
    """Measure, print the table, and keep the numbers."""
    chosen = parse(arguments)
    if chosen.threads:
        torch.set_num_threads(chosen.threads)
    found = measure(chosen)
    print(table(found))
    what = torch.cuda.get_device_name() if chosen.device == "cuda" else "CPU"
    size = f"{chosen.size}{'³' if chosen.later_phases else '²'}"
    print(f"\n{what}, {torch.get_num_threads()} threads, {chosen.batch} images of {size}")
    if chosen.csv:
        chosen.csv.write_text(as_csv(found, HEADINGS), encoding="utf-8")
    return 0


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Return the options of the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--only", nargs="*", choices=OF_TABLE, help="these baselines, all without it")
    add("--later-phases", action="store_true", help="iterU-Net, for one phase and for more")
    add("--size", type=int, default=256, help="pixels along each side")
    add("--batch", type=int, default=4, help="images at once")
    add("--repeats", type=int, default=5, help="rounds")
    add("--width", type=int, help=f"features of SPHERE, {WIDTH} without it; the others match it")
    add("--device", choices=tuple(HALF), default="cpu")
    add("--threads", type=int, help="of the CPU")
    add("--csv", type=Path, metavar="FILE", help="keeps every round")
    chosen = parser.parse_args(arguments)
    if chosen.later_phases and not (chosen.only is chosen.width is None):
        parser.error("--only and --width are of SPHERE's table, not of --later-phases")
    chosen.only = OF_TABLE if chosen.only is None else chosen.only
    chosen.width = WIDTH if chosen.width is None else chosen.width
    for name in ("size", "batch", "repeats", "width"):
        if getattr(chosen, name) < 1:
            parser.error(f"--{name} is at least 1")
    if chosen.device == "cuda" and not torch.cuda.is_available():
        parser.error("--device cuda: this machine has no GPU that torch can use")
    return chosen


if __name__ == "__main__":
    sys.exit(main())
