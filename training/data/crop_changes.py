"""What is done to a crop of slices so that a network learns what scans have in common.

Thicker slices, other gains, shadings, contrasts and noise; lesions pasted from one patient into
another. The scan and what is to be made of it are changed alike.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from scipy import ndimage
from torch.nn import functional

THICK_SHARE = 0.25
THICKNESS = (1.5, 6.0)
"""Thickness of slices in voxels, where they are made thicker."""
CHANGED_SHARE = 0.5
"""Share of crops that are turned and zoomed; the others keep the noise as it was scanned."""
ZOOM_RANGE = (0.85, 1.2)
TURN_DEG = 15.0
GAMMA = (0.78, 1.28)
"""Exponents of the intensities: protocols whose tissues differ more, or less."""
BLUR_SHARE, BLUR = 0.25, (0.3, 0.9)
"""How often a crop is blurred in its plane, and the sigma in pixels."""
NOISE_SHARE, NOISE = 0.4, (0.004, 0.04)
SHADING = 0.12
"""Standard deviation of the logarithm of the shading, at most."""
STEEP_SHARE, STEEP = 0.15, 0.6
"""How often the sensitivity falls steeply from an edge, as near a coil, and by how much."""
GAIN = 0.15
LEVEL = (0.85, 1.15)
"""Gain between a pasted lesion and the scan it is pasted into."""


@dataclass(frozen=True)
class Crop:
    """Slices (n, rows, columns) of a scan, of what to make of it, of its uptake, the brain, and
    of how far what to make of it is to be trusted."""

    post: np.ndarray
    pre: np.ndarray
    uptake: np.ndarray
    brain: np.ndarray
    trust: np.ndarray

    @property
    def images(self) -> tuple[np.ndarray, ...]:
        """All of them, in this order."""
        return self.post, self.pre, self.uptake, self.brain, self.trust

    def with_agent(self, factor: float) -> Crop:
        """Return the crop with the agent ``factor`` times as strong; 0 takes it away."""
        post = self.post + (factor - 1) * self.uptake * (self.post - self.pre)
        return replace(self, post=post, uptake=self.uptake * min(factor, 1.0))


def draw_thickness(rng: np.random.Generator) -> float:
    """Return how thick the slices are to be made, in voxels: mostly 1, which changes nothing."""
    return float(rng.uniform(*THICKNESS)) if rng.random() < THICK_SHARE else 1.0


def depth_for(thickness: float, seen: int) -> int:
    """Return how many slices are needed to compute ``seen`` ones of a thickness."""
    return seen if thickness <= 1 else seen + 2 * int(np.ceil(1.5 * thickness))


def thick_weights(depth: int, seen: int, thickness: float, phase: float) -> np.ndarray:
    """Return the matrix (seen, depth) that averages to thick slices and interpolates back.

    ``phase``, 0 to 1, is where the first thick slice begins, in thicknesses.
    """
    count = int(np.ceil(depth / thickness)) + 2
    centres = (np.arange(count) - 1 + phase) * thickness
    away = np.abs(np.arange(depth) - centres[:, None])
    average = np.clip(thickness / 2 + 0.5 - away, 0, 1)
    average /= np.maximum(average.sum(axis=1, keepdims=True), 1e-6)
    middle = (depth - seen) // 2 + np.arange(seen)
    spread = np.clip(1 - np.abs(middle[:, None] - centres) / thickness, 0, 1)
    weights = spread @ average
    weights /= weights.sum(axis=1, keepdims=True)
    return np.asarray(weights, dtype=np.float32)


def changed(crop: Crop, rng: np.random.Generator, thickness: float, seen: int) -> Crop:
    """Return ``seen`` slices of a crop as another scanner might have made them."""
    if thickness > 1:
        weights = thick_weights(len(crop.post), seen, thickness, float(rng.random()))
        crop = each(crop, lambda image: np.tensordot(weights, image, axes=1))
    if rng.random() < CHANGED_SHARE:
        crop = moved(crop, rng)
    if rng.random() < 0.5:
        crop = each(crop, lambda image: image[..., ::-1])
    exponent = np.float32(np.exp(rng.uniform(*np.log(GAMMA))))
    crop = of_scans(crop, lambda image: np.maximum(image, 0) ** exponent)
    if rng.random() < BLUR_SHARE:
        sigma = float(rng.uniform(*BLUR))
        crop = of_scans(crop, lambda image: ndimage.gaussian_filter(image, (0, sigma, sigma)))
    if rng.random() < NOISE_SHARE:
        crop = noisy(crop, rng, float(np.exp(rng.uniform(*np.log(NOISE)))))
    shading = shade(rng, crop.post.shape[1:]) * np.float32(np.exp(rng.uniform(-GAIN, GAIN)))
    brain = (crop.brain > 0.5).astype(np.float32)
    return replace(of_scans(crop, lambda image: image * shading * brain), brain=brain)


def each(crop: Crop, change: object) -> Crop:
    """Return the crop with ``change`` applied to all its images."""
    assert callable(change)
    return Crop(*(change(image) for image in crop.images))


def of_scans(crop: Crop, change: object) -> Crop:
    """Return the crop with ``change`` applied to both scans."""
    assert callable(change)
    return replace(crop, post=change(crop.post), pre=change(crop.pre))


def noisy(crop: Crop, rng: np.random.Generator, deviation: float) -> Crop:
    """Return the crop with the same noise in both scans: the network is to leave noise alone."""
    noise = np.float32(deviation) * rng.standard_normal(crop.post.shape, dtype=np.float32)
    return of_scans(crop, lambda image: np.maximum(image + noise, 0) * (crop.brain > 0))


def shade(rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    """Return a smooth gain (rows, columns) around 1, in some cases with a steep edge."""
    few = torch.from_numpy(rng.standard_normal((1, 1, 4, 4), dtype=np.float32))
    field = functional.interpolate(few, size=shape, mode="bicubic", align_corners=True)[0, 0]
    log_gain = field.numpy() * np.float32(rng.uniform(0, SHADING))
    if rng.random() < STEEP_SHARE:
        y, x = np.meshgrid(*(np.linspace(-1, 1, n) for n in shape), indexing="ij")
        angle = rng.uniform(0, 2 * np.pi)
        along = np.cos(angle) * x + np.sin(angle) * y
        log_gain = log_gain + rng.uniform(0.2, STEEP) * np.exp((along - 1) / 0.35)
    return np.exp(log_gain).astype(np.float32)


def moved(crop: Crop, rng: np.random.Generator) -> Crop:
    """Return the crop turned and zoomed in its plane."""
    zoom, turn = rng.uniform(*ZOOM_RANGE), np.deg2rad(rng.uniform(-TURN_DEG, TURN_DEG))
    cosine, sine = np.cos(turn) / zoom, np.sin(turn) / zoom
    matrix = torch.tensor([[[cosine, -sine, 0], [sine, cosine, 0]]], dtype=torch.float32)
    images = np.stack(crop.images).astype(np.float32)
    flat = torch.from_numpy(images.reshape(1, -1, *images.shape[2:]))
    grid = functional.affine_grid(matrix, list(flat.shape), align_corners=False)
    sampled = functional.grid_sample(flat, grid, align_corners=False).numpy()
    return Crop(*sampled.reshape(images.shape))


def turned(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return slices (n, rows, columns), square, turned by right angles and mirrored at random."""
    image = np.rot90(image, int(rng.integers(4)), axes=(1, 2))
    return image[..., ::-1] if rng.random() < 0.5 else image


def pasted(crop: Crop, lesion: Crop, halo: np.ndarray, rng: np.random.Generator) -> Crop:
    """Return the crop with a lesion of another patient, where its soft mask ``halo`` says.

    The lesion is in the middle of its own crop; it is turned, mirrored and put somewhere into the
    brain. Both scans and the label of the uptake are replaced alike.
    """
    inside = np.argwhere(crop.brain[len(crop.brain) // 2] > 0)
    if len(inside) < 200:
        return crop
    size = crop.post.shape[-1]
    shift = inside[int(rng.integers(len(inside)))] - size // 2
    seed = int(rng.integers(2**31))
    level = np.float32(rng.uniform(*LEVEL))

    def placed(image: np.ndarray) -> np.ndarray:
        return _shifted(turned(image, np.random.default_rng(seed)), shift)

    share = placed(halo) * crop.brain
    return replace(
        crop,
        post=crop.post + share * (level * placed(lesion.post) - crop.post),
        pre=crop.pre + share * (level * placed(lesion.pre) - crop.pre),
        uptake=crop.uptake + share * (placed(lesion.uptake) - crop.uptake),
        trust=crop.trust + share * (placed(lesion.trust) - crop.trust),
    )


def _shifted(image: np.ndarray, shift: np.ndarray) -> np.ndarray:
    """Return slices moved by whole pixels, with zeros where nothing comes from."""
    out = np.zeros_like(image)
    to, of = zip(
        *(_overlap(int(s), n) for s, n in zip(shift, image.shape[1:], strict=True)), strict=True
    )
    out[:, to[0], to[1]] = image[:, of[0], of[1]]
    return out


def _overlap(shift: int, size: int) -> tuple[slice, slice]:
    return slice(max(shift, 0), size + min(shift, 0)), slice(max(-shift, 0), size - max(shift, 0))
