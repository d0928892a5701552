"""What the tests of all declared methods share: a small patient, and what methods make of it.

Everything is computed once for each process. A method that a later test runs again is compared
with it.
"""

import functools
from dataclasses import replace
from importlib.util import find_spec

from slabs_of_scans import shrunk

from ContrastSynthLib.geometry import Grid
from ContrastSynthLib.phantom.sample import sample_patient
from ContrastSynthLib.registry import METHODS
from ContrastSynthLib.running.request import Request
from ContrastSynthLib.running.run import run
from ContrastSynthLib.volumes import Series

SIZE = (32, 38, 26)
CUT = (14, 16, 8)
SEED = 11
HAS_NETWORKS = all(find_spec(name) for name in ("torch", "monai", "safetensors"))
READY = sorted(key for key, method in METHODS.items() if not method.needs_torch or HAS_NETWORKS)
RANDOM = [key for key in READY if METHODS[key].random]


@functools.cache
def scans():
    """Return the scans of the sample patient by role."""
    return sample_scans()


@functools.cache
def made(key):
    """Return the result of a method on the sample patient."""
    return run(Request(key, inputs_of(key, scans()), seed=SEED))


@functools.cache
def made_fast(key):
    """Return the same with its quick preset."""
    return run(quick(key, inputs_of(key, scans())))


@functools.cache
def made_small(key):
    """Return what a method makes of few voxels with its quick preset."""
    return run(Request(key, small(key), preset=fastest(key), seed=SEED)).outputs


def sample_scans():
    scans = sample_patient(seed=3, size=SIZE).scans
    found = {role: shrunk(scan, 3) for role, scan in scans.items()}
    phases = zip(("pre", "low", "post"), (0.0, 60.0, 120.0), strict=True)
    return {
        **found,
        "guess": found["post"],
        **dict.fromkeys(("t2", "flair", "adc"), found["pre"]),
        "phase": Series(tuple(at(found[role], time_s) for role, time_s in phases)),
    }


def at(volume, time_s):
    return replace(volume, acquisition=replace(volume.acquisition, time_s=time_s))


def inputs_of(key, scans):
    """Give each role its scan; a role that the sample lacks has to be added to the sample."""
    missing = set(METHODS[key].inputs) - set(scans)
    assert not missing, f"the sample patient has no {missing}: add them for the matrix"
    return {role: fitting(scans[role], one) for role, one in METHODS[key].inputs.items()}


def fitting(scan, declared):
    """Return the last volume of a series where one volume is declared."""
    return scan.volumes[-1] if isinstance(scan, Series) and not declared.series else scan


def volumes_of(output):
    """Return the volumes of a series, or the one volume."""
    return list(output) if isinstance(output, Series) else [output]


def arrays(outputs):
    return {name: [v.array for v in volumes_of(output)] for name, output in outputs.items()}


def bits(outputs):
    return {name: [a.tobytes() for a in found] for name, found in arrays(outputs).items()}


def each(value, change):
    """Return a volume, or each volume of a series, changed."""
    if isinstance(value, Series):
        return Series(tuple(change(volume) for volume in value))
    return change(value)


def quick(key, given):
    """Return a request with the preset with which a method is quick."""
    return Request(key, given, preset=fastest(key), seed=SEED)


def fastest(key):
    """Return the preset with which a method is quick; None where the defaults are."""
    return "fast" if "fast" in METHODS[key].presets else None


def small(key):
    """Return a method's inputs cut to few voxels, with a mask: whether a stretched head still
    looks like one is not asked here."""
    reference = scans()[METHODS[key].reference]
    given = inputs_of(key, scans()) | {"mask": head_of(reference)}
    grid = Grid(CUT, spacing_mm=(4.0, 4.0, 4.0))
    return {role: each(value, lambda v: cut(v, grid)) for role, value in given.items()}


def head_of(reference, inside=True):
    """Return the mask of the head in a volume, or in the first of a series."""
    first = volumes_of(reference)[0]
    return first.with_array((first.array > 0) & inside)


def cut(volume, grid):
    """Return the middle of a volume on another grid, small enough for many runs."""
    i, j, k = CUT
    return replace(volume, array=volume.array[8 : 8 + k, 10 : 10 + j, 8 : 8 + i], grid=grid)
