"""Pairs of scans for tests of training on pairs: one whose parts are known, and small files."""

from __future__ import annotations

import json

import numpy as np
import SimpleITK as sitk
from scipy.ndimage import gaussian_filter


def write_pairs(folder, count=3, lesion=0.15):
    """Write small pairs of patients with a lesion, ``cases.json`` and all; return the folder.

    ``lesion`` is the square of its radius, in those of the head.
    """
    shape, files = (36, 44, 40), {"pre": "t1.nii.gz", "post": "t1c.nii.gz"}
    places = np.meshgrid(*(np.linspace(-1, 1, n) for n in shape), indexing="ij")
    distance = sum(place**2 for place in places)
    for number in range(count):
        noise = gaussian_filter(np.random.default_rng(number).normal(size=shape), 2)
        pre = np.where(distance < 0.9, np.clip(100 + 300 * noise, 50, 200), 0)
        case = folder / f"case_{number}"
        case.mkdir(parents=True)
        for role, array in (("pre", pre), ("post", pre + 90 * (distance < lesion))):
            sitk.WriteImage(sitk.GetImageFromArray(array.astype("f4")), case / files[role])
    listed = {f"case_{number}": files for number in range(count)}
    (folder / "cases.json").write_text(json.dumps(listed), encoding="utf-8")
    return folder


def scans(shape=(40, 60, 50)):
    """A pair in arbitrary units: a ball of tissue with a bright lesion, thin vessel and fluid."""
    places = np.meshgrid(*(np.arange(n) for n in shape), indexing="ij")
    away = sum(((p - n / 2) / (0.46 * n)) ** 2 for p, n in zip(places, shape, strict=True))
    brain = away < 1
    noise = gaussian_filter(np.random.default_rng(0).normal(size=shape), 2)
    tissue = np.where(brain, np.clip(1 + 0.1 * noise / noise.std(), 0.6, 1.4), 0)
    lesion = sum((p - c) ** 2 for p, c in zip(places, (20, 30, 25), strict=True)) < 6**2
    vessel = (np.hypot(places[0] - 20, places[1] - 14) < 1) & brain
    return 300 * tissue, 500 * (tissue + 0.9 * lesion + 0.9 * vessel), brain, lesion, vessel
