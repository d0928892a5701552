"""From the sources of a request to volumes on one grid, and the region that counts."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from ContrastSynthLib.errors import RequestError
from ContrastSynthLib.files.dicom.segmentation import fitted
from ContrastSynthLib.files.images import read_mask
from ContrastSynthLib.files.selection import split_selection
from ContrastSynthLib.files.series import holds_series, read_one, read_series
from ContrastSynthLib.preprocessing.alignment import align
from ContrastSynthLib.preprocessing.brain_mask import (
    brain_of,
    refuse_without_package,
    scan_with_the_brain,
)
from ContrastSynthLib.preprocessing.foreground import Foreground, foreground
from ContrastSynthLib.registry import MASK_ROLE, Method
from ContrastSynthLib.registry.context import ProgressFunction, no_progress
from ContrastSynthLib.registry.volumes import AUTO_MASK, PHASE_ROLE
from ContrastSynthLib.running.request import Request, Source, sources_of
from ContrastSynthLib.volumes import Series, Volume

Inputs = dict[str, list[Volume]]
"""The volumes of each role that was given, in their order; one of a role without a series."""


def read_inputs(method: Method, request: Request, by_phase: Collection[str] = ()) -> Inputs:
    """Return the volumes of each role, each phase with its time where one was given.

    The roles ``by_phase`` have a series where the method takes one volume. Raises RequestError for
    a file that cannot be read, several volumes where the method takes one, and times that are
    missing, too many or do not increase. A brain that is to be found is not among them.
    """
    timed = _timed_roles(method, request, by_phase)
    inputs: Inputs = {}
    for role, given in request.inputs.items():
        if role == MASK_ROLE and _is_auto(given):
            continue
        twin = next((other for other in inputs if are_same_series(request, role, other)), None)
        if role in by_phase and twin in by_phase:
            inputs[role] = inputs[str(twin)]
            continue
        series = role in by_phase or (role != MASK_ROLE and method.inputs[role].series)
        times_s = request.times_s if role in timed else ()
        inputs[role] = _read_role(method, role, sources_of(given), times_s, series)
    if MASK_ROLE in inputs and method.reference in inputs:
        grid = inputs[method.reference][0].grid
        inputs[MASK_ROLE] = [fitted(mask, grid) for mask in inputs[MASK_ROLE]]
    return inputs


def are_same_series(request: Request, role: str, other: str) -> bool:
    """Return whether two roles of a request were given the same series."""
    first, second = (sources_of(request.inputs[name]) for name in (role, other))
    if len(first) != 1 or len(second) != 1:
        return False
    (one,), (two,) = first, second
    if isinstance(one, (str, Path)) and isinstance(two, (str, Path)):
        (path, part), (other_path, other_part) = split_selection(one), split_selection(two)
        with suppress(OSError):
            return part == other_part and path.samefile(other_path)
        return False
    return one is two


def _read_role(
    method: Method, role: str, sources: list[Source], times_s: Sequence[float], series: bool
) -> list[Volume]:
    if not series and len(sources) != 1:
        raise RequestError(f"{method.key} takes one volume as '{role}', not {len(sources)}.")
    with _naming(role):
        if series:
            return _read_series(sources, times_s)
        read = read_mask if role == MASK_ROLE else read_one
        return _with_times([_read_one(sources[0], read)], times_s)


def _timed_roles(method: Method, request: Request, by_phase: Collection[str]) -> Collection[str]:
    """Return the roles that the times of a request belong to."""
    if not request.times_s or by_phase:
        return by_phase
    roles = [role for role in request.inputs if role != MASK_ROLE]
    series = [role for role in roles if method.inputs[role].series]
    timed = [PHASE_ROLE] if PHASE_ROLE in roles else series
    if len(timed) != 1:
        takes = "no series" if not timed else f"several series, {' and '.join(timed)}"
        raise RequestError(
            f"The times (--time) belong to a series or a phase; {method.key} was given {takes}."
        )
    return timed


def _read_one(source: Source, read: Callable[[str | Path], Volume]) -> Volume:
    if isinstance(source, Series):
        raise RequestError(f"a series of {len(source)} volumes; expected one volume.")
    return source if isinstance(source, Volume) else read(source)


def _read_series(sources: Sequence[Source], times_s: Sequence[float]) -> list[Volume]:
    """Return a series from one file that holds all of it, or from a file for each volume."""
    if len(sources) == 1:
        (source,) = sources
        if isinstance(source, Series):
            return _with_times(list(source), times_s)
        if isinstance(source, (str, Path)) and holds_series(source):
            return read_series(source, times_s or None)
    volumes = [_read_one(source, read_one) for source in sources]
    return _with_times(volumes, times_s)


def _with_times(volumes: list[Volume], times_s: Sequence[float]) -> list[Volume]:
    if not times_s:
        return volumes
    if len(times_s) != len(volumes):
        raise RequestError(
            f"{len(times_s)} times for {len(volumes)} volumes; give one --time for each."
        )
    return [
        replace(volume, acquisition=replace(volume.acquisition, time_s=float(time)))
        for volume, time in zip(volumes, times_s, strict=True)
    ]


@contextmanager
def _naming(role: str) -> Iterator[None]:
    """Let errors say which input they are about."""
    try:
        yield
    except RequestError as error:
        raise RequestError(f"Input '{role}': {error}") from None


def onto_one_grid(method: Method, sources: Inputs, mode: str) -> tuple[Inputs, dict[str, Any]]:
    """Align every volume with the reference role; names of a series' volumes get a number."""
    flat = {
        _numbered(role, index): volume
        for role, volumes in sources.items()
        for index, volume in enumerate(volumes)
    }
    aligned, report = align(flat, method.reference, mode, masks=(MASK_ROLE,))
    inputs = {
        role: [aligned[_numbered(role, index)] for index in range(len(volumes))]
        for role, volumes in sources.items()
    }
    return inputs, report


def _numbered(role: str, index: int) -> str:
    return f"{role} {index + 1}" if index else role


def finds_brain(method: Method, request: Request) -> bool:
    """Return whether the brain is to be found: the word ``auto`` stands for the mask.

    Raises RequestError for a method or scans in which there is none, MissingError where what finds
    it is not installed.
    """
    if not _is_auto(request.inputs.get(MASK_ROLE, ())):
        return False
    scans = {role: one for role, one in request.inputs.items() if role != MASK_ROLE}
    if moving := [role for role in scans if role == PHASE_ROLE or method.inputs[role].series]:
        raise RequestError(
            f"The mask '{AUTO_MASK}' is a brain; '{moving[0]}' is a dynamic series or a phase of "
            "one. Draw a mask of the breast or brain (--in mask=FILE)."
        )
    scan_with_the_brain(_t1_scans(method, scans))
    refuse_without_package()
    return True


def _is_auto(given: Source | Sequence[Source]) -> bool:
    sources = sources_of(given)
    return len(sources) == 1 and isinstance(sources[0], str) and sources[0] == AUTO_MASK


def _t1_scans(method: Method, inputs: Mapping[str, Any]) -> dict[str, Any]:
    return {
        role: given
        for role, given in inputs.items()
        if role != MASK_ROLE and method.inputs[role].modality == "T1"
    }


def region(
    method: Method,
    inputs: Mapping[str, Sequence[Volume]],
    find: bool = False,
    progress: ProgressFunction = no_progress,
) -> Foreground:
    """Return the mask that was given, else the brain if it is to be found, else an estimate."""
    if find:
        scans = {role: volumes[0] for role, volumes in _t1_scans(method, inputs).items()}
        return brain_of(scans, progress)
    same_kind = [volume for volumes in _t1_scans(method, inputs).values() for volume in volumes]
    mask = inputs[MASK_ROLE][0] if MASK_ROLE in inputs else None
    return foreground(same_kind or list(inputs[method.reference]), mask)


def as_arguments(method: Method, inputs: Inputs) -> dict[str, Volume | Series]:
    """Return what the method's function is called with; RequestError for times that are wrong."""
    arguments: dict[str, Volume | Series] = {}
    for role, volumes in inputs.items():
        if role != MASK_ROLE:
            with _naming(role):
                series = method.inputs[role].series
                arguments[role] = Series(tuple(volumes)) if series else volumes[0]
    return arguments
