"""One file per method. Importing this package registers all methods in ``registry.METHODS``.

To add a method, put a file beside this one and its name into METHOD_FILES. Files listed in the
environment variable CONTRASTSYNTH_METHODS, separated as in PATH, are loaded as well, so that a
method of your own needs no change here.
"""

import importlib

from ContrastSynthLib.registry.own_methods import load_own_methods

METHOD_FILES = (
    "bayesian_unet",
    "direct_low_to_full",
    "hrfcn",
    "iter_unet",
    "lip_car",
    "lowdose_gan",
    "physics_dose",
    "physics_pre",
    "sphere",
    "sphere_art",
    "vcm",
)

for _name in METHOD_FILES:
    importlib.import_module(f"{__name__}.{_name}")
load_own_methods()
