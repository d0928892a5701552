"""Train the small network whose features the perceptual loss compares: tissues in a slice.

    python training/train_features.py --data POOL --out runs/features --minutes 6

It learns which tissue each pixel of a pre- or post-contrast slice is; VGG's weights, which the
paper uses, cannot be shipped. ``--vgg FILE`` of ``train_sphere.py`` takes them where they are.
"""

from __future__ import annotations

import argparse

import torch
from common import (
    Average,
    Clock,
    Curves,
    add_common_arguments,
    fast_layout,
    rate_at,
    shared_progress,
    start,
    stream,
    write_bundle,
)

from ContrastSynthLib.networks.features import TISSUE_FEATURES, TissueClassifier
from ContrastSynthLib.phantom.tissue import TISSUES


def main() -> None:
    """Train, and keep the encoder as a bundle in ``OUT/bundle``."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    add_common_arguments(parser)
    arguments = parser.parse_args()
    if arguments.fine_tune:
        parser.error("--fine-tune: these features are trained from the start, in minutes")
    fabric = start(arguments)
    classes = 1 + max(tissue.label for tissue in TISSUES.values())
    network = TissueClassifier(classes)
    average = Average(fabric.to_device(network))
    optimiser = torch.optim.AdamW(network.parameters(), lr=arguments.learning_rate)
    network, optimiser = fabric.setup(fast_layout(network), optimiser)
    clock = Clock(arguments, fabric.device)
    slices = stream(arguments, fabric, clock)
    curves = Curves(arguments.out) if fabric.is_global_zero else None
    while (progress := shared_progress(fabric, clock)) < 1:
        batch = next(slices)
        # Either scan of the pair, since the loss sees both.
        both = torch.stack([batch["post"][:, 1:2], batch["second"]])
        which = torch.randint(2, (len(both[0]),), device=fabric.device)
        image = both[which, torch.arange(len(which), device=fabric.device)]
        loss = torch.nn.functional.cross_entropy(network(image), batch["tissue"][:, 0].long())
        for group in optimiser.param_groups:
            group["lr"] = arguments.learning_rate * rate_at(progress)
        optimiser.zero_grad()
        fabric.backward(loss)
        optimiser.step()
        average.update(network)
        clock.step += 1
        if curves:
            curves.add(clock.step, {"cross_entropy": loss.item()})
    if fabric.is_global_zero:
        card = {
            "name": "tissue_features",
            "task": "features of the perceptual loss",
            "method": "training",
            "network": {"name": "tissue_features", "arguments": {"width": TISSUE_FEATURES}},
            "inputs": {"image": "T1-weighted slice, divided by the mean of the brain"},
            "normalisation": "mean",
            "training": {"data": "virtual brains made by this library"},
            "limits": "Serves as a measure of likeness in training only.",
        }
        write_bundle(arguments, average.network.features, card, clock, fabric.device)


if __name__ == "__main__":
    main()
