"""Med3D, a network that segmented many 3D scans, for the perceptual loss of iterU-Net.

Its weights are those of MedicalNet (Chen et al. 2019, ResNet-10, "resnet_10_23dataset.pth"), which
are published on GitHub and Hugging Face and are not shipped here.
"""

from __future__ import annotations

from pathlib import Path

import torch
from monai.networks.nets import resnet10
from torch import Tensor, nn

from ContrastSynthLib.errors import RequestError

PREFIX = "module."
"""MedicalNet's weights were saved from several GPUs."""


class Med3DFeatures(nn.Module):
    """Volumes (n, 1, k, j, i) to the features of the four stages of ResNet-10, finest first."""

    def __init__(self) -> None:
        super().__init__()
        self.network = resnet10(
            spatial_dims=3,
            n_input_channels=1,
            num_classes=1,
            feed_forward=False,
            shortcut_type="B",
            bias_downsample=False,
        )

    def forward(self, volume: Tensor) -> list[Tensor]:
        """Return the features of each stage."""
        of = self.network
        found = of.maxpool(of.act(of.bn1(of.conv1(volume))))
        stages = []
        for stage in (of.layer1, of.layer2, of.layer3, of.layer4):
            found = stage(found)
            stages.append(found)
        return stages


def features_of(file: Path) -> Med3DFeatures:
    """Return the network with MedicalNet's weights, which do not change any more.

    Raises RequestError for a file that does not hold them.
    """
    features = Med3DFeatures()
    try:
        saved = torch.load(file, map_location="cpu", weights_only=True)
        weights = saved.get("state_dict", saved)
        features.network.load_state_dict(
            {name.removeprefix(PREFIX): value for name, value in weights.items()}
        )
    except Exception as error:
        raise RequestError(
            f"{file.name} does not hold the weights of Med3D ({error}). They are the file "
            "resnet_10_23dataset.pth of MedicalNet (TencentMedicalNet/MedicalNet-Resnet10 on "
            "Hugging Face)."
        ) from error
    features.eval().requires_grad_(False)
    return features
