"""The networks, by the names that the metadata of their weights use."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn

from ContrastSynthLib.errors import RequestError, unknown_name
from ContrastSynthLib.networks.baselines import Direct
from ContrastSynthLib.networks.bayesian_unet import BayesianUNet
from ContrastSynthLib.networks.features import TissueFeatures
from ContrastSynthLib.networks.hrfcn import HighResolutionFCN
from ContrastSynthLib.networks.iter_unet import IterUNet
from ContrastSynthLib.networks.lowdose_gan import LowDoseGenerator
from ContrastSynthLib.networks.residual_unet import ResidualUNet
from ContrastSynthLib.networks.sphere import Sphere
from ContrastSynthLib.networks.sphere_art import SphereArt
from ContrastSynthLib.networks.virtual_contrast import VirtualContrast
from ContrastSynthLib.networks.vnet import VNet

NETWORKS: dict[str, Callable[..., nn.Module]] = {
    "bayesian_unet": BayesianUNet,
    "direct": Direct,
    "hrfcn": HighResolutionFCN,
    "iter_unet": IterUNet,
    "lowdose_generator": LowDoseGenerator,
    "residual_unet": ResidualUNet,
    "sphere": Sphere,
    "sphere_art": SphereArt,
    "tissue_features": TissueFeatures,
    "virtual_contrast": VirtualContrast,
    "vnet": VNet,
}


def build_network(name: str, arguments: dict[str, Any]) -> nn.Module:
    """Return the network of that name; raises RequestError for an unknown one or argument."""
    if name not in NETWORKS:
        raise unknown_name("network", name, NETWORKS)
    try:
        return NETWORKS[name](**arguments)
    except (TypeError, KeyError, ValueError, RuntimeError) as error:
        raise RequestError(f"The network '{name}' cannot be built: {error}") from None
