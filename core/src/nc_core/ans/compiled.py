"""Compilation of kernels: at the first call, kept on disk, and never a crash for want of a disk.

A module of kernels imports numba, so it is itself imported only where a kernel is about to run.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar, cast

import numba

__all__ = ["Kernel", "kernel", "primitive"]

_Function = TypeVar("_Function", bound=Callable[..., Any])

# No fastmath: kernels are integer arithmetic, and their results are part of the file format.
# The numpy error model drops the test for a zero divisor; kernels test frequencies themselves.
# Nobody calls a kernel from C, nor a primitive from Python: without the code for that a first
# photograph waits a seventh less.
_compile: Callable[..., Any] = partial(
    numba.njit, nogil=True, error_model="numpy", no_cfunc_wrapper=True
)

# What reading a damaged cache, or writing where one may not, is known to raise.
_CACHE_TROUBLE = (
    OSError,
    RuntimeError,
    EOFError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    ImportError,
    pickle.PickleError,
)


class Kernel:
    """A function of one signature that is compiled when it is first called.

    The machine code is kept in numba's cache. Where that cannot be written or read, the
    function is compiled in memory, once per process.

    Args:
        function: what to compile.
        signature: a numba signature of fixed dtypes; arrays are C-contiguous.
    """

    def __init__(self, function: Callable[..., Any], signature: Any) -> None:
        self.function = function
        self.signature = signature
        self._compiled: Callable[..., Any] | None = None

    def __call__(self, *arguments: Any) -> Any:
        """Call the machine code, after making it or reading it from the cache if need be."""
        if self._compiled is None:
            self._compiled = self._compile()
        return self._compiled(*arguments)

    def _compile(self) -> Callable[..., Any]:
        try:
            compiled = _compile(self.signature, cache=True)(self.function)
        except _CACHE_TROUBLE:
            compiled = _compile(self.signature)(self.function)
        return cast(Callable[..., Any], compiled)


def kernel(signature: Any) -> Callable[[Callable[..., Any]], Kernel]:
    """Decorate a function that Python calls."""
    return lambda function: Kernel(function, signature)


def primitive(function: _Function) -> _Function:
    """Decorate a small function that only kernels call; it becomes part of their machine code."""
    return cast(_Function, _compile(forceinline=True, no_cpython_wrapper=True)(function))
