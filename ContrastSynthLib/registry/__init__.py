"""What a method is: its declaration, its parameters, and what a run lends to it."""

from ContrastSynthLib.registry.context import Context
from ContrastSynthLib.registry.declaration import (
    MASK_ROLE,
    METHODS,
    ROLES,
    TASKS,
    Input,
    Method,
    Output,
    Param,
    check_roles,
    find_method,
    method,
)
from ContrastSynthLib.registry.parameters import Resolved, declared_parameters, resolve_parameters

__all__ = [
    "MASK_ROLE",
    "METHODS",
    "ROLES",
    "TASKS",
    "Context",
    "Input",
    "Method",
    "Output",
    "Param",
    "Resolved",
    "check_roles",
    "declared_parameters",
    "find_method",
    "method",
    "resolve_parameters",
]
