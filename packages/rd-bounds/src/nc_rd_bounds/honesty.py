"""What a reader of a number must know about it: the notes that results carry, in one place."""

from __future__ import annotations

import math

__all__ = [
    "ESTIMATED_ENTROPY",
    "GAUSSIAN_ENVELOPE",
    "INDEPENDENT_ENVELOPE",
    "NOTHING_SAID",
    "discretisation_note",
    "held_out_note",
    "limit_note",
    "same_data_note",
]

_NEAR = 0.9

ESTIMATED_ENTROPY = (
    "rests on an entropy estimated from samples (nearest neighbours): an estimate, not a bound, "
    "and too high where samples lie near a curved surface of fewer dimensions"
)
GAUSSIAN_ENVELOPE = (
    "what a Gaussian of the same covariance needs, estimated from samples: no source of that "
    "covariance needs more"
)
INDEPENDENT_ENVELOPE = (
    "what independent Gaussians of the same variances need, estimated from samples: no source of "
    "those variances needs more"
)
NOTHING_SAID = "a line that begins below 0 says nothing: no rate is negative"


def limit_note(rate_nats: float, count: int | None) -> str | None:
    """Warn of a rate that is near the most that a finite set of samples can show.

    N samples are themselves a source, of at most ln N nats per sample; a bound near that says
    something about those samples, and nothing about the population that they are from.

    Args:
        rate_nats: rate, or intercept of a line, in nats per vector.
        count: number of samples that it was evaluated on; None for a sampler without end.

    Returns:
        one line where the rate is above 90 % of ln N; None otherwise.
    """
    if count is None or count < 1 or not rate_nats > 0:
        return None
    limit = math.log(count)
    if rate_nats < _NEAR * limit:
        return None
    return (
        f"{rate_nats:.4g} nats is near or above ln({count:,}) = {limit:.4g} nats, the most that "
        f"{count:,} samples can show: it may say nothing about the population"
    )


def same_data_note(training: str) -> str:
    """Warn of samples that were both fitted and evaluated."""
    return f"fitted and evaluated on the same samples ({training}): it may be too good"


def held_out_note(evaluation: str, count: int) -> str:
    """Say that rows of the training data were held out, since there are no others."""
    return f"evaluated on {count:,} rows held out of the data: {evaluation}"


def discretisation_note(distortion: float, bin_variance: float) -> str | None:
    """Warn of a point whose distortion is below the error of its grid.

    Args:
        distortion: mean squared error.
        bin_variance: mean over dimensions of (bin width)^2 / 12, in the same unit.
    """
    if distortion >= bin_variance:
        return None
    return (
        f"distortion {distortion:.3g} is below {bin_variance:.3g}, the error of the grid itself: "
        "the point describes the histogram, not the source"
    )
