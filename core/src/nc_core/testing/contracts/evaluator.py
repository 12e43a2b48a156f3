"""The contract of an evaluator: it returns the metrics that it declares."""

from __future__ import annotations

import json
import math
from functools import cached_property
from typing import Any

import numpy as np

from nc_core.datasets.arrays import ArrayRows
from nc_core.datasets.opening import open_dataset
from nc_core.errors import DataError, MissingDependencyError, UsageError
from nc_core.evaluators.request import EvaluationRequest
from nc_core.models import DEFAULT_MODEL, load_model
from nc_core.plugins import PluginManager
from nc_core.rates import Measurement
from nc_core.specs import EvaluatorSpec, ModelSpec
from nc_core.testing.contract import NotCheckedError, Subject, require, told_to_user
from nc_core.testing.samples import sample_array

__all__ = ["CHECKS", "EvaluatorSubject"]

_ITEMS = 4
_SECONDS_UNIT = "s"  # of metrics that are times, and differ from run to run


class EvaluatorSubject(Subject):
    """An evaluator, with something to evaluate.

    Args:
        location: its name.
        manager: where names are looked up.
        model: name or path of the model; by default the first that can be evaluated.
        dataset: full name of the data, of which 4 items are used; by default 4 small images.
    """

    def __init__(
        self,
        location: str,
        manager: PluginManager,
        model: str | None = None,
        dataset: str | None = None,
    ) -> None:
        super().__init__(manager)
        self.spec = manager.find(EvaluatorSpec, location)
        self._model, self._dataset = model, dataset

    def evaluate(self) -> Any:
        """What the evaluator returns.

        Raises:
            NotCheckedError: there is nothing that it can evaluate, or a dependency is missing.
        """
        try:
            return self.spec.load()(self._request())
        except MissingDependencyError as error:
            raise NotCheckedError(told_to_user(error)) from error
        except (DataError, UsageError) as error:
            if self._dataset is not None:
                raise
            raise NotCheckedError(
                f"it refuses four small grey images ({error.message}); "
                "check it in a test that gives model and dataset"
            ) from error

    @cached_property
    def measured(self) -> Any:
        """What it returned, once."""
        return self.evaluate()

    def _request(self) -> EvaluationRequest:
        if self._dataset is None:
            data: Any = ArrayRows("contract", sample_array(_ITEMS))
        else:
            data = open_dataset(self._dataset, self.manager)
        model = load_model(self._able(), self.manager) if self.spec.needs else None
        return EvaluationRequest(model, data, limit=_ITEMS, seed=1, plugins=self.manager)

    def _able(self) -> str:
        """Name of a model that has the abilities that are needed, core's own if it can."""
        if self._model is not None:
            return self._model
        able = [
            f"{member.name}@{family.provider.distribution}"
            for family in self.manager.specs(ModelSpec)
            for member in family.pretrained
            if family.provider is not None and set(self.spec.needs) <= set(family.abilities)
        ]
        able.sort(key=lambda name: name.partition("@")[0] != DEFAULT_MODEL)
        if not able:
            raise NotCheckedError(f"no installed model is a {' and '.join(self.spec.needs)}")
        return able[0]


def it_declares_what_it_measures(subject: EvaluatorSubject) -> None:
    """It declares at least one metric."""
    require(bool(subject.spec.metrics), "its record declares no metrics")


def it_returns_measurements(subject: EvaluatorSubject) -> None:
    """It returns a list of Measurement records, at least one."""
    found = subject.measured
    require(
        isinstance(found, list) and bool(found), f"it returned {type(found).__name__} {found!r}"
    )
    for row in found:
        require(
            isinstance(row, Measurement),
            f"it returned a {type(row).__name__} among its results, not a Measurement",
        )


def names_and_units_are_declared(subject: EvaluatorSubject) -> None:
    """Every name and unit is one that its record declares; NAME.METRIC stands for METRIC."""
    declared = {metric.name: metric.unit for metric in subject.spec.metrics}
    for row in subject.measured:
        name = row.name if row.name in declared else row.name.rpartition(".")[2]
        require(
            name in declared,
            f"it returned '{row.name}', which its record does not declare "
            f"({', '.join(declared) or 'nothing'})",
        )
        require(
            row.unit == declared[name],
            f"'{row.name}' is in {row.unit!r}, and {declared[name]!r} is declared",
        )


def no_name_is_returned_twice(subject: EvaluatorSubject) -> None:
    """No name is returned twice."""
    names = [row.name for row in subject.measured]
    twice = sorted({name for name in names if names.count(name) > 1})
    require(not twice, f"returned more than once: {', '.join(twice)}")


def values_are_finite_numbers(subject: EvaluatorSubject) -> None:
    """Every value is a finite number; standard errors and counts are sensible, or None."""
    for row in subject.measured:
        require(_is_number(row.value), f"'{row.name}' is {row.value!r}, not a finite number")
        error, count = row.standard_error, row.n
        require(
            error is None or (_is_number(error) and error >= 0),
            f"the standard error of '{row.name}' is {error!r}",
        )
        require(
            count is None or (isinstance(count, int) and count > 0),
            f"'{row.name}' was measured on n = {count!r}",
        )
        json.dumps(row.to_json())


def equal_seeds_give_equal_values(subject: EvaluatorSubject) -> None:
    """The same request gives the same values, but for times."""
    once, again = (
        [(row.name, row.value) for row in rows if row.unit != _SECONDS_UNIT]
        for rows in (subject.measured, subject.evaluate())
    )
    require(
        [name for name, _ in once] == [name for name, _ in again],
        "the same request gave other metrics the second time",
    )
    for (name, value), (_, other) in zip(once, again, strict=True):
        require(
            value == other,
            f"'{name}' was {value}, and then {other}, for one request; "
            "whatever is random must come from the request's seed",
        )


def _is_number(value: object) -> bool:
    plain = isinstance(value, (int, float, np.floating, np.integer))
    return plain and math.isfinite(float(value))  # type: ignore[arg-type]


CHECKS = (
    it_declares_what_it_measures,
    it_returns_measurements,
    names_and_units_are_declared,
    no_name_is_returned_twice,
    values_are_finite_numbers,
    equal_seeds_give_equal_values,
)
