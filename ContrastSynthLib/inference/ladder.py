"""A network over many slices, batch by batch, in the memory that there is.

The ladder: as many slices at once as an estimate allows, then half of them, down to one, then
the CPU. A rung begins with the first slice again, so that a result has one precision throughout.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from ContrastSynthLib.errors import RequestError
from ContrastSynthLib.volumes import FloatArray

if TYPE_CHECKING:
    from torch.nn import Module

Answer = TypeVar("Answer")
Batches = Callable[[slice], FloatArray]
"""From a part of the slices to the network's input (b, channels, rows, columns)."""

LARGEST_BATCH = 32
# A CPU is busy with a few slices; an Apple GPU does not tell what would fit.
BATCH_WITHOUT_ESTIMATE = 4

# Share of the free GPU memory that a batch may take: the allocator loses some to gaps.
USED_SHARE = 0.7

# The first NVIDIA generation with bfloat16 in hardware; older ones emulate it slowly.
BFLOAT16_CAPABILITY = (8, 0)

TOO_LITTLE_MEMORY = (
    "Memory does not suffice for one slice at a time, not even on the CPU. Close other "
    "programs, choose a tighter mask (--in mask=FILE), to which slices are cut, or use a "
    "computer with more memory."
)

OUT_OF_MEMORY_WORDS = (
    "out of memory",
    "can't allocate memory",
    "cannot allocate memory",
    "not enough memory",
    "alloc_failed",
)


def run_batches(
    network: Module,
    batches: Batches,
    count: int,
    *,
    device: str,
    progress: Callable[[float, str], None],
    warn: Callable[[str], None],
    record: dict[str, Any],
) -> dict[str, FloatArray]:
    """Return the network's outputs for ``count`` slices, each (count, rows, columns) float32.

    ``batches`` gives the input of any part of the slices, (b, channels, rows, columns); the
    network makes of it a dictionary of (b, 1, rows, columns). CUDA computes in half precision,
    other devices in full. ``record["memory"]`` holds the device, the batch, the precision and,
    as ``too_large``, the rungs for which memory did not suffice; ``warn`` tells of each of
    these. The network is left in the mode, and on the device, that it came with.

    Raises RequestError when memory does not suffice for one slice on the CPU, and whatever
    ``progress`` raises, which is how a run is cancelled.
    """
    home = next((tensor.device for tensor in network.state_dict().values()), "cpu")
    modes = {module: module.training for module in network.modules()}
    too_large: list[dict[str, Any]] = []
    try:
        network.eval()
        for where, batch in _rungs(network, batches, count, device):
            if too_large:
                warn(_told(**too_large[-1], next_device=where, next_batch=batch))
            run = partial(_run_all, network, batches, count, batch, where, progress)
            outputs = unless_out_of_memory(where, run)
            if outputs is not None:
                taken = {"device": where, "batch": batch, "precision": _precision(where)}
                record["memory"] = {**taken, "too_large": too_large}
                return outputs
            too_large.append({"device": where, "batch": batch})
    finally:
        network.to(home)
        for module, training in modes.items():
            module.training = training
    raise RequestError(TOO_LITTLE_MEMORY)


def first_that_fits(
    compute: Callable[[str, int], Answer],
    batch: int,
    *,
    device: str,
    warn: Callable[[str], None],
    record: dict[str, Any],
) -> Answer:
    """Return what ``compute`` makes of the first device and batch for which memory suffices.

    It starts with ``batch`` slices at once on ``device``, goes down to one, then to the CPU. What
    was too large is told and recorded as :func:`run_batches` does; so is what it raises.
    """
    too_large: list[dict[str, Any]] = []
    for where in dict.fromkeys((device, "cpu")):
        size = batch
        while size:
            if too_large:
                warn(_told(**too_large[-1], next_device=where, next_batch=size))
            found = unless_out_of_memory(where, partial(compute, where, size))
            if found is not None:
                taken = {"device": where, "batch": size, "precision": "float32"}
                record["memory"] = {**taken, "too_large": too_large}
                return found
            too_large.append({"device": where, "batch": size})
            size //= 2
    raise RequestError(TOO_LITTLE_MEMORY)


def _rungs(network: Module, batches: Batches, count: int, device: str) -> Iterator[tuple[str, int]]:
    """Yield device and batch from the top of the ladder down."""
    for where in dict.fromkeys((device, "cpu")):
        # Where one slice was too much for the estimate, the rung of one slice says so.
        estimated = unless_out_of_memory(where, partial(_estimate, network, batches, where))
        batch = min(estimated or 1, count)
        while batch:
            yield where, batch
            batch //= 2


def _estimate(network: Module, batches: Batches, device: str) -> int:
    """Return how many slices fit at once: on CUDA by what the first one takes."""
    import torch

    if torch.device(device).type != "cuda":
        return BATCH_WITHOUT_ESTIMATE
    network.to(device)
    torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_allocated(device)
    _predict(network, batches(slice(0, 1)), device)
    taken = torch.cuda.max_memory_allocated(device) - before
    _empty_cache(device)
    free, _ = torch.cuda.mem_get_info(device)
    return int(np.clip(USED_SHARE * free / max(taken, 1), 1, LARGEST_BATCH))


def _run_all(
    network: Module,
    batches: Batches,
    count: int,
    batch: int,
    device: str,
    progress: Callable[[float, str], None],
) -> dict[str, FloatArray]:
    import torch

    # Convolutions of slices are faster with the channels last in memory.
    network.to(device, memory_format=torch.channels_last)
    parts = []
    for first in range(0, count, batch):
        last = min(first + batch, count)
        progress(first / count, f"Slices {first + 1} to {last} of {count}")
        parts.append(_predict(network, batches(slice(first, last)), device))
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _predict(network: Module, batch: FloatArray, device: str) -> dict[str, FloatArray]:
    """Return the outputs (b, rows, columns) of one batch."""
    import torch

    precision = _precision(device)
    half = (
        nullcontext()
        if precision == "float32"
        else torch.autocast("cuda", dtype=getattr(torch, precision))
    )
    # A copy: the slices may be a read-only or flipped view, which torch does not take.
    given = torch.from_numpy(np.array(batch, dtype=np.float32, order="C")).to(device)
    with torch.inference_mode(), half:
        outputs = network(given)
    return {name: value.squeeze(1).float().cpu().numpy() for name, value in outputs.items()}


def _precision(device: str) -> str:
    import torch

    if torch.device(device).type != "cuda":
        return "float32"
    newer = torch.cuda.get_device_capability(device) >= BFLOAT16_CAPABILITY
    return "bfloat16" if newer else "float16"


def unless_out_of_memory(device: str, compute: Callable[[], Answer]) -> Answer | None:
    """Return what ``compute`` returns, or None when memory did not suffice."""
    try:
        return compute()
    except (MemoryError, RuntimeError) as error:
        if not _is_out_of_memory(error):
            raise
    # After the handler: as long as the error lives, its traceback holds the batch's tensors.
    _empty_cache(device)
    return None


def _is_out_of_memory(error: Exception) -> bool:
    import torch

    if isinstance(error, (MemoryError, torch.cuda.OutOfMemoryError)):
        return True
    return any(words in str(error).lower() for words in OUT_OF_MEMORY_WORDS)


def _empty_cache(device: str) -> None:
    import torch

    kind = torch.device(device).type
    if kind == "cuda":
        torch.cuda.empty_cache()
    elif kind == "mps":
        torch.mps.empty_cache()


def _told(device: str, batch: int, next_device: str, next_batch: int) -> str:
    """Return the sentence about a rung that was too large, and the next one."""
    slices = f"{batch} slices at once" if batch > 1 else "one slice at a time"
    tried = (
        f"{next_batch} at a time are tried"
        if next_device == device
        else f"the {next_device} is tried, which is slower, in full precision"
    )
    return f"The memory of {device} did not suffice for {slices}; {tried}."
