"""Helpers that let one implementation of a formula serve numpy arrays and torch tensors."""

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
    """Return the module to compute with (numpy or torch) and ``values`` as arrays of one dtype.

    The dtype is the common one of the arrays; scalars do not influence it, and are float64 when
    there are only scalars. Half precision becomes float32; integers become the default float
    of numpy or torch. Data are copied only where the dtype changes. torch is not imported here:
    if there is a tensor, it has been imported already.
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
