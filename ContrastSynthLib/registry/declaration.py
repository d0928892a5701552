"""Declaration of a method, and METHODS, the dictionary of all declared methods.

The command line, the panel, validation, provenance, the batch table and the test matrix are all
derived from a :class:`Method`; none of them contains the name of one. A method is one file in
``methods``: a frozen dataclass of annotated parameters, and a function decorated by ``@method``.
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
"""Old key of a renamed method to its new key, for saved scenes and scripts."""

TASKS = {
    "pre": "Pre-contrast from post-contrast",
    "dose": "Any dose from pre- and post-contrast",
    "full": "Full dose from low dose",
    "enhance": "Contrast enhancement without an agent",
    "delayed": "Delayed phases from an early phase",
}
ITERATION = "iteration"
"""The column of a history that counts iterations."""
RESERVED_PARAMETERS = {"case", "seed", "time"}
"""Names of columns of a batch table, or options of every run, that no parameter may have."""
PRESET_TITLES = {
    "paper": "As in the paper",
    "authors_code": "As in the authors' code",
    "fast": "Fast",
}
"""Titles of the presets with the same meaning in every method; others are in the declaration."""


@dataclass(frozen=True)
class Param:
    """The description of one parameter, in the annotation of its dataclass field.

    - ``low``, ``high``: the range, of each number where the parameter is a list (``Numbers``).
    - ``choices``, ``titles``: the keys that may be chosen, and the title of each whose key is not
      understandable by itself.
    - ``step``: the smallest difference that matters; default: about a hundredth of the range.
    - ``lowest_means``: what the value ``low`` means where it is special, such as "from the noise".
    - ``main``: whether the parameter says what the result is, as a dose does: it stands in the
      panel's short form and in the names of results.
    - ``from_acquisition``: ``(role, name)`` of the acquisition parameter in the file of that input
      which is the default.

    Raises ValueError for the title of an unknown choice.
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
    main: bool = False

    def __post_init__(self) -> None:
        if unknown := sorted(set(self.titles) - set(self.choices)):
            raise ValueError(f"{self.title}: titles of unknown choices: {', '.join(unknown)}.")

    @property
    def allowed(self) -> str:
        """The allowed values in words."""
        if self.choices:
            return "one of " + ", ".join(self.choices)
        if self.low is not None and self.high is not None:
            return f"{self.low:g} to {self.high:g} {self.unit}".strip()
        return self.unit

    def choice_title(self, choice: str) -> str:
        """Return the title of a choice; files and the command line have its key."""
        return self.titles.get(choice) or _as_words(choice)


@dataclass(frozen=True)
class Network:
    """A trained network that a method needs.

    - ``weights``: the name of its weights; default: the name of the network in the declaration.
    - ``of``: the key of the method that the weights belong to, where it is another one.
    - ``when``: the network is needed only if each of these parameters has one of the values:
      ``Network(when={"forward": ("ph2l",)})``.
    - ``build``: builds the network from the arguments in the model card; without it the card must
      name a network of the library.
    - ``spared_by``: another network of the method, and a test of the ``network`` in the model card
      of its weights: where it is true, that network does the work of both.

    A network needs the packages of the group ``networks`` in ``requirements.py``.
    """

    weights: str = ""
    of: str = ""
    when: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    build: Callable[..., Any] | None = None
    spared_by: tuple[str, Callable[[Mapping[str, Any]], bool]] | None = None


@dataclass(frozen=True)
class Column:
    """A number that an iterative method records at each iteration.

    Columns with the same ``plot`` are curves in one plot of that title; a column without is only
    listed. ``factor`` is the name of a number in the record by which the curve is multiplied.
    """

    title: str
    unit: str = ""
    plot: str = ""
    factor: str = ""


@dataclass(frozen=True)
class Method:
    """The declaration of a method.

    - ``task``: a key of TASKS. ``citation``: a key of Resources/Citations.json.
    - ``reference``: the input role whose grid all inputs are brought onto and all outputs have.
    - ``presets``: parameter values by preset; ``preset_titles``: titles of those that are not in
      PRESET_TITLES.
    - ``then``: the key of a method that goes on with what this one makes, and with its inputs: the
      panel runs both at one press of a button.
    - ``recommended``: whether it is the method of its task to begin with; it is listed first.
    - ``part_voxels``: how many voxels are computed at once, where the method computes a large
      volume in parts; its memory hardly grows beyond that.
    - ``networks``: the networks that the function gets by ``context.network(name)``.
    - ``requires``: the groups of packages in ``requirements.py`` that every run needs.
    - ``random``: the result depends on random numbers, which are those of ``context.generator``.
    - ``history``: the columns of ``context.record["history"]`` of an iterative method, which also
      gives them to ``context.measured`` at each iteration; ``iteration`` is one of them.
    - ``signal_model``: ``"spgr"`` where the inputs must follow eq. 1 of SPHERE.
    - ``measure``: for a method that computes each voxel from the inputs' values at that voxel and
      from a few numbers of the whole volumes, such as a median. ``measure`` returns these numbers,
      and ``function`` gets them as ``measured``. With it, single voxels can be previewed; no voxel
      of the outputs may depend on anything else.
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
    part_voxels: int | None = None
    recommended: bool = False
    then: str = ""

    @property
    def required(self) -> list[str]:
        """The roles of inputs that are not optional."""
        return [role for role, declared in self.inputs.items() if not declared.optional]

    @property
    def needs_torch(self) -> bool:
        """Whether the method computes with torch, on the device that the user chooses."""
        return bool(self.networks) or "torch" in self.requires

    @property
    def next(self) -> Method | None:
        """The method that goes on with the result; None where none does, or it is not there."""
        return METHODS.get(self.then)

    def networks_for(self, values: Any) -> dict[str, str]:
        """Return the networks that a run with these parameters needs: name to name of weights."""
        return {
            name: network.weights or name
            for name, network in self.networks.items()
            if all(getattr(values, key) in wanted for key, wanted in network.when.items())
        }

    def packages_for(self, values: Any) -> list[str]:
        """Return the groups of packages that a run with these parameters needs."""
        return [*self.requires, *(["networks"] if self.networks_for(values) else [])]

    def preset_title(self, preset: str) -> str:
        """Return the title of a preset; files and the command line have its key."""
        found = self.preset_titles.get(preset) or PRESET_TITLES.get(preset)
        return found or _as_words(preset)

    @property
    def voxelwise(self) -> bool:
        """Whether each voxel of a result depends only on the inputs' values at that voxel."""
        return self.measure is not None

    @property
    def can_preview(self) -> bool:
        """Whether single voxels of a result can be computed at once, without torch."""
        series = any(given.series for given in self.inputs.values())
        series |= any(made.series for made in self.outputs.values())
        return self.voxelwise and not (self.needs_torch or self.random or series)


def method(**declared: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Declare the decorated function as a method; the keywords are the fields of Method.

    The function is called as ``function(**volumes, parameters=..., context=...)`` with the declared
    inputs by role. It returns for each declared output an array (k, j, i), or a Series where one is
    declared. Where there is a ``measure``, ``measure(**volumes, context=...)`` is called first and
    the function also gets its result as ``measured``. Raises ValueError for a declaration that
    contradicts itself and for a key that is in use.
    """

    def declare(function: Callable[..., Any]) -> Callable[..., Any]:
        new = Method(function=function, **declared)
        _refuse_contradictions(new)
        METHODS[new.key] = new
        return function

    return declare


def find_method(key: str) -> Method:
    """Return the method of a key or old key; raises RequestError, with similar keys, for others."""
    found = METHODS.get(ALIASES.get(key, key))
    if found is None:
        raise unknown_name("method", key, METHODS)
    return found


def check_roles(chosen: Method, given: Mapping[str, Any]) -> None:
    """Raise RequestError for an unknown role in ``given`` and for a missing required one."""
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
        raise ValueError(f"A method '{new.key}' is already declared.")
    if new.task not in TASKS:
        raise ValueError(f"{new.key}: unknown task '{new.task}'; known: {', '.join(TASKS)}.")
    unknown = set(new.inputs) - set(ROLES)
    if unknown:
        raise ValueError(f"{new.key}: unknown roles {sorted(unknown)}; known: {', '.join(ROLES)}.")
    if taken := sorted({f.name for f in fields(new.parameters)} & RESERVED_PARAMETERS):
        raise ValueError(f"{new.key}: reserved names of parameters: {', '.join(taken)}.")
    _refuse_networks(new)
    if new.history and ITERATION not in new.history:
        raise ValueError(f"{new.key}: a history needs a column '{ITERATION}'.")
    if untitled := sorted(set(new.preset_titles) - set(new.presets)):
        raise ValueError(f"{new.key}: titles of unknown presets: {', '.join(untitled)}.")
    if MASK_ROLE in new.inputs:
        raise ValueError(f"{new.key}: every method takes a mask; do not declare it.")
    named = {new.reference} | {out.units_of for out in new.outputs.values() if out.units_of}
    if not named <= set(new.required):
        raise ValueError(f"{new.key}: reference and units_of must name required inputs.")
    doses = {out.dose for out in new.outputs.values() if isinstance(out.dose, str)}
    if unknown_doses := sorted(doses - {f.name for f in fields(new.parameters)}):
        raise ValueError(f"{new.key}: dose names unknown parameters: {', '.join(unknown_doses)}.")


def _refuse_networks(new: Method) -> None:
    if unknown := sorted(set(new.requires) - set(REQUIREMENTS)):
        raise ValueError(f"{new.key}: unknown groups of packages: {', '.join(unknown)}.")
    parameters = {f.name for f in fields(new.parameters)}
    for name, network in new.networks.items():
        if not set(network.when) <= parameters:
            raise ValueError(f"{new.key}: the network '{name}' depends on unknown parameters.")
        if any(isinstance(values, str) for values in network.when.values()):
            raise ValueError(f"{new.key}: the network '{name}' needs tuples of values in when.")
        if network.spared_by and network.spared_by[0] not in new.networks:
            raise ValueError(f"{new.key}: the network '{name}' is spared by an unknown one.")
