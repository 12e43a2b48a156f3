"""Measured bounds of run directories: which networks, on which data, and what is kept of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pydantic
import torch

from nc_core.errors import DataError, UsageError
from nc_core.rates import Measurement, RatePoint
from nc_core.runs import RunDirectory
from nc_rd_bounds.lower.climb import Search
from nc_rd_bounds.lower.config import LowerConfig
from nc_rd_bounds.lower.evaluate import (
    Interval,
    evaluate,
    file_name,
    interval_of,
    lower_line,
    pooled,
    warnings_of,
)
from nc_rd_bounds.lower.release import TrainedMultiplier, read_multiplier
from nc_rd_bounds.lower.train import target_files
from nc_rd_bounds.points import write_points
from nc_rd_bounds.run_data import evaluation_source
from nc_rd_bounds.sources.vectors import Source

if TYPE_CHECKING:
    from nc_core.plugins import PluginManager

__all__ = ["Line", "Plan", "Request", "evaluate_run", "measurements", "models_of", "plan"]


@dataclass(frozen=True, kw_only=True)
class Request:
    """What to evaluate.

    Args:
        dataset: None for what the run keeps apart from training.
        k: samples of a minibatch; None for what the run's configuration says.
        minibatches: samples of xi per seed; None likewise.
        seeds: of the samples; all of them make one estimate.
        refine: go on from the ends of climbs by mean shift.
        device: of torch.
        threads: of torch on the CPU; None leaves torch's own number.
    """

    dataset: str | None = None
    k: int | None = None
    minibatches: int | None = None
    seeds: tuple[int, ...] = (0,)
    refine: bool = False
    device: str = "cpu"
    threads: int | None = None


@dataclass(frozen=True, eq=False)
class Plan:
    """A run and how to evaluate it.

    Args:
        folder: the run directory.
        request: what to evaluate.
        config: of the run.
        models: its networks by lambda.
    """

    folder: Path
    request: Request
    config: LowerConfig
    models: list[TrainedMultiplier]

    @property
    def count(self) -> int:
        """M: samples of xi per seed."""
        return self.request.minibatches or self.config.evaluation.minibatches

    @property
    def minibatches(self) -> int:
        """Of all lambdas and seeds."""
        return 2 * self.count * len(self.models) * len(self.request.seeds)

    def k(self, source: Source) -> int:
        """Samples of a minibatch: what was asked for, otherwise at most half of the source."""
        k = self.config.evaluation.k or self.config.training.batch_size
        if source.length is not None:
            k = min(k, max(1, source.length // 2))
        return self.request.k or k


@dataclass(frozen=True)
class Line:
    """A measured bound.

    Args:
        run: the run directory.
        point: the line.
        interval: its confidence intervals.
        k: samples of a minibatch.
        count: samples of xi.
        warnings: what a reader must know before using it.
    """

    run: Path
    point: RatePoint
    interval: Interval
    k: int
    count: int
    warnings: tuple[str, ...]


def models_of(folder: Path) -> list[TrainedMultiplier]:
    """The networks of a run directory by lambda: those of all targets, and the last one.

    Raises:
        DataError: no run directory, or nothing trained yet.
    """
    run = RunDirectory.open(folder)
    paths = [path for path in (run.model_path, *target_files(folder)) if path.exists()]
    if not paths:
        raise DataError(f"{folder}: no model yet", "train for longer, or resume the run (--resume)")
    found = {model.lamb: model for model in map(read_multiplier, reversed(paths))}
    return [found[lamb] for lamb in sorted(found)]


def plan(folder: Path, request: Request) -> Plan:
    """What evaluating a run takes.

    Raises:
        UsageError: a device that is not there.
        DataError: no run directory of train-lower, or nothing trained yet.
    """
    there = {
        "cpu": True,
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
    }
    if not there[request.device]:
        raise UsageError(f"no device '{request.device}' on this machine", "--device cpu")
    models = models_of(folder)
    try:
        config = LowerConfig.model_validate(RunDirectory.open(folder).config)
    except pydantic.ValidationError as error:
        raise DataError(f"{folder}: not a run of train-lower") from error
    return Plan(folder, request, config, models)


def evaluate_run(
    plan: Plan, plugins: PluginManager, tell: Callable[[float], object] | None = None
) -> list[Line]:
    """Measure all lambdas of a run; its results hold the lines and the samples of xi.

    Args:
        plan: the run.
        plugins: where datasets are looked up.
        tell: called with 1 after each minibatch.

    Raises:
        NcError: data that do not fit the run.
    """
    request, config = plan.request, plan.config
    search = Search(**config.climb.to_json() | {"start": "exhaustive"}, refine=request.refine)
    lines = []
    with _threads(request.threads):
        for model in plan.models:
            found = []
            for seed in request.seeds:
                source, notes = evaluation_source(config, request.dataset, plugins, seed)
                samples = evaluate(
                    model,
                    source,
                    k=plan.k(source),
                    minibatches=plan.count,
                    seed=seed,
                    search=search,
                    device=request.device,
                    tell=tell,
                )
                samples.save(plan.folder / "results" / file_name(samples, seed))
                found.append(samples)
            together = pooled(found)
            point = lower_line(together, source, seeds=request.seeds, notes=notes)
            warnings = (*warnings_of(together, source), *notes)
            interval = interval_of(together.xi)
            lines.append(Line(plan.folder, point, interval, together.k, together.half, warnings))
    name = "lower" if request.dataset is None else f"lower-{request.dataset}"
    write_points(RunDirectory.open(plan.folder), name, [line.point for line in lines])
    return lines


def measurements(lines: Sequence[Line]) -> list[Measurement]:
    """What ``--json`` prints: the intercept of each line, and the limits of its intervals.

    Where there are several lines, names begin with ``lamb=``.
    """
    found = []
    for line in lines:
        prefix = "" if len(lines) == 1 else f"lamb={line.point.slope:.5g}/"
        interval = line.interval
        low, high = interval.two_sided or (None, None)
        values = {
            "intercept_low": low,
            "intercept_high": high,
            "intercept_at_least": interval.at_least,
        }
        found.append(
            Measurement(
                name=f"{prefix}intercept",
                value=interval.mean,
                unit="nats",
                standard_error=interval.standard_error,
                n=line.count,
            )
        )
        found += [
            Measurement(name=f"{prefix}{name}", value=value, unit="nats", n=line.count)
            for name, value in values.items()
            if value is not None
        ]
    return found


@contextmanager
def _threads(count: int | None) -> Iterator[None]:
    """Let torch use so many threads inside the block."""
    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)
