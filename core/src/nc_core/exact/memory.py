"""How kernels reach the elements of a tensor: by its address, at a tenth of an array's price.

Numba's cache of a kernel looks at the kernel's own file only: after a change here, touch these.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numba import types
from numba.extending import intrinsic, overload
from numba.np.numpy_support import carray
from torch import Tensor

__all__ = ["address", "floats"]


def address(dense: Tensor) -> int:
    """Where the elements of a tensor without gaps begin; the caller keeps the tensor meanwhile.

    Raises:
        TypeError: its elements are not in the CPU's memory, as float32, or a gradient is wanted.
    """
    start = dense.data_ptr()
    is_plain = dense.dtype is torch.float32 and dense.is_cpu and not dense.is_neg()
    if not is_plain or dense.requires_grad or (start == 0 and dense.numel()):
        raise TypeError(
            "kernels take float32 tensors in the CPU's memory, neither negated views nor with "
            f"gradients; this is {dense.type()}"
        )
    return start


def floats(start: Any, shape: Any) -> Any:
    """For kernels, compiled or not: the float32 array of a shape that begins at an address."""
    memory = (ctypes.c_float * int(np.prod(shape))).from_address(start)
    return np.ctypeslib.as_array(memory).reshape(shape)


@overload(floats)
def _compiled_floats(start: Any, shape: Any) -> Callable[[Any, Any], Any]:
    def implementation(start: Any, shape: Any) -> Any:
        return carray(_pointer(start), shape)

    return implementation


def _typed_pointer(_: Any, start: Any) -> Any:
    """What numba asks of an intrinsic: the address as a pointer to float32."""
    pointer = types.CPointer(types.float32)  # type: ignore[no-untyped-call]

    def generate(context: Any, builder: Any, _: Any, arguments: Any) -> Any:
        return builder.inttoptr(arguments[0], context.get_value_type(pointer))

    return pointer(start), generate


_pointer: Any = intrinsic(_typed_pointer)
