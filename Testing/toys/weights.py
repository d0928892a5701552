"""Make the bundles of weights that the toys need: ``python weights.py FOLDER``."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
NETWORKS = {
    "toy_smoother": ("random_pair", "smoother", {"width": 3}, "toy_random_pair"),
    "toy_dropper": ("random_pair", "dropper", {"share": 0.2}, "toy_random_pair"),
    "toy_slab": ("slab", "slab_network", {"features": 2}, "toy_slab"),
}
"""Bundle to the toy's file, the function that builds the network, its arguments, the method."""


def make_weights(folder: Path) -> None:
    """Write a bundle for each network into ``folder``, with weights that are always the same."""
    import torch

    from ContrastSynthLib.weights.storage import save_bundle

    for name, (file, function, arguments, method) in NETWORKS.items():
        network = getattr(_module(file), function)(**arguments)
        generator = torch.Generator().manual_seed(1)
        state = {
            key: 0.2 * torch.rand(value.shape, generator=generator)
            for key, value in sorted(network.state_dict().items())
        }
        card = _card(name, method, function, arguments)
        save_bundle(folder / name, state, card, "Apache-2.0\n")


def _module(file: str) -> Any:
    """Return a toy's module, loaded under the name that the library gives it."""
    from ContrastSynthLib.registry.own_methods import PREFIX

    name = PREFIX + file
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, HERE / f"{file}.py")
        assert spec is not None
        assert spec.loader is not None
        sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])
    return sys.modules[name]


def _card(name: str, method: str, function: str, arguments: dict[str, Any]) -> dict[str, Any]:
    return {
        **{"name": name, "version": "1.0", "oldest_library_version": "0.1.0", "task": "test"},
        **{"method": method, "network": {"name": function, "arguments": arguments}},
        **{"inputs": ["post"], "normalisation": "mean", "metrics": {}, "limits": "A toy."},
        "training": {
            **{"data": "none", "data_licence": "none", "commit": "none", "command": "none"},
            **{"seed": 1, "steps": 0, "hours": 0, "hardware": "none"},
        },
        **{"licence": "Apache-2.0", "trained_on_virtual_patients": False},
    }


if __name__ == "__main__":
    make_weights(Path(sys.argv[1]))
