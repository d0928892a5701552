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
from ContrastSynthLib.registry.volumes import MASK_ROLE, ROLES, Input, Output
from ContrastSynthLib.requirements import REQUIREMENTS

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
ITERATION = "iteration"
"""The column of a history that counts its rows."""
RESERVED_PARAMETERS = {"case", "seed", "time"}
"""What every run has of its own: its name in a batch, its seed, the times of a series."""
PRESET_TITLES = {"paper": "As in the paper", "fast": "Fast"}
"""Of the presets that mean the same in every method; a method titles all others itself."""


@dataclass(frozen=True)
class Param:
    """What a method says of one parameter, in the annotation of its dataclass field.

    ``titles`` says what choices are called where their key is no word for a user.
    A list of numbers (``Numbers``) has ``low`` and ``high`` of each of them.
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
class Network:
    """A trained network that a method needs, by default with the weights of the same name.

    ``weights`` names others. ``when`` tells that it is needed only where all the parameters named
    have one of the values: ``Network(when={"forward": ("ph2l",)})``. It computes with the packages
    of the group ``networks`` in ``requirements.py``. ``build`` makes it from the arguments that
    its model card tells; without it the card names one of the library's own networks. ``of`` is the
    key of another method, to which the weights belong.
    """

    weights: str = ""
    of: str = ""
    when: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    build: Callable[..., Any] | None = None


@dataclass(frozen=True)
class Column:
    """A number that a method measures at each of its iterations.

    Columns of the same ``plot`` are drawn as curves into one plot of that title, those without
    are only listed. ``factor`` names a number in the record by which the curve is multiplied.
    """

    title: str
    unit: str = ""
    plot: str = ""
    factor: str = ""


@dataclass(frozen=True)
class Method:
    """A method of synthesis or inversion.

    ``reference`` is the role whose grid everything runs on and every output lies on.
    ``signal_model`` is ``"spgr"`` where eq. 1 of SPHERE must hold for the inputs.
    ``networks`` are those that it asks for with ``context.network(name)``.
    ``requires`` names the groups of packages in ``requirements.py`` that every run needs.
    ``random`` says that results depend on the seed, which ``context.generator`` starts from.
    ``preset_titles`` says what presets are called that PRESET_TITLES does not know.
    ``history`` are the columns of ``context.record["history"]``, the numbers that an iterative
    method gives to ``context.measured`` and records; ``iteration`` is one of them.
    ``measure`` is for a method that computes each voxel by itself, but needs numbers of the whole
    volumes for it, such as a median: it returns these, and ``function`` gets them as ``measured``.
    Whoever declares it promises that each voxel of the outputs depends on nothing else but the
    inputs' values there, so that a few voxels can be previewed.
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
    networks: Mapping[str, Network] = field(default_factory=dict)
    requires: tuple[str, ...] = ()
    random: bool = False
    history: Mapping[str, Column] = field(default_factory=dict)
    signal_model: str | None = None

    @property
    def required(self) -> list[str]:
        """Roles without which the method does not run."""
        return [role for role, declared in self.inputs.items() if not declared.optional]

    @property
    def needs_torch(self) -> bool:
        """Whether it computes with torch, on the device of the user's choice."""
        return bool(self.networks) or "torch" in self.requires

    def networks_for(self, values: Any) -> dict[str, str]:
        """Return the networks that a run with these parameters needs, each with its weights."""
        return {
            name: network.weights or name
            for name, network in self.networks.items()
            if all(getattr(values, key) in wanted for key, wanted in network.when.items())
        }

    def packages_for(self, values: Any) -> list[str]:
        """Return the groups of packages that a run with these parameters needs."""
        return [*self.requires, *(["networks"] if self.networks_for(values) else [])]

    def preset_title(self, preset: str) -> str:
        """Return what a preset is called; the key goes into files and onto the command line."""
        found = self.preset_titles.get(preset) or PRESET_TITLES.get(preset)
        return found or _as_words(preset)

    @property
    def voxelwise(self) -> bool:
        """Whether each voxel of a result depends on the inputs' values there alone."""
        return self.measure is not None

    @property
    def can_preview(self) -> bool:
        """Whether a few voxels of a result can be had at once, without the rest and torch."""
        return self.voxelwise and not self.needs_torch


def method(**declared: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Declare the decorated function as a method; the keywords are those of Method.

    The function is called as ``function(**volumes, parameters=..., context=...)`` and returns for
    each declared output one array (k, j, i), or a Series where it declares one. With ``measure``,
    which is called as ``measure(**volumes, context=...)``, it also gets ``measured``. Raises
    ValueError for a declaration that contradicts itself or a key that is taken.
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
    if taken := sorted({f.name for f in fields(new.parameters)} & RESERVED_PARAMETERS):
        raise ValueError(f"{new.key}: no parameter can be called {', '.join(taken)}.")
    _refuse_networks(new)
    if new.history and ITERATION not in new.history:
        raise ValueError(f"{new.key}: a history has a column '{ITERATION}'.")
    if untitled := sorted(set(new.preset_titles) - set(new.presets)):
        raise ValueError(f"{new.key}: titles of what is no preset: {', '.join(untitled)}.")
    if MASK_ROLE in new.inputs:
        raise ValueError(f"{new.key}: every method takes a mask; do not declare it.")
    named = {new.reference} | {out.units_of for out in new.outputs.values() if out.units_of}
    if not named <= set(new.required):
        raise ValueError(f"{new.key}: reference and units must name required inputs.")
    doses = {out.dose for out in new.outputs.values() if isinstance(out.dose, str)}
    if unknown_doses := sorted(doses - {f.name for f in fields(new.parameters)}):
        raise ValueError(f"{new.key}: doses of unknown parameters: {', '.join(unknown_doses)}.")


def _refuse_networks(new: Method) -> None:
    if unknown := sorted(set(new.requires) - set(REQUIREMENTS)):
        raise ValueError(f"{new.key}: unknown groups of packages: {', '.join(unknown)}.")
    parameters = {f.name for f in fields(new.parameters)}
    for name, network in new.networks.items():
        if not set(network.when) <= parameters:
            raise ValueError(f"{new.key}: the network '{name}' depends on unknown parameters.")
        if any(isinstance(values, str) for values in network.when.values()):
            raise ValueError(f"{new.key}: the network '{name}' needs tuples of values.")
