"""LPIPS without its network: the inputs of the network, and the message when it is missing."""

from __future__ import annotations

import importlib.util
import sys
from types import ModuleType
from typing import ClassVar
from urllib.error import URLError

import numpy as np
import pytest

from ContrastSynthLib.errors import MissingError, RequestError
from ContrastSynthLib.metrics import lpips, perceptual

SHAPE = (3, 64, 70)


@pytest.fixture
def pair() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(5)
    return rng.uniform(-1, 5, SHAPE).astype(np.float32), rng.uniform(0, 4, SHAPE)


class SquaredDistance:
    """In the place of torchmetrics' class: pictures in, the mean squared difference out."""

    asked: ClassVar[dict] = {}

    def __init__(self, **options):
        SquaredDistance.asked = options

    def __call__(self, real, made):
        assert real.shape == made.shape == (1, 3, *SHAPE[1:])
        assert real.dtype == made.dtype
        assert str(real.dtype) == "torch.float32"
        assert bool((real[:, 0] == real[:, 2]).all())
        assert 0 <= float(real.min()) <= float(real.max()) <= 1
        return ((real - made) ** 2).mean()


@pytest.fixture
def no_network(monkeypatch):
    """All packages seem to be there; the class of torchmetrics is the one above."""
    pytest.importorskip("torch")
    fake = ModuleType("torchmetrics.image.lpip")
    fake.LearnedPerceptualImagePatchSimilarity = SquaredDistance
    for name in ("torchmetrics", "torchmetrics.image"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    monkeypatch.setitem(sys.modules, "torchmetrics.image.lpip", fake)
    monkeypatch.setattr(perceptual, "find_spec", lambda name: object())


def greys(image, data_range):
    return np.clip(image / data_range, 0, 1)


def test_slices_become_grey_levels(pair, no_network):
    reference, synthetic = pair
    expected = np.mean((greys(reference, 4.0) - greys(synthetic, 4.0)) ** 2)
    assert lpips(reference, synthetic, data_range=4.0) == pytest.approx(expected, rel=1e-5)
    assert SquaredDistance.asked == {"net_type": "alex", "normalize": True}
    assert lpips(reference, reference, data_range=4.0, network="vgg") == 0
    assert SquaredDistance.asked["net_type"] == "vgg"


def test_a_mask_blackens_the_rest_and_leaves_slices_out(pair, no_network):
    reference, synthetic = pair
    mask = np.zeros(SHAPE, bool)
    mask[1:, 10:30, 5:50] = True
    expected = [
        np.mean(np.where(m, greys(r, 4.0) - greys(s, 4.0), 0) ** 2)
        for r, s, m in zip(reference, synthetic, mask, strict=True)
    ][1:]
    elsewhere = np.where(mask, synthetic, np.nan)
    assert lpips(reference, elsewhere, data_range=4.0, mask=mask) == pytest.approx(
        np.mean(expected), rel=1e-5
    )


def test_weights_that_cannot_be_fetched_are_named(pair, no_network, monkeypatch):
    def refuse(self, **options):
        raise URLError("no route to host")

    monkeypatch.setattr(SquaredDistance, "__init__", refuse)
    with pytest.raises(MissingError, match=r"'alex' could not be downloaded.*no route to host"):
        lpips(*pair, data_range=4.0)


@pytest.mark.parametrize("absent", ["torch", "torchmetrics", "torchvision"])
def test_what_is_not_installed_is_named(pair, monkeypatch, absent):
    monkeypatch.setattr(perceptual, "find_spec", lambda name: None if name == absent else object())
    with pytest.raises(MissingError, match=f"LPIPS needs {absent}, which is not installed"):
        lpips(*pair, data_range=4.0)


@pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in perceptual.PACKAGES),
    reason="torchvision or torchmetrics is not installed",
)
def test_the_real_network(pair):
    reference, synthetic = pair
    try:
        far = lpips(reference, synthetic, data_range=4.0)
    except MissingError as error:
        pytest.skip(str(error))
    assert lpips(reference, reference, data_range=4.0) == pytest.approx(0, abs=1e-6)
    assert 0 < lpips(reference, reference + 0.05, data_range=4.0) < far


def test_wrong_input_is_named_before_anything_is_loaded(pair, monkeypatch):
    monkeypatch.setattr(perceptual, "find_spec", None)
    reference, synthetic = pair
    with pytest.raises(RequestError, match="Did you mean 'alex'"):
        lpips(reference, synthetic, data_range=1.0, network="alexnet")
    with pytest.raises(RequestError, match="data range"):
        lpips(reference, synthetic, data_range=0.0)
    with pytest.raises(RequestError, match="at least 64 voxels"):
        lpips(reference[:, 1:], synthetic[:, 1:], data_range=1.0)
    with pytest.raises(RequestError, match="volumes"):
        lpips(reference[0], synthetic[0], data_range=1.0)
    with pytest.raises(RequestError, match="mask is empty"):
        lpips(reference, synthetic, data_range=1.0, mask=np.zeros(SHAPE, bool))
