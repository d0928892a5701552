"""Forward operators F: the low-dose image that belongs to a full-dose image x."""

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
    """Return a network as operator: Psi_H2L of LIP-CAR (eq. 3), with ``pre`` Psi_PH2L (eq. 7).

    The network maps (n, channels, rows, columns) to ``image`` (n, 1, rows, columns). Its channels
    are ``pre`` (n, rows, columns), where given, and the full dose.
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
    """Return the signal equation as operator: the change of R1 from ``pre`` is scaled by ``dose``.

    Eq. 1-7 of SPHERE, as in the method ``physics_dose``. ``pre`` (n, rows, columns) has the gain of
    the low-dose scan and the unit of ``proton_density``. The operator is linear in x above the
    signal at HIGHEST_R1_PER_S, and wherever the signal equation has no solution for ``pre``.
    Raises RequestError for a dose outside 0-1 and as :func:`spgr_signal` does.
    """
    import torch

    if not 0 < dose <= 1:
        raise RequestError(
            f"A low dose of {dose:g} of the full one: give one above 0 and at most 1."
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
