"""The devices a network can run on, and why one cannot be used."""

from __future__ import annotations

import importlib.util
from typing import Any

from ContrastSynthLib.errors import MissingError, RequestError

TORCH_HINT = (
    "Install torch: in Slicer through the PyTorch extension, elsewhere as https://pytorch.org says."
)


def list_devices() -> list[dict[str, Any]]:
    """Return every kind of device with its name and, if it cannot be used, the reason."""
    cpu = {"device": "cpu", "usable": True, "reason": None}
    if importlib.util.find_spec("torch") is None:
        reason = f"torch is not installed. {TORCH_HINT}"
        return [cpu, *({"device": d, "usable": False, "reason": reason} for d in ("cuda", "mps"))]
    import torch

    devices: list[dict[str, Any]] = [cpu]
    if torch.cuda.is_available():
        for index in range(torch.cuda.device_count()):
            name = torch.cuda.get_device_name(index)
            devices.append(
                {"device": f"cuda:{index}", "usable": True, "reason": None, "name": name}
            )
    else:
        built = torch.version.cuda
        reason = (
            "no NVIDIA GPU with a working driver was found"
            if built
            else "this build of torch has no CUDA"
        )
        devices.append({"device": "cuda", "usable": False, "reason": reason})
    mps = torch.backends.mps.is_available()
    devices.append({"device": "mps", "usable": mps, "reason": None if mps else "not an Apple GPU"})
    return devices


def choose_device(wanted: str, needs_network: bool) -> str:
    """Return the device for ``wanted``: ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``.

    ``auto`` takes the first CUDA device when the method has a network. A method without a
    network computes on the CPU whatever is wanted, and torch is not even looked for. Raises
    MissingError when torch is not installed, RequestError, with the reason, when the device
    cannot be used.
    """
    if wanted.split(":")[0] not in ("auto", "cpu", "cuda", "mps"):
        raise RequestError(f"Unknown device '{wanted}'. Known: auto, cpu, cuda, cuda:N, mps.")
    if wanted == "cpu" or not needs_network:
        return "cpu"
    if importlib.util.find_spec("torch") is None:
        raise MissingError(f"The device '{wanted}' needs torch. {TORCH_HINT}")
    devices = list_devices()
    usable = [entry["device"] for entry in devices if entry["usable"]]
    if wanted == "auto":
        return next((device for device in usable if device.startswith("cuda")), "cpu")
    matching = [d for d in devices if wanted in (d["device"], d["device"].split(":")[0])]
    if matching and matching[0]["usable"]:
        return str(matching[0]["device"])
    reason = matching[0]["reason"] if matching else "there is no such device"
    raise RequestError(
        f"The device '{wanted}' cannot be used: {reason}. Usable here: {', '.join(usable)}."
    )
