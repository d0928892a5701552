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
    licence_of_weights,
    rate_at,
    seed_of_slices,
    shared_progress,
    start,
    training_record,
)
from slices import batches

from ContrastSynthLib.networks.features import TISSUE_FEATURES, TissueClassifier
from ContrastSynthLib.phantom.tissue import TISSUES
from ContrastSynthLib.weights import save_bundle


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
    network, optimiser = fabric.setup(network, optimiser)
    clock = Clock(arguments, fabric.device)
    slices = batches(
        arguments.data,
        crop=arguments.crop,
        batch=arguments.batch,
        seed=seed_of_slices(arguments, fabric, clock),
        workers=arguments.workers,
    )
    curves = Curves(arguments.out) if fabric.is_global_zero else None
    while (progress := shared_progress(fabric, clock)) < 1:
        batch = {name: value.to(fabric.device) for name, value in next(slices).items()}
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
        save_bundle(
            arguments.out / "bundle",
            average.network.features.state_dict(),
            {
                "name": "tissue_features",
                "version": "1.0",
                "oldest_library_version": "0.1.0",
                "task": "features of the perceptual loss",
                "method": "training",
                "network": {"name": "tissue_features", "arguments": {"width": TISSUE_FEATURES}},
                "inputs": {"image": "T1-weighted slice, divided by the mean of the brain"},
                "normalisation": "mean",
                "training": {
                    "data": "virtual brains made by this library",
                    "data_licence": "Apache-2.0",
                    **training_record(arguments, clock, fabric.device),
                },
                "metrics": {},
                "limits": "Serves as a measure of likeness in training only.",
                "licence": "Apache-2.0",
                "trained_on_virtual_patients": True,
            },
            licence_of_weights(),
            replace=True,
        )


if __name__ == "__main__":
    main()
