"""Find the brain in a T1 scan of a whole head, by the package ``deepbet``.

deepbet (MIT licence; Fisch et al., https://doi.org/10.1016/j.compbiomed.2024.108845) brings two
networks in its wheel: one finds the box around the brain, the other the brain in it. Their files
are TorchScript, which torch runs as code when it loads them. They are therefore not shipped with
ContrastSynth, whose own weights are safetensors: they come with the package, which the user
installs. Image and mask are passed in memory; no file is written.

The networks were trained on T1 scans of healthy adults. In real scans without contrast agent that
were skull-stripped by other tools, their mask has a Dice coefficient of 0.972 to 0.981 with the
voxels above 0, after the agent of 0.967 to 0.985. In two virtual heads it is 0.950 and 0.959 with
the true brain before the agent, 0.939 and 0.953 after it, 0.87 to 0.91 in T2.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import Any

import numpy as np

from ContrastSynthLib.errors import MissingError, RequestError
from ContrastSynthLib.preprocessing.foreground import Foreground
from ContrastSynthLib.volumes import Volume, check_same_grid

PACKAGE = "deepbet"

# The scans in which the brain is looked for, best first: T1, before the agent, without artefacts.
# A synthetic scan is never asked where the brain is.
SCANS = ("pre", "low", "post", "reference", "guess", "corrupted")

# A breast or a trunk is taken for a brain of several litres. A head that was drawn generously has
# 2.3 litres, with the fluid around the brain.
LARGEST_BRAIN_ML = 3000.0

# The networks sample a volume at 128 and 256 planes, of which a single slice has none.
FEWEST_SLICES = 2

ProgressFunction = Callable[[float, str], None]


def _quiet(fraction: float, message: str) -> None:
    """Take a step of progress and do nothing with it."""


def find_brain(volume: Volume, device: str = "cpu", progress: ProgressFunction = _quiet) -> Volume:
    """Return the mask of the brain, 1 inside, in a T1 scan of a head or of a stripped brain.

    The mask lies on the scan's own grid. It takes 2 to 3 s on two cores and 1 GB of memory.
    Raises MissingError where deepbet is not installed, RequestError where no brain is found.
    """
    if min(volume.grid.size) < FEWEST_SLICES:
        raise RequestError(
            "A brain is not found in a single slice. Draw a mask of it (--in mask=FILE)."
        )
    progress(0.0, "Loading the networks that find the brain")
    bet, as_image = _networks(device)
    progress(0.1, "Finding the brain")
    # nibabel's arrays are (i, j, k), its matrices map to RAS.
    image = as_image(np.ascontiguousarray(volume.array.transpose()), volume.grid.index_to_ras)
    try:
        _, found, _ = bet.run(image)
    except (AssertionError, ValueError):  # so it says that no voxel looks like brain
        raise _no_brain("no voxel looks like brain") from None
    inside = np.asarray(found.dataobj).transpose() > 0
    mask = Volume(inside.astype(np.float32), volume.grid)
    if not 0 < _ml(mask) <= LARGEST_BRAIN_ML:
        raise _no_brain(f"what looks most like one has {_ml(mask):.0f} ml")
    progress(1.0, "Found the brain")
    return mask


def brain_of(scans: Mapping[str, Volume], progress: ProgressFunction = _quiet) -> Foreground:
    """Return the brain in the best of the scans of a patient, by role, which share one grid.

    It is computed on the CPU: then the mask is the same whatever device a method computes on.
    Raises RequestError where there is no scan of a role in SCANS, and what find_brain raises.
    """
    role = scan_with_the_brain(scans)
    check_same_grid({role: scans[role], **scans})
    mask = find_brain(scans[role], progress=progress)
    what = {"scan": role, "package": PACKAGE, "version": _version()}
    message = (
        f"The brain was found in '{role}' by {PACKAGE} {what['version']}: {_ml(mask):.0f} ml. Its "
        "networks learned from healthy adults: look at the result near large lesions, after "
        "surgery and in children."
    )
    return Foreground(mask.array > 0, "found", message, what)


def scan_with_the_brain(roles: Mapping[str, Any]) -> str:
    """Return the role in which the brain is looked for; RequestError where there is none."""
    for role in SCANS:
        if role in roles:
            return role
    given = ", ".join(f"'{role}'" for role in roles) or "no scan"
    raise RequestError(
        f"A brain is found in a T1 scan ({', '.join(SCANS)}), not in {given}. In a breast or "
        "another part of the body draw a mask (--in mask=FILE)."
    )


def refuse_without_package() -> None:
    """Raise MissingError where the package that finds brains is not installed."""
    if find_spec(PACKAGE) is None:
        raise _missing(PACKAGE)


def _networks(device: str) -> tuple[Any, Callable[..., Any]]:
    """Return deepbet's networks on ``device``, and the function that makes its images."""
    try:
        from deepbet import BrainExtraction
        from nibabel import Nifti1Image
    except ImportError as error:
        raise _missing((error.name or PACKAGE).partition(".")[0]) from None
    bet = BrainExtraction(no_gpu=True)  # else it would choose the first GPU
    for network in (bet.model, bet.bbox_model):
        network.to(device)
    return bet, Nifti1Image


def _missing(module: str) -> MissingError:
    return MissingError(
        f"The brain is found by the package {PACKAGE}, and '{module}' is not installed. In Slicer "
        "press 'Install' in ContrastSynth, elsewhere: pip install \"contrastsynth[brain-mask]\". "
        "Or choose a mask of the brain (--in mask=FILE)."
    )


def _no_brain(why: str) -> RequestError:
    return RequestError(
        f"No brain was found: {why}. Is this a T1 scan of a head, and is its orientation right? "
        "In a breast or another part of the body draw a mask (--in mask=FILE)."
    )


def _ml(mask: Volume) -> float:
    return float(mask.array.sum(dtype=np.float64)) * mask.grid.voxel_volume_ml


def _version() -> str:
    try:
        return version(PACKAGE)
    except PackageNotFoundError:
        return "of unknown version"
