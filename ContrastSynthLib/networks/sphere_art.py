"""SPHERE-Art, fig. 3: structure of the synthetic pre scan, contrast of the corrupted pre scan."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ContrastSynthLib.networks.blocks import Decoder, Encoder, start_at_zero
from ContrastSynthLib.networks.sphere import Sphere

DOMAINS = ("structure", "contrast", "image")
ROUTES = (
    *(f"{domain}_of_synthetic" for domain in DOMAINS),
    *(f"{domain}_of_corrupted" for domain in DOMAINS),
    "pre",
)
"""The seven outputs, called routes; in training L1 and SSIM compare each with its own target."""
SCALES = 4
TISSUE_LEVEL = 0.3
"""Voxels above this, in means of the brain, determine the level of a slice; not air or CSF."""
LEVEL_RANGE = (0.5, 2.0)
"""Limits of the ratio of levels; see :func:`level_between`."""


class SphereArt(nn.Module):
    """What follows SPHERE: the refinement, the encoder E_1 and the decoders D_1, D_2 and D_3.

    The input is the synthetic pre scan that SPHERE made and the corrupted one, each divided by its
    own mean. E_1 computes features at four scales; at each scale the first half is structure and
    the second half contrast (our choice: the paper does not specify the layers). D_1 decodes
    structure, D_2 contrast, and D_3 both. The seventh route, the result, applies D_3 to the
    structure of the synthetic scan and the contrast of the refined corrupted scan. D_3 predicts a
    residual that is added to the input of its route, and for the result to the refined corrupted
    scan (our choice), which is nearer to the truth than the synthetic scan wherever it has no
    artefacts.

    ``sphere``, the arguments of a :class:`Sphere` inside, is for weights of version 1.1 and older:
    slices of the post scan then take the place of the synthetic scan, and ``uptake`` is an output.
    """

    def __init__(
        self,
        width: int = 8,
        refinement_width: int = 8,
        sphere: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.sphere = None if sphere is None else Sphere(**sphere)
        self.refine_encoder = Encoder(2, refinement_width, SCALES)
        self.refine_decoder = start_at_zero(Decoder(refinement_width, SCALES))
        self.encoder = Encoder(1, 2 * width, SCALES)
        self.structure_decoder = Decoder(width, SCALES)
        self.contrast_decoder = Decoder(width, SCALES)
        self.image_decoder = start_at_zero(Decoder(2 * width, SCALES))

    def forward(self, slices: Tensor) -> dict[str, Tensor]:
        """Return ``pre`` (n, 1, h, w) at the level of the corrupted scan.

        ``slices`` (n, 2, h, w) are one of the synthetic scan and one of the corrupted scan.
        """
        synthetic, refined, others = self._given(slices)
        structure, _ = self._separated(synthetic)
        _, contrast = self._separated(refined)
        return {"pre": refined + self._merged(structure, contrast), **others}

    def routes(self, slices: Tensor) -> dict[str, Tensor]:
        """Return the seven outputs ROUTES and the ``refined`` corrupted scan, each (n, 1, h, w)."""
        synthetic, refined, _ = self._given(slices)
        # All at once: one after the other, each would be normalised by its own batch in training,
        # and later by the mean of all.
        structure, contrast = self._separated(torch.cat([synthetic, refined]))
        count = len(refined)
        # The seventh route has the structure of the synthetic scan, the first half of the batch,
        # and the contrast of the refined one, the second half.
        structure_of_all = [torch.cat([part, part[:count]]) for part in structure]
        contrast_of_all = [torch.cat([part, part[count:]]) for part in contrast]
        images = torch.cat([synthetic, refined, refined])
        images = images + self._merged(structure_of_all, contrast_of_all)
        of_synthetic, of_corrupted, result = images.chunk(3)
        outputs = {"refined": refined, "pre": result}
        for domain, both in (
            ("structure", self.structure_decoder(structure)),
            ("contrast", self.contrast_decoder(contrast)),
        ):
            outputs[f"{domain}_of_synthetic"], outputs[f"{domain}_of_corrupted"] = both.chunk(2)
        outputs |= {"image_of_synthetic": of_synthetic, "image_of_corrupted": of_corrupted}
        return outputs

    def _given(self, slices: Tensor) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """Return the synthetic scan at the level of the corrupted one, and that one refined.

        With a SPHERE inside, its uptake comes in a dictionary.
        """
        synthetic, corrupted = slices[:, :-1], slices[:, -1:]
        others: dict[str, Tensor] = {}
        with torch.no_grad():
            if self.sphere is not None:
                found = self.sphere(synthetic)
                synthetic, others = found["pre"], {"uptake": found["uptake"]}
            synthetic = synthetic * level_between(synthetic, corrupted)
        both = torch.cat([corrupted, synthetic], dim=1)
        refined = corrupted + self.refine_decoder(self.refine_encoder(both))
        return synthetic, refined, others

    def _separated(self, image: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """Return the features of structure and of contrast by E_1, finest scale first."""
        halves = [features.chunk(2, dim=1) for features in self.encoder(image)]
        return [first for first, _ in halves], [second for _, second in halves]

    def _merged(self, structure: list[Tensor], contrast: list[Tensor]) -> Tensor:
        pairs = zip(structure, contrast, strict=True)
        merged: Tensor = self.image_decoder([torch.cat(pair, dim=1) for pair in pairs])
        return merged


def level_between(synthetic: Tensor, corrupted: Tensor) -> Tensor:
    """Return the ratio corrupted / synthetic of the mean in the tissue of each slice, (n, 1, 1, 1).

    1 for a slice without tissue; limited to LEVEL_RANGE.
    """
    tissue = (synthetic > TISSUE_LEVEL).to(synthetic.dtype)
    sums = [(image * tissue).sum(dim=(1, 2, 3), keepdim=True) for image in (corrupted, synthetic)]
    empty = sums[1] <= 0
    ratio = torch.where(empty, 1.0, sums[0] / torch.where(empty, 1.0, sums[1]))
    return ratio.clamp(*LEVEL_RANGE)
