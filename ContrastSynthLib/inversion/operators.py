"""Forward operators: what a low dose would have looked like, had the full dose looked like x."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from ContrastSynthLib.errors import RequestError
from ContrastSynthLib.inversion.problem import Forward
from ContrastSynthLib.physics import HIGHEST_R1_PER_S, spgr_has_solution, spgr_r1, spgr_signal

if TYPE_CHECKING:
    from torch import Tensor


def network_forward(
    network: Callable[[Tensor], Mapping[str, Tensor]], pre: Tensor | None = None
) -> Forward:
    """Return the operator of a network: Psi_H2L of LIP-CAR (eq. 3), with ``pre`` Psi_PH2L (eq. 7).

    The network goes from (n, channels, rows, columns) to ``image`` (n, 1, rows, columns); its
    channels are ``pre`` (n, rows, columns), where it is given, and the full dose.
    """
    import torch

    def forward(images: Tensor, which: slice) -> Tensor:
        seen = [images] if pre is None else [pre[which], images]
        return network(torch.stack(seen, dim=1))["image"].squeeze(1)

    return forward


def physics_forward(
    pre: Tensor,
    dose: float,
    *,
    repetition_time_s: float,
    flip_angle_deg: float,
    proton_density: float,
) -> Forward:
    """Return the operator that scales the change of R1 from ``pre`` by ``dose``: eq. 1-7 of SPHERE.

    ``pre`` (n, rows, columns), in the unit of ``proton_density``, is at the gain of the scan that
    is to be explained. It is ``physics_dose`` from dose 1 to ``dose``, made continuous in x: above
    the signal at HIGHEST_R1_PER_S, and where ``pre`` has no solution, it goes on linearly. Raises
    RequestError for a dose outside 0-1 and as :func:`spgr_signal` does.
    """
    import torch

    if not 0 < dose <= 1:
        raise RequestError(
            f"A low dose of {dose:g} of the full one: give one above 0, and 1 at most."
        )
    settings = {
        "repetition_time_s": repetition_time_s,
        "flip_angle_deg": flip_angle_deg,
        "proton_density": proton_density,
    }
    ceiling = float(spgr_signal(HIGHEST_R1_PER_S, **settings))
    r1_pre = spgr_r1(pre, **settings)
    solved = spgr_has_solution(pre, **settings) & (pre < ceiling)

    def forward(images: Tensor, which: slice) -> Tensor:
        below = images.clamp(max=ceiling)
        r1 = r1_pre[which] + dose * (spgr_r1(below, **settings) - r1_pre[which])
        signal = spgr_signal(r1, **settings) + dose * (images - below)
        linear = pre[which] + dose * (images - pre[which])
        return torch.where(solved[which], signal, linear)

    return forward
