"""The packages beyond numpy, scipy and SimpleITK, for places where nothing was installed by pip.

Slicer brings the extension as a folder of files: what ``pyproject.toml`` declares is told here
again, and a test compares the two.
"""

from __future__ import annotations

from ContrastSynthLib.errors import MissingError

REQUIREMENTS = {
    "scans": ("scikit-image>=0.24", "pydicom>=3.0"),
    "torch": ("torch>=2.4",),
    "networks": ("torch>=2.4", "monai>=1.4", "safetensors>=0.4"),
    "plot": ("matplotlib>=3.9",),
}
"""Groups: some scans and measures, tensors, networks and their weights, pictures of curves."""
DISTRIBUTIONS = {"skimage": "scikit-image"}
"""Name of a module to that of its package, where the two differ."""


def requirement_name(requirement: str) -> str:
    """Return the name in a requirement such as ``torch>=2.4``."""
    return requirement.partition(">=")[0]


def as_missing(error: ImportError) -> MissingError | None:
    """Return what to tell of an import that failed; None for what is no package of ours."""
    module = (error.name or "").partition(".")[0]
    name = DISTRIBUTIONS.get(module, module)
    for requirement in (one for several in REQUIREMENTS.values() for one in several):
        if requirement_name(requirement) == name:
            return MissingError(
                f"This needs {name}, which is not installed. In Slicer press 'Install' in "
                f"ContrastSynth, elsewhere: pip install '{requirement}'."
            )
    return None
