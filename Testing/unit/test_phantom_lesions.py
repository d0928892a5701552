"""Lesions have the requested size, lie in the brain and have the parts of their type."""

from __future__ import annotations

import numpy as np
import pytest

from ContrastSynthLib.errors import RequestError
from ContrastSynthLib.phantom.brain.fields import Box
from ContrastSynthLib.phantom.brain.lesions import TYPES, lesion_parts, make_lesion, place_lesion

SETTINGS = {
    "type": "ring",
    "seed": 5,
    "diameter_mm": 20.0,
    "irregularity": 0.2,
    "wall": 0.25,
    "leak": 1.0,
    "oedema_mm": 5.0,
    "mass_effect": 0.1,
}


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("diameter_mm", [3.0, 10.0, 60.0])
def test_volume_is_that_of_the_ball(kind, diameter_mm):
    centre = np.array([3.3, -20.2, 11.1])
    lesion = make_lesion({**SETTINGS, "type": kind, "diameter_mm": diameter_mm}, centre)
    count = 64
    spacing = 2.2 * diameter_mm / count
    box = Box.centred((count, count, count), spacing, tuple(centre[::-1]))
    parts = lesion_parts(lesion, box)
    volume = parts["body"].sum() * spacing**3
    assert volume == pytest.approx(np.pi / 6 * diameter_mm**3, rel=0.06)
    for name, cover in parts.items():
        if name != "leak":
            assert cover.min() >= 0
            assert cover.max() <= 1
            # No part reaches out of the lesion.
            assert (cover[parts["body"] == 0] == 0).all()


def test_ring_has_a_dead_core_and_a_living_wall():
    box = Box.centred((48, 48, 48), 0.6, (0.0, 0.0, 0.0))
    parts = lesion_parts(make_lesion(SETTINGS, np.zeros(3)), box)
    core = parts["necrosis"] > 0.5
    wall = (parts["body"] > 0.5) & ~core
    assert 0.1 < core.sum() / (core | wall).sum() < 0.8
    middle = np.argwhere(core | wall).mean(axis=0)
    assert np.linalg.norm(np.argwhere(core).mean(axis=0) - middle) < 3
    away = np.linalg.norm(np.argwhere(wall) - middle, axis=1).mean()
    assert away > 1.2 * np.linalg.norm(np.argwhere(core) - middle, axis=1).mean()
    solid = lesion_parts(make_lesion({**SETTINGS, "type": "solid"}, np.zeros(3)), box)
    assert "necrosis" not in solid


def test_irregular_lesions_differ_from_balls_and_seeds_from_each_other():
    box = Box.centred((48, 48, 48), 0.6, (0.0, 0.0, 0.0))
    z, y, x = box.mesh()
    ball = z**2 + y**2 + x**2 < 100
    bodies = [
        lesion_parts(make_lesion({**SETTINGS, "seed": seed}, np.zeros(3)), box)["body"] > 0.5
        for seed in (1, 1, 2)
    ]
    assert np.array_equal(bodies[0], bodies[1])
    assert (bodies[0] != bodies[2]).sum() > 0.1 * ball.sum()
    assert (bodies[0] != ball).sum() > 0.1 * ball.sum()


def test_sites_are_in_the_brain_and_apart(template):
    rng = np.random.default_rng(0)
    for diameter in (4.0, 15.0, 45.0):
        taken: list[tuple[np.ndarray, float]] = []
        for kind in ("ring", "solid", "leaky"):
            site = place_lesion(template, {"type": kind, "diameter_mm": diameter}, rng, taken)
            depth = template.sample("depth_mm", site[:, None])[0]
            assert depth > min(0.7 * diameter / 2, 15)
            if diameter < 20:
                for other, radius in taken:
                    assert np.linalg.norm(site - other) > radius + diameter / 2
            taken.append((site, diameter / 2))


def test_wrong_lesions_are_refused():
    with pytest.raises(RequestError, match="ring"):
        make_lesion({**SETTINGS, "type": "rings"}, np.zeros(3))
    for diameter in (2.0, 61.0):
        with pytest.raises(RequestError, match="3 to 60"):
            make_lesion({**SETTINGS, "diameter_mm": diameter}, np.zeros(3))


@pytest.fixture(scope="module")
def template():
    from ContrastSynthLib.phantom.brain.template import brain_template

    return brain_template()
