"""Required packages in addition to numpy, scipy and SimpleITK, for installation inside Slicer.

Slicer installs the extension as files without ``pyproject.toml``. The requirements in that file are
therefore repeated here, and a test compares the two.
"""

from __future__ import annotations

from ContrastSynthLib.errors import MissingError

REQUIREMENTS = {
    "scans": ("scikit-image>=0.24", "pydicom>=3.0"),
    "torch": ("torch>=2.4",),
    "networks": ("torch>=2.4", "monai>=1.4", "safetensors>=0.4"),
    "plot": ("matplotlib>=3.9",),
    "brain_mask": ("torch>=2.4", "deepbet>=1.0.2", "nibabel>=5.2"),
    "cluster": ("distributed>=2024.8",),
    "dicom": ("pydicom>=3.0", "highdicom>=0.27"),
    "deidentify": ("pydicom>=3.0", "highdicom>=0.27", "dicom-anonymizer>=2.1"),
    "archive": ("pydicom>=3.0", "pynetdicom>=3.0", "dicomweb-client>=0.59", "requests>=2.31"),
    "study": ("sqlalchemy>=2.0", "pandas>=2.2", "statsmodels>=0.14", "pingouin>=0.5.5"),
}
"""Groups of packages: for some scans and measures, tensors, networks, plots, a mask of the brain,
parallel batches, results as DICOM, the same without the patient, archives, reader studies."""
DISTRIBUTIONS = {
    **{"skimage": "scikit-image", "dicomweb_client": "dicomweb-client"},
    "dicomanonymizer": "dicom-anonymizer",
}
"""Module name to package name, where the two differ."""


def requirement_name(requirement: str) -> str:
    """Return the name of the package in a requirement such as ``torch>=2.4``."""
    return requirement.partition(">=")[0]


def as_missing(error: ImportError) -> MissingError | None:
    """Return the error for a failed import of a required package; None for other modules."""
    module = (error.name or "").partition(".")[0]
    name = DISTRIBUTIONS.get(module, module)
    for requirement in (one for several in REQUIREMENTS.values() for one in several):
        if requirement_name(requirement) == name:
            return MissingError(
                f"This needs {name}, which is not installed. In Slicer press 'Install' in "
                f"ContrastSynth, elsewhere: pip install '{requirement}'."
            )
    return None
