"""Running a network over the pieces of a volume, with less memory when it does not suffice.

The memory ladder: as many pieces per batch as an estimate allows, then half as many, down to one,
then smaller pieces where the network allows them, then the CPU. Each attempt starts again with the
first piece, so that a result is computed in one precision throughout.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
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

Found = TypeVar("Found")
LARGEST_BATCH = 32
# A few slices occupy all cores of a CPU; the free memory of an Apple GPU is not known.
BATCH_WITHOUT_ESTIMATE = 4

LAYOUTS = {4: "channels_last", 5: "channels_last_3d"}
"""Memory layout in torch by the number of axes of a weight."""

# Fraction of the free GPU memory that a batch may take: fragmentation costs some.
USED_SHARE = 0.7

# The first NVIDIA generation with bfloat16 in hardware; older ones emulate it slowly.
BFLOAT16_CAPABILITY = (8, 0)

SLICES = Slices(lambda which: np.zeros((0, 1, 1, 1), np.float32), 0)
"""Stands for the pieces in the messages and records of a solver, which cuts slices itself."""

TOO_LITTLE_MEMORY = (
    "There is not enough memory for one piece of the volume at a time, not even on the CPU. Close "
    "other programs, choose a tighter mask (--in mask=FILE), to which the volume is cropped, or "
    "use a computer with more memory."
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
    """A device, a batch size and the pieces with which a run is attempted."""

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
    """Return the outputs of the network over all pieces, as ``pieces.restore`` assembles them.

    The network maps (b, channels, ...) to a dictionary of outputs (b, channels, ...). On CUDA it
    computes in half precision, elsewhere in float32; outputs are float32. ``record["memory"]``
    holds the device, the batch, the precision and, as ``too_large``, the attempts for which memory
    did not suffice; for each of these ``warn`` gets a message. Mode and device of the network are
    restored at the end.

    Raises RequestError when memory does not suffice for one piece on the CPU, and any exception of
    ``progress``, such as Cancelled.
    """
    home = next((tensor.device for tensor in network.state_dict().values()), "cpu")
    modes = {module: module.training for module in network.modules()}
    try:
        network.eval()
        return _first_attempt_that_fits(
            _attempts(network, pieces, device),
            lambda attempt: _run_all(network, attempt, progress),
            precision=_precision,
            warn=warn,
            record=record,
        )
    finally:
        network.to(home)
        for module, training in modes.items():
            module.training = training


def first_that_fits(
    compute: Callable[[str, int], Found],
    batch: int,
    *,
    device: str,
    warn: Callable[[str], None],
    record: dict[str, Any],
) -> Found:
    """Return ``compute(device, batch)`` for the first attempt for which memory suffices.

    The first attempt has ``batch`` slices at once on ``device``; the batch is halved down to one,
    then the CPU is used. Records, warnings and errors are those of :func:`run_pieces`.
    """
    return _first_attempt_that_fits(
        (
            Attempt(where, size, SLICES)
            for where in dict.fromkeys((device, "cpu"))
            for size in _halved(batch)
        ),
        lambda attempt: compute(attempt.device, attempt.batch),
        precision=lambda device: "float32",
        warn=warn,
        record=record,
    )


def _first_attempt_that_fits(
    attempts: Iterable[Attempt],
    compute: Callable[[Attempt], Found],
    *,
    precision: Callable[[str], str],
    warn: Callable[[str], None],
    record: dict[str, Any],
) -> Found:
    """Return what the first attempt computes for which memory suffices, and record it.

    ``precision`` names that of a device. Raises RequestError when memory suffices for none.
    """
    too_large: list[Attempt] = []
    for attempt in attempts:
        if too_large:
            warn(_memory_warning(too_large[-1], attempt))
        found = unless_out_of_memory(attempt.device, partial(compute, attempt))
        if found is not None:
            record["memory"] = _memory_record(attempt, too_large, precision(attempt.device))
            return found
        too_large.append(attempt)
    raise RequestError(TOO_LITTLE_MEMORY)


def _halved(batch: int) -> Iterator[int]:
    while batch:
        yield batch
        batch //= 2


def _attempts(network: Module, pieces: Pieces, device: str) -> Iterator[Attempt]:
    """Yield the attempts, from the fastest to the one that needs the least memory."""
    for where in dict.fromkeys((device, "cpu")):
        tried: Pieces | None = pieces
        while tried is not None:
            # Where memory did not suffice for the estimate, the attempt with one piece follows.
            estimated = unless_out_of_memory(where, partial(_estimate, network, tried, where))
            for batch in _halved(min(estimated or 1, tried.count)):
                yield Attempt(where, batch, tried)
            tried = tried.smaller()


def _estimate(network: Module, pieces: Pieces, device: str) -> int:
    """Return how many pieces fit into memory at once, on CUDA measured with the first one."""
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

    def outputs() -> Iterator[tuple[slice, dict[str, FloatArray]]]:
        placed = False
        for first in range(0, pieces.count, attempt.batch):
            which = slice(first, min(first + attempt.batch, pieces.count))
            progress(
                first / pieces.count, f"{plural} {first + 1} to {which.stop} of {pieces.count}"
            )
            batch = pieces.piece(which)
            if not placed:
                network.to(device, memory_format=getattr(torch, _layout_of(network)))
                placed = True
            yield which, _predict(network, batch, device)

    return pieces.restore(outputs())


def _layout_of(network: Module) -> str:
    """Return the layout of a network's weights: convolutions are faster with the channels last.

    Weights decide, not the batch: a network may take a volume slice by slice.
    """
    axes = {weight.ndim for weight in network.parameters()} & LAYOUTS.keys()
    return LAYOUTS[axes.pop()] if len(axes) == 1 else "contiguous_format"


def _predict(network: Module, batch: FloatArray, device: str) -> dict[str, FloatArray]:
    """Return the outputs (b, channels, ...) of one batch."""
    import torch

    precision = _precision(device)
    half = (
        nullcontext()
        if precision == "float32"
        else torch.autocast("cuda", dtype=getattr(torch, precision))
    )
    # A copy: the pieces may be a read-only or flipped view, which torch does not accept.
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


def unless_out_of_memory(device: str, compute: Callable[[], Found]) -> Found | None:
    """Return what ``compute`` returns, or None when memory did not suffice."""
    try:
        return compute()
    except (MemoryError, RuntimeError) as error:
        if not _is_out_of_memory(error):
            raise
    # Outside of the handler: the error's traceback keeps the tensors of the batch alive.
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
    """Return what the provenance records of the attempt that succeeded and those that did not."""

    def described(attempt: Attempt) -> dict[str, Any]:
        box = {"tile": list(attempt.pieces.box)} if isinstance(attempt.pieces, Tiles) else {}
        return {"device": attempt.device, "batch": attempt.batch, **box}

    return {
        **described(taken),
        "precision": precision,
        "too_large": [described(attempt) for attempt in too_large],
    }


def _memory_warning(failed: Attempt, following: Attempt) -> str:
    """Return the warning that an attempt failed for lack of memory, and what is tried next."""
    noun = failed.pieces.noun
    pieces = f"{failed.batch} {noun}s at once" if failed.batch > 1 else f"one {noun} at a time"
    if following.device != failed.device:
        tried = f"trying the {following.device}, which is slower, in full precision"
    elif following.pieces is not failed.pieces:
        tried = f"trying smaller {noun}s"
    else:
        tried = f"trying {following.batch} at a time"
    return f"The memory of {failed.device} did not suffice for {pieces}; {tried}."
