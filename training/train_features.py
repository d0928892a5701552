"""Train the small network whose features the perceptual loss of SPHERE compares.

    python training/train_features.py --data POOL --out runs/features --minutes 6

It learns which tissue each pixel of a pre- or post-contrast slice is; its encoder is kept. VGG's
weights, which the paper uses, cannot be shipped: ``--vgg FILE`` of ``train_sphere.py`` takes them
where they are. Stop it and start it again with the same ``--out``: it goes on.
"""

from __future__ import annotations

import argparse

import torch
from data.slices import batches
from loop import Average, Learner, add_common_arguments, rate_at, start, train
from torch import Tensor

from ContrastSynthLib.networks.features import TISSUE_FEATURES, TissueClassifier
from ContrastSynthLib.phantom.tissue import TISSUES

CLASSES = 1 + max(tissue.label for tissue in TISSUES.values())
CARD = {
    "name": "tissue_features",
    "task": "features of the perceptual loss",
    "method": "training",
    "network": {"name": "tissue_features", "arguments": {"width": TISSUE_FEATURES}},
    "inputs": {"image": "T1-weighted slice, divided by the mean of the brain"},
    "normalisation": "mean",
    "training": {"data": "virtual brains made by this library"},
    "limits": "Serves as a measure of likeness in training only.",
}


def main() -> None:
    """Train, and keep the encoder as a bundle in ``OUT/bundle``."""
    arguments = read_arguments()
    fabric = start(arguments)
    network = fabric.to_device(TissueClassifier(CLASSES))
    average = Average(network)
    adam = torch.optim.AdamW(network.parameters(), lr=arguments.learning_rate)
    classifier = Learner(fabric, network, adam)

    def learn(batch: dict[str, Tensor], progress: float) -> dict[str, Tensor]:
        """Take one step; return the loss."""
        found = classifier.network(one_scan_of_each_pair(batch))
        loss = torch.nn.functional.cross_entropy(found, batch["tissue"][:, 0].long())
        classifier.descend(loss, arguments.learning_rate * rate_at(progress))
        return {"cross_entropy": loss}

    learners, encoder = {"network": classifier}, average.network.features
    train(arguments, fabric, learners, average, batches, learn, CARD, kept=encoder)


def read_arguments() -> argparse.Namespace:
    """Return what the command line asks for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_common_arguments(parser)
    arguments = parser.parse_args()
    if arguments.fine_tune:
        parser.error("--fine-tune: these features are trained from the start, in minutes")
    return arguments


def one_scan_of_each_pair(batch: dict[str, Tensor]) -> Tensor:
    """Return the pre- or the post-contrast slices, (n, 1, rows, cols): the loss will see both."""
    both = torch.stack([batch["post"][:, 1:2], batch["second"]])
    count, device = both.shape[1], both.device
    which = torch.randint(2, (count,), device=device)
    return both[which, torch.arange(count, device=device)]


if __name__ == "__main__":
    main()
