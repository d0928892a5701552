"""Pictures of training examples: enough uptake to be seen, virtual and real ones in rows."""

from __future__ import annotations

import importlib
from io import BytesIO
from types import SimpleNamespace

import numpy as np
import pytest

for package in ("torch", "matplotlib"):
    pytest.importorskip(package)

pytestmark = pytest.mark.usefixtures("training_path")


@pytest.fixture(scope="module")
def script():
    return importlib.import_module("picture_examples")


def pair():
    """A box of tissue that takes up agent in one half of its slices."""
    maps = np.zeros((5, 30, 48, 48), np.float16)
    maps[4, :, 4:-4, 4:-4] = 1
    maps[1] = maps[4]
    maps[2, :15, 10:38, 10:38] = 1
    maps[0] = maps[1] + maps[2]
    inside = np.argwhere(maps[4] > 0)
    return SimpleNamespace(
        name="one", patient="one", maps=maps, places=inside[:0], lesions=inside[:0], inside=inside
    )


def test_examples_without_much_uptake_are_passed_over(script):
    sources = script.Sources([pair()], None, 48, script.Recipe(real=1).without(script.WITH_AGENT))
    drawn = script.examples(sources, seed=0)
    assert len(drawn) == script.COLUMNS
    for post, rise in drawn:
        assert post.shape == rise.shape == (48, 48)
        assert (rise > 0.3).sum() > script.LEAST_UPTAKE / 2


def test_every_name_in_the_rows_is_a_part_of_the_recipe(script):
    script.Recipe().without((*script.PLAIN, *script.WITH_AGENT))


def test_rows_become_one_picture(script):
    from PIL import Image

    image = np.linspace(0, 2, 48 * 48).reshape(48, 48)
    rows = {name: [(image, image - 1)] * script.COLUMNS for name in ("virtual", "real")}
    with Image.open(BytesIO(script.picture(rows))) as picture:
        assert (picture.width, picture.height) == (1400, 460)
