"""The devices that a network can run on, and the reason why one cannot be used."""

from __future__ import annotations

import importlib.util
from typing import Any

from ContrastSynthLib.errors import MissingError, RequestError

DEVICES = ("auto", "cpu", "cuda", "cuda:N", "mps")
TORCH_HINT = (
    "Install torch: in Slicer through the PyTorch extension, elsewhere as https://pytorch.org says."
)


def list_devices() -> list[dict[str, Any]]:
    """Return for each device its ``device`` key, whether it is ``usable``, and the reason if not.

    A CUDA GPU also has its ``name``.
    """
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
    """Return the device to compute on for ``wanted``, one of DEVICES.

    ``auto`` is the first CUDA GPU, else the CPU. A method without a network always computes on the
    CPU and does not need torch. Raises MissingError when torch is not installed, RequestError, with
    the reason, when the device cannot be used.
    """
    if wanted.split(":")[0] not in DEVICES:
        raise RequestError(f"Unknown device '{wanted}'. Known: {', '.join(DEVICES)}.")
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
