"""Blahut-Arimoto on samples: from a histogram to a point, and its records."""

from __future__ import annotations

from nc_core.rates import Measurement, RatePoint
from nc_rd_bounds.blahut_arimoto import Tell, Trajectory, blahut_arimoto_grid
from nc_rd_bounds.histogram import Histogram
from nc_rd_bounds.honesty import discretisation_note, limit_note

__all__ = ["METHOD", "measurements", "rate_point", "trace"]

METHOD = "blahut-arimoto"


def trace(
    histogram: Histogram,
    lamb: float,
    *,
    steps: int = 1000,
    tolerance: float = 1e-6,
    tell: Tell | None = None,
) -> Trajectory:
    """Blahut-Arimoto of a histogram, with all bins as reproductions; see the function of grids."""
    return blahut_arimoto_grid(
        histogram.centres,
        histogram.probabilities,
        lamb,
        steps=steps,
        tolerance=tolerance,
        tell=tell,
    )


def rate_point(
    histogram: Histogram,
    trajectory: Trajectory,
    *,
    dataset: str,
    seed: int,
    value_range: tuple[float, float] | None = None,
) -> RatePoint:
    """The last step as a point, an estimate: with what a reader must know about it.

    Args:
        histogram: of the samples.
        trajectory: of the histogram.
        dataset: full name of where the samples are from.
        seed: of the samples.
        value_range: smallest and largest value of the data.
    """
    last = trajectory.last
    count = round(histogram.counts.sum())
    bins, widths = len(histogram.edges[0]) - 1, ", ".join(f"{w:.4g}" for w in histogram.widths)
    notes = [
        f"of a histogram with {bins} bins an axis, of width {widths}; no bound for the source",
        None if trajectory.converged else f"still falling after {len(trajectory.steps)} steps",
        discretisation_note(last.distortion, histogram.bin_variance),
        limit_note(last.rate, count),
    ]
    return RatePoint(
        kind="estimate",
        method=METHOD,
        dims=len(histogram.edges),
        rate=last.rate,
        distortion=last.distortion,
        slope=trajectory.lamb,
        intercept=last.objective,
        value_range=value_range,
        n=count,
        dataset=dataset,
        seed=seed,
        notes=tuple(note for note in notes if note is not None),
    )


def measurements(histogram: Histogram, trajectory: Trajectory) -> list[Measurement]:
    """The numbers of one lambda, which comes first."""
    last = trajectory.last
    count = round(histogram.counts.sum())
    return [
        Measurement(name="lamb", value=trajectory.lamb, unit="nats per mse"),
        Measurement(name="rate", value=last.rate, unit="nats/vector", n=count),
        Measurement(name="distortion", value=last.distortion, unit="mse", n=count),
        Measurement(name="objective", value=last.objective, unit="nats/vector", n=count),
        Measurement(name="certified", value=last.certified, unit="nats/vector", n=count),
        Measurement(name="steps", value=len(trajectory.steps), unit="iterations"),
        *(
            Measurement(name=f"bin_width_{axis}", value=width, unit="as the data")
            for axis, width in enumerate(histogram.widths)
        ),
    ]
