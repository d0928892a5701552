"""SwinIR (Liang et al. 2021): attention in shifted windows at one resolution, by MONAI's layers."""

from __future__ import annotations

from monai.networks.nets.swin_unetr import SwinTransformerBlock, compute_mask, get_window_size
from torch import Tensor, nn

from ContrastSynthLib.networks.one_resolution import PATCH, OneResolution

GROUPS, LAYERS, HEADS, MLP_RATIO = 4, 6, 6, 2.0
WINDOW, SHIFT = (8, 8), (4, 4)
"""Those of the paper's lightweight network."""


class ResidualSwinGroup(nn.Module):
    """Swin layers, windows shifted in every second one, a convolution, and a shortcut (RSTB).

    From (n, features, h, w) to the same shape.
    """

    def __init__(self, features: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            SwinTransformerBlock(
                features, HEADS, WINDOW, SHIFT if number % 2 else (0, 0), mlp_ratio=MLP_RATIO
            )
            for number in range(LAYERS)
        )
        self.last = nn.Conv2d(features, features, kernel_size=3, padding=1)

    def forward(self, image: Tensor) -> Tensor:
        """Return the image plus what the layers make of it."""
        tokens, mask = image.movedim(1, -1), mask_of(image)
        for layer in self.layers:
            tokens = layer(tokens, mask)
        change: Tensor = self.last(tokens.movedim(-1, 1))
        return image + change


def mask_of(image: Tensor) -> Tensor:
    """Return what keeps apart, in a shifted window, the pixels of opposite sides of the image."""
    size = image.shape[2:]
    window, shift = get_window_size(size, WINDOW, SHIFT)
    padded = [side + -side % of for side, of in zip(size, window, strict=True)]
    mask: Tensor = compute_mask(padded, window, shift, image.device)
    return mask


class SwinIR(OneResolution):
    """SwinIR: GROUPS residual groups; ``width`` is the number of features of each head."""

    def __init__(self, in_channels: int, width: int, patch: int = PATCH) -> None:
        features = HEADS * width
        groups = nn.Sequential(*(ResidualSwinGroup(features) for _ in range(GROUPS)))
        super().__init__(in_channels, features, groups, patch)
