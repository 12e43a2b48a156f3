"""Evaluation of the lower bound: independent samples of xi, and confidence intervals over them.

The maximum is looked for from every sample. Half of the minibatches decide alpha, the other half
give one sample of xi each; sums over them are in float64.

Reference:
    Y. Yang, S. Mandt, "Towards Empirical Sandwich Bounds on the Rate-Distortion Function",
    arXiv 2111.12166, section 4.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from nc_core.errors import UsageError, WorkError
from nc_core.files import atomic_write
from nc_core.rates import RatePoint
from nc_rd_bounds.honesty import limit_note
from nc_rd_bounds.lower.bound import log_mean_exp, xi_samples
from nc_rd_bounds.lower.climb import Search, maximise
from nc_rd_bounds.lower.data import independent_indices
from nc_rd_bounds.lower.release import TrainedMultiplier
from nc_rd_bounds.rows import flat_rows
from nc_rd_bounds.sources.vectors import Source

__all__ = [
    "Interval",
    "Samples",
    "evaluate",
    "file_name",
    "interval_of",
    "lower_line",
    "pooled",
    "warnings_of",
]

METHOD = "csiszar-dual"
_NEAR = 0.9  # of ln k


@dataclass(frozen=True, eq=False)
class Samples:
    """What 2 M minibatches gave.

    Args:
        lamb: lambda, in nats per vector and unit of mean squared error.
        k: samples of each minibatch.
        log_u_means: mean of log u over each minibatch, float64, (2 M,).
        log_maxima: ``log C_k`` of each, float64, (2 M,).
        power: that u was raised to.
    """

    lamb: float
    k: int
    log_u_means: NDArray[np.float64]
    log_maxima: NDArray[np.float64]
    power: float = 1.0

    @property
    def half(self) -> int:
        """M, the number of samples of xi."""
        return len(self.log_maxima) // 2

    @property
    def log_alpha(self) -> float:
        """Of the first half."""
        return log_mean_exp(self.log_maxima[: self.half])

    @property
    def xi(self) -> NDArray[np.float64]:
        """Of the second half, (M,), in nats."""
        means, maxima = self.log_u_means[self.half :], self.log_maxima[self.half :]
        return xi_samples(means, maxima, self.log_alpha)

    @property
    def intercept(self) -> float:
        """The bound: the mean of xi, in nats."""
        return float(self.xi.mean())

    def save(self, path: Path) -> None:
        """Write the five arrays of the original's files, as a ``.npz``; ``power`` if it is not 1.

        Raises:
            DataError: it cannot be written.
        """
        power: dict[str, Any] = {} if self.power == 1 else {"power": np.float64(self.power)}
        with atomic_write(path) as file:
            np.savez(
                file,
                E_log_us=self.log_u_means,
                log_Ck_samples=self.log_maxima,
                xi_samples=self.xi,
                log_alpha=np.float64(self.log_alpha),
                R_=np.float64(self.intercept),
                **power,
            )


@dataclass(frozen=True)
class Interval:
    """What samples of xi say of their expectation, by Student's t distribution.

    Args:
        mean: the estimate.
        standard_error: of it; None for a single sample, as all that follows.
        two_sided: limits between which it lies.
        at_least: limit that it is above of, on its own.
        confidence: of both.
    """

    mean: float
    standard_error: float | None
    two_sided: tuple[float, float] | None
    at_least: float | None
    confidence: float


def evaluate(
    model: TrainedMultiplier,
    source: Source,
    *,
    k: int,
    minibatches: int,
    seed: int = 0,
    search: Search | None = None,
    power: float = 1.0,
    device: str = "cpu",
    tell: Callable[[float], object] | None = None,
) -> Samples:
    """Draw 2 M minibatches and maximise over y for each, exhaustively.

    Args:
        model: the network, and its lambda.
        source: to evaluate on.
        k: samples of a minibatch.
        minibatches: M.
        seed: of the order of a finite source.
        search: how to climb; always from every sample. Its step is in units of the data's
            deviation if the network standardises them.
        power: to raise u to, chosen without the samples of this evaluation.
        device: of torch.
        tell: called with 1 after each minibatch.

    Raises:
        DataError: samples that cannot be read.
        UsageError: samples of another size than the network takes, or fewer than two minibatches.
        WorkError: values that are not finite.
    """
    _check_fits(model, source, k)
    search = (search or Search()).exhaustive().scaled(model.unit)
    network = model.network.to(device)
    indices = independent_indices(source.length, 2 * minibatches * k, seed)
    means, maxima = [], []
    for batch in indices.reshape(2 * minibatches, k):
        x = flat_rows(source, batch).to(device)
        with torch.no_grad():
            log_u = power * network(x)
        maxima.append(maximise(x, log_u, model.lamb, search).value)
        means.append(float(log_u.double().mean()))
        if tell is not None:
            tell(1)
    samples = Samples(model.lamb, k, np.array(means), np.array(maxima), power)
    if not np.isfinite(samples.xi).all():
        raise WorkError(
            f"{model.file.name}: its bound is not finite: training diverged",
            "train again with a lower learning rate",
        )
    return samples


def pooled(samples: Sequence[Samples]) -> Samples:
    """Several evaluations of one lambda, as of several seeds, in this order as one.

    The first half of all minibatches together decides alpha.

    Raises:
        ValueError: of several lambdas, sizes of minibatches or powers of u.
    """
    if len({(one.lamb, one.k, one.power) for one in samples}) != 1:
        raise ValueError("samples of one lambda, one size of minibatch and one u belong together")
    return Samples(
        samples[0].lamb,
        samples[0].k,
        np.concatenate([one.log_u_means for one in samples]),
        np.concatenate([one.log_maxima for one in samples]),
        samples[0].power,
    )


def interval_of(xi: NDArray[np.float64], confidence: float = 0.95) -> Interval:
    """The mean of independent samples, and where their expectation lies.

    Args:
        xi: samples, (M,).
        confidence: of each interval, between 0 and 1.
    """
    mean, count = float(np.mean(xi)), len(xi)
    if count < 2:
        return Interval(mean, None, None, None, confidence)
    from scipy.special import stdtrit

    error = float(np.std(xi, ddof=1)) / math.sqrt(count)
    both, one = (
        error * float(stdtrit(count - 1, level)) for level in ((1 + confidence) / 2, confidence)
    )
    return Interval(mean, error, (mean - both, mean + both), mean - one, confidence)


def lower_line(
    samples: Samples,
    source: Source,
    *,
    seeds: Sequence[int] = (0,),
    notes: Sequence[str] = (),
    confidence: float = 0.95,
) -> RatePoint:
    """The line ``R(D) >= intercept - lambda D``, in nats per vector and mean squared error.

    Args:
        samples: of one lambda; those of several seeds are pooled first.
        source: that they were drawn from.
        seeds: of the samples.
        notes: to add to those that follow from the numbers.
        confidence: of the intervals.
    """
    interval = interval_of(samples.xi, confidence)
    drawn = samples.k * len(samples.log_maxima)
    return RatePoint(
        kind="lower",
        method=METHOD,
        dims=source.dims,
        slope=samples.lamb,
        intercept=interval.mean,
        intercept_error=interval.standard_error,
        interval=interval.two_sided,
        confidence=None if interval.two_sided is None else confidence,
        value_range=source.value_range,
        n=drawn if source.length is None else min(drawn, source.length),
        dataset=source.name,
        seed=seeds[0] if len(seeds) == 1 else None,
        notes=(*_facts(samples, interval, seeds), *warnings_of(samples, source), *notes),
    )


def file_name(samples: Samples, seed: int) -> str:
    """Name of the arrays' file, as the original has it; a power of u that is not 1 is told."""
    power = "" if samples.power == 1 else f"-power={samples.power:.3f}"
    return (
        f"rd-seed={seed}-k={samples.k}-M={samples.half}-lamb={samples.lamb:.5g}{power}"
        f"-R_={samples.intercept:.3f}.npz"
    )


def _check_fits(model: TrainedMultiplier, source: Source, k: int) -> None:
    architecture = model.architecture
    dims = architecture.get("dims") or math.prod(architecture.get("image", ()))
    if dims != source.dims:
        raise UsageError(
            f"{source.name}: samples of {source.dims} numbers; the network takes {dims}",
            "evaluate on data of the kind that it was trained on",
        )
    if source.length is not None and source.length < 2 * k:
        raise UsageError(
            f"{source.name}: {source.length:,} samples are no two minibatches of {k:,}",
            f"-k {max(1, source.length // 2)}",
        )


def warnings_of(samples: Samples, source: Source) -> tuple[str, ...]:
    """What a reader must know before using the number, a line each."""
    found = []
    if samples.intercept <= 0:
        found.append(f"lambda {samples.lamb:.5g}: an intercept below 0 says nothing")
    drawn = samples.k * len(samples.log_maxima)
    if source.length is not None and drawn > source.length:
        found.append(
            f"{drawn:,} samples were drawn of {source.length:,}: minibatches share samples, and "
            "the interval is too narrow"
        )
    most = math.log(samples.k)
    if samples.intercept > max(0.0, _NEAR * most):
        found.append(
            f"lambda {samples.lamb:.5g}: {samples.intercept:.4g} nats is near ln({samples.k:,}) = "
            f"{most:.4g}, the most that minibatches of {samples.k:,} can show: limited by k: "
            "raise -k"
        )
    limit = limit_note(samples.intercept, source.length)
    return tuple(found if limit is None else [*found, limit])


def _facts(samples: Samples, interval: Interval, seeds: Sequence[int]) -> list[str]:
    """What the number rests on."""
    facts = [f"{samples.half} samples of xi, of minibatches of {samples.k:,}, exhaustive search"]
    if samples.power != 1:
        facts.append(f"u to the power {samples.power:.3f}, chosen on training data")
    if interval.at_least is not None:
        facts.append(
            f"one-sided {100 * interval.confidence:g} % interval: at least "
            f"{interval.at_least:.5g} nats"
        )
    return facts if len(seeds) == 1 else [*facts, f"seeds {', '.join(map(str, seeds))}"]
