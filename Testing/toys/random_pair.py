"""Toy: random, with two networks, one of which has dropout."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np

from ContrastSynthLib.inference.pieces import Slices
from ContrastSynthLib.inference.slicing import plan_slices
from ContrastSynthLib.preprocessing.normalisation import fit
from ContrastSynthLib.registry import Context, Input, Network, Output, Param, method
from ContrastSynthLib.volumes import FloatArray, Volume

if TYPE_CHECKING:
    from torch import nn


def smoother(width: int) -> nn.Module:
    """Return a network (b, 1, rows, columns) to ``image`` of the same shape."""
    from torch import nn

    class Smoother(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.convolution = nn.Conv2d(1, 1, width, padding=width // 2)

        def forward(self, image: Any) -> dict[str, Any]:
            return {"image": self.convolution(image)}

    return Smoother()


def dropper(share: float) -> nn.Module:
    """Return a network that drops pixels at random, in use too; its output is ``kept``."""
    from torch import nn

    class Dropper(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Conv2d(1, 1, 1)

        def forward(self, image: Any) -> dict[str, Any]:
            return {"kept": nn.functional.dropout(self.scale(image), share, training=True)}

    return Dropper()


@dataclass(frozen=True)
class RandomPairParameters:
    """How strong the noise is, and whether pixels are dropped."""

    noise: Annotated[float, Param("Noise", "means of the brain", 0.0, 1.0)] = 0.05
    dropout: Annotated[str, Param("Dropout", choices=("on", "off"))] = "on"


@method(
    key="toy_random_pair",
    title="Toy: noise from a seed",
    task="dose",
    inputs={"post": Input("Post-contrast")},
    outputs={"low": Output("Noisy scan", units_of="post", dose=1)},
    parameters=RandomPairParameters,
    reference="post",
    networks={
        "smoother": Network("toy_smoother", build=smoother),
        "dropper": Network("toy_dropper", when={"dropout": ("on",)}, build=dropper),
    },
    random=True,
    citation="sphere2025",
    intended_use="Research. A test of the software.",
)
def random_pair(
    post: Volume, *, parameters: RandomPairParameters, context: Context
) -> dict[str, FloatArray]:
    """Smooth the scan, drop pixels with torch's random numbers, add noise with numpy's."""
    unit = fit("mean", post.array, context.mask)
    plan = plan_slices(post.grid, context.mask)
    stack = plan.slices(unit.apply(post.array))
    made = context.predict(context.network("smoother"), Slices.of(stack), (0.0, 0.5))["image"]
    if parameters.dropout == "on":
        made = context.predict(context.network("dropper"), Slices.of(made), (0.5, 1.0))["kept"]
    made = made + parameters.noise * context.generator.normal(size=made.shape)
    image = unit.undo(plan.restore(made.astype(np.float32), outside=0.0))
    return {"low": np.where(context.mask, image, post.array)}
