"""Declarations as JSON, text and Markdown, for the command line, the panel and the README."""

from __future__ import annotations

from collections.abc import Iterable
from math import isfinite
from typing import Any

from ContrastSynthLib.registry.bundles import fits
from ContrastSynthLib.registry.declaration import TASKS, Method
from ContrastSynthLib.registry.parameters import Declared, declared_parameters
from ContrastSynthLib.registry.volumes import LABELS, MAP, Output
from ContrastSynthLib.weights.bundles import shipped_and_imported

SCHEMA_VERSION = 2


def method_as_dict(method: Method) -> dict[str, Any]:
    """Return the whole declaration of a method, ready for JSON."""
    return {
        "key": method.key,
        "title": method.title,
        "task": method.task,
        "inputs": {role: vars(declared) for role, declared in method.inputs.items()},
        "outputs": {role: vars(declared) for role, declared in method.outputs.items()},
        "reference": method.reference,
        "parameters": [_parameter_as_dict(p) for p in declared_parameters(method).values()],
        "presets": {name: dict(values) for name, values in method.presets.items()},
        "preset_titles": {name: method.preset_title(name) for name in method.presets},
        "can_preview": method.can_preview,
        "recommended": method.recommended,
        "then": method.then,
        "networks": {
            name: {
                "weights": network.weights or name,
                "when": {key: list(values) for key, values in network.when.items()},
            }
            for name, network in method.networks.items()
        },
        "requires": list(method.requires),
        "random": method.random,
        "history": {name: vars(column) for name, column in method.history.items()},
        "citation": method.citation,
        "intended_use": method.intended_use,
    }


def methods_as_dict(methods: Iterable[Method]) -> dict[str, Any]:
    """Return the content of ``contrastsynth methods --json``."""
    listed = [method_as_dict(method) for method in methods]
    return {"schema_version": SCHEMA_VERSION, "methods": listed}


def methods_as_text(methods: Iterable[Method]) -> str:
    """Return the list of methods, grouped by task, as text."""
    listed = list(methods)
    lines = []
    for task, title in TASKS.items():
        group = [method for method in listed if method.task == task]
        lines += [title] if group else []
        for method in group:
            lines.append(f"  {method.key:<20} {method.title}")
            takes = ", ".join(
                _role(role, i.optional, i.series) for role, i in method.inputs.items()
            )
            lines.append(f"  {'':<20} {takes} -> {', '.join(method.outputs)}")
    lines.append(f"\n{len(listed)} methods.")
    return "\n".join(lines)


def methods_as_markdown(methods: Iterable[Method]) -> str:
    """Return the README's table of methods."""
    lines = ["| method | takes | gives | what it is |", "|---|---|---|---|"]
    for method in methods:
        takes = ", ".join(_role(role, i.optional, i.series) for role, i in method.inputs.items())
        gives = ", ".join(method.outputs)
        lines.append(f"| `{method.key}` | {takes} | {gives} | {method.title} |")
    return "\n".join(lines)


def method_as_text(method: Method) -> str:
    """Return the declaration of a method as text, with the weights on this machine."""
    lines = [f"{method.key}: {method.title}", method.intended_use, "", "Inputs"]
    for role, given in method.inputs.items():
        lines.append(f"  {_role(role, given.optional, given.series):<22} {given.title}")
    lines.append("  [mask]                 The brain or breast, or auto: the brain is found;")
    lines.append(f"  {'':<22} estimated when it is not given")
    lines.append("Outputs")
    lines += [
        f"  {name:<22} {given.title}{_kind_of(given)}" for name, given in method.outputs.items()
    ]
    lines.append("Parameters")
    for entry in declared_parameters(method).values():
        lines.append(f"  {entry.name:<22} {_parameter_text(entry)}")
        lines += [f"  {'':<24}{choice:<16}{t}" for choice, t in entry.param.titles.items()]
    if method.presets:
        lines.append("Presets")
        lines += [f"  {name:<22} {method.preset_title(name)}" for name in method.presets]
    if method.random:
        lines.append("Results depend on the seed (--seed N), which the provenance records.")
    if method.networks:
        lines += [*_networks_needed(method), *_weights_lines(method)]
    return "\n".join(lines)


def _networks_needed(method: Method) -> list[str]:
    lines = ["Networks"]
    for name, network in method.networks.items():
        when = " and ".join(f"{key} = {' or '.join(v)}" for key, v in network.when.items())
        weights = "" if network.weights in ("", name) else f"weights {network.weights} "
        lines.append(f"  {name:<22} {weights}{when and f'when {when}'}".rstrip())
    return [*lines, "Weights"]


def _weights_lines(method: Method) -> list[str]:
    """Return a line for each bundle on this machine that fits the method."""
    there = [bundle for bundle in shipped_and_imported() if fits(bundle, method)]
    lines = [f"  {bundle.id:<22}  {bundle.trained_on}".rstrip() for bundle in there]
    return lines or ["  none of them are on this machine"]


def _kind_of(output: Output) -> str:
    parts = []
    if output.kind == MAP:
        low, high = output.range
        limits = f" from {low:g} to {high:g}" if isfinite(high - low) else ""
        parts.append(f"a map{limits} {output.unit}".strip())
    elif output.kind == LABELS:
        parts.append("labels: " + ", ".join(f"{n} {t}" for n, t in output.labels.items()))
    if output.series:
        parts.append("a series")
    return f" ({'; '.join(parts)})" if parts else ""


def _parameter_as_dict(entry: Declared) -> dict[str, Any]:
    choices = list(entry.param.choices)
    titles = {choice: entry.param.choice_title(choice) for choice in choices}
    param = vars(entry.param) | {"choices": choices, "titles": titles}
    return {"name": entry.name, "type": entry.kind, "default": entry.default} | param


def _parameter_text(entry: Declared) -> str:
    param = entry.param
    default = f"{entry.default:g}" if isinstance(entry.default, float) else str(entry.default)
    parts = [param.title, param.allowed, f"default {default}", param.help]
    if param.from_acquisition:
        parts.append(f"read from the file of '{param.from_acquisition[0]}' where it has it")
    return "; ".join(part.rstrip(".") for part in parts if part)


def _role(role: str, optional: bool, series: bool) -> str:
    text = f"{role}..." if series else role
    return f"[{text}]" if optional else text
