"""Generator and discriminator of the noise-preserving conditional GAN: any dose, in 3D.

Both see volumes and a condition: the dose as a fraction of the standard one, and the field strength
B0 in tesla. Where paper and supplement are silent the choices are ours: no normalisation, since it
would hide the strength of the noise, and attention in encoder and decoder alike.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

EMBEDDED = 128
"""Features of the embedded condition."""
MIDDLE_FIELD_T, FIELD_SPAN_T = 2.25, 0.75
"""1.5 T becomes -1, 3 T becomes 1."""
SCALES, SCALES_OF_DISCRIMINATOR = 4, 5
ATTENTION_HEADS, WINDOW = 4, 3
SLOPE = 0.1
"""Negative slope of the discriminator's leaky ReLU."""
INPUTS = ("noise", "native", "standard dose")
"""Channels of the generator; the discriminator sees a residual image in place of the noise."""


class Embedding(nn.Sequential):
    """Conditions (n, 2), dose fraction and field strength as :func:`condition` gives them, to
    (n, EMBEDDED)."""

    def __init__(self) -> None:
        layers: list[nn.Module] = [nn.Linear(2, EMBEDDED)]
        for _ in range(2):
            layers += [nn.ReLU(), nn.Linear(EMBEDDED, EMBEDDED)]
        super().__init__(*layers)


def condition(dose_fraction: Tensor, field_strength_t: Tensor) -> Tensor:
    """Return the condition (n, 2) of dose fractions (n,) and field strengths in tesla (n,)."""
    field = (field_strength_t - MIDDLE_FIELD_T) / FIELD_SPAN_T
    return torch.stack([dose_fraction, field], dim=1)


class ConditionalResidualBlock(nn.Module):
    """Two pre-activated 3x3x3 convolutions with the condition between them: (n, c, k, j, i) to
    (n, width, k, j, i). ``slope`` is that of the activation below 0."""

    def __init__(self, in_channels: int, width: int, slope: float = 0.0) -> None:
        super().__init__()
        self.slope = slope
        self.first = _convolution(in_channels, width)
        self.second = _convolution(width, width)
        self.condition = nn.Linear(EMBEDDED, width)
        self.shortcut = (
            nn.Identity() if in_channels == width else nn.Conv3d(in_channels, width, kernel_size=1)
        )

    def forward(self, image: Tensor, embedded: Tensor) -> Tensor:
        """Return the sum of the convolved image and the image."""
        found = self.first(functional.leaky_relu(image, self.slope))
        found = found + self.condition(functional.relu(embedded))[:, :, None, None, None]
        found = self.second(functional.leaky_relu(found, self.slope))
        summed: Tensor = found + self.shortcut(image)
        return summed


class LocalAttention(nn.Module):
    """Self-attention of each voxel to the WINDOW^3 voxels about it, added to its input.

    (n, width, k, j, i) to the same; ``width`` is a multiple of ATTENTION_HEADS.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        if width % ATTENTION_HEADS:
            raise ValueError(f"{width} features cannot be shared by {ATTENTION_HEADS} heads")
        self.asked = nn.Conv3d(width, width, kernel_size=1)
        self.seen = nn.Conv3d(width, 2 * width, kernel_size=1)
        self.joined = nn.Conv3d(width, width, kernel_size=1)
        self.scale = (width / ATTENTION_HEADS) ** -0.5

    def forward(self, image: Tensor) -> Tensor:
        """Return the image and what its neighbourhood tells."""
        heads = (ATTENTION_HEADS, -1)
        query = self.asked(image).unflatten(1, heads) * self.scale
        # A border of repeated voxels: no neighbour is missing.
        around = functional.pad(self.seen(image), (WINDOW // 2,) * 6, mode="replicate")
        keys, values = (part.unflatten(1, heads) for part in around.chunk(2, dim=1))
        places = [
            (
                slice(k, k + image.shape[2]),
                slice(j, j + image.shape[3]),
                slice(i, i + image.shape[4]),
            )
            for k in range(WINDOW)
            for j in range(WINDOW)
            for i in range(WINDOW)
        ]
        # One neighbour after the other: all of them together would take WINDOW^3 times the memory.
        likeness = torch.stack([(query * keys[:, :, :, *at]).sum(dim=2) for at in places])
        weights = likeness.softmax(dim=0)
        found = torch.zeros_like(query)
        for weight, at in zip(weights, places, strict=True):
            found = found + weight[:, :, None] * values[:, :, :, *at]
        told: Tensor = image + self.joined(found.flatten(1, 2))
        return told


class _Scale(nn.Module):
    """A conditional residual block, on coarser scales followed by local attention."""

    def __init__(
        self, in_channels: int, width: int, *, attention: bool, slope: float = 0.0
    ) -> None:
        super().__init__()
        self.block = ConditionalResidualBlock(in_channels, width, slope)
        self.attention = LocalAttention(width) if attention else nn.Identity()

    def forward(self, image: Tensor, embedded: Tensor) -> Tensor:
        found: Tensor = self.attention(self.block(image, embedded))
        return found


class LowDoseGenerator(nn.Module):
    """Volumes (n, 3, k, j, i), channels INPUTS, and conditions (n, 2) to residual images.

    The output ``heads`` has one (n, 1, k', j', i') for each of the scales 1/4, 1/2 and 1, coarsest
    first; the last is ``residual``, what the dose adds to the native scan. Scans are divided by the
    0.95 quantile of the native one. The noise has the standard deviation of that of the scans: our
    choice, since how noisy a scan is can hardly be seen from within a patch; the paper's is 1.
    ``width`` is the number of features at the finest of the SCALES: 12 in the paper.

    With ``interpolated`` the heads add to the noise and the linear interpolation, the dose times
    the difference of the scans, and begin with them: our choice, for short trainings. The paper's
    do not.
    """

    def __init__(
        self, width: int = 12, *, attention: bool = True, interpolated: bool = False
    ) -> None:
        super().__init__()
        self.interpolated = interpolated
        widths = [width * 2**scale for scale in range(SCALES)]
        self.embedding = Embedding()
        self.first = _convolution(len(INPUTS), width)
        self.downs = nn.ModuleList(
            _Scale(before, after, attention=attention and scale > 0)
            for scale, (before, after) in enumerate(pairwise((width, *widths)))
        )
        self.ups = nn.ModuleList(
            _Scale(coarse + fine, fine, attention=attention and scale > 0)
            for scale, (fine, coarse) in reversed([*enumerate(pairwise(widths))])
        )
        self.last = nn.ModuleList(nn.Conv3d(w, 1, kernel_size=1) for w in widths[-2::-1])
        if interpolated:
            for head in self.last:
                nn.init.zeros_(head.weight)
                nn.init.zeros_(head.bias)

    def forward(self, image: Tensor, conditions: Tensor) -> dict[str, Tensor | list[Tensor]]:
        """Return the outputs by name."""
        noise, native, standard = image.split(1, dim=1)
        begin = noise + conditions[:, 0].reshape(-1, 1, 1, 1, 1) * (standard - native)
        embedded = self.embedding(conditions)
        skips, found = [], self.first(image)
        for scale, down in enumerate(self.downs):
            found = down(_halved(found) if scale else found, embedded)
            skips.append(found)
        skips.pop()
        heads = []
        for up, last in zip(self.ups, self.last, strict=True):
            fine = skips.pop()
            grown = functional.interpolate(
                found, size=fine.shape[2:], mode="trilinear", align_corners=False
            )
            found = up(torch.cat([grown, fine], dim=1), embedded)
            head = last(found)
            if self.interpolated:
                head = head + functional.adaptive_avg_pool3d(begin, head.shape[2:])
            heads.append(head)
        return {"residual": heads[-1], "heads": heads}


class AtDose(nn.Module):
    """A generator that is asked for one dose and field strength: (n, 3, k, j, i) to the residual
    images ``residual`` (n, 1, k, j, i)."""

    def __init__(self, generator: nn.Module, dose_fraction: float, field_strength_t: float) -> None:
        super().__init__()
        self.generator = generator
        asked = condition(torch.tensor([dose_fraction]), torch.tensor([field_strength_t]))
        self.register_buffer("asked", asked)

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        """Return the residual images."""
        made = self.generator(image, self.asked.expand(len(image), -1))
        return {"residual": made["residual"]}


class LowDoseDiscriminator(nn.Module):
    """Residual image, native and standard scan (n, 3, k, j, i) with conditions (n, 2) to scores
    (n,): higher for what looks like a real low dose.

    ``embedding`` is one of its own, or that of the generator to share it (Table 3).
    """

    def __init__(self, width: int = 32, embedding: Embedding | None = None) -> None:
        super().__init__()
        widths = [width * 2**scale for scale in range(SCALES_OF_DISCRIMINATOR)]
        self.embedding = Embedding() if embedding is None else embedding
        self.first = _convolution(len(INPUTS), width)
        self.downs = nn.ModuleList(
            _Scale(before, after, attention=False, slope=SLOPE)
            for before, after in pairwise((width, *widths))
        )
        self.last = nn.Linear(widths[-1], 1)

    def forward(self, image: Tensor, conditions: Tensor) -> Tensor:
        """Return the scores."""
        embedded = self.embedding(conditions)
        found = self.first(image)
        for scale, down in enumerate(self.downs):
            found = down(_halved(found) if scale else found, embedded)
        score: Tensor = self.last(functional.leaky_relu(found, SLOPE).mean(dim=(2, 3, 4)))
        return score[:, 0]


def _convolution(in_channels: int, width: int) -> nn.Conv3d:
    return nn.Conv3d(in_channels, width, kernel_size=3, padding=1, padding_mode="replicate")


def _halved(image: Tensor) -> Tensor:
    return functional.max_pool3d(image, kernel_size=3, stride=2, padding=1)
