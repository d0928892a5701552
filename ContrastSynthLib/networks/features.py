"""Networks whose features the perceptual loss compares: a small one of our own, and VGG-16.

The weights of VGG-16 (torchvision's, trained on photographs) may not be distributed here and are
read from a file. The small network is trained to segment the tissues of virtual brains, see
``training/train_features.py``.
"""

from __future__ import annotations

from pathlib import Path
from pickle import UnpicklingError

import torch
from torch import Tensor, nn

from ContrastSynthLib.errors import RequestError
from ContrastSynthLib.networks.blocks import Decoder, Encoder

TISSUE_FEATURES = 16
TISSUE_SCALES = 3


class TissueFeatures(nn.Module):
    """Features at three scales of a slice (n, 1, h, w), from an encoder for tissue segmentation."""

    def __init__(self, width: int = TISSUE_FEATURES) -> None:
        super().__init__()
        self.encoder = Encoder(1, width, TISSUE_SCALES)

    def forward(self, image: Tensor) -> list[Tensor]:
        """Return the features, finest first."""
        features: list[Tensor] = self.encoder(image)
        return features


class TissueClassifier(nn.Module):
    """The network that trains :class:`TissueFeatures`: it segments the tissues of a slice."""

    def __init__(self, classes: int, width: int = TISSUE_FEATURES) -> None:
        super().__init__()
        self.features = TissueFeatures(width)
        self.decoder = Decoder(width, TISSUE_SCALES)
        self.decoder.last = nn.Conv2d(width, classes, kernel_size=1)

    def forward(self, image: Tensor) -> Tensor:
        """Return the logits of each class, (n, classes, h, w)."""
        logits: Tensor = self.decoder(self.features(image))
        return logits


VGG16_FEATURES = (64, 64, 0, 128, 128, 0, 256, 256, 256, 0, 512, 512, 512)
"""Features of the convolutions of VGG-16 up to relu4_3; 0 stands for a pooling."""
VGG16_TAPS = (3, 8, 15, 22)
"""Indices of relu1_2, relu2_2, relu3_3 and relu4_3 in torchvision's ``features`` (our choice)."""
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_DEVIATION = (0.229, 0.224, 0.225)


class Vgg16Features(nn.Module):
    """Features of VGG-16 (Simonyan and Zisserman 2015) at four scales of a slice (n, 1, h, w).

    A slice is treated as a grey photograph: intensities from 0 to ``data_range`` become 0 to 1.
    """

    def __init__(self, data_range: float) -> None:
        super().__init__()
        self.data_range = data_range
        layers: list[nn.Module] = []
        channels = 3
        for features in VGG16_FEATURES:
            if features:
                layers += [nn.Conv2d(channels, features, 3, padding=1), nn.ReLU()]
                channels = features
            else:
                layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers)
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN).view(1, 3, 1, 1))
        self.register_buffer("deviation", torch.tensor(IMAGENET_DEVIATION).view(1, 3, 1, 1))

    def forward(self, image: Tensor) -> list[Tensor]:
        """Return the features of the four scales, finest first."""
        grey = (image / self.data_range).clamp(0, 1).expand(-1, 3, -1, -1)
        state = (grey - self.mean) / self.deviation
        found = []
        for index, layer in enumerate(self.features):
            state = layer(state)
            if index in VGG16_TAPS:
                found.append(state)
        return found


def load_vgg16(path: Path, data_range: float) -> Vgg16Features:
    """Return VGG-16 with the weights of torchvision's ``vgg16`` state dictionary in a file.

    Only tensors are read from the file; code in a pickle is never run. Raises RequestError when the
    file is not a state dictionary, or when a layer is missing or has another shape.
    """
    network = Vgg16Features(data_range)
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        # torch's own message recommends loading the pickle with its code.
        reason = "it is not a file of tensors" if isinstance(error, UnpicklingError) else error
        raise RequestError(f"{path.name} cannot be read as weights: {reason}.") from None
    if not isinstance(state, dict):
        raise RequestError(f"{path.name} holds a {type(state).__name__}, not a state dictionary.")
    own = network.state_dict()
    wanted = [name for name in own if name.startswith("features.")]
    wrong = [n for n in wanted if getattr(state.get(n), "shape", None) != own[n].shape]
    if wrong:
        raise RequestError(
            f"{path.name} does not hold VGG-16 as torchvision names it: {wrong[0]} is missing or "
            f"not of shape {tuple(own[wrong[0]].shape)}. Give vgg16-397923af.pth or its like."
        )
    network.load_state_dict({**own, **{name: state[name] for name in wanted}})
    network.eval().requires_grad_(False)
    return network
