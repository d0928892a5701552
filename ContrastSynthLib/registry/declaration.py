"""What a method says of itself, once, and the dictionary in which all methods stand.

The command line, the panel, validation, provenance, the batch table and the test matrix
are derived from a :class:`Method`; none of them names one. A method is one file in
``methods``: a frozen dataclass of annotated parameters, and a function under ``@method``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from ContrastSynthLib.errors import RequestError, unknown_name

METHODS: dict[str, Method] = {}
ALIASES: dict[str, str] = {}
"""Old key of a renamed method to its new key: saved scenes hold keys."""

TASKS = {
    "pre": "Pre-contrast from post-contrast",
    "dose": "Any dose from pre- and post-contrast",
    "full": "Full dose from low dose",
    "enhance": "Contrast enhancement without an agent",
    "delayed": "Delayed phases from an early phase",
}
ROLES = {
    "pre": "before the agent",
    "post": "after the full dose",
    "low": "after a low dose",
    "corrupted": "before the agent, with artefacts",
    "t2": "T2-weighted",
    "adc": "apparent diffusion coefficient",
    "phase": "dynamic phase after the agent",
    "guess": "a full dose that another method made",
    "mask": "the brain or breast, always optional",
}
MASK_ROLE = "mask"
PRESET_TITLES = {"paper": "As in the paper", "fast": "Fast"}
"""Of the presets that mean the same in every method; a method titles all others itself."""


@dataclass(frozen=True)
class Input:
    """A volume that a method takes. ``series`` takes several, each with its time."""

    title: str
    modality: str = "T1"
    optional: bool = False
    series: bool = False


@dataclass(frozen=True)
class Output:
    """A volume that a method gives, on the grid of its reference input.

    ``units_of`` names the input whose units the result has; None means that it is a map
    with values from 0 to 1, such as an uptake mask.
    """

    title: str
    units_of: str | None
    series: bool = False


@dataclass(frozen=True)
class Param:
    """What a method says of one parameter, in the annotation of its dataclass field.

    ``titles`` says what choices are called where their key is no word for a user.
    ``step`` is the smallest difference that matters, where it is not about a hundredth of the
    range. ``lowest_means`` says what ``low`` stands for where it is no mere number.
    ``from_acquisition`` is ``(role, name)``: the value that the input's file may hold.
    Raises ValueError for the title of something that cannot be chosen.
    """

    title: str
    unit: str = ""
    low: float | None = None
    high: float | None = None
    choices: tuple[str, ...] = ()
    help: str = ""
    from_acquisition: tuple[str, str] | None = None
    titles: Mapping[str, str] = field(default_factory=dict)
    step: float | None = None
    lowest_means: str = ""

    def __post_init__(self) -> None:
        if unknown := sorted(set(self.titles) - set(self.choices)):
            raise ValueError(f"{self.title}: titles of what is no choice: {', '.join(unknown)}.")

    @property
    def allowed(self) -> str:
        """The values that are right, as a user reads it."""
        if self.choices:
            return "one of " + ", ".join(self.choices)
        if self.low is not None and self.high is not None:
            return f"{self.low:g} to {self.high:g} {self.unit}".strip()
        return self.unit

    def choice_title(self, choice: str) -> str:
        """Return what a choice is called; the key goes into files and onto the command line."""
        return self.titles.get(choice) or _as_words(choice)


@dataclass(frozen=True)
class Method:
    """A method of synthesis or inversion.

    ``reference`` is the role whose grid everything runs on and every output lies on.
    ``signal_model`` is ``"spgr"`` where eq. 1 of SPHERE must hold for the inputs.
    ``weights`` is the name of the weights that it needs, ``weights_pending`` says that they
    are not shipped yet. ``weights_when`` names those that it needs only where all the
    parameters named have one of the values: ``{"ph2l": {"forward": ("ph2l",)}}``.
    ``preset_titles`` says what presets are called that PRESET_TITLES does not know.
    ``measure`` is what a method takes from the whole volumes before it goes voxel by voxel:
    ``function`` gets what it returned as ``measured``. Whoever declares it promises that each
    voxel of the outputs depends on nothing else but the inputs' values there.
    """

    key: str
    title: str
    task: str
    inputs: Mapping[str, Input]
    outputs: Mapping[str, Output]
    parameters: type
    reference: str
    citation: str
    intended_use: str
    function: Callable[..., dict[str, Any]]
    presets: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    preset_titles: Mapping[str, str] = field(default_factory=dict)
    measure: Callable[..., Any] | None = None
    weights: str | None = None
    weights_when: Mapping[str, Mapping[str, tuple[str, ...]]] = field(default_factory=dict)
    weights_pending: bool = False
    signal_model: str | None = None

    @property
    def required(self) -> list[str]:
        """Roles without which the method does not run."""
        return [role for role, declared in self.inputs.items() if not declared.optional]

    @property
    def needs_torch(self) -> bool:
        """Whether it computes with torch, on the device of the user's choice."""
        return bool(self.weights or self.weights_when)

    def weights_for(self, values: Any) -> list[str]:
        """Return the names of the weights that it needs with these values of its parameters."""
        needed = [
            name
            for name, conditions in self.weights_when.items()
            if all(getattr(values, key) in wanted for key, wanted in conditions.items())
        ]
        return ([self.weights] if self.weights else []) + needed

    def preset_title(self, preset: str) -> str:
        """Return what a preset is called; the key goes into files and onto the command line."""
        found = self.preset_titles.get(preset) or PRESET_TITLES.get(preset)
        return found or _as_words(preset)

    @property
    def can_preview(self) -> bool:
        """Whether a few voxels of a result can be had at once, without the rest and torch."""
        return self.measure is not None and not self.needs_torch

    @property
    def ready(self) -> bool:
        """Whether the method has what it needs to run."""
        return not self.weights_pending


def method(**declared: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Declare the decorated function as a method; the keywords are those of Method.

    The function is called as ``function(**volumes, parameters=..., context=...)`` and
    returns one array (k, j, i) for each declared output. With ``measure``, which is called as
    ``measure(**volumes, context=...)``, it also gets ``measured``. Raises ValueError for a
    declaration that contradicts itself or a key that is taken.
    """

    def declare(function: Callable[..., Any]) -> Callable[..., Any]:
        new = Method(function=function, **declared)
        _refuse_contradictions(new)
        METHODS[new.key] = new
        return function

    return declare


def find_method(key: str) -> Method:
    """Return the method of that key or old key; raises RequestError naming the nearest."""
    found = METHODS.get(ALIASES.get(key, key))
    if found is None:
        raise unknown_name("method", key, METHODS)
    return found


def check_roles(chosen: Method, given: Mapping[str, Any]) -> None:
    """Raise RequestError unless the given roles are what the method takes."""
    known = [*chosen.inputs, MASK_ROLE]
    for role in given:
        if role not in known:
            raise unknown_name(f"input role of {chosen.key}", role, known)
    missing = [role for role in chosen.required if role not in given]
    if missing:
        wanted = ", ".join(f"'{role}' ({chosen.inputs[role].title})" for role in missing)
        example = " ".join(f"--in {role}=FILE" for role in chosen.required)
        raise RequestError(f"{chosen.key} needs {wanted}. Give {example}.")


def _as_words(key: str) -> str:
    words = key.replace("_", " ")
    return words[:1].upper() + words[1:]


def _refuse_contradictions(new: Method) -> None:
    if new.key in METHODS or new.key in ALIASES:
        raise ValueError(f"A method '{new.key}' is declared already.")
    if new.task not in TASKS:
        raise ValueError(f"{new.key}: unknown task '{new.task}'; known: {', '.join(TASKS)}.")
    unknown = set(new.inputs) - set(ROLES)
    if unknown:
        raise ValueError(f"{new.key}: unknown roles {sorted(unknown)}; known: {', '.join(ROLES)}.")
    parameters = {f.name for f in fields(new.parameters)} if new.weights_when else set()
    for name, conditions in new.weights_when.items():
        if not set(conditions) <= parameters:
            raise ValueError(f"{new.key}: the weights '{name}' depend on unknown parameters.")
        if any(isinstance(values, str) for values in conditions.values()):
            raise ValueError(f"{new.key}: the weights '{name}' need tuples of values.")
    if untitled := sorted(set(new.preset_titles) - set(new.presets)):
        raise ValueError(f"{new.key}: titles of what is no preset: {', '.join(untitled)}.")
    if MASK_ROLE in new.inputs:
        raise ValueError(f"{new.key}: every method takes a mask; do not declare it.")
    named = {new.reference} | {out.units_of for out in new.outputs.values() if out.units_of}
    if not named <= set(new.required):
        raise ValueError(f"{new.key}: reference and units must name required inputs.")
