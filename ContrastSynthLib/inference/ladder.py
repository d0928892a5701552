"""A network over many pieces of a volume, batch by batch, in the memory that there is.

The ladder: as many pieces at once as an estimate allows, then half of them, down to one, then
smaller pieces where the network takes them, then the CPU. Each attempt begins with the first piece
again, so that a result has one precision throughout.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from ContrastSynthLib.errors import RequestError
from ContrastSynthLib.inference.pieces import Pieces, Slices, Tiles
from ContrastSynthLib.volumes import FloatArray

if TYPE_CHECKING:
    from torch.nn import Module

Answer = TypeVar("Answer")
LARGEST_BATCH = 32
# A CPU is busy with a few slices; an Apple GPU does not tell what would fit.
BATCH_WITHOUT_ESTIMATE = 4

LAYOUTS = {4: "channels_last", 5: "channels_last_3d"}
"""Layout in memory by the number of axes of a batch."""

# Share of the free GPU memory that a batch may take: the allocator loses some to gaps.
USED_SHARE = 0.7

# The first NVIDIA generation with bfloat16 in hardware; older ones emulate it slowly.
BFLOAT16_CAPABILITY = (8, 0)

SLICES = Slices(lambda which: np.zeros((0, 1, 1, 1), np.float32), 0)
"""What a solver that goes through slices by itself calls its pieces."""

TOO_LITTLE_MEMORY = (
    "Memory does not suffice for one piece of the volume at a time, not even on the CPU. Close "
    "other programs, choose a tighter mask (--in mask=FILE), to which the volume is cut, or use a "
    "computer with more memory."
)

OUT_OF_MEMORY_WORDS = (
    "out of memory",
    "can't allocate memory",
    "cannot allocate memory",
    "not enough memory",
    "alloc_failed",
)


@dataclass(frozen=True)
class Attempt:
    """Where, and on how many pieces at once, a network is tried."""

    device: str
    batch: int
    pieces: Pieces


def run_pieces(
    network: Module,
    pieces: Pieces,
    *,
    device: str,
    progress: Callable[[float, str], None],
    warn: Callable[[str], None],
    record: dict[str, Any],
) -> dict[str, FloatArray]:
    """Return what the network makes of all pieces, put together by ``pieces.restore``, float32.

    The network makes a dictionary of (b, channels, ...) of the input (b, channels, ...). CUDA
    computes in half precision, other devices in full. ``record["memory"]`` holds the device, the
    batch, the precision and, as ``too_large``, the attempts for which memory did not suffice;
    ``warn`` says so for each of these. The network is left in the mode, and on the device, that it
    came with.

    Raises RequestError when memory does not suffice for one piece on the CPU, and whatever
    ``progress`` raises, which is how a run is cancelled.
    """
    home = next((tensor.device for tensor in network.state_dict().values()), "cpu")
    modes = {module: module.training for module in network.modules()}
    too_large: list[Attempt] = []
    try:
        network.eval()
        for attempt in _attempts(network, pieces, device):
            if too_large:
                warn(_memory_warning(too_large[-1], attempt))
            outputs = unless_out_of_memory(
                attempt.device, partial(_run_all, network, attempt, progress)
            )
            if outputs is not None:
                record["memory"] = _memory_record(attempt, too_large, _precision(attempt.device))
                return outputs
            too_large.append(attempt)
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
    was too large is recorded as :func:`run_pieces` does, with the same warnings and errors.
    """
    too_large: list[Attempt] = []
    for where in dict.fromkeys((device, "cpu")):
        size = batch
        while size:
            attempt = Attempt(where, size, SLICES)
            if too_large:
                warn(_memory_warning(too_large[-1], attempt))
            found = unless_out_of_memory(where, partial(compute, where, size))
            if found is not None:
                record["memory"] = _memory_record(attempt, too_large, "float32")
                return found
            too_large.append(attempt)
            size //= 2
    raise RequestError(TOO_LITTLE_MEMORY)


def _attempts(network: Module, pieces: Pieces, device: str) -> Iterator[Attempt]:
    """Yield what to try, from the fastest down to what needs the least memory."""
    for where in dict.fromkeys((device, "cpu")):
        tried: Pieces | None = pieces
        while tried is not None:
            # Where one piece was too much for the estimate, the attempt with one says so.
            estimated = unless_out_of_memory(where, partial(_estimate, network, tried, where))
            batch = min(estimated or 1, tried.count)
            while batch:
                yield Attempt(where, batch, tried)
                batch //= 2
            tried = tried.smaller()


def _estimate(network: Module, pieces: Pieces, device: str) -> int:
    """Return how many pieces fit at once: on CUDA by what the first one takes."""
    import torch

    if torch.device(device).type != "cuda":
        return BATCH_WITHOUT_ESTIMATE
    network.to(device)
    torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_allocated(device)
    _predict(network, pieces.piece(slice(0, 1)), device)
    taken = torch.cuda.max_memory_allocated(device) - before
    _empty_cache(device)
    free, _ = torch.cuda.mem_get_info(device)
    return int(np.clip(USED_SHARE * free / max(taken, 1), 1, LARGEST_BATCH))


def _run_all(
    network: Module, attempt: Attempt, progress: Callable[[float, str], None]
) -> dict[str, FloatArray]:
    import torch

    pieces, device = attempt.pieces, attempt.device
    plural = f"{pieces.noun.capitalize()}s"

    def answers() -> Iterator[tuple[slice, dict[str, FloatArray]]]:
        layout = None
        for first in range(0, pieces.count, attempt.batch):
            which = slice(first, min(first + attempt.batch, pieces.count))
            progress(
                first / pieces.count, f"{plural} {first + 1} to {which.stop} of {pieces.count}"
            )
            batch = pieces.piece(which)
            if layout is None:
                # Convolutions are faster with the channels last in memory.
                layout = LAYOUTS.get(batch.ndim, "contiguous_format")
                network.to(device, memory_format=getattr(torch, layout))
            yield which, _predict(network, batch, device)

    return pieces.restore(answers())


def _predict(network: Module, batch: FloatArray, device: str) -> dict[str, FloatArray]:
    """Return the outputs (b, channels, ...) of one batch."""
    import torch

    precision = _precision(device)
    half = (
        nullcontext()
        if precision == "float32"
        else torch.autocast("cuda", dtype=getattr(torch, precision))
    )
    # A copy: the pieces may be a read-only or flipped view, which torch does not take.
    given = torch.from_numpy(np.array(batch, dtype=np.float32, order="C")).to(device)
    with torch.inference_mode(), half:
        outputs = network(given)
    return {name: value.float().cpu().numpy() for name, value in outputs.items()}


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


def _memory_record(taken: Attempt, too_large: Sequence[Attempt], precision: str) -> dict[str, Any]:
    """Return what the provenance says of the attempt that fitted, and of those that did not."""

    def described(attempt: Attempt) -> dict[str, Any]:
        box = {"tile": list(attempt.pieces.box)} if isinstance(attempt.pieces, Tiles) else {}
        return {"device": attempt.device, "batch": attempt.batch, **box}

    return {
        **described(taken),
        "precision": precision,
        "too_large": [described(attempt) for attempt in too_large],
    }


def _memory_warning(failed: Attempt, following: Attempt) -> str:
    """Return the sentence about an attempt that was too large, and the next one."""
    noun = failed.pieces.noun
    pieces = f"{failed.batch} {noun}s at once" if failed.batch > 1 else f"one {noun} at a time"
    if following.device != failed.device:
        tried = f"the {following.device} is tried, which is slower, in full precision"
    elif following.pieces is not failed.pieces:
        tried = f"smaller {noun}s are tried"
    else:
        tried = f"{following.batch} at a time are tried"
    return f"The memory of {failed.device} did not suffice for {pieces}; {tried}."
