"""The parameters of a virtual brain patient, drawn from ranges, as one JSON-able dictionary.

Each parameter has a range for training, and other ranges for patients that differ in kind from
those of the training. They do not overlap.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ContrastSynthLib.errors import RequestError, unknown_name
from ContrastSynthLib.physics.constants import (
    DOSE_RANGE,
    STANDARD_DOSE_MMOL_PER_KG,
    TABULATED_FIELDS_T,
)

SCHEMA_VERSION = 1
KINDS = ("training", "different")
Bounds = tuple[float, float]


@dataclass(frozen=True)
class Span:
    """The ranges of a parameter; values are uniform, or log-uniform with ``log``."""

    training: Bounds
    different: tuple[Bounds, ...]
    log: bool = False

    def draw(self, rng: np.random.Generator, kind: str) -> float:
        """Return a value for a patient of ``kind``, rounded to four digits."""
        bands = (self.training,) if kind == "training" else self.different
        low, high = bands[int(rng.integers(len(bands)))]
        if self.log:
            value = float(np.exp(rng.uniform(np.log(low), np.log(high))))
        else:
            value = float(rng.uniform(low, high))
        # A rounded value must stay in the range.
        return float(min(max(float(f"{value:.4g}"), low), high))


def _around(inner: float, near: float, far: float, middle: float = 0.0) -> Span:
    """Return a span around ``middle``: training up to ``inner`` away, different near to far."""
    sides = ((middle - far, middle - near), (middle + near, middle + far))
    return Span((middle - inner, middle + inner), sides)


ANATOMY = {
    "scale_x": _around(0.06, 0.08, 0.13, 1.0),
    "scale_y": _around(0.06, 0.08, 0.13, 1.0),
    "scale_z": _around(0.06, 0.08, 0.13, 1.0),
    "pitch_deg": _around(7.0, 9.0, 15.0),
    "yaw_deg": _around(4.0, 6.0, 10.0),
    "roll_deg": _around(4.0, 6.0, 10.0),
    "warp_28mm": Span((1.0, 3.5), ((4.5, 6.0),)),
    "warp_12mm": Span((0.8, 1.8), ((2.2, 2.8),)),
    "warp_6mm": Span((0.5, 1.0), ((1.2, 1.5),)),
    "ventricle_mm": Span((-0.5, 3.0), ((4.0, 6.0),)),
    "sulcus_level": Span((0.20, 0.75), ((0.13, 0.17), (0.80, 0.90))),
    "cortex_shift": Span((-0.15, 0.90), ((-0.35, -0.22), (1.0, 1.15))),
    "folding": Span((0.4, 1.0), ((0.0, 0.2), (1.2, 1.4))),
    "folia": Span((0.10, 0.35), ((0.0, 0.05), (0.42, 0.5))),
    "cortex_roughness": Span((0.03, 0.08), ((0.10, 0.14),)),
    "strip_margin_mm": Span((-0.8, 1.9), ((2.4, 3.8),)),
    "strip_roughness_mm": Span((0.6, 1.5), ((1.8, 2.6),)),
}
TISSUE = {
    "white_t1": _around(0.07, 0.09, 0.14, 1.0),
    "grey_t1": _around(0.07, 0.09, 0.14, 1.0),
    "white_t2": _around(0.08, 0.10, 0.15, 1.0),
    "grey_t2": _around(0.08, 0.10, 0.15, 1.0),
    "texture": Span((0.012, 0.04), ((0.05, 0.065),)),
}
CONTRAST = {
    "exchange_per_min": Span((0.4, 1.5), ((2.0, 3.0),)),
    "time_s": Span((180.0, 480.0), ((600.0, 900.0),)),
    "blood_volume": Span((0.7, 1.6), ((0.45, 0.6), (1.8, 2.1))),
    "pial_plasma": Span((0.02, 0.16), ((0.19, 0.25),)),
}
VESSELS = {
    "calibre": Span((0.8, 1.25), ((0.55, 0.7), (1.4, 1.7))),
    "branching": Span((0.05, 0.10), ((0.12, 0.15),)),
    "sinus_calibre": Span((0.8, 1.2), ((1.35, 1.6),)),
    "right_transverse": Span((0.3, 0.7), ((0.05, 0.2), (0.8, 0.95))),
    "dura_mm": Span((0.5, 1.3), ((1.7, 2.3),)),
    "dura_leak": Span((0.5, 1.2), ((1.4, 1.8),)),
    "choroid": Span((0.7, 1.3), ((1.5, 1.9),)),
}
SPGR = {
    "repetition_time_s": Span((0.006, 0.012), ((0.014, 0.02),)),
    "echo_time_s": Span((0.002, 0.004), ((0.005, 0.008),)),
    "flip_angle_deg": Span((6.0, 18.0), ((21.0, 32.0),)),
}
MPRAGE = {
    "repetition_time_s": Span((1.7, 2.3), ((2.5, 3.0),)),
    "echo_time_s": Span((0.002, 0.004), ((0.005, 0.006),)),
    "inversion_time_s": Span((0.85, 1.1), ((0.65, 0.8),)),
    "flip_angle_deg": Span((7.0, 10.0), ((11.0, 14.0),)),
    "echo_spacing_s": Span((0.006, 0.008), ((0.0085, 0.0095),)),
}
SPIN_ECHO = {
    "repetition_time_s": Span((0.40, 0.85), ((0.30, 0.36), (0.95, 1.1))),
    "echo_time_s": Span((0.008, 0.014), ((0.016, 0.02),)),
}
T2 = {
    "repetition_time_s": Span((3.0, 6.0), ((6.5, 8.0),)),
    "echo_time_s": Span((0.08, 0.11), ((0.12, 0.14),)),
}
FLAIR = {
    "repetition_time_s": Span((7.0, 10.0), ((10.5, 12.0),)),
    "echo_time_s": Span((0.09, 0.13), ((0.135, 0.16),)),
}
DIFFUSION = {
    "repetition_time_s": Span((4.0, 7.0), ((7.5, 9.0),)),
    "echo_time_s": Span((0.06, 0.09), ((0.095, 0.11),)),
}
SEQUENCES = {"spgr": SPGR, "mprage": MPRAGE, "spin_echo": SPIN_ECHO}
"""The T1-weighted sequences. All T1-weighted scans of a patient use the same one."""
SCAN = {
    "gain": Span((0.7, 1.4), ((0.4, 0.6), (1.6, 2.2)), log=True),
    "noise": Span((0.007, 0.04), ((0.048, 0.065),), log=True),
    "bias": Span((0.005, 0.20), ((0.23, 0.30),)),
    "shift_mm": Span((0.0, 0.45), ((0.6, 1.0),)),
    "rotation_deg": Span((0.0, 0.25), ((0.4, 0.8),)),
}
RESOLUTION = {
    "thickness_mm": Span((1.0, 5.5), ((6.0, 7.5),)),
    "pixel_mm": Span((0.70, 1.05), ((1.3, 1.6),)),
}
LESION = {
    "diameter_mm": Span((3.0, 60.0), ((3.0, 60.0),), log=True),
    "irregularity": Span((0.10, 0.25), ((0.28, 0.34),)),
    "wall": Span((0.10, 0.35), ((0.06, 0.09), (0.40, 0.50))),
    "leak": Span((0.5, 1.4), ((0.3, 0.45), (1.5, 1.8))),
    "oedema_mm": Span((0.0, 14.0), ((16.0, 24.0),)),
    "mass_effect": Span((0.0, 0.25), ((0.28, 0.35),)),
}
LESION_TYPES = {
    "training": ("ring", "solid", "nodular", "leaky", "non_enhancing", "t1_bright"),
    "different": ("cyst_nodule", "open_ring", "ring", "solid", "leaky", "non_enhancing"),
}
"""Types of lesions; the first two of the "different" ones never occur in training."""
CORRUPTION = {
    "motion": {"motion_mm": Span((2.0, 6.0), ((8.0, 12.0),))},
    "aliasing": {"aliased_share": Span((0.2, 0.45), ((0.5, 0.65),))},
    "zipper": {"zipper_height": Span((0.6, 2.0), ((2.5, 4.0),))},
    "ringing": {"kept_share": Span((0.35, 0.55), ((0.22, 0.30),))},
    "streaks": {"spokes_share": Span((0.12, 0.25), ((0.06, 0.10),))},
}

SPANS = {
    "anatomy": ANATOMY,
    "tissue": TISSUE,
    "contrast": CONTRAST,
    "vessels": VESSELS,
    "scan": SCAN,
    "resolution": RESOLUTION,
    "lesion": LESION,
    **SEQUENCES,
    "t2": T2,
    "flair": FLAIR,
    "diffusion": DIFFUSION,
    **CORRUPTION,
}
"""All ranges by section. Only the diameter of lesions has the same range in both kinds."""

AGENTS = ("gadobutrol", "gadoterate", "gadoteridol")


def draw_parameters(
    seed: int,
    *,
    kind: str = "training",
    lesions: int | None = None,
    lesion_mm: Bounds | None = None,
    doses: Sequence[float] = (0.33,),
    corruption: str | None = "motion",
    only: Sequence[str] | None = None,
    head: bool = False,
    spacing_mm: float = 1.0,
) -> dict[str, Any]:
    """Return all parameters of one patient, JSON-able.

    ``kind`` is "training" or "different". ``lesions`` is their number (random, 0 to 3, when None),
    ``lesion_mm`` the range of their diameters instead of the default one. ``doses`` are shares of
    the full dose for scans in addition to 0 and 1. ``corruption`` is a key of CORRUPTION or
    None. ``only`` names the scans to simulate in addition to pre and post; all when None. ``head``
    simulates the whole head instead of a skull-stripped brain. Raises RequestError for an unknown
    kind, corruption or scan and for a dose outside 0-2.
    """
    if kind not in KINDS:
        raise unknown_name("kind of patient", kind, KINDS)
    if corruption is not None and corruption not in CORRUPTION:
        raise unknown_name("corruption", corruption, CORRUPTION)
    low, high = DOSE_RANGE
    if not all(low <= dose <= high for dose in doses):
        raise RequestError(f"The doses {doses} must be {low:g} to {high:g} of the full dose.")
    rng = np.random.default_rng([seed, KINDS.index(kind)])
    kept = _roles_kept(doses, only)
    count = int(rng.choice(4, p=(0.15, 0.5, 0.2, 0.15))) if lesions is None else lesions
    return {
        "schema_version": SCHEMA_VERSION,
        "seed": int(seed),
        "kind": kind,
        "spacing_mm": float(spacing_mm),
        "head": bool(head),
        "field_strength_t": float(rng.choice(TABULATED_FIELDS_T)),
        "agent": str(rng.choice(AGENTS)),
        "dose_mmol_per_kg": STANDARD_DOSE_MMOL_PER_KG,
        "anatomy": _draw(ANATOMY, rng, kind),
        "tissue": _draw(TISSUE, rng, kind),
        "contrast": _draw(CONTRAST, rng, kind),
        "vessels": _draw(VESSELS, rng, kind),
        "lesions": [_lesion(rng, kind, lesion_mm) for _ in range(count)],
        "scans": {k: v for k, v in _scans(rng, kind, doses).items() if k in kept},
        "corruption": {"type": corruption, **_draw(CORRUPTION[corruption], rng, kind)}
        if corruption
        else None,
    }


def _draw(spans: dict[str, Span], rng: np.random.Generator, kind: str) -> dict[str, float]:
    return {name: span.draw(rng, kind) for name, span in spans.items()}


def _lesion(
    rng: np.random.Generator, kind: str, diameters_mm: Bounds | None = None
) -> dict[str, Any]:
    name = str(rng.choice(LESION_TYPES[kind]))
    drawn = _draw(LESION, rng, kind)
    if diameters_mm is not None:
        drawn["diameter_mm"] = Span(diameters_mm, ()).draw(rng, "training")
    return {"type": name, "seed": int(rng.integers(2**31)), **drawn}


def _roles_kept(doses: Sequence[float], only: Sequence[str] | None) -> set[str]:
    known = {"pre", "post", *roles_of(doses), "t2", "flair", "adc"}
    for role in only or ():
        if role not in known:
            raise unknown_name("scan", role, known)
    return known if only is None else {"pre", "post", *only}


def roles_of(doses: Sequence[float]) -> tuple[str, ...]:
    """Return the roles of the scans at these doses: low, or low_<dose> when there are several."""
    return ("low",) if len(doses) == 1 else tuple(f"low_{dose:g}" for dose in doses)


def draw_scans(rng: np.random.Generator, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return new scanner settings for the same scans of a patient."""
    given = [scan["dose"] for role, scan in parameters["scans"].items() if role.startswith("low")]
    drawn = _scans(rng, parameters["kind"], given)
    return {role: drawn[role] for role in parameters["scans"]}


def _scans(
    rng: np.random.Generator, kind: str, doses: Sequence[float]
) -> dict[str, dict[str, Any]]:
    """Return the settings of each scan; the T1-weighted ones have a common sequence."""
    name = str(rng.choice(list(SEQUENCES)))
    protocol = {"sequence": name, **_draw(SEQUENCES[name], rng, kind), **_resolution(rng, kind)}
    scans: dict[str, dict[str, Any]] = {}
    for role, dose in (("pre", 0.0), *zip(roles_of(doses), doses, strict=True), ("post", 1.0)):
        scans[role] = {"dose": float(dose), **protocol, **_scan(rng, kind)}
    for role, spans in (("t2", T2), ("flair", FLAIR), ("adc", DIFFUSION)):
        sequence = {"sequence": role, **_draw(spans, rng, kind), **_resolution(rng, kind)}
        scans[role] = {"dose": 0.0, **sequence, **_scan(rng, kind)}
    # The other scans are registered to the pre scan.
    scans["pre"] |= {"shift_mm": 0.0, "rotation_deg": 0.0}
    return scans


def _scan(rng: np.random.Generator, kind: str) -> dict[str, Any]:
    return {**_draw(SCAN, rng, kind), "seed": int(rng.integers(2**31))}


def _resolution(rng: np.random.Generator, kind: str) -> dict[str, float]:
    drawn = _draw(RESOLUTION, rng, kind)
    # Most training protocols are isotropic.
    if kind == "training" and rng.random() < 0.6:
        drawn["thickness_mm"] = drawn["pixel_mm"] = max(1.0, drawn["pixel_mm"])
    return drawn
