"""One text of each formula for numpy and torch."""

from __future__ import annotations

import sys
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Values: TypeAlias = Any
"""A Python float, a numpy array or a torch tensor."""

Float64Array: TypeAlias = NDArray[np.float64]
"""Double precision; images are ``volumes.FloatArray``, in single precision."""


def common_arrays(*values: Values) -> tuple[Any, list[Any]]:
    """Return the namespace (numpy or torch) of ``values`` and the values as arrays of one dtype.

    That dtype is the one the arrays share: single numbers, numpy's among them, have no say in
    it and become float64 when nothing else is there. Half precision becomes float32, and
    integers the default float of their namespace. Nothing is copied that need not be. A tensor
    can only exist where torch is loaded already, so that torch is never imported here.
    """
    torch = sys.modules.get("torch")
    tensors = [v for v in values if torch is not None and isinstance(v, torch.Tensor)]
    if torch is not None and tensors:
        dtype = torch.float32
        for tensor in tensors:
            dtype = torch.promote_types(dtype, torch.result_type(tensor, 1.0))
        device = tensors[0].device
        return torch, [torch.as_tensor(v, dtype=dtype, device=device) for v in values]
    numbers = [float(v) if isinstance(v, np.number) else v for v in values]
    dtype = np.promote_types(np.result_type(*numbers, 1.0), np.float32)
    return np, [np.asarray(v, dtype=dtype) for v in numbers]
