"""Virtual brain patients: whole volumes with all scans and the true maps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ContrastSynthLib.errors import RequestError
from ContrastSynthLib.phantom import marks
from ContrastSynthLib.phantom.brain.anatomy import Anatomy, make_anatomy, prepare_patient
from ContrastSynthLib.phantom.brain.fields import Box
from ContrastSynthLib.phantom.brain.parameters import SCHEMA_VERSION, draw_parameters
from ContrastSynthLib.phantom.brain.study import Study
from ContrastSynthLib.phantom.corruption import corrupt
from ContrastSynthLib.volumes import Volume

BRAIN_SIZE_MM, BRAIN_CENTRE_MM = (176, 208, 168), (0.0, -18.0, 8.0)
HEAD_SIZE_MM, HEAD_CENTRE_MM = (200, 248, 200), (0.0, -16.0, 6.0)
SPACING_RANGE_MM = (0.5, 8.0)
SYNTHETIC = marks.BRAIN


@dataclass(frozen=True)
class BrainPatient:
    """A virtual patient: ``scans`` by role, true maps (k, j, i) in ``truth``, and ``parameters``.

    Roles are pre, low (low_<dose> if there are several), post, t2, flair, adc and corrupted. The
    true maps are ``t1_s``, ``t2_s``, ``proton_density``, ``adc_mm2_per_s``, ``plasma_fraction``,
    ``leak_fraction``, ``gadolinium_mmol_per_l`` (after the full dose, at the time of the scans),
    the labels ``tissue`` and ``lesion``, ``brain``, ``uptake`` (the increase of the noise-free
    signal, in medians of the pre scan in the brain) and ``uptake_mask`` (where it exceeds a tenth
    of the pre scan's 99.9th percentile). T1, T2 and ADC of air are 1 s, 1 s and 0.
    """

    scans: Mapping[str, Volume]
    truth: Mapping[str, NDArray[Any]]
    parameters: Mapping[str, Any]


def brain_patient(seed: int = 0, *, kind: str = "training", **options: Any) -> BrainPatient:
    """Return the virtual patient of a seed; ``options`` are those of :func:`draw_parameters`.

    With ``kind`` "different" all parameters are outside of the training ranges. Raises
    RequestError for unknown names and values out of range, MissingError without nilearn.
    """
    return build_patient(draw_parameters(seed, kind=kind, **options))


def build_patient(parameters: Mapping[str, Any]) -> BrainPatient:
    """Return the patient with ``parameters``, as drawn or as read from JSON.

    Raises RequestError for another schema version and a voxel size outside 0.5-8 mm.
    """
    if parameters.get("schema_version") != SCHEMA_VERSION:
        raise RequestError(
            f"The parameters have schema version {parameters.get('schema_version')}; this "
            f"version of the library reads {SCHEMA_VERSION}."
        )
    box = _whole(parameters)
    patient = prepare_patient(parameters)
    anatomy = make_anatomy(patient, box)
    shown = _shown(anatomy, parameters)
    study = Study(patient, box, anatomy)
    images = {role: study.image(role) for role in parameters["scans"]}
    if parameters["corruption"]:
        rng = np.random.default_rng([parameters["seed"], 2])
        images["corrupted"] = corrupt(
            images["pre"], parameters["corruption"], rng, pixel_mm=box.spacing_mm
        )
    scans = {
        role: Volume(
            np.where(shown, image, np.float32(0)),
            box.grid,
            study.acquisition("pre" if role == "corrupted" else role),
            SYNTHETIC,
        )
        for role, image in images.items()
    }
    return BrainPatient(scans, _truth(study), parameters)


def _whole(parameters: Mapping[str, Any]) -> Box:
    spacing = float(parameters["spacing_mm"])
    low, high = SPACING_RANGE_MM
    if not low <= spacing <= high:
        raise RequestError(
            f"Voxels of {spacing:g} mm are out of range: give {low:g} to {high:g} mm."
        )
    size, centre = (
        (HEAD_SIZE_MM, HEAD_CENTRE_MM) if parameters["head"] else (BRAIN_SIZE_MM, BRAIN_CENTRE_MM)
    )
    i, j, k = (round(length / spacing) for length in size)
    return Box.centred((i, j, k), spacing, centre)


def _shown(anatomy: Anatomy, parameters: Mapping[str, Any]) -> NDArray[np.bool_]:
    """Return the voxels that a scan contains: all, or the skull-stripped brain."""
    return np.ones_like(anatomy.brain) if parameters["head"] else anatomy.brain


def _truth(study: Study) -> dict[str, NDArray[Any]]:
    maps = study.anatomy.maps
    rise, mask = study.uptake()
    agent = study.agent(1.0)
    assert agent is not None
    return {
        "t1_s": 1 / maps[0],
        "t2_s": 1 / maps[1],
        "proton_density": maps[2],
        "adc_mm2_per_s": maps[3],
        "plasma_fraction": maps[4],
        "leak_fraction": maps[5],
        "gadolinium_mmol_per_l": agent,
        "tissue": study.anatomy.tissue,
        "lesion": study.anatomy.lesion,
        "brain": study.anatomy.brain,
        "uptake": rise,
        "uptake_mask": mask,
    }
