"""How far a training is, and the learning rate that belongs there."""

from __future__ import annotations

import argparse
import math
import time

import torch

WARM_UP = 0.03
"""Share of a training, or of a stage of it, in which the learning rate rises."""
LAST_RATE = 0.02
"""Share of the learning rate that is left at the end."""


class Clock:
    """How far a training is, from 0 to 1, by steps or by minutes, whichever is further.

    On a CPU the minutes are those of its cores, so that trainings that run beside each other can
    be compared.
    """

    def __init__(self, arguments: argparse.Namespace, device: torch.device) -> None:
        self.steps, self.minutes = arguments.steps, arguments.minutes
        self._now = time.process_time if device.type == "cpu" else time.perf_counter
        self.spent_s, self._started = 0.0, self._now()
        self.step = 0

    @property
    def seconds(self) -> float:
        """Seconds so far, including those before an interruption."""
        return self.spent_s + self._now() - self._started

    @property
    def progress(self) -> float:
        """Share of the training that is done."""
        by_time = self.seconds / (60 * self.minutes) if self.minutes else 0.0
        return min(max(self.step / self.steps, by_time), 1.0)


def rate_at(progress: float) -> float:
    """Return the share of the learning rate at ``progress``, 0 to 1: a rise, then half a cosine."""
    if progress < WARM_UP:
        return max(progress / WARM_UP, 0.05)
    fall = 0.5 * (1 + math.cos(math.pi * (progress - WARM_UP) / (1 - WARM_UP)))
    return LAST_RATE + (1 - LAST_RATE) * fall
