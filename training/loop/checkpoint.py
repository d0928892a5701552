"""Checkpoints: all that a training needs to go on after an interruption."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from loop.clock import Clock

NOT_OF_A_PART = ("step", "seconds", "random")


def save_checkpoint(path: Path, clock: Clock, parts: Mapping[str, Any]) -> None:
    """Write the state of all parts; the old checkpoint stays until the new one is complete."""
    state = {name: part.state_dict() for name, part in parts.items()}
    state |= {"step": clock.step, "seconds": clock.seconds, "random": _random_state()}
    torch.save(state, path.with_suffix(".part"))
    os.replace(path.with_suffix(".part"), path)


def load_checkpoint(
    path: Path, clock: Clock, parts: Mapping[str, Any]
) -> dict[str, torch.Tensor] | None:
    """Put clock and parts back where the checkpoint was written; None where there is none.

    Returns the state of torch's random numbers, for :func:`restore_random_state`. Ends the script
    with a message when the checkpoint is one of another script.
    """
    if not path.exists():
        return None
    state = torch.load(path, map_location="cpu", weights_only=True)
    if set(state) != {*parts, *NOT_OF_A_PART}:
        raise SystemExit(
            f"{path} is the checkpoint of another script or version: it holds "
            f"{', '.join(sorted(state))}. Choose another folder (--out)."
        )
    for name, part in parts.items():
        part.load_state_dict(state[name])
    clock.step, clock.spent_s = state["step"], state["seconds"]
    print(f"going on from step {clock.step}", flush=True)
    random: dict[str, torch.Tensor] = state["random"]
    return random


def _random_state() -> dict[str, torch.Tensor]:
    state = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        state["cuda"] = torch.cuda.get_rng_state()
    return state


def restore_random_state(state: Mapping[str, torch.Tensor]) -> None:
    """Make torch draw the numbers that it would have drawn without the interruption."""
    torch.set_rng_state(state["cpu"])
    if "cuda" in state and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["cuda"])
