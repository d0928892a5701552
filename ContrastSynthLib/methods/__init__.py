"""One file per method. Importing this package declares them all; none of them is run.

A new method is a file beside this one and its name in the list below. Files that the environment
variable CONTRASTSYNTH_METHODS names, separated like those of PATH, are loaded as well: a method of
your own needs no change here.
"""

import importlib

from ContrastSynthLib.registry.own_methods import load_own_methods

METHOD_FILES = (
    "direct_low_to_full",
    "lip_car",
    "physics_dose",
    "physics_pre",
    "sphere",
    "sphere_art",
)

for _name in METHOD_FILES:
    importlib.import_module(f"{__name__}.{_name}")
load_own_methods()
