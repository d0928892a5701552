"""How much memory there is, and whether a computation fits into it."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from ContrastSynthLib.errors import RequestError

SWITCH = "CONTRASTSYNTH_MEMORY_CHECK"
"""Environment variable: ``off`` starts a run that is not expected to fit."""
EVALUATION_BYTES_PER_VOXEL = 60
"""Measured: the peak of ``evaluate`` with pre and post, above what Python itself takes."""
CGROUP_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


def available_bytes() -> int | None:
    """Return the memory that a process can still take, None where the system does not say.

    It is the least of what the system reports as available and of a limit on this group of
    processes, as a container or a cluster's queue sets it.
    """
    found: list[int] = []
    with suppress(OSError, StopIteration, ValueError, IndexError):
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        line = next(line for line in lines if line.startswith("MemAvailable:"))
        found.append(int(line.split()[1]) * 1024)
    for name in CGROUP_LIMITS:
        with suppress(OSError, ValueError):
            found.append(int(Path(name).read_text(encoding="ascii")))
    if not found:
        with suppress(AttributeError, OSError, ValueError):
            found.append(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    return min(found) if found else None


def refuse_too_large(needed_bytes: float | None, what: str, size: tuple[int, ...]) -> None:
    """Raise RequestError, with what would help, for a computation that cannot fit into memory.

    ``what`` is what would be computed, ``size`` that of the volume in voxels.
    """
    available = available_bytes()
    if needed_bytes is None or available is None or needed_bytes <= available:
        return
    if os.environ.get(SWITCH, "").lower() == "off":
        return
    voxels = " x ".join(str(n) for n in size)
    raise RequestError(
        f"{what} needs about {needed_bytes / 1e9:.1f} GB of memory for {voxels} voxels, and "
        f"{available / 1e9:.1f} GB are free. Close other programs, crop the volumes to the brain "
        "or breast, resample them to larger voxels, or use a computer with more memory. To try it "
        f"all the same, set the environment variable {SWITCH}=off."
    )
