"""What an evaluation of one task needs: its output, the rows that are no method, its measures."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ContrastSynthLib.volumes import BoolArray, FloatArray, Volume
from evaluation.cases import Scans

Outputs = Mapping[str, Volume]
KEPT = "kept"
"""The output of a row that was given the case without agent."""
Measures = dict[str, float | None]
"""By name; None where a measure is undefined."""
Rise = Callable[[Outputs], FloatArray]
"""By how much a case rises with the agent (k, j, i), with what a row made in place of its scan."""


@dataclass(frozen=True)
class BuiltIn:
    """A row that is no method of the library: a baseline, or a bound.

    ``make(given, clean, **parameters)`` returns its outputs from the scans that are ``given``;
    ``clean`` are the same without added noise. ``choices`` are the values of each parameter.
    ``weights`` names those that it needs; others that a row names come as ``weights=``.
    """

    make: Callable[..., Outputs]
    choices: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    weights: str = ""


def _as_it_is(scans: Scans) -> Scans:
    return scans


def _nothing(scans: Scans) -> Mapping[str, Any]:
    return {}


@dataclass(frozen=True)
class Task:
    """From which scan to which, and how the result is measured.

    ``output`` is what a method must make. ``measure(scans, outputs, brain)`` returns the
    measures inside ``brain``, by the names of ``headings``, which are the headings of the table.
    ``uptake`` returns where agent went. ``with_noise(scans, sigma)`` adds noise to the input.
    ``note`` explains the table. ``prepare`` adds to a case what its measures need, once for all
    rows. Where ``without_agent`` is there, each row is also run on the case that it returns, and
    what it makes of it is among the outputs as KEPT. ``asked(scans)`` are parameters that each
    case has a value of its own for, such as the dose; a row that has them need not say them.
    ``others`` are scans that a case may have beside its pair, and that a row may leave out.
    ``rise(scans)`` is how a case rises with the agent; tasks whose lesions are measured have it.
    """

    name: str
    output: str
    built_in: Mapping[str, BuiltIn]
    measure: Callable[[Scans, Outputs, BoolArray], Measures]
    headings: Mapping[str, str]
    uptake: Callable[[Scans], BoolArray]
    with_noise: Callable[[Scans, float], Scans]
    note: str
    prepare: Callable[[Scans], Scans] = _as_it_is
    without_agent: Callable[[Scans], Scans] | None = None
    asked: Callable[[Scans], Mapping[str, Any]] = _nothing
    others: tuple[str, ...] = ()
    rise: Callable[[Scans], Rise] | None = None
