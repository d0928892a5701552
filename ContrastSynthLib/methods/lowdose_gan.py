"""Any dose from a native and a full-dose scan, with the noise of a scan: the low-dose cGAN."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np

from ContrastSynthLib.inference.pieces import Tiles
from ContrastSynthLib.inference.slicing import SlicePlan, changed_by, plan_slices, stripped
from ContrastSynthLib.methods._spgr import field_strength
from ContrastSynthLib.physics.constants import DEFAULT_FIELD_STRENGTH_T, TABULATED_FIELDS_T
from ContrastSynthLib.preprocessing.denoising import noise_sigma
from ContrastSynthLib.preprocessing.normalisation import fit
from ContrastSynthLib.preprocessing.shading import gain_field
from ContrastSynthLib.registry import Context, Input, Network, Output, Param, method
from ContrastSynthLib.volumes import FloatArray, Volume

VOXEL_MM = 1.0
"""Of the paper, as the distance of slices; pixels are those of :func:`plan_slices`."""
TILE, OVERLAP, LEAST_TILE = (64, 64, 64), (16, 16, 16), (32, 32, 32)
"""In voxels."""
RESAMPLED = (
    "The voxels are not of about 1 mm: the network ran on resampled ones, and its noise was "
    "interpolated back. It is smoother, and weaker, than that of a scan."
)


@dataclass(frozen=True)
class LowDoseParameters:
    """Which dose is made, and at which field strength."""

    dose: Annotated[
        float,
        Param("Dose", "of the full dose", 0.05, 0.5, help="The range of the training.", main=True),
    ] = 0.33
    field_strength_t: Annotated[float, field_strength("pre")] = DEFAULT_FIELD_STRENGTH_T


@method(
    key="lowdose_gan",
    title="Any low dose by a network, with noise",
    task="dose",
    inputs={"pre": Input("Pre-contrast"), "post": Input("Post-contrast, full dose")},
    outputs={"low": Output("Synthetic dose", units_of="pre", dose="dose")},
    parameters=LowDoseParameters,
    reference="pre",
    presets={"paper": {"dose": 0.33}},
    networks={"lowdose_gan": Network()},
    random=True,
    then="vcm",
    citation="lowdose_cgan",
    intended_use="Research. T1-weighted brains before and after the full dose. The network learnt "
    "from simulated low doses: enhancement may be missed or invented.",
)
def lowdose_gan(
    pre: Volume, post: Volume, *, parameters: LowDoseParameters, context: Context
) -> dict[str, FloatArray]:
    """Add what a dose adds: x^_LD = x_NA + g(z, x_NA, x_SD, (d, B)), section 2.1 of the paper.

    The post scan is divided by its gain field relative to the pre scan (the paper's radiometric
    registration; a smooth field is our choice), both by the 0.95 quantile of the pre scan. The
    noise z, one number for each voxel, has the strength of that of the scans and comes from the
    seed; another seed gives another noise and the same contrast. Only the residual image is
    interpolated back to the grid of the pre scan. Outside of the mask nothing changes. The network
    knows the fields 1.5 T and 3 T: the nearer one is told.
    """
    context.progress(0.02, "Matching the gain of the scans")
    normalisation = fit("p95", pre.array, context.mask)
    gain = gain_field(pre.array, post.array, context.mask, pre.grid.spacing_mm[::-1])
    plan = plan_slices(pre.grid, context.mask, slice_mm=VOXEL_MM)
    scans = [
        stripped(normalisation.apply(scan), context.mask) for scan in (pre.array, post.array / gain)
    ]
    sigma = float(np.mean([noise_sigma(scan, context.mask) for scan in scans]))
    residual = _residual([plan.slices(scan) for scan in scans], sigma, plan, parameters, context)
    change = normalisation.scale * plan.restore(residual, outside=0.0)
    low = changed_by(change, pre.array, context.mask)
    context.record.update(
        gain_post_over_pre=float(np.median(gain[context.mask])),
        noise_of_scans=sigma * normalisation.scale,
        resampled=plan.resampled,
    )
    if plan.resampled:
        context.warn(RESAMPLED)
    return {"low": low}


def _residual(
    scans: list[FloatArray],
    sigma: float,
    plan: SlicePlan,
    parameters: LowDoseParameters,
    context: Context,
) -> FloatArray:
    """Return the residual image (n, rows, columns) of normalised scans of that shape.

    ``sigma`` is the standard deviation of their noise.
    """
    from ContrastSynthLib.networks.lowdose_gan import AtDose

    told = min(TABULATED_FIELDS_T, key=lambda field: abs(field - parameters.field_strength_t))
    context.record["field_strength_told_t"] = told
    noise = sigma * context.generator.standard_normal(plan.shape, dtype=np.float32)
    asked = AtDose(context.network("lowdose_gan"), parameters.dose, told)
    tiles = Tiles(np.stack([noise, *scans]), TILE, OVERLAP, least=LEAST_TILE)
    found: FloatArray = context.predict(asked, tiles, (0.1, 1.0))["residual"]
    return found
