"""The scans of a virtual patient on a box."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ContrastSynthLib.acquisition import Acquisition
from ContrastSynthLib.phantom.brain.anatomy import Anatomy, Patient
from ContrastSynthLib.phantom.brain.fields import Box
from ContrastSynthLib.phantom.images import (
    Relaxation,
    Scanner,
    adc_image,
    clean_signal,
    flair_inversion_time,
    gadolinium,
    scan_image,
    tissue_with_agent,
)
from ContrastSynthLib.physics.constants import ROBUST_MAXIMUM_PERCENTILE, UPTAKE_THRESHOLD
from ContrastSynthLib.volumes import FloatArray


@dataclass(frozen=True)
class Study:
    """One patient with the maps on one box: computes the scans and the true uptake."""

    patient: Patient
    box: Box
    anatomy: Anatomy

    def agent(self, dose: float) -> FloatArray | None:
        """Return the agent in mmol/L at the time of the scans; None for a dose of 0."""
        parameters = self.patient.parameters
        if not dose:
            return None
        contrast = parameters["contrast"]
        given = dose * parameters["dose_mmol_per_kg"]
        return gadolinium(self.anatomy.maps, contrast, given, contrast["time_s"])

    def tissue(self, dose: float) -> Relaxation:
        """Return the relaxation maps after a share ``dose`` of the full dose."""
        parameters = self.patient.parameters
        return tissue_with_agent(
            self.anatomy.maps, self.agent(dose), parameters["agent"], parameters["field_strength_t"]
        )

    def clean(self, role: str) -> FloatArray:
        """Return the noise-free signal of a scan; the proton density of water is 1."""
        scan = self.patient.parameters["scans"][role]
        csf_r1 = float(self.patient.tissues["csf"][0])
        return clean_signal(self.tissue(scan["dose"]), scan, csf_r1)

    def white(self, role: str) -> float:
        """Return the noise-free signal of white matter without agent."""
        parameters = self.patient.parameters
        scan = {**parameters["scans"][role], "dose": 0.0}
        row = self.patient.tissues["white"]
        values = [np.atleast_1d(row[channel]) for channel in (0, 1, 2, 3, 6)]
        csf_r1 = float(self.patient.tissues["csf"][0])
        return float(clean_signal(Relaxation(*values), scan, csf_r1)[0])

    def image(self, role: str) -> FloatArray:
        """Return the image of a scan, in arbitrary units."""
        scan = self.patient.parameters["scans"][role]
        if role == "adc":
            return adc_image(self.box, self.tissue(0.0), scan, self.white(role))
        return scan_image(self.box, self.clean(role), scan, self.white(role))

    def unenhanced(self) -> FloatArray:
        """Return the post scan as it would be without agent: same shading, position and noise."""
        scan = {**self.patient.parameters["scans"]["post"], "dose": 0.0}
        csf_r1 = float(self.patient.tissues["csf"][0])
        clean = clean_signal(self.tissue(0.0), scan, csf_r1)
        return scan_image(self.box, clean, scan, self.white("post"))

    def uptake(self) -> tuple[FloatArray, NDArray[np.bool_]]:
        """Return the noise-free increase from pre to post, and the mask where it is uptake.

        It has the resolution of the scans, and is in medians of the pre scan in the brain. Uptake
        is where it exceeds UPTAKE_THRESHOLD times the 99.9th percentile of the pre scan.
        """
        scan = self.patient.parameters["scans"]["pre"]
        scanner = Scanner(self.box, scan, self.white("pre"))
        pre, post = (scanner.blurred(self.clean(role), None) for role in ("pre", "post"))
        brain = self.anatomy.brain
        if not brain.any():
            return np.zeros_like(pre), np.zeros(pre.shape, bool)
        median = np.median(pre[brain])
        level = np.percentile(pre[brain], ROBUST_MAXIMUM_PERCENTILE) / median
        rise = np.where(brain, (post - pre) / median, 0).astype(np.float32)
        return rise, rise > UPTAKE_THRESHOLD * level

    def acquisition(self, role: str) -> Acquisition:
        """Return the acquisition parameters of a scan, as in a DICOM header."""
        parameters = self.patient.parameters
        scan = parameters["scans"][role]
        inversion = scan.get("inversion_time_s")
        if scan["sequence"] == "flair":
            csf_r1 = float(self.patient.tissues["csf"][0])
            inversion = flair_inversion_time(scan["repetition_time_s"], csf_r1)
        dose = scan["dose"]
        return Acquisition(
            repetition_time_s=scan["repetition_time_s"],
            echo_time_s=scan["echo_time_s"] or None,
            inversion_time_s=inversion,
            flip_angle_deg=scan.get("flip_angle_deg", 90.0),
            field_strength_t=parameters["field_strength_t"],
            agent=parameters["agent"] if dose else None,
            dose_mmol_per_kg=dose * parameters["dose_mmol_per_kg"] if dose else None,
            time_s=parameters["contrast"]["time_s"] if dose else None,
        )
