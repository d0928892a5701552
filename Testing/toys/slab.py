"""Toy: a network of slabs of three slices, with an optional input."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np

from ContrastSynthLib.inference.pieces import Tiles
from ContrastSynthLib.inference.slicing import plan_slices
from ContrastSynthLib.preprocessing.normalisation import fit
from ContrastSynthLib.registry import Context, Input, Network, Output, Param, method
from ContrastSynthLib.volumes import FloatArray, Volume

if TYPE_CHECKING:
    from torch import nn


def slab_network(features: int) -> nn.Module:
    """Return a network (b, 2, 3, rows, columns) to ``image`` (b, 1, 3, rows, columns)."""
    from torch import nn

    class SlabNetwork(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = nn.Sequential(
                nn.Conv3d(2, features, 3, padding=1), nn.ReLU(), nn.Conv3d(features, 1, 1)
            )

        def forward(self, slab: Any) -> dict[str, Any]:
            return {"image": slab[:, :1] + self.layers(slab)}

    return SlabNetwork()


@dataclass(frozen=True)
class SlabParameters:
    """How slabs become a volume again."""

    blending: Annotated[str, Param("Blending of slabs", choices=("gaussian", "constant"))] = (
        "gaussian"
    )


@method(
    key="toy_slab",
    title="Toy: slabs of three slices",
    task="enhance",
    inputs={"pre": Input("Pre-contrast"), "t2": Input("T2", modality="T2", optional=True)},
    outputs={"post": Output("Synthetic post-contrast", units_of="pre", dose=1)},
    parameters=SlabParameters,
    reference="pre",
    networks={"toy_slab": Network(build=slab_network)},
    citation="sphere2025",
    intended_use="Research. A test of the software.",
)
def slab(
    pre: Volume, t2: Volume | None = None, *, parameters: SlabParameters, context: Context
) -> dict[str, FloatArray]:
    """Ask the network slab by slab; an input that is not there is 0."""
    unit = fit("mean", pre.array, context.mask)
    plan = plan_slices(pre.grid, context.mask)
    before = plan.slices(unit.apply(pre.array))
    second = np.zeros_like(before)
    if t2 is not None:
        second = plan.slices(fit("mean", t2.array, context.mask).apply(t2.array))
    pieces = Tiles(np.stack([before, second]), (3, None, None), (2, 0, 0), parameters.blending)
    made = context.predict(context.network("toy_slab"), pieces)["image"]
    image = unit.undo(plan.restore(made, outside=0.0))
    return {"post": np.where(context.mask, image, pre.array)}
