"""Make the integer tables: ``python -m nc_core.ans.tables.generate FOLDER``.

Pure decimal arithmetic with far more digits than the tables keep, so every machine makes the
same files. They ship with the package; this program is how they came to be, and a test runs it.
"""

from __future__ import annotations

import sys
from decimal import Decimal, localcontext
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

__all__ = ["laplace", "normal", "octave", "sigmoid", "write_tables"]

_DIGITS = 60
_CELLS = 1536  # on each side of 0: arguments up to 24, in steps of 1 / 64
_CURVE_BITS = 34
_OCTAVE_BITS = 52
_PI = Decimal("3.14159265358979323846264338327950288419716939937510582097494459")


def _argument(cell: int) -> Decimal:
    return Decimal(cell) / 64


def _sigmoid(x: Decimal) -> Decimal:
    return 1 / (1 + (-x).exp())


def _laplace(x: Decimal) -> Decimal:
    return 1 - (-x).exp() / 2


def _normal(x: Decimal) -> Decimal:
    # Phi(x) = 1/2 + phi(x) (x + x^3/3 + x^5/(3*5) + ...): all terms are positive, none cancels.
    term = total = x
    odd = 1
    while term > total * Decimal(10) ** -_DIGITS:
        odd += 2
        term = term * x * x / odd
        total += term
    return Decimal("0.5") + total * (-x * x / 2).exp() / (2 * _PI).sqrt()


def _curve(upper_half: list[Decimal]) -> NDArray[np.int64]:
    """A distribution function from its values at 0, 1/64, .., 24, by symmetry."""
    one = 1 << _CURVE_BITS
    right = [int((value * one).to_integral_value()) for value in upper_half]
    right[-1] = one
    left = [one - value for value in reversed(right[1:])]
    return np.array([*left, *right, one], "<i8")


def sigmoid() -> NDArray[np.int64]:
    """1 / (1 + exp(-u)) with 34 fractional bits at u = -24, -24 + 1/64, .., 24 + 1/64.

    Exactly 0 at -24 and 1 from 24 on, so that nothing is lost outside. int64, (3074,).
    """
    with localcontext() as context:
        context.prec = _DIGITS
        return _curve([_sigmoid(_argument(cell)) for cell in range(_CELLS + 1)])


def laplace() -> NDArray[np.int64]:
    """1 - exp(-u) / 2 for u >= 0, and its mirror image; otherwise as :func:`sigmoid`."""
    with localcontext() as context:
        context.prec = _DIGITS
        return _curve([_laplace(_argument(cell)) for cell in range(_CELLS + 1)])


def normal() -> NDArray[np.int64]:
    """The distribution function of the standard normal; otherwise as :func:`sigmoid`."""
    with localcontext() as context:
        context.prec = _DIGITS
        # Beyond 8 the tail is below 1e-15 and rounds to nothing in 34 bits.
        last = 8 * 64
        values = [_normal(_argument(cell)) for cell in range(last + 1)]
        return _curve([*values, *[Decimal(1)] * (_CELLS - last)])


def octave() -> NDArray[np.int64]:
    """2 ** (52 + j / 1024) for j = 0 .. 1023, rounded. int64, (1024,)."""
    with localcontext() as context:
        context.prec = _DIGITS
        values = [Decimal(2) ** (_OCTAVE_BITS + Decimal(j) / 1024) for j in range(1024)]
        return np.array([int(value.to_integral_value()) for value in values], "<i8")


def write_tables(folder: Path) -> None:
    """Write ``sigmoid.npy``, ``normal.npy``, ``laplace.npy`` and ``octave.npy``."""
    for make in (sigmoid, normal, laplace, octave):
        np.save(folder / f"{make.__name__}.npy", make(), allow_pickle=False)


if __name__ == "__main__":
    write_tables(Path(sys.argv[1]))
