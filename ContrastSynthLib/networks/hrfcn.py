"""The high-resolution fully convolutional network: contrast enhancement without an agent.

One stem for each input, then parallel branches at falling resolution that exchange what they found
at the end of each stage; the branch of the finest resolution goes through all of it. Where the
paper is silent the choices are ours: features of the branches are added where they are exchanged
(as in the authors' code), pooled to a coarser and interpolated to a finer resolution, and an input
may be left out (Table III): its stem then gives nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from monai.networks.layers.factories import Conv
from monai.networks.layers.utils import get_norm_layer
from torch import Tensor, nn
from torch.nn import functional

from ContrastSynthLib.networks.blocks import slice_by_slice

INPUTS = ("t1", "t2", "adc")
WIDTHS = (64, 128, 256)
BLOCKS = 4
"""Residual blocks in a branch of one stage: the paper's."""
LINEAR = {2: "bilinear", 3: "trilinear"}
NORMS = {
    "batch": "batch",
    "instance": ("instance", {"affine": True}),
    "group": ("group", {"num_groups": 4}),
}
"""Normalisation of features. The paper's, of batches, has other statistics in use than in each
batch of the training, where real and virtual patients, with and without some scans, are mixed."""


class _ConvNormRelu(nn.Sequential):
    """Convolution 3 (or ``size``) wide, normalisation of NORMS, ReLU."""

    def __init__(
        self, dimensions: int, norm: str, in_channels: int, width: int, size: int = 3
    ) -> None:
        convolution = Conv[Conv.CONV, dimensions]
        super().__init__(
            convolution(in_channels, width, kernel_size=size, padding=size // 2, bias=False),
            get_norm_layer(NORMS[norm], spatial_dims=dimensions, channels=width),
            nn.ReLU(inplace=True),
        )


class _ResBlock(nn.Module):
    """Two "Conv-BN-ReLU" layers, added to their input."""

    def __init__(self, dimensions: int, norm: str, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            _ConvNormRelu(dimensions, norm, width, width),
            _ConvNormRelu(dimensions, norm, width, width),
        )

    def forward(self, image: Tensor) -> Tensor:
        summed: Tensor = image + self.layers(image)
        return summed


class _Exchange(nn.Module):
    """Branches to as many as ``widths``: each gets the sum of all, brought to its size.

    If they are not ``fused``, each goes on alone, and a new one begins with the next finer.
    """

    def __init__(
        self, dimensions: int, widths: Sequence[int], entering: int, *, fused: bool
    ) -> None:
        super().__init__()
        convolution = Conv[Conv.CONV, dimensions]
        self.sources = [
            [*range(entering)] if fused else [min(target, entering - 1)]
            for target in range(len(widths))
        ]
        self.ways = nn.ModuleList(
            nn.ModuleList(
                nn.Identity()
                if source == target
                else convolution(widths[source], width, kernel_size=1)
                for source in self.sources[target]
            )
            for target, width in enumerate(widths)
        )

    def forward(self, branches: Sequence[Tensor], sizes: Sequence[torch.Size]) -> list[Tensor]:
        return [
            functional.relu(
                torch.stack(
                    [
                        _of_size(way(branches[source]), size)
                        for way, source in zip(ways, sources, strict=True)
                    ]
                ).sum(dim=0)
            )
            for ways, sources, size in zip(self.ways, self.sources, sizes, strict=True)
        ]


class HighResolutionFCN(nn.Module):
    """Scans (n, len(inputs), ...) to ``post`` (n, 1, ...), volumes or slices of any size.

    In two dimensions the slices of a volume are taken one by one.

    A channel that is 0 everywhere in an example was left out. ``widths`` are the features of the
    branches, finest first; each is coarser than the one before by ``stride`` along slices (3D
    alone), rows and columns: slabs of three slices are not halved, as in the authors' code. The
    output is added to the channel ``base``; with None it is ``post`` itself, as in the paper.
    ``norm`` is a key of NORMS. The last stage joins the ``joined`` finest branches, None: all, as
    in the paper; the authors' code joins two of four. ``fused=False`` leaves out the exchange
    between branches after each stage, so that they meet in the last alone (our ablation). Raises
    ValueError for another normalisation and for other dimensions.
    """

    def __init__(
        self,
        inputs: Sequence[str] = INPUTS,
        widths: Sequence[int] = WIDTHS,
        blocks: int = BLOCKS,
        dimensions: int = 3,
        stride: Sequence[int] = (1, 2, 2),
        base: int | None = None,
        norm: str = "batch",
        joined: int | None = None,
        *,
        fused: bool = True,
    ) -> None:
        super().__init__()
        if dimensions not in LINEAR:
            raise ValueError(f"{dimensions} dimensions: 2 for slices, 3 for volumes")
        if norm not in NORMS:
            raise ValueError(f"unknown normalisation '{norm}': one of {', '.join(NORMS)}")
        self.inputs, self.base, self.dimensions = tuple(inputs), base, dimensions
        self.stride = tuple(stride)[-dimensions:]
        finest = widths[0]
        self.stems = nn.ModuleList(
            nn.Sequential(
                _ConvNormRelu(dimensions, norm, 1, finest),
                _ConvNormRelu(dimensions, norm, finest, finest),
            )
            for _ in self.inputs
        )
        self.fuse = _ConvNormRelu(dimensions, norm, finest * len(self.inputs), finest, size=1)
        self.stages = nn.ModuleList(
            nn.ModuleList(
                nn.Sequential(*(_ResBlock(dimensions, norm, width) for _ in range(blocks)))
                for width in widths[: number + 1]
            )
            for number in range(len(widths))
        )
        # After each stage one more branch begins; after the last, all are told once more.
        counts = [*range(1, len(widths) + 1)]
        self.exchanges = nn.ModuleList(
            _Exchange(dimensions, widths[: min(count + 1, len(widths))], count, fused=fused)
            for count in counts
        )
        self.joined = len(widths) if joined is None else joined
        self.last = nn.Sequential(
            _ConvNormRelu(dimensions, norm, sum(widths[: self.joined]), finest, size=1),
            _ResBlock(dimensions, norm, finest),
            Conv[Conv.CONV, dimensions](finest, 1, kernel_size=1),
        )

    def forward(self, scans: Tensor) -> dict[str, Tensor]:
        """Return ``post`` in a dictionary."""
        if scans.dim() > self.dimensions + 2:
            return slice_by_slice(self, scans)
        branches = [self.fuse(torch.cat(self._stemmed(scans), dim=1))]
        for stage, exchange in zip(self.stages, self.exchanges, strict=True):
            branches = [branch(image) for branch, image in zip(stage, branches, strict=True)]
            branches = exchange(branches, self._sizes(scans.shape[2:], len(exchange.ways)))
        whole = branches[0].shape[2:]
        joined = [_of_size(branch, whole) for branch in branches[: self.joined]]
        post = self.last(torch.cat(joined, dim=1))
        if self.base is not None:
            post = post + scans[:, self.base : self.base + 1]
        return {"post": post}

    def _stemmed(self, scans: Tensor) -> list[Tensor]:
        """Return the features of each input; those of one that was left out are 0."""
        there = (scans != 0).flatten(2).any(dim=2).to(scans.dtype)
        return [
            stem(scans[:, c : c + 1]) * there[:, c].reshape(-1, *[1] * (scans.dim() - 1))
            for c, stem in enumerate(self.stems)
        ]

    def _sizes(self, whole: torch.Size, count: int) -> list[torch.Size]:
        """Return the sizes of ``count`` branches, finest first."""
        return [
            torch.Size(
                max(1, -(-side // step**level))
                for side, step in zip(whole, self.stride, strict=True)
            )
            for level in range(count)
        ]


def _of_size(image: Tensor, size: torch.Size) -> Tensor:
    """Return features averaged to a coarser, or interpolated to a finer size."""
    if image.shape[2:] == size:
        return image
    if all(new <= old for new, old in zip(size, image.shape[2:], strict=True)):
        pools = {2: functional.adaptive_avg_pool2d, 3: functional.adaptive_avg_pool3d}
        pooled: Tensor = pools[len(size)](image, tuple(size))
        return pooled
    grown: Tensor = functional.interpolate(
        image, size=tuple(size), mode=LINEAR[len(size)], align_corners=False
    )
    return grown
