"""The 2.5D U-Net of the virtual contrast model: the full dose from a native and a low-dose scan."""

from __future__ import annotations

from monai.networks.nets.basic_unet import BasicUNet
from torch import Tensor, nn

from ContrastSynthLib.networks.blocks import ACTIVATION, features_of, start_at_zero

INSTANCE = ("instance", {"affine": True})


class VirtualContrast(nn.Module):
    """Slices (n, 2 x slices, h, w) to ``post``, the middle one after the full dose (n, 1, h, w).

    The channels are ``slices`` neighbouring slices of the native scan, seven in the paper, then as
    many of the low-dose scan, extrapolated: its difference to the native scan is divided by the
    dose. That is our choice: one network serves any low dose, and nothing is lost, since the dose
    is known. The network's output is added to the native slice. ``h`` and ``w`` are multiples of
    16, 32 at least.
    """

    def __init__(self, width: int = 16, slices: int = 7) -> None:
        super().__init__()
        self.slices = slices
        unet = BasicUNet(
            spatial_dims=2,
            in_channels=2 * slices,
            out_channels=1,
            features=features_of(width),
            act=ACTIVATION,
            norm=INSTANCE,
        )
        self.net = start_at_zero(unet)

    def forward(self, slices: Tensor) -> dict[str, Tensor]:
        """Return ``post`` in a dictionary."""
        native = slices[:, self.slices // 2 : self.slices // 2 + 1]
        return {"post": native + self.net(slices)}
