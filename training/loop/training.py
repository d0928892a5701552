"""The training loop: take a batch, learn from it, average the weights, write what was reached.

A training script gives its networks with their optimisers (``Learner``), and a function that
learns from one batch; it need not know about clocks, checkpoints, curves or processes.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from lightning_fabric import Fabric
from torch import Tensor, nn

from loop.average import Average
from loop.card import write_bundle
from loop.checkpoint import load_checkpoint, restore_random_state, save_checkpoint
from loop.clock import Clock
from loop.curves import Curves
from loop.judging import is_best
from loop.learner import Learner

Batch = dict[str, Tensor]
Losses = Mapping[str, Tensor | float]


def train(
    arguments: argparse.Namespace,
    fabric: Fabric,
    learners: Mapping[str, Learner],
    average: Average,
    batches: Callable[..., Iterator[Batch]],
    learn: Callable[[Batch, float], Losses],
    card: Mapping[str, Any],
    kept: nn.Module | None = None,
    judge: Callable[[nn.Module], Mapping[str, float]] | None = None,
) -> None:
    """Train until the steps or minutes of ``arguments`` are over, and write ``OUT/bundle``.

    ``learners`` holds the network to keep as "network", and any others. ``average`` is the
    average of its weights. ``batches`` makes the batches, see ``data``. ``learn(batch, progress)``
    takes one step of every learner and returns the losses to write; ``progress`` is how far the
    training is, 0 to 1. ``card`` is the script's part of the model card. ``kept`` is the part of
    ``average`` to keep, if it is not all of it. ``judge`` measures it on cases that are not
    trained on; the bundle with the highest "score" among its figures stays in ``OUT/best``.

    In ``arguments.out``: ``checkpoint.pt``, from which the same command goes on, ``curves.csv``
    and ``tensorboard``, and the folder ``bundle``.
    """
    clock, path = Clock(arguments, fabric.device), arguments.out / "checkpoint.pt"
    parts = _parts(learners, average)
    random_state = load_checkpoint(path, clock, parts)
    average.updates = clock.step
    examples = _on_device(fabric, _batches_from(batches, arguments, fabric, clock.step))
    if random_state is not None and fabric.is_global_zero:
        restore_random_state(random_state)
    # Only the first of several processes writes.
    curves = Curves(arguments.out, clock.step) if fabric.is_global_zero else None

    def keep() -> None:
        save_checkpoint(path, clock, parts)
        network = kept or average.network
        write_bundle(arguments, network, card, clock, fabric.device)
        if judge is None:
            return
        figures = judge(network)
        if is_best(arguments.out / "validation.csv", clock.step, figures):
            chosen = {**card, "metrics": {"validation": dict(figures)}}
            write_bundle(arguments, network, chosen, clock, fabric.device, "best")

    while (progress := _shared_progress(fabric, clock)) < 1:
        losses = learn(next(examples), progress)
        average.update(learners["network"].network)
        clock.step += 1
        if curves is not None:
            curves.add(clock.step, losses)
            if clock.step % arguments.keep_every == 0:
                keep()
    if curves is not None:
        keep()


def _parts(learners: Mapping[str, Learner], average: Average) -> dict[str, Any]:
    """Return what a checkpoint holds, by name."""
    parts: dict[str, Any] = {"average": average.network}
    for name, learner in learners.items():
        parts |= {name: learner.network, f"{name} optimiser": learner.optimiser}
    return parts


def _shared_progress(fabric: Fabric, clock: Clock) -> float:
    """Return how far the first process is: all processes are to end at the same step."""
    progress: float = fabric.broadcast(clock.progress)
    return progress


def _batches_from(
    batches: Callable[..., Iterator[Batch]],
    arguments: argparse.Namespace,
    fabric: Fabric,
    step: int,
) -> Iterator[Batch]:
    """Return the batches of this process; a training that goes on at a later step gets new ones."""
    return batches(
        arguments.data,
        crop=arguments.crop,
        batch=arguments.batch,
        seed=arguments.seed + 1000 * fabric.global_rank + 10_000 * step,
        workers=arguments.workers,
    )


def _on_device(fabric: Fabric, batches: Iterator[Batch]) -> Iterator[Batch]:
    for batch in batches:
        yield {name: value.to(fabric.device) for name, value in batch.items()}
