"""One file per method. Importing this package declares them all; none of them is run.

A new method is a file beside this one and a line below.
"""

from ContrastSynthLib.methods import (
    direct_low_to_full,
    lip_car,
    physics_dose,
    physics_pre,
    sphere,
    sphere_art,
)

__all__ = [
    "direct_low_to_full",
    "lip_car",
    "physics_dose",
    "physics_pre",
    "sphere",
    "sphere_art",
]
