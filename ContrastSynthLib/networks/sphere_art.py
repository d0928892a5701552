"""SPHERE-Art: the contrast of a corrupted pre scan in the structure of a synthetic one (fig. 3)."""

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
"""The seven outputs, each compared with an image of its own by L1 and SSIM."""
SCALES = 4
TISSUE_LEVEL = 0.3
"""What is brighter, in means of the brain, tells the level of a slice: not air, not CSF."""
LEVEL_RANGE = (0.5, 2.0)


class SphereArt(nn.Module):
    """SPHERE, and after it the encoder E_1, three decoders, the refinement and the merging.

    It takes the slices of SPHERE and one more, the corrupted pre scan divided by its own mean.
    ``sphere`` holds SPHERE's arguments. E_1 gives features at four scales; at each, the first
    half is structure and the second contrast (our choice, the paper leaves the layers open).
    D_1 decodes structure, D_2 contrast, D_3 both. The seventh route gives D_3 the structure of
    the synthetic scan and the contrast of the refined corrupted one. Images are given as what
    to add to the input of their route, and ``pre`` as what to add to the refined corrupted scan
    (our choice), which is nearer to the truth than the synthetic one wherever it is clean.
    """

    def __init__(
        self, sphere: Mapping[str, Any], width: int = 8, refinement_width: int = 8
    ) -> None:
        super().__init__()
        self.sphere = Sphere(**sphere)
        self.refine_encoder = Encoder(2, refinement_width, SCALES)
        self.refine_decoder = start_at_zero(Decoder(refinement_width, SCALES))
        self.encoder = Encoder(1, 2 * width, SCALES)
        self.structure_decoder = Decoder(width, SCALES)
        self.contrast_decoder = Decoder(width, SCALES)
        self.image_decoder = start_at_zero(Decoder(2 * width, SCALES))

    def forward(self, slices: Tensor) -> dict[str, Tensor]:
        """Return ``pre`` at the level of the corrupted scan and SPHERE's ``uptake``.

        ``slices`` (n, c + 1, h, w): c of the post scan, then the corrupted one; both returned
        are (n, 1, h, w).
        """
        given, refined = self._given(slices)
        structure, _ = self._taken_apart(given["pre"])
        _, contrast = self._taken_apart(refined)
        return {
            "pre": refined + self._merged(structure, contrast),
            "uptake": given["uptake"],
        }

    def routes(self, slices: Tensor) -> dict[str, Tensor]:
        """Return the seven ROUTES and, for comparison, the ``refined`` corrupted scan."""
        given, refined = self._given(slices)
        outputs, structures, contrasts = {"refined": refined}, {}, {}
        for name, image in (("synthetic", given["pre"]), ("corrupted", refined)):
            structures[name], contrasts[name] = self._taken_apart(image)
            outputs[f"structure_of_{name}"] = self.structure_decoder(structures[name])
            outputs[f"contrast_of_{name}"] = self.contrast_decoder(contrasts[name])
            outputs[f"image_of_{name}"] = image + self._merged(structures[name], contrasts[name])
        outputs["pre"] = refined + self._merged(structures["synthetic"], contrasts["corrupted"])
        return outputs

    def _given(self, slices: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        """Return SPHERE's answer at the level of the corrupted scan, and that scan refined."""
        post, corrupted = slices[:, :-1], slices[:, -1:]
        with torch.no_grad():
            answer = self.sphere(post)
            synthetic = answer["pre"] * level_between(answer["pre"], corrupted)
        both = torch.cat([corrupted, synthetic], dim=1)
        refined = corrupted + self.refine_decoder(self.refine_encoder(both))
        return {"pre": synthetic, "uptake": answer["uptake"]}, refined

    def _taken_apart(self, image: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """Return E_1's features of structure and of contrast, finest scale first."""
        halves = [features.chunk(2, dim=1) for features in self.encoder(image)]
        return [first for first, _ in halves], [second for _, second in halves]

    def _merged(self, structure: list[Tensor], contrast: list[Tensor]) -> Tensor:
        pairs = zip(structure, contrast, strict=True)
        merged: Tensor = self.image_decoder([torch.cat(pair, dim=1) for pair in pairs])
        return merged


def level_between(synthetic: Tensor, corrupted: Tensor) -> Tensor:
    """Return the ratio of two scans' levels in the tissue of each slice, (n, 1, 1, 1)."""
    tissue = (synthetic > TISSUE_LEVEL).to(synthetic.dtype)
    sums = [(image * tissue).sum(dim=(1, 2, 3), keepdim=True) for image in (corrupted, synthetic)]
    empty = sums[1] <= 0
    ratio = torch.where(empty, 1.0, sums[0] / torch.where(empty, 1.0, sums[1]))
    return ratio.clamp(*LEVEL_RANGE)
