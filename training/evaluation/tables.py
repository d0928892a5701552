"""The tables that can be asked for: their task, columns, and the rows of LIP-CAR's tables."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from evaluation.any_dose import ANY_DOSE, PLOTTED
from evaluation.dose_statistics import plot_statistics
from evaluation.enhance import ENHANCE
from evaluation.low_to_full import DENOISERS, LOW_TO_FULL, NETWORKS
from evaluation.matched_pairs import MATCHED_PAIRS
from evaluation.post_to_pre import POST_TO_PRE, POST_TO_TARGET
from evaluation.stability import plot_errors, plot_stability
from evaluation.task import Task
from evaluation.uncertainty import RANKINGS

Lines = Sequence[Mapping[str, str]]


@dataclass(frozen=True)
class Table:
    """Columns of a table, its rows where none are asked for, and the added noise to measure at.

    ``rows`` are texts as of ``--row``, ``noise`` are standard deviations, one table for each.
    ``by_case`` prints each case by itself as well, ``calibrated`` the calibration of a map of
    uncertainty, ``tested`` the p-values of the differences. ``plot(lines, labels, path)`` draws
    it. ``of_target`` is the task that compares with what was asked for, of virtual patients, whose
    tables then have the rows BOUNDS as well.
    """

    task: Task
    measures: tuple[str, ...]
    rows: tuple[str, ...] = ()
    noise: tuple[float, ...] = (0.0,)
    digits: int = 3
    by_case: bool = False
    calibrated: bool = False
    tested: bool = False
    plot: Callable[[Lines, Sequence[str], Path], None] | None = None
    of_target: Task | None = None

    @property
    def headings(self) -> Mapping[str, str]:
        """The measures and their headings."""
        return {name: self.task.headings[name] for name in self.measures}


AGAINST = ("target", "second_scan")
"""What virtual patients are compared with: what was asked for, or the scan before the agent."""
SHARES = ("share_of_reachable", "uptake_mae", "uptake_mae_of_nothing", "outside_change")
"""How much of what can be reached is reached: not of the paper."""
CONTRAST = ("psnr_db", "ssim", "cnr_error", "lpips", "gradient_rmse", "cfs", "irc", "eis")
NETWORK_ROWS = (
    "NN-L2H=direct_low_to_full,network=l2h",
    "NN-PL2H=direct_low_to_full,network=pl2h",
    "LIP-H2L-TV=lip_car,forward=h2l,prior=tv",
    "LIP-PH2L-TV=lip_car,forward=ph2l,prior=tv",
    "LIP-PH2L-GenTV=lip_car,forward=ph2l,prior=gentv",
)
PHYSICS_PRE = "LIP-physics-GenTV(pre)=lip_car,forward=physics,prior=gentv,guess=pre"
FULL_DOSE_ROWS = (
    "pre-dose=pre",
    "low-dose=low",
    "scaled difference=difference",
    "denoised difference=difference,denoiser=nlm",
    *NETWORK_ROWS,
    "LIP-physics-TV=lip_car,forward=physics,prior=tv",
    PHYSICS_PRE,
    "LIP-physics-GenTV(difference)=lip_car,forward=physics,prior=gentv,guess=difference",
    "LIP-physics-GenTV(PL2H)=lip_car,forward=physics,prior=gentv",
)
"""What makes a full dose; ``physics`` is the signal equation as forward operator."""


ADDED_NOISE = (0.0, 0.011, 0.022, 0.033, 0.044, 0.055, 0.066)


def _network(network: str, denoiser: str) -> str:
    return f"{network}/{denoiser}={network},denoiser={denoiser}"


def _lip_car(
    rows: tuple[str, ...],
    noise: tuple[float, ...] = (0.0,),
    plot: Callable[..., None] | None = None,
) -> Table:
    drawn = partial(plot, sigmas=noise) if plot else None
    return Table(LOW_TO_FULL, tuple(LOW_TO_FULL.headings), rows, noise, digits=4, plot=drawn)


_asked_for = partial(Table, POST_TO_PRE, of_target=POST_TO_TARGET)
"""A table of what is made of the post scan; SPHERE-Art makes the pre scan as it was scanned."""


TABLES = {
    "sphere_2": _asked_for((*CONTRAST, *SHARES)),
    "sphere_3": Table(POST_TO_PRE, ("psnr_db", "ssim", "rmse", "cnr_error", "lpips", *SHARES)),
    "sphere_5": _asked_for((*CONTRAST, *SHARES)),
    "uptake": _asked_for(
        ("uptake_dice", "lesion_recall", "invented_regions", "invented_ml", *SHARES),
    ),
    "sphere_real": Table(
        MATCHED_PAIRS, ("share", "left", "out", "lost", "lost_elsewhere"), digits=4, by_case=True
    ),
    "uncertainty": Table(MATCHED_PAIRS, tuple(RANKINGS), by_case=True, calibrated=True),
    "any_dose": Table(
        ANY_DOSE,
        tuple(name for name in ANY_DOSE.headings if name not in PLOTTED),
        (
            "linear interpolation=linear",
            "signal equation=physics_dose",
            "low-dose GAN=lowdose_gan",
            "native scan=native",
        ),
        digits=4,
        tested=True,
        plot=plot_statistics,
    ),
    "enhance": Table(
        ENHANCE,
        tuple(ENHANCE.headings),
        (
            "T1 taken for post=t1",
            "HR-FCN=hrfcn",
            "HR-FCN, T1 alone=hrfcn,without=t2+flair+adc",
        ),
    ),
    "lip_car_1": _lip_car(tuple(_network(n, d) for n in NETWORKS for d in DENOISERS)),
    "lip_car_2": _lip_car(
        (_network("pl2h", "none"), _network("ph2l", "nlm")), (0.0, 0.1), plot_errors
    ),
    "lip_car_3": _lip_car(FULL_DOSE_ROWS),
    "lip_car_stability": _lip_car((*NETWORK_ROWS, PHYSICS_PRE), ADDED_NOISE, plot_stability),
}
"""Tables of SPHERE and LIP-CAR by the papers' numbers; ``uptake``: how well the uptake is found, on
virtual patients; ``sphere_real``: in the contrast of the post scan, ``uncertainty``: how well its
map tells the errors, each of any patients; ``any_dose``: Table 1 of the low-dose cGAN, a low dose
from two scans; ``enhance``: without an agent; ``lip_car_stability``: the full doses while noise
grows."""
