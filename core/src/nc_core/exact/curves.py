"""Functions at evenly spaced points, in integer arithmetic: the same digits on every machine.

Values have ``BITS`` fractional bits and are correct to about 100 of them; tables keep 30 at
most. Exponentials come from one multiplication per point, logarithms from the sum of their
increments, cosines and sines from their series. First points and powers are computed with
:mod:`decimal`; nothing calls the machine's libm.
"""

from __future__ import annotations

from decimal import Decimal, localcontext
from fractions import Fraction
from functools import cache
from itertools import pairwise

__all__ = ["BITS", "cosine_sine", "exponential", "log_of_two", "logistic", "power", "rounded"]
__all__ += ["softplus"]

BITS = 128

_ONE = 1 << BITS
_DIGITS = 80
# The series of 2 artanh(d) stops before d ** 13 / 13, which is below 2 ** -120 for such d.
_LARGEST_STEP = Fraction(1, 128)


def exponential(start: Fraction, step: Fraction, count: int) -> list[int]:
    """exp(start + j * step) for j = 0 .. count - 1, with ``BITS`` fractional bits."""
    factor = _exp(step)
    values = [_exp(start)]
    for _ in range(count - 1):
        values.append(values[-1] * factor >> BITS)
    return values[:count]


def logistic(start: Fraction, step: Fraction, count: int) -> list[int]:
    """1 / (1 + exp(-x)) at x = start + j * step, with ``BITS`` fractional bits."""
    return [(_ONE << BITS) // (_ONE + value) for value in exponential(-start, -step, count)]


def softplus(start: Fraction, step: Fraction, count: int) -> list[int]:
    """log(1 + exp(x)) at x = start + j * step, with ``BITS`` fractional bits.

    The logarithm grows by log((1 + b) / (1 + a)) = 2 artanh((b - a) / (2 + a + b)) from one point
    to the next, a and b being the exponentials.

    Raises:
        ValueError: steps above 1/128, for which the series is too short.
    """
    if not 0 < step <= _LARGEST_STEP:
        raise ValueError(f"softplus takes steps up to {_LARGEST_STEP}, not {step}")
    powers = exponential(start, step, count)
    values = [_log1p(powers[0])]
    for low, high in pairwise(powers):
        ratio = ((high - low) << BITS) // (2 * _ONE + low + high)
        square = ratio * ratio >> BITS
        term, total = ratio, ratio
        for odd in (3, 5, 7, 9, 11):
            term = term * square >> BITS
            total += term // odd
        values.append(values[-1] + 2 * total)
    return values


def cosine_sine(angle: int) -> tuple[int, int]:
    """Cosine and sine of an angle in radians; all three have ``BITS`` fractional bits.

    Args:
        angle: any sign; each of its bits above the point costs a bit of precision.
    """
    quarter = _quarter_turn()
    quarters = (2 * angle + quarter) // (2 * quarter)
    rest = angle - quarters * quarter
    cosine, sine = _series(rest, _ONE, 1), _series(rest, rest, 2)
    return (
        (cosine, sine),
        (-sine, cosine),
        (-cosine, -sine),
        (sine, -cosine),
    )[quarters % 4]


def power(base: int, exponent: Fraction) -> int:
    """The power base ** exponent, with ``BITS`` fractional bits; the base is positive."""
    with localcontext() as context:
        context.prec = _DIGITS
        argument = Decimal(exponent.numerator) / Decimal(exponent.denominator)
        return int(((Decimal(base).ln() * argument).exp() * _ONE).to_integral_value())


def log_of_two() -> Fraction:
    """The natural logarithm of 2, to far more digits than the curves keep."""
    with localcontext() as context:
        context.prec = _DIGITS
        return Fraction(Decimal(2).ln())


def rounded(value: int, fraction_bits: int) -> int:
    """A value with ``BITS`` fractional bits, rounded half up to ``fraction_bits``."""
    drop = BITS - fraction_bits
    return (value + (1 << (drop - 1))) >> drop


def _exp(exponent: Fraction) -> int:
    with localcontext() as context:
        context.prec = _DIGITS
        argument = Decimal(exponent.numerator) / Decimal(exponent.denominator)
        return int((argument.exp() * _ONE).to_integral_value())


def _log1p(power: int) -> int:
    with localcontext() as context:
        context.prec = _DIGITS
        return int(((1 + Decimal(power) / _ONE).ln() * _ONE).to_integral_value())


def _series(angle: int, first: int, divisor: int) -> int:
    """The sum first - first * angle ** 2 / (divisor * (divisor + 1)) + ...: a cosine or a sine."""
    square = angle * angle >> BITS
    total, term = first, first
    # Angles are below pi / 4: after 17 terms nothing is left of 128 bits.
    for low in range(divisor, divisor + 34, 2):
        term = -(term * square >> BITS) // (low * (low + 1))
        total += term
    return total


@cache
def _quarter_turn() -> int:
    """Half of pi: 8 arctan(1/5) - 2 arctan(1/239), as Machin found."""
    guard = 32
    one = _ONE << guard
    return (8 * _arctangent(5, one) - 2 * _arctangent(239, one)) >> guard


def _arctangent(inverse: int, one: int) -> int:
    """The arctangent of 1 / inverse in units of 1 / one."""
    total, term, odd = 0, one // inverse, 1
    while term:
        total += term // odd if odd % 4 == 1 else -(term // odd)
        term, odd = term // (inverse * inverse), odd + 2
    return total
