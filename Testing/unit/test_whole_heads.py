"""What surrounds the brain of a head as acquired: with a mask of the brain it does not matter."""

from __future__ import annotations

import numpy as np
import pytest

for package in ("torch", "monai", "safetensors"):
    pytest.importorskip(package)

from slabs_of_scans import shrunk

from ContrastSynthLib.phantom.sample import sample_patient
from ContrastSynthLib.registry import METHODS
from ContrastSynthLib.running.request import Request
from ContrastSynthLib.running.run import run

SIZE = (40, 48, 24)


@pytest.fixture(scope="module")
def twins():
    """The scans of a patient without skull, and with a bright ring in place of it; the mask."""
    found = sample_patient(seed=4, size=SIZE).scans
    scans = {role: shrunk(scan, 3) for role, scan in found.items()}
    scans["phase"] = scans["post"]
    brain = scans["pre"].array > 0
    stripped = {
        role: scan.with_array(np.where(brain, scan.array, 0)) for role, scan in scans.items()
    }
    noise = np.random.default_rng(0).uniform(0.5, 3, brain.shape).astype("f4")
    heads = {
        role: scan.with_array(np.where(brain, scan.array, noise * scan.array.mean()))
        for role, scan in stripped.items()
    }
    return stripped, heads, scans["pre"].with_array(brain.astype("f4"))


@pytest.mark.parametrize("key", METHODS)
def test_a_head_with_the_mask_of_its_brain_gives_what_its_stripped_twin_gives(twins, key):
    *twins, mask = twins
    preset = "fast" if "fast" in METHODS[key].presets else None
    made = [
        run(
            Request(
                key,
                {**{r: scans[r] for r in METHODS[key].inputs if r in scans}, "mask": mask},
                preset=preset,
                device="cpu",
                seed=1,
            )
        )
        for scans in twins
    ]
    inside = mask.array > 0
    for name, output in made[0].outputs.items():
        other = made[1].outputs[name].array
        # Of a series the frames come first.
        np.testing.assert_array_equal(other[..., inside], output.array[..., inside], err_msg=name)
