"""Measured bounds of run directories: which networks, on which data, and what is kept of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import pydantic
import torch

from nc_core.errors import DataError, UsageError
from nc_core.rates import Measurement, RatePoint
from nc_core.runs import RunDirectory
from nc_core.training import check_device
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
from nc_rd_bounds.lower.temper import best_power
from nc_rd_bounds.lower.train import target_files
from nc_rd_bounds.points import write_points
from nc_rd_bounds.run_data import evaluation_source, training_sources
from nc_rd_bounds.sources.vectors import Source

if TYPE_CHECKING:
    from nc_core.plugins import PluginManager

__all__ = ["Line", "Plan", "Request", "evaluate_run", "measurements", "models_of", "plan"]


_SAME_LAMBDA = 0.01


@dataclass(frozen=True, kw_only=True)
class Request:
    """What to evaluate.

    Args:
        dataset: None for what the run keeps apart from training.
        k: samples of a minibatch; None for what the run's configuration says.
        minibatches: samples of xi per seed; None likewise.
        seeds: of the samples; all of them make one estimate.
        refine: go on from the ends of climbs by mean shift; None for what the run's configuration
            says.
        temper: raise u to the power that is best on the training data.
        device: of torch.
        threads: of torch on the CPU; None leaves torch's own number.
    """

    dataset: str | None = None
    k: int | None = None
    minibatches: int | None = None
    seeds: tuple[int, ...] = (0,)
    refine: bool | None = None
    temper: bool = False
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
        power: that u was raised to; None if none was looked for.
        warnings: what a reader must know before using it.
    """

    run: Path
    point: RatePoint
    interval: Interval
    k: int
    count: int
    power: float | None
    warnings: tuple[str, ...]


def models_of(folder: Path) -> list[TrainedMultiplier]:
    """The networks of a run directory by lambda: those of all targets, and the last one.

    A network of a target that differs by less than 1 % from the last lambda is left out.

    Raises:
        DataError: no run directory, or nothing trained yet.
    """
    run = RunDirectory.open(folder)
    paths = [path for path in (run.model_path, *target_files(folder)) if path.exists()]
    if not paths:
        raise DataError(f"{folder}: no model yet", "train for longer, or resume the run (--resume)")
    models = [read_multiplier(path) for path in paths]
    last = models[0].lamb
    others = [model for model in models[1:] if abs(model.lamb - last) > _SAME_LAMBDA * last]
    return sorted([models[0], *others], key=lambda model: model.lamb)


def plan(folder: Path, request: Request) -> Plan:
    """What evaluating a run takes.

    Raises:
        UsageError: a device that is not there.
        DataError: no run directory of train-lower, or nothing trained yet.
    """
    check_device(request.device)
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
    quick = Search(**config.climb.to_json())
    refine = config.evaluation.refine if request.refine is None else request.refine
    search = replace(quick, start="exhaustive", refine=refine)
    sources = _sources(request, config, plugins)
    lines = []
    with _threads(request.threads):
        for model in plan.models:
            power: float | None = None if request.temper else 1.0
            found = []
            for seed, (source, _) in sources.items():
                k = plan.k(source)
                if power is None:
                    training, _ = training_sources(config, plugins)
                    power = best_power(model, training, k=k, search=quick, device=request.device)
                samples = evaluate(
                    model,
                    source,
                    k=k,
                    minibatches=plan.count,
                    seed=seed,
                    search=search,
                    power=power,
                    device=request.device,
                    tell=tell,
                )
                samples.save(plan.folder / "results" / file_name(samples, seed))
                found.append(samples)
            together = pooled(found)
            source, notes = sources[request.seeds[0]]
            lines.append(
                Line(
                    plan.folder,
                    lower_line(together, source, seeds=request.seeds, notes=notes),
                    interval_of(together.xi),
                    together.k,
                    together.half,
                    together.power if request.temper else None,
                    (*warnings_of(together, source), *notes),
                )
            )
    name = "lower" if request.dataset is None else f"lower-{request.dataset}"
    write_points(RunDirectory.open(plan.folder), name, [line.point for line in lines])
    return lines


def _sources(
    request: Request, config: LowerConfig, plugins: PluginManager
) -> dict[int, tuple[Source, tuple[str, ...]]]:
    """What to evaluate on by seed, and what a reader must know of it.

    Raises:
        UsageError: several seeds, but the same samples for all of them.
    """
    sources = {
        seed: evaluation_source(config, request.dataset, plugins, seed) for seed in request.seeds
    }
    for source, _ in sources.values():
        if source.pinned_seed is not None and len(sources) > 1:
            raise UsageError(
                f"{source.name}: the seed in its name decides the samples, which would be the same "
                f"for {len(sources)} seeds",
                "give one --seed and a larger -M, or data without '?seed='",
            )
    return sources


def measurements(lines: Sequence[Line]) -> list[Measurement]:
    """What ``--json`` prints: the intercept of each line, the limits of its intervals, its power.

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
        if line.power is not None:
            found.append(Measurement(name=f"{prefix}power", value=line.power, unit="exponent"))
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
