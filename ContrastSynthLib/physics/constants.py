"""Numbers that several modules share, each with its unit and its source.

"Our choice" marks a value that no publication gives.
"""

from __future__ import annotations

UPTAKE_THRESHOLD = 0.1
"""tau of SPHERE, eq. 22: contrast agent is where post-contrast minus pre-contrast exceeds this.

A share of the reference level that both images are divided by; in SPHERE the mean of the brain.
"""

HYPERINTENSITY_THRESHOLD = 0.3
"""beta_0 of SPHERE, eq. 20: the brightness at which the hyperintensity prior is 0.5 (no unit)."""
HYPERINTENSITY_SENSITIVITY = 5.0
"""u of SPHERE, eq. 20, at the start of its training: the slope of the prior (no unit)."""

DEFAULT_REPETITION_TIME_S = 0.0067
"""TR in s where a scan does not state it: site A of SPHERE, Table 1."""
DEFAULT_FLIP_ANGLE_DEG = 8.0
"""Flip angle in degrees where a scan does not state it: site A of SPHERE, Table 1."""
DEFAULT_FIELD_STRENGTH_T = 3.0
"""Field strength in T where a scan does not state it: site A of SPHERE, Table 1."""
DEFAULT_AGENT = "gadoterate"
"""Contrast agent where a scan does not state it: site A of SPHERE, Table 1."""

REPETITION_TIME_RANGE_S = (0.002, 0.02)
"""TR in s that the signal equation of the spoiled gradient echo accepts: our choice."""
FLIP_ANGLE_RANGE_DEG = (2.0, 40.0)
"""Flip angles in degrees that the signal equation of the spoiled gradient echo accepts: our
choice."""
FIELD_STRENGTH_RANGE_T = (1.0, 3.5)
"""Field strengths in T for which values at TABULATED_FIELDS_T are used: our choice."""
TABULATED_FIELDS_T = (1.5, 3.0)
"""Field strengths in T at which the tables of relaxation times and relaxivities have values."""
DOSE_RANGE = (0.0, 2.0)
"""Doses as shares of the measured full dose; above 1 is an extrapolation. Our choice."""

STANDARD_DOSE_MMOL_PER_KG = 0.1
"""The standard dose of a gadolinium-based agent in mmol per kg of body weight, and the dose of
the arterial input function of Parker et al., Magn Reson Med 2006;56:993-1000."""
HAEMATOCRIT = 0.42
"""Volume fraction of red cells in blood, as Parker et al. assume; agent stays in the plasma."""

MEDIAN_BRAIN_T1_S = {1.5: 0.95, 3.0: 1.25}
"""Field strength in T to the T1 in s that the median signal of a brain stands for: our choice.

It lies between white and grey matter. Stanisz et al., Magn Reson Med 2005;54:507-512, give 0.88
and 1.12 s at 1.5 T, 1.08 and 1.82 s at 3 T; imaging studies put grey matter at 3 T lower.
"""
MEAN_BRAIN_T1_S = 1.25
"""T1 in s at 3 T that the mean signal of a brain stands for, in training: our choice."""

MAD_TO_DEVIATION = 1.4826
"""Standard deviation of a normal distribution divided by its median absolute deviation (MAD)."""

ROBUST_MAXIMUM_PERCENTILE = 99.9
"""The percentile of the brain's values that stands for their maximum, as in HR-FCN.

Unlike the maximum it does not depend on a few extreme voxels.
"""
