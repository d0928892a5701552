"""Toy: returns labels and a map only, filters in millimetres, and iterates."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from scipy.ndimage import gaussian_filter

from ContrastSynthLib.registry import LABELS, MAP, Column, Context, Input, Output, Param, method
from ContrastSynthLib.volumes import FloatArray, Volume

CLASSES = {1: "dark", 2: "medium", 3: "bright"}


@dataclass(frozen=True)
class LabelsMapParameters:
    """How smooth the scan is made before it is divided into classes."""

    sigma_mm: Annotated[float, Param("Smoothing", "mm", 0.1, 10.0)] = 2.0
    iterations: Annotated[int, Param("Iterations", "", 1, 50)] = 8


@method(
    key="toy_labels_map",
    title="Toy: classes of brightness",
    task="pre",
    inputs={"post": Input("Post-contrast")},
    outputs={
        "classes": Output("Classes", kind=LABELS, labels=CLASSES),
        "distance": Output("Distance to the class", kind=MAP, unit="medians", low=0),
    },
    parameters=LabelsMapParameters,
    reference="post",
    history={
        "iteration": Column("Iteration"),
        "distance": Column("Mean distance", "medians", plot="Distance"),
    },
    citation="sphere2025",
    intended_use="Research. A test of the software.",
)
def labels_map(
    post: Volume, *, parameters: LabelsMapParameters, context: Context
) -> dict[str, FloatArray]:
    """Lloyd's algorithm on the smoothed brightness inside the mask, started at its quantiles."""
    sigma = [parameters.sigma_mm / mm for mm in post.grid.spacing_mm[::-1]]
    image = post.array / np.median(post.array[context.mask])
    smooth = gaussian_filter(image, sigma, mode="nearest")
    values = smooth[context.mask].astype(np.float64)
    centres = np.quantile(values, [0.25, 0.5, 0.9])
    history: dict[str, list[float]] = {"iteration": [], "distance": []}
    for iteration in range(1, parameters.iterations + 1):
        apart = np.abs(values[:, None] - centres)
        nearest = apart.argmin(axis=1)
        step = {"iteration": iteration, "distance": float(apart.min(axis=1).mean())}
        for name, value in step.items():
            history[name].append(value)
        context.measured(step)
        context.progress(iteration / parameters.iterations, f"Iteration {iteration}")
        centres = np.array(
            [
                values[nearest == n].mean() if (nearest == n).any() else centres[n]
                for n in range(len(CLASSES))
            ]
        )
    context.record["history"] = history
    apart = np.abs(values[:, None] - centres)
    classes = np.zeros(post.grid.shape, np.float32)
    classes[context.mask] = 1 + apart.argmin(axis=1)
    distance = np.zeros(post.grid.shape, np.float32)
    distance[context.mask] = apart.min(axis=1)
    return {"classes": classes, "distance": distance}
