"""The training loop that all scripts share, and what it needs: clock, average, curves, checkpoints.

Read ``loop/training.py`` first.
"""

from loop.arguments import add_common_arguments, start
from loop.average import Average
from loop.card import parent_record
from loop.clock import rate_at
from loop.learner import Learner, fast_layout
from loop.training import train

__all__ = [
    "Average",
    "Learner",
    "add_common_arguments",
    "fast_layout",
    "parent_record",
    "rate_at",
    "start",
    "train",
]
