"""Float32 products and sums that are exact, and a check that this machine computes them so.

A sum of integers below 2 ** 24 is exact in float32 in any order, but not by every algorithm:
transforms (Winograd, FFT) go through numbers that are no integers, and "float32" may mean TF32 or
bfloat16 inside. On the CPU, NNPACK is such a case: PyTorch takes it for batches of 16 where oneDNN
is off, and its sums were measured up to 40 away from the truth, which no rounding repairs. So
the direct algorithms are asked for, and a probe shows whether they are what runs.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from functools import cache
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.nn import functional

from nc_core.errors import WorkError
from nc_core.exact.grid import FLOAT32_LIMIT

__all__ = ["exact_float32", "exactly", "largest_error", "require_exact"]

_Result = TypeVar("_Result")
_Undo = list[Callable[[], object]]


class _Switches:
    """What PyTorch is told on one kind of device, while at least one thread computes exactly.

    These settings are the process's own: the first thread in turns them, the last one out turns
    them back. Turned, they only keep other work from fast algorithms that are inexact.
    """

    def __init__(self, turn: Callable[[], _Undo]) -> None:
        self._turn = turn
        self._lock = threading.Lock()
        self._users = 0
        self._undo: _Undo = []

    def enter(self) -> None:
        with self._lock:
            if self._users == 0:
                self._undo = self._turn()
            self._users += 1

    def leave(self) -> None:
        with self._lock:
            self._users -= 1
            if self._users == 0:
                for undo in self._undo:
                    undo()


# Versions before 2.9 have no such settings for oneDNN, and use float32.
_ONEDNN = [
    getattr(torch.backends.mkldnn, operation)
    for operation in ("conv", "matmul")
    if hasattr(torch.backends.mkldnn, operation)
]


def _turn_cpu() -> _Undo:
    undo: _Undo = []
    set_nnpack: Callable[[bool], tuple[bool]] = torch.backends.nnpack.set_flags
    if set_nnpack(False)[0]:
        undo.append(lambda: set_nnpack(True))
    for owner in _ONEDNN:
        if owner.fp32_precision not in ("none", "ieee"):
            undo.append(_set(owner, "fp32_precision", "ieee"))
    return undo


def _turn_cuda() -> _Undo:
    # cuDNN chooses among its algorithms by itself; PyTorch's own convolution is a product.
    undo = [_set(torch.backends.cudnn, "enabled", False)]
    product = torch.backends.cuda.matmul
    if hasattr(product, "fp32_precision"):
        undo.append(_set(product, "fp32_precision", "ieee"))
    else:
        undo.append(_set(product, "allow_tf32", False))
    return undo


def _set(owner: Any, name: str, value: Any) -> Callable[[], object]:
    before = getattr(owner, name)
    setattr(owner, name, value)
    return lambda: setattr(owner, name, before)


_SWITCHES = {"cpu": _Switches(_turn_cpu), "cuda": _Switches(_turn_cuda)}


class _Inside(threading.local):
    """The kinds of devices for which this thread is inside, one for each time that it entered."""

    def __init__(self) -> None:
        self.kinds: list[str] = []


_inside = _Inside()


class exact_float32:
    """While this lasts, float32 convolutions and products on a device use direct algorithms.

    Layers enter it by themselves; around a whole network it saves them some microseconds each.

    Args:
        device: where the operands are.

    Raises:
        WorkError: a device on which exactness has not been established.
    """

    def __init__(self, device: torch.device) -> None:
        self._kind = device.type
        switches = _SWITCHES.get(self._kind)
        if switches is None:
            raise WorkError(
                f"exact arithmetic is not established on '{device.type}'",
                f"use one of: {', '.join(_SWITCHES)}",
            )
        self._switches = switches
        self._autocast: Any = None
        if torch.is_autocast_enabled(self._kind):
            self._autocast = torch.autocast(self._kind, enabled=False)

    def __enter__(self) -> None:
        self._switches.enter()
        self._entered = _inside.kinds
        self._entered.append(self._kind)
        if self._autocast is not None:
            self._autocast.__enter__()

    def __exit__(self, *error: object) -> None:
        if self._autocast is not None:
            self._autocast.__exit__(*error)
        self._entered.remove(self._kind)
        self._switches.leave()


def exactly(device: torch.device, function: Callable[..., _Result], *arguments: Any) -> _Result:
    """Call a function within :class:`exact_float32`, at little cost where this thread is inside."""
    kind = device.type
    if kind in _inside.kinds and not torch.is_autocast_enabled(kind):
        return function(*arguments)
    with exact_float32(device):
        return function(*arguments)


@cache
def require_exact(device: torch.device) -> None:
    """Check once for each device that its float32 sums are exact where they should be.

    Raises:
        WorkError: they are not: some setting of the environment (as ``ONEDNN_DEFAULT_FPMATH_MODE``)
            makes the libraries compute with fewer bits.
    """
    with exact_float32(device):
        error = largest_error(device)
    if error:
        raise WorkError(
            f"float32 arithmetic on '{device}' is off by {error:g} where it should be exact",
            "unset environment variables that allow bfloat16 or TF32, such as "
            "ONEDNN_DEFAULT_FPMATH_MODE",
        )


def largest_error(device: torch.device) -> float:
    """Largest difference between float32 and exact sums near 2 ** 24, under the settings as are.

    Convolutions of 1, 3 and 5 taps on a batch of 16 and of 1, and a product, with inputs and
    weights that use all bits which a layer may use.
    """
    errors = []
    for channels, taps in ((48, 1), (12, 3), (12, 5)):
        sources = channels * taps * taps
        largest_weight = (FLOAT32_LIMIT - 1) // (_PROBE_INPUT * sources)
        # Odd numbers spread over the range: they have a last bit to lose.
        inputs = _spread((16, channels, 8, 8), _PROBE_INPUT, device)
        weights = _spread((channels, channels, taps, taps), largest_weight, device)
        for batch in (inputs, inputs[:1]):
            errors.append(_error(_convolution(taps), batch, weights))
        errors.append(_error(functional.linear, inputs[:, :, 0, 0], weights[:, :, 0, 0]))
    return max(errors)


_PROBE_INPUT = 2047


def _convolution(taps: int) -> Callable[[Tensor, Tensor], Tensor]:
    return lambda inputs, weights: functional.conv2d(inputs, weights, padding=taps // 2)


def _error(operation: Callable[[Tensor, Tensor], Tensor], inputs: Tensor, weights: Tensor) -> float:
    exact = operation(inputs.double(), weights.double())
    return float((operation(inputs, weights).double() - exact).abs().max())


def _spread(shape: tuple[int, ...], limit: int, device: torch.device) -> Tensor:
    """Integers from -limit to limit in an order without pattern, the same on every machine."""
    count = math.prod(shape)
    # A linear congruence with a prime modulus; 48271 is the "minimal standard" multiplier.
    values = torch.arange(1, count + 1, dtype=torch.int64) * 48271 % 2147483647 % (2 * limit + 1)
    return (values - limit).to(device, torch.float32).view(shape)
