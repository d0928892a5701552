"""Tissue maps of a virtual brain on a box: the whole volume or a slab of slices.

A patient is prepared once. Then, for each box, layers are painted over one another, from the tissue
of the template to vessels and lesions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ContrastSynthLib.phantom.brain.deformation import Deformation, make_deformation, push_aside
from ContrastSynthLib.phantom.brain.fields import Box, Spline, random_spline
from ContrastSynthLib.phantom.brain.head import paint_head
from ContrastSynthLib.phantom.brain.layers import (
    Canvas,
    paint_choroid,
    paint_dura,
    paint_lesions,
    paint_oedema,
    paint_pituitary,
    paint_vessels,
)
from ContrastSynthLib.phantom.brain.lesions import Lesion, make_lesion, place_lesion
from ContrastSynthLib.phantom.brain.template import Template, brain_template
from ContrastSynthLib.phantom.brain.vessels import VesselPoints, grow_vessels
from ContrastSynthLib.phantom.tissue import TISSUES, tissue_table
from ContrastSynthLib.volumes import BoolArray, FloatArray

FIELD_STEPS_MM = {
    "cortex": 5.0,
    "texture": 3.5,
    "strip": 12.0,
    "rim": 9.0,
    "shade": 30.0,
    "folds": 10.0,
}
"""Widths of the random fields: irregular cortex, tissue texture, border of the skull-stripping,
pial blood, regional differences, and sulci that are missing in the template."""

FLUID_WIDTH, WHITE_WIDTH = 0.13, 0.55
"""Ranges of the maps ``fluid`` and ``whiteness`` over which one tissue changes into another."""
DEEP_MM = 24.0
"""Below this depth grey matter is nuclei, and the thickness of the cortex has no influence."""
RIM_MM = 14.0
"""Depth over which the pial blood decreases."""
REGION = 0.03
"""Standard deviation of R1 between regions, as a share of it."""
FOLIUM_MM = 4.5
"""Thickness of a folium of the cerebellum."""


@dataclass(frozen=True)
class Patient:
    """What all boxes of one patient have in common. ``vessels`` are in the patient's space."""

    parameters: Mapping[str, Any]
    template: Template
    deformation: Deformation
    fields: Mapping[str, Spline]
    vessels: VesselPoints
    lesions: tuple[Lesion, ...]
    tissues: Mapping[str, FloatArray]

    def with_scans(self, scans: Mapping[str, Any]) -> Patient:
        """Return the same patient with other scanner settings."""
        return replace(self, parameters={**self.parameters, "scans": scans})


@dataclass(frozen=True)
class Anatomy:
    """The true maps on a box, all (k, j, i).

    ``maps`` (7, k, j, i) holds R1 and R2 in 1/s, proton density, ADC in mm2/s, and the volume
    fractions of plasma, of leaky interstitium and of flowing blood. ``tissue`` is the label of the
    tissue with the largest share of a voxel (0 outside), ``lesion`` the number of the lesion, from
    1; ``brain`` is the mask of the skull-stripping.
    """

    maps: FloatArray
    tissue: np.ndarray[Any, np.dtype[np.uint8]]
    lesion: np.ndarray[Any, np.dtype[np.uint8]]
    brain: BoolArray


def prepare_patient(parameters: Mapping[str, Any]) -> Patient:
    """Return what all boxes of a patient have in common; equal parameters give equal patients."""
    template = brain_template()
    rng = np.random.default_rng([parameters["seed"], 1])
    warp = make_deformation(template, parameters["anatomy"], rng)
    fields = {name: random_spline(rng, step) for name, step in FIELD_STEPS_MM.items()}
    vessels = grow_vessels(template, parameters["vessels"], rng)
    lesions: list[Lesion] = []
    taken: list[tuple[FloatArray, float]] = []
    for settings in parameters["lesions"]:
        site = place_lesion(template, settings, rng, taken)
        taken.append((site, settings["diameter_mm"] / 2))
        lesions.append(make_lesion(settings, warp.from_template(site[None])[0]))
    masses = [
        (lesion.centre_mm, lesion.radius_mm, lesion.settings["mass_effect"] * lesion.radius_mm)
        for lesion in lesions
    ]
    warp = push_aside(warp, masses)
    moved = VesselPoints(warp.from_template(vessels.points_mm), vessels.radius_mm)
    return Patient(
        parameters=parameters,
        template=template,
        deformation=warp,
        fields=fields,
        vessels=moved,
        lesions=tuple(lesions),
        tissues=tissue_table(parameters["field_strength_t"], _tissue_factors(parameters)),
    )


def _tissue_factors(parameters: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    tissue, contrast = parameters["tissue"], parameters["contrast"]
    blood = contrast["blood_volume"]
    return {
        "white": {"r1": 1 / tissue["white_t1"], "r2": 1 / tissue["white_t2"], "plasma": blood},
        "grey": {"r1": 1 / tissue["grey_t1"], "r2": 1 / tissue["grey_t2"], "plasma": blood},
    }


def make_anatomy(patient: Patient, box: Box) -> Anatomy:
    """Return the maps of a patient on a box."""
    anatomy = patient.parameters["anatomy"]
    places = patient.deformation.on(box)
    depth = patient.template.sample("depth_mm", places.reshape(3, -1)).reshape(box.shape)
    fields = {name: field.on(box)[0] for name, field in patient.fields.items()}
    margin = anatomy["strip_margin_mm"] + anatomy["strip_roughness_mm"] * fields["strip"]
    stripped = depth > -margin
    inside = stripped | (depth > -4.0) if patient.parameters["head"] else stripped
    canvas = Canvas.empty(box, patient.tissues, places, depth, inside)
    _paint_brain(canvas, patient, fields)
    if patient.parameters["head"]:
        paint_head(canvas, fields)
    paint_choroid(canvas, patient.template, patient.parameters["vessels"], fields)
    paint_oedema(canvas, patient.lesions)
    paint_dura(canvas, patient.template, patient.parameters["vessels"], fields)
    paint_vessels(canvas, patient.vessels)
    paint_pituitary(canvas)
    lesion = paint_lesions(canvas, patient.lesions)
    return Anatomy(canvas.maps, canvas.tissue, lesion, stripped)


def _paint_brain(canvas: Canvas, patient: Patient, fields: Mapping[str, FloatArray]) -> None:
    """Paint grey matter, white matter and CSF, with texture and pial blood."""
    where = np.flatnonzero(canvas.inside)
    depth = canvas.depth.ravel()[where]
    chosen = {name: field.ravel()[where] for name, field in fields.items()}
    shares = _tissue_shares(patient, canvas.places.reshape(3, -1)[:, where], depth, chosen)
    names = ("grey", "white", "csf")
    values = np.stack([patient.tissues[name] for name in names]).T @ shares
    csf = shares[2]
    # R1 differs slightly between regions, and all tissue has a texture.
    uneven = patient.parameters["tissue"]["texture"] * chosen["texture"]
    values[0] *= 1 + (uneven + REGION * chosen["shade"]) * (1 - csf)
    # Pial vessels are too thin to be drawn individually.
    near = np.exp(-np.maximum(depth, 0) / RIM_MM)
    pial = patient.parameters["contrast"]["pial_plasma"] * np.clip(1 + chosen["rim"], 0, 3)
    values[4] += pial * near * np.clip(4 * csf * (1 - csf) + 0.5 * csf, 0, 1)
    canvas.maps.reshape(len(canvas.maps), -1)[:, where] = values
    labels = np.array([TISSUES[name].label for name in names], np.uint8)
    canvas.tissue.ravel()[where] = labels[np.argmax(shares, axis=0)]


def _tissue_shares(
    patient: Patient, points: FloatArray, depth: FloatArray, fields: Mapping[str, FloatArray]
) -> FloatArray:
    """Return the shares of grey matter, white matter and CSF at each point, (3, n)."""
    anatomy = patient.parameters["anatomy"]
    whiteness, fluid, folding = (
        patient.template.sample(name, points) for name in ("whiteness", "fluid", "folding")
    )
    rough = np.float32(anatomy["cortex_roughness"]) * fields["cortex"]
    # Sulci missing in the template are put where a field is 0, white matter of gyri between them.
    ridge = np.abs(fields["folds"])
    folding *= anatomy["folding"]
    fluid += folding * (np.clip(1 - ridge / 0.25, 0, 1) - 0.1)
    fluid += anatomy["folia"] * _folia(points, depth, fields["cortex"])
    whiteness += 2.5 * folding * np.clip(ridge - 0.45, 0, 1) * np.clip(depth / 3 - 0.7, 0, 1)
    csf = np.clip((fluid + rough - anatomy["sulcus_level"]) / FLUID_WIDTH + 0.5, 0, 1)
    shift = anatomy["cortex_shift"] * np.clip((DEEP_MM - depth) / 8, 0.2, 1)
    white = np.clip((whiteness + shift + 2 * rough) / WHITE_WIDTH + 0.5, 0, 1) * (1 - csf)
    return np.stack([1 - csf - white, white, csf]).astype(np.float32)


def _folia(points: FloatArray, depth: FloatArray, rough: FloatArray) -> FloatArray:
    """Return the CSF between the folia of the cerebellum, as shells parallel to its surface."""
    z, y, _ = points
    cerebellum = np.clip((-18 - z) / 8, 0, 1) * np.clip((-40 - y) / 8, 0, 1)
    shells = np.cos(2 * np.pi * (depth + rough) / FOLIUM_MM)
    return np.asarray(cerebellum * np.clip(shells, -0.2, 1) * np.clip(1.4 - depth / 25, 0, 1))
