"""Declarations of methods, their parameters, and the context that a run passes to a method."""

from ContrastSynthLib.registry.bundles import choose_bundles
from ContrastSynthLib.registry.context import Context
from ContrastSynthLib.registry.declaration import (
    METHODS,
    TASKS,
    Column,
    Method,
    Network,
    Param,
    check_roles,
    find_method,
    method,
)
from ContrastSynthLib.registry.parameters import (
    Numbers,
    Resolved,
    declared_parameters,
    resolve_parameters,
)
from ContrastSynthLib.registry.volumes import (
    AUTO_MASK,
    IMAGE,
    LABELS,
    MAP,
    MASK_ROLE,
    ROLES,
    Input,
    Output,
)

__all__ = [
    "AUTO_MASK",
    "IMAGE",
    "LABELS",
    "MAP",
    "MASK_ROLE",
    "METHODS",
    "ROLES",
    "TASKS",
    "Column",
    "Context",
    "Input",
    "Method",
    "Network",
    "Numbers",
    "Output",
    "Param",
    "Resolved",
    "check_roles",
    "choose_bundles",
    "declared_parameters",
    "find_method",
    "method",
    "resolve_parameters",
]
