"""Slabs of slices of virtual brains, for training: fast to compute, from an unlimited number of
patients.

A patient is prepared once; several slabs are computed from it, each with its own scanner settings.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ContrastSynthLib.errors import RequestError, unknown_name
from ContrastSynthLib.phantom.brain.anatomy import Patient, make_anatomy, prepare_patient
from ContrastSynthLib.phantom.brain.fields import Box
from ContrastSynthLib.phantom.brain.parameters import draw_parameters, draw_scans
from ContrastSynthLib.phantom.brain.study import Study
from ContrastSynthLib.phantom.corruption import corrupt
from ContrastSynthLib.volumes import FloatArray

SLAB_SLICES = 32
MARGIN_SLICES = 4
"""Slices removed at both ends of a slab, where thick slices lack their neighbours."""
SLABS_PER_PATIENT = 4
HEIGHTS_MM = (-48.0, 62.0)
"""Range of the slabs' centres, z in RAS mm."""
LESION_SHARE = 0.6
"""Share of slabs that are centred at a lesion, if the patient has one."""
TRUTHS = ("unenhanced", "uptake", "uptake_mask", "brain", "lesion", "tissue")


def brain_slabs(
    seed: int,
    *,
    roles: Sequence[str] = ("pre", "post", "uptake"),
    shape: tuple[int, int] = (224, 192),
    kind: str = "training",
    **options: Any,
) -> Iterator[dict[str, FloatArray]]:
    """Yield slabs of SLAB_SLICES slices of 1 mm without end: (slices, rows, columns) by role.

    ``roles`` are those of a patient's scans, in arbitrary units and skull-stripped (unless ``head``
    is among the ``options``, which are those of :func:`draw_parameters`), and TRUTHS: uptake,
    uptake_mask, brain, lesion, tissue, and unenhanced, the post scan as it would be without agent.
    ``shape`` is (rows, columns). Equal arguments give equal slabs. Raises RequestError for unknown
    roles and slices under 32 pixels.
    """
    rng = np.random.default_rng(seed)
    _check(roles, shape, draw_parameters(0, kind=kind, **options))
    while True:
        parameters = draw_parameters(int(rng.integers(2**31)), kind=kind, **options)
        patient = prepare_patient(parameters)
        for _ in range(SLABS_PER_PATIENT):
            scans = draw_scans(rng, parameters)
            box = Box.centred(
                (shape[1], shape[0], SLAB_SLICES + 2 * MARGIN_SLICES), 1.0, _centre(patient, rng)
            )
            yield _slab(patient.with_scans(scans), box, roles, rng)


def _check(roles: Sequence[str], shape: tuple[int, int], example: Mapping[str, Any]) -> None:
    known = {*example["scans"], *TRUTHS} | ({"corrupted"} if example["corruption"] else set())
    for role in roles:
        if role not in known:
            raise unknown_name("role", role, known)
    if min(shape) < 32:
        raise RequestError(f"Slices of {shape[0]}x{shape[1]} pixels: give at least 32x32.")


def _centre(patient: Patient, rng: np.random.Generator) -> tuple[float, float, float]:
    """Return the centre of a slab, (R, A, S) in mm."""
    height = float(rng.uniform(*HEIGHTS_MM))
    if patient.lesions and rng.random() < LESION_SHARE:
        lesion = patient.lesions[int(rng.integers(len(patient.lesions)))]
        height = float(lesion.centre_mm[0] + rng.uniform(-6, 6))
    return (0.0, -18.0, float(np.clip(height, *HEIGHTS_MM)))


def _slab(
    patient: Patient, box: Box, roles: Sequence[str], rng: np.random.Generator
) -> dict[str, FloatArray]:
    """Return all roles on the slab, without its margins."""
    anatomy = make_anatomy(patient, box)
    study = Study(patient, box, anatomy)
    truth: dict[str, NDArray[Any]] = {
        "brain": anatomy.brain,
        "lesion": anatomy.lesion,
        "tissue": anatomy.tissue,
    }
    if "unenhanced" in roles:
        truth["unenhanced"] = study.unenhanced()
    if {"uptake", "uptake_mask"} & set(roles):
        truth["uptake"], truth["uptake_mask"] = study.uptake()
    slab = {}
    for role in roles:
        if role in TRUTHS:
            image = truth[role].astype(np.float32)
        elif role == "corrupted":
            image = corrupt(
                study.image("pre"), patient.parameters["corruption"], rng, pixel_mm=box.spacing_mm
            )
        else:
            image = study.image(role)
        if role not in TRUTHS[1:] and not patient.parameters["head"]:
            image = image * anatomy.brain
        slab[role] = image[MARGIN_SLICES:-MARGIN_SLICES]
    return slab
