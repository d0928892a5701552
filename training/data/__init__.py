"""Training examples: slabs of virtual patients, prepared cases, and the slices cut from them."""

DOSE = 0.25
"""The low dose of LIP-CAR's networks, as a share of the full one; the paper's is 0.2."""
