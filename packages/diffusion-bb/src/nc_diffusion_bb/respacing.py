"""Shorter chains out of a long one: which of its steps to take, and their betas.

Reference: Alex Nichol, Prafulla Dhariwal, "Improved Denoising Diffusion Probabilistic Models",
arXiv 2102.09672, section 4; ``vlbK`` comes from the bits-back project.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from nc_core.errors import UsageError

__all__ = ["chosen_steps", "kept_betas", "network_times", "respaced_betas"]

_LONGEST_TIME = 1000.0

_FORMS = "a spacing is vlbK, ddimK or whole numbers joined by commas, such as vlb100 or 10,15,20"


def chosen_steps(steps: int, spacing: str | Sequence[int] | None) -> tuple[int, ...]:
    """Which steps of a chain make a shorter one.

    - empty or None: all of them.
    - numbers c_1, c_2, ..., as a sequence or joined by commas: the chain is cut into as many
      sections of equal length, and c_j steps are spread evenly over section j.
    - ``ddimK``: K steps with a whole-numbered stride, from 0 on.
    - ``vlbK``: with d = steps // K, the first d steps and K - d more, spread evenly over the chain;
      most of the bits are spent in the first ones.

    Args:
        steps: of the full chain.
        spacing: as above.

    Returns:
        indices of steps of the full chain, ascending.

    Raises:
        UsageError: the spacing has no such form, or the chain no such steps.
    """
    if not spacing:
        return tuple(range(steps))
    if not isinstance(spacing, str):
        return _sections(steps, spacing)
    if spacing.startswith("ddim"):
        return _strided(steps, _whole(spacing.removeprefix("ddim"), spacing))
    if spacing.startswith("vlb"):
        return _dense_at_start(steps, _whole(spacing.removeprefix("vlb"), spacing))
    return _sections(steps, [_whole(part, spacing) for part in spacing.split(",")])


def respaced_betas(betas: NDArray[np.float64], chosen: Sequence[int]) -> NDArray[np.float64]:
    """Betas of the chain of chosen steps, each noised as much as in the full chain.

    Args:
        betas: of the full chain.
        chosen: indices of its steps, ascending.
    """
    products = np.asarray(np.cumprod(1 - betas), np.float64)
    return kept_betas(products, chosen)


def kept_betas(alphas_cumprod: NDArray[np.float64], chosen: Sequence[int]) -> NDArray[np.float64]:
    """As :func:`respaced_betas`, from the products of 1 - beta of the full chain."""
    kept = alphas_cumprod[list(chosen)]
    before = np.concatenate([[1.0], kept[:-1]])
    result: NDArray[np.float64] = 1 - kept / before
    return result


def network_times(chosen: Sequence[int], steps: int, *, rescale: bool) -> NDArray[np.float32]:
    """What a network is told of each chosen step: its index in the full chain, or out of 1000.

    Args:
        chosen: indices of steps of the full chain.
        steps: of the full chain.
        rescale: whether the full chain counts as 1000 steps.
    """
    # The product is float32's, as published networks saw it.
    factor = np.float32(_LONGEST_TIME / steps if rescale else 1.0)
    return np.array(chosen, np.float32) * factor


def _whole(text: str, spacing: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise UsageError(f"no spacing '{spacing}'", _FORMS) from None


def _sections(steps: int, counts: Sequence[int]) -> tuple[int, ...]:
    least, longer = divmod(steps, len(counts))
    chosen: list[int] = []
    start = 0
    for number, count in enumerate(counts):
        size = least + (number < longer)
        chosen += (start + step for step in _spread(size, count))
        start += size
    if not chosen:
        raise UsageError("a spacing must take at least one step", _FORMS)
    return tuple(chosen)


def _spread(size: int, count: int) -> Iterator[int]:
    if count < 0:
        raise UsageError(f"a section cannot have {count} steps", _FORMS)
    if count > size:
        raise UsageError(
            f"cannot divide section of {size} steps into {count}", "ask for fewer steps"
        )
    stride = (size - 1) / (count - 1) if count > 1 else 1.0
    position = 0.0
    for _ in range(count):
        yield round(position)
        position += stride  # as published: rounding errors add up


def _strided(steps: int, count: int) -> tuple[int, ...]:
    for stride in range(1, steps):
        if len(range(0, steps, stride)) == count:
            return tuple(range(0, steps, stride))
    raise UsageError(
        f"cannot create exactly {count} of {steps} steps with an integer stride",
        f"take '{count}', which rounds" if 0 < count <= steps else _FORMS,
    )


def _dense_at_start(steps: int, count: int) -> tuple[int, ...]:
    dense = steps // count if count > 0 else steps
    if dense >= count:
        least = next(number for number in range(1, steps + 2) if steps // number < number)
        raise UsageError(
            f"spacing vlb{count} has too few of {steps} steps", f"take vlb{least} or more"
        )
    spread = _spread(steps, count - dense + 1)
    return tuple(sorted({*range(dense), *spread}))
