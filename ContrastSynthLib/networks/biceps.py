"""BICEPS (Xue et al. 2022): pre and post from each other, by taking contrast and image apart.

The paper describes one network for both ways that separates a scan into an image representation
and a contrast embedding, and predicts from the latter a map of the enhancement, which is what a
reader can look at. Its layers, losses and their weights are not described in a way that could be
built from, and no code is public. Ours are: one encoder for both scans, behind a first convolution
for each; half of the features of every scale for the image, half for the contrast; two decoders;
the map is subtracted from the post scan and added to the pre scan; and the decoded image of either
scan is compared with the pre scan, which leaves the agent to the other half.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ContrastSynthLib.networks.blocks import Decoder, Encoder

SCALES = 4
"""As of SPHERE-Art, which separates features in the same way."""


class Biceps(nn.Module):
    """The map of the enhancement (n, 1, h, w), of post slices (n, in_channels, h, w).

    ``width`` is the number of features of each half at the finest scale.
    """

    def __init__(self, in_channels: int, width: int) -> None:
        super().__init__()
        features = 2 * width
        self.of_post = nn.Conv2d(in_channels, features, kernel_size=3, padding=1)
        self.of_pre = nn.Conv2d(1, features, kernel_size=3, padding=1)
        self.encoder = Encoder(features, features, SCALES)
        self.image_decoder = Decoder(width, SCALES)
        self.contrast_decoder = Decoder(width, SCALES)

    def forward(self, post: Tensor) -> Tensor:
        """Return the enhancement that the post slices show."""
        _, contrast = self._apart(self.of_post(post))
        enhancement: Tensor = self.contrast_decoder(contrast)
        return enhancement

    def both_ways(self, post: Tensor, pre: Tensor) -> dict[str, Tensor]:
        """Return what either scan shows, for training: all (n, 1, h, w), as is ``pre``.

        ``enhancement`` is that of the post slices, ``post`` what the pre scan is taken for after
        the agent, ``image_of_post`` and ``image_of_pre`` the scans without their contrast.
        """
        # Both at once: one after the other, each would be normalised by its own batch in training,
        # and later by the mean of both.
        image, contrast = self._apart(torch.cat([self.of_post(post), self.of_pre(pre)]))
        of_post, of_pre = self.image_decoder(image).chunk(2)
        enhancement, rise = self.contrast_decoder(contrast).chunk(2)
        return {
            "enhancement": enhancement,
            "post": pre + rise,
            "image_of_post": of_post,
            "image_of_pre": of_pre,
        }

    def _apart(self, given: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """Return the features of the image and of the contrast, finest scale first."""
        halves = [torch.chunk(features, 2, dim=1) for features in self.encoder(given)]
        return [image for image, _ in halves], [contrast for _, contrast in halves]
