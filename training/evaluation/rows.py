"""Rows of a table: a method of the library with weights, preset and parameters, or a baseline."""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from typing import Any

from ContrastSynthLib.errors import RequestError, unknown_name
from ContrastSynthLib.inversion.alpha import rising_alpha
from ContrastSynthLib.registry import METHODS, choose_bundles, find_method, resolve_parameters
from ContrastSynthLib.running.request import Request
from ContrastSynthLib.running.run import run
from ContrastSynthLib.weights.bundles import look_up
from evaluation.cases import Scans
from evaluation.task import Outputs, Task

FORM = "NAME=METHOD[:WEIGHTS][@PRESET][,PARAMETER=VALUE]..."
# WEIGHTS may be a path, so that it ends only where a preset or a parameter follows.
ROW = re.compile(
    r"(?P<name>[^=]+)=(?P<method>\w+)(:(?P<weights>.+?))?(@(?P<preset>\w+))?"
    r"(?P<parameters>(,\w+=[^,]+)*)"
)
WITHOUT = "without"
"""In place of a parameter: the scans that the row does not see, SCAN+SCAN."""
SCHEDULED = ("alpha", "schedule")
"""In place of a value: LIP-CAR's alpha of the preset, raised with the added noise."""


@dataclass(frozen=True)
class Row:
    """A row of a table: a method or a built-in row of a task, and with what it runs.

    ``weights`` is a name, an id or a folder, or NETWORK=WEIGHTS+NETWORK=WEIGHTS.
    """

    name: str
    method: str
    weights: str = ""
    preset: str = ""
    parameters: tuple[tuple[str, str], ...] = ()

    @classmethod
    def parse(cls, text: str, task: Task) -> Row:
        """Return the row of a text in FORM.

        Raises RequestError for another form, and for what the method does not have.
        """
        found = ROW.fullmatch(text)
        if not (found and found["name"].strip()):
            raise RequestError(f"--row '{text}' is not of the form {FORM}")
        pairs = (pair.partition("=") for pair in found["parameters"].split(",")[1:])
        row = cls(
            found["name"].strip(),
            found["method"],
            found["weights"] or "",
            found["preset"] or "",
            tuple((name, value) for name, _, value in pairs),
        )
        try:
            row.check(task)
        except RequestError as error:
            raise RequestError(f"--row '{text}': {error}") from None
        return row

    def check(self, task: Task) -> None:
        """Raise RequestError unless the method can make this row of that task."""
        names = [name for name, _ in self.parameters]
        if len(set(names)) < len(names):
            raise RequestError(f"a parameter is given twice: {', '.join(names)}.")
        if self.method in task.built_in:
            self._check_built_in(task)
            return
        if self.method not in METHODS:
            raise unknown_name("method", self.method, [*task.built_in, *METHODS])
        method = find_method(self.method)
        if task.output not in method.outputs:
            raise RequestError(
                f"{self.method} makes {', '.join(method.outputs)}, not '{task.output}', which a "
                f"table from {task.name} compares."
            )
        if self.weights and not method.networks:
            raise RequestError(f"'{self.method}' has no weights.")
        for role in self.left_out:
            if role not in task.others or role not in method.inputs:
                raise unknown_name("scan to leave out", role, task.others)
        known = resolve_parameters(method, self.values, self.preset or None).values
        if self.is_scheduled and not getattr(known, "alpha", 0):
            raise RequestError("alpha=schedule needs a preset with an alpha: @paper_ph2l_tv.")

    def _check_built_in(self, task: Task) -> None:
        if (self.weights and not task.built_in[self.method].weights) or self.preset:
            has = "presets" if task.built_in[self.method].weights else "weights and no presets"
            raise RequestError(f"'{self.method}' has no {has}.")
        choices = task.built_in[self.method].choices
        for name, value in self.parameters:
            if name not in choices:
                raise unknown_name(f"parameter of {self.method}", name, choices)
            if value not in choices[name]:
                raise unknown_name(f"value of {name}", value, choices[name])

    @property
    def values(self) -> dict[str, str]:
        """The parameters by name."""
        given = [pair for pair in self.parameters if pair != SCHEDULED]
        return {name: value for name, value in given if name != WITHOUT}

    @property
    def is_scheduled(self) -> bool:
        """Whether alpha follows the added noise."""
        return SCHEDULED in self.parameters

    @property
    def left_out(self) -> list[str]:
        """The scans that the row does not see."""
        text = dict(self.parameters).get(WITHOUT)
        return text.split("+") if text else []

    @property
    def settings(self) -> str:
        """The preset and the parameters, as they are written in a row."""
        parameters = "".join(f",{name}={value}" for name, value in self.parameters)
        return (f"@{self.preset}" if self.preset else "") + parameters

    @property
    def wanted(self) -> str | dict[str, str] | None:
        """The weights as a request has them: None for the method's own."""
        pairs = [pair.partition("=") for pair in self.weights.split("+")]
        if all(network.isidentifier() and weights for network, _, weights in pairs):
            return {network: weights for network, _, weights in pairs}
        return self.weights or None

    def weights_id(self, task: Task) -> str:
        """Return the ids of the weights that a run takes, separated by spaces; "" without any.

        Raises MissingError and RequestError, before anything is measured, as a run would.
        """
        if self.method in task.built_in:
            name = self.weights or task.built_in[self.method].weights
            return look_up(name).id if name else ""
        method = find_method(self.method)
        values = resolve_parameters(method, self.values, self.preset or None).values
        bundles = choose_bundles(method, values, self.wanted, verify=False)
        return " ".join(bundle.id for bundle in bundles.values())


def synthesise(row: Row, task: Task, given: Scans, clean: Scans) -> Outputs:
    """Return what a row makes of the scans that are ``given``.

    ``clean`` are the same without added noise. Raises RequestError for a scan that the row lacks.
    """
    parameters: dict[str, Any] = dict(row.values)
    if row.method in task.built_in:
        if row.weights:
            parameters["weights"] = row.weights
        return task.built_in[row.method].make(given, clean, **parameters)
    method = find_method(row.method)
    if row.is_scheduled:
        first = resolve_parameters(method, row.values, row.preset or None).values.alpha
        most = method.presets["paper_rising"]["alpha_at_most"]
        parameters["alpha"] = rising_alpha(given.added_noise, first, most)
    known = {each.name for each in fields(method.parameters)}
    asked = {name: value for name, value in task.asked(given).items() if name in known}
    declared = method.inputs
    wanted = [role for role in declared if not declared[role].optional or role in given.scans]
    # Never what is to be made.
    hidden = {task.output, *row.left_out}
    inputs = {role: given[role] for role in wanted if role not in hidden}
    if given.mask is not None:
        inputs["mask"] = given.mask
    request = Request(
        row.method,
        inputs,
        asked | parameters,
        preset=row.preset or None,
        weights=row.wanted,
    )
    return run(request).outputs
