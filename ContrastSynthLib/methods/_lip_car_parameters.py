"""What may be chosen of LIP-CAR: the parameters of the method, and the paper's values of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from ContrastSynthLib.methods._low_dose import denoiser, given_dose, one_of
from ContrastSynthLib.methods._spgr import field_strength, flip_angle, repetition_time
from ContrastSynthLib.physics.constants import (
    DEFAULT_FIELD_STRENGTH_T,
    DEFAULT_FLIP_ANGLE_DEG,
    DEFAULT_REPETITION_TIME_S,
)
from ContrastSynthLib.registry import Param

FORWARDS = {
    "ph2l": "a network of full dose and pre scan",
    "h2l": "a network of the full dose alone",
    "physics": "the signal equation, without weights",
}
FORWARD_TITLES = {
    "ph2l": "PH2L: with the pre scan",
    "h2l": "H2L: full dose alone",
    "physics": "Signal equation",
}
PRIORS = {
    "gentv": ("tv", True),
    "tv": ("tv", False),
    "tv_anisotropic": ("tv_anisotropic", False),
    "tikhonov": ("tikhonov", True),
}
"""Prior to the kind of its regulariser, and whether that penalises the departure from a guess."""
PRIOR_TITLES = {
    "gentv": "Generalised TV",
    "tv": "Total variation (TV)",
    "tv_anisotropic": "Anisotropic TV",
    "tikhonov": "Tikhonov",
}
GUESSES = {
    "direct": "the result of the direct network",
    "difference": "pre plus the denoised difference of low and pre, divided by the dose",
    "pre": "the pre-contrast scan",
    "given": "the input 'guess'",
}
GUESS_TITLES = {
    "direct": "Direct network",
    "difference": "Scaled difference",
    "pre": "Pre-contrast scan",
    "given": "Given volume",
}
SOLVERS = {"lbfgs": "faster", "adam": "as in the paper"}
ADAM_KEEPS = {
    "lowest": "the images with the lowest objective",
    "last": "those after the last step, as the authors' code",
}
ADAM_KEEPS_TITLES = {"lowest": "The lowest objective", "last": "The last step"}
STARTS = {"guess": "the guess, where the prior has one, else low", "low": "the low-dose scan"}
START_TITLES = {"guess": "The guess", "low": "The low-dose scan"}
WITH_GUESS = tuple(name for name, (_, guess) in PRIORS.items() if guess)


@dataclass(frozen=True)
class LipCarParameters:
    """The inverse problem, eq. 8 of LIP-CAR, and its solver."""

    forward: Annotated[str, one_of("Forward operator", FORWARDS, FORWARD_TITLES)] = "ph2l"
    prior: Annotated[
        str,
        Param(
            "Prior",
            choices=tuple(PRIORS),
            help="gentv and tikhonov keep the result close to the guess.",
            titles=PRIOR_TITLES,
        ),
    ] = "gentv"
    guess: Annotated[str, one_of("Guess", GUESSES, GUESS_TITLES)] = "direct"
    alpha: Annotated[
        float,
        Param(
            "Weight of the prior, alpha",
            "mm",
            0.0,
            1.0,
            help="0: set from the noise of the scan. With pixels of 1 mm it is that of the paper.",
            step=1e-5,
            lowest_means="from the noise",
        ),
    ] = 0.0
    alpha_at_most: Annotated[
        float,
        Param(
            "Alpha in strong noise",
            "mm",
            0.0,
            1.0,
            help="Alpha rises up to it with the noise of the scan (section 5.3). 0: it does not.",
            step=1e-5,
            lowest_means="as without noise",
        ),
    ] = 0.0
    dimensions: Annotated[
        int, Param("Dimensions of the prior", "", 2, 3, help="2: within slices; 3: across them.")
    ] = 2
    denoiser: Annotated[str, denoiser()] = "nlm"
    solver: Annotated[str, one_of("Solver", SOLVERS, {"lbfgs": "L-BFGS"})] = "lbfgs"
    iterations: Annotated[int, Param("Iterations, at most", "", 1, 2000)] = 150
    tolerance: Annotated[
        float,
        Param(
            "Tolerance",
            "",
            0.0,
            0.1,
            help="The solver stops when an iteration lowers the objective by a smaller fraction.",
            step=1e-4,
        ),
    ] = 1e-3
    step: Annotated[float, Param("Step of Adam", "", 1e-4, 0.1, step=1e-4)] = 1e-2
    adam_keeps: Annotated[str, one_of("Adam keeps", ADAM_KEEPS, ADAM_KEEPS_TITLES)] = "lowest"
    start: Annotated[str, one_of("Start", STARTS, START_TITLES)] = "guess"
    iterate: Annotated[
        int,
        Param("Iterate to keep", "", 0, 2000, help="0: the last one.", lowest_means="the last one"),
    ] = 0
    dose: Annotated[float, given_dose()] = 0.25
    repetition_time_s: Annotated[float, repetition_time("low")] = DEFAULT_REPETITION_TIME_S
    flip_angle_deg: Annotated[float, flip_angle("low")] = DEFAULT_FLIP_ANGLE_DEG
    field_strength_t: Annotated[float, field_strength("low")] = DEFAULT_FIELD_STRENGTH_T


PAPER = {"solver": "adam", "iterations": 150, "tolerance": 0.0, "start": "low"}
PAPERS = {
    "paper": {**PAPER, "forward": "ph2l", "prior": "gentv", "alpha": 6e-3},
    "paper_ph2l_tv": {**PAPER, "forward": "ph2l", "prior": "tv", "alpha": 3e-3},
    "paper_h2l_tv": {**PAPER, "forward": "h2l", "prior": "tv", "alpha": 6e-3},
}
"""The paper's three models. Its step is not published; the code has that of ``step``."""
RISING = {"alpha_at_most": 1e-2}
"""The weight in the noise of section 5.3, which is spaced from that of each model up to this."""
PRESETS = {
    **PAPERS,
    **{f"{name}_rising": {**values, **RISING} for name, values in PAPERS.items()},
    "authors_code": {**PAPERS["paper"], "adam_keeps": "last"},
    "fast": {"iterations": 12, "tolerance": 1e-2},
    "physics": {"forward": "physics", "prior": "gentv", "guess": "pre"},
}
PRESET_TITLES = {
    "paper_ph2l_tv": "Paper: PH2L with TV",
    "paper_h2l_tv": "Paper: H2L with TV",
    "paper_rising": "Paper, alpha rises",
    "paper_ph2l_tv_rising": "PH2L-TV, alpha rises",
    "paper_h2l_tv_rising": "H2L-TV, alpha rises",
    "physics": "Signal equation",
}
