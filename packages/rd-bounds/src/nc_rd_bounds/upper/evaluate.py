"""Points of a trained model: rate, distortion and objective, with standard errors over vectors.

``beta-vae`` and ``ntc`` are what is trained, at drawn latents; for nonlinear transform coding
``ntc-rounded`` (to integers) and ``ntc-rounded-median`` (to integers plus the prior's medians)
are at rounded latents, and ``ntc-file`` is an actual file, decoded again.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nc_core.errors import UsageError, WorkError
from nc_core.model_file import ModelFile
from nc_core.rates import Measurement, PointKind, RatePoint
from nc_core.training import seeded
from nc_rd_bounds.honesty import limit_note
from nc_rd_bounds.rows import flat_rows
from nc_rd_bounds.sources.vectors import Source, chosen_rows
from nc_rd_bounds.upper.codec import NtcCodec
from nc_rd_bounds.upper.config import UpperConfig
from nc_rd_bounds.upper.model import Objective, Terms, VectorVae
from nc_rd_bounds.upper.release import load, read_config, read_model
from nc_rd_bounds.upper.tables import LatentTables

__all__ = ["Evaluation", "check_rounding", "evaluate", "measurements"]

_CHUNK = 4096


class Evaluation:
    """A model on vectors of a source.

    Args:
        model: trained.
        config: of its run.
        source: of vectors.
        count: how many of them, at most.
        seed: of noise, and of the choice among more vectors; recorded with the points.
        notes: to keep with each point.

    Raises:
        DataError: vectors of another size.
    """

    def __init__(
        self,
        model: VectorVae,
        config: UpperConfig,
        source: Source,
        count: int,
        *,
        seed: int = 0,
        notes: tuple[str, ...] = (),
    ) -> None:
        config.model.resolved(source.dims, source.name)
        self._model, self._source, self._seed, self._notes = model, source, seed, notes
        objective = Objective.of(config, model.dims)
        self._slope = objective.lamb * objective.nats
        self._indices = chosen_rows(source, count, seed)

    def drawn(self) -> RatePoint:
        """The objective that was trained, at one draw of the latents of every vector."""
        method = "ntc" if self._model.quantised else "beta-vae"
        return self._point("upper", method, *self._costs(self._model))

    def rounded(self, offsets: NDArray[np.float32] | None = None) -> RatePoint:
        """Latents rounded to integers, or to integers plus offsets, and -log p of the prior.

        An ideal entropy coder attains it, so it is a bound as well.
        """
        model = self._model
        shift = torch.zeros(model.latents) if offsets is None else torch.from_numpy(offsets)

        def terms(x: Tensor) -> Terms:
            return model.terms(x, torch.round(model.encode(x) - shift) + shift)

        method = "ntc-rounded" if offsets is None else "ntc-rounded-median"
        return self._point("upper", method, *self._costs(terms))

    def file(self, codec: NtcCodec) -> RatePoint:
        """All vectors in one byte string, which is decoded and compared; its real size.

        Raises:
            WorkError: it did not decode to what was coded.
        """
        x = np.concatenate([part.numpy() for part in self._vectors()])
        (code,) = codec.encode(x)
        if not np.array_equal(codec.decode_latents(code), codec.quantise(x)):
            raise WorkError(f"model '{codec.name}': a file did not decode to what was coded")
        coded = codec.rate_distortion(x)
        nats = 8 * len(code) * math.log(2)
        spread = coded.bits * math.log(2)
        spread += nats / len(x) - spread.mean()
        ideal = float(coded.bits.mean())
        note = (
            f"{len(x):,} vectors in {len(code):,} bytes: {8 * len(code) / len(x):.4f} bits per "
            f"vector; the tables' own code length is {ideal:.4f}"
        )
        return self._point("operating-point", "ntc-file", spread, coded.squared_error, note)

    def _vectors(self) -> Iterator[Tensor]:
        for start in range(0, len(self._indices), _CHUNK):
            yield flat_rows(self._source, self._indices[start : start + _CHUNK])

    @torch.no_grad()
    def _costs(
        self, terms_of: Callable[[Tensor], Terms]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Rate in nats and squared error of every vector."""
        rates, errors = [], []
        for number, x in enumerate(self._vectors()):
            with seeded(self._seed, number):
                terms = terms_of(x)
            rates.append(terms.kl.double().numpy())
            errors.append(terms.squared_error.double().numpy())
        return np.concatenate(rates), np.concatenate(errors)

    def _point(
        self,
        kind: PointKind,
        method: str,
        nats: NDArray[np.float64],
        errors: NDArray[np.float64],
        *notes: str,
    ) -> RatePoint:
        objective = nats + self._slope * errors
        limit = limit_note(float(nats.mean()), self._source.length)
        return RatePoint(
            kind=kind,
            method=method,
            dims=self._model.dims,
            rate=float(nats.mean()),
            distortion=float(errors.mean()),
            slope=self._slope,
            intercept=float(objective.mean()),
            rate_error=_standard_error(nats),
            distortion_error=_standard_error(errors),
            intercept_error=_standard_error(objective),
            value_range=self._source.value_range,
            n=len(nats),
            dataset=self._source.name,
            seed=self._seed,
            notes=(*self._notes, *notes, *(() if limit is None else (limit,))),
        )


def measurements(points: list[RatePoint]) -> list[Measurement]:
    """``rate``, ``distortion`` and ``objective`` of points; all but the first say their method."""
    found = []
    for number, point in enumerate(points):
        prefix = f"{point.method}/" if number else ""
        per = f"{point.rate_unit} per {point.rate_per}"
        for name, value, error, unit in (
            ("rate", point.rate, point.rate_error, per),
            ("distortion", point.distortion, point.distortion_error, point.measure),
            ("objective", point.intercept, point.intercept_error, per),
        ):
            if value is not None:
                found.append(
                    Measurement(
                        name=prefix + name,
                        value=value,
                        unit=unit,
                        standard_error=error,
                        n=point.n,
                    )
                )
    return found


def _standard_error(values: NDArray[np.float64]) -> float | None:
    if len(values) < 2:
        return None
    return float(values.std(ddof=1) / math.sqrt(len(values)))


def check_rounding(file: ModelFile) -> None:
    """Refuse to round what was not trained for it.

    Raises:
        DataError: a model of another family.
        UsageError: a model whose posterior is not uniform.
    """
    posterior = read_config(file).model.posterior
    if posterior != "uniform":
        raise UsageError(
            f"model '{file.name}': only latents with a uniform posterior can be rounded, and its "
            f"posterior is {posterior}",
            "train a recipe of nonlinear transform coding (upper-*-ntc)",
        )


def evaluate(
    file: ModelFile,
    source: Source,
    count: int,
    *,
    seed: int = 0,
    notes: tuple[str, ...] = (),
    rounded: bool = False,
    as_file: bool = False,
) -> list[RatePoint]:
    """Points of a model file, what was trained first.

    Args:
        file: of the family ``rd-bounds-vae``.
        source: of vectors.
        count: how many of them, at most.
        seed: of noise.
        notes: to keep with each point.
        rounded: round latents too, in both ways.
        as_file: code the vectors into an actual byte string too.

    Raises:
        DataError: vectors of another size, or a model of another family.
        UsageError: ``rounded`` or ``as_file`` of a model whose posterior is not uniform.
        WorkError: a byte string did not decode to what was coded.
    """
    if rounded or as_file:
        check_rounding(file)
    model = read_model(file)
    evaluation = Evaluation(model, read_config(file), source, count, seed=seed, notes=notes)
    points = [evaluation.drawn()]
    if rounded:
        points += [evaluation.rounded(), evaluation.rounded(LatentTables.of(model).offsets)]
    if as_file:
        points.append(evaluation.file(load(file)))
    return points
