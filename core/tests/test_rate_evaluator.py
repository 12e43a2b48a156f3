"""The evaluator ``rate``: the size of a real file, decoded and compared."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pytest

from nc_core.datasets.arrays import ArrayRows
from nc_core.errors import DataError, UsageError, WorkError
from nc_core.evaluators.rate import UNITS, evaluate_rate, rate_measurements
from nc_core.evaluators.request import EvaluationRequest
from nc_core.models import installed
from nc_core.rates import Rate
from nc_core.specs import EvaluatorSpec
from raw_model import RawModel

ROWS = np.random.default_rng(0).integers(0, 256, (9, 8, 6, 3), np.uint8)


def request(**changes: object) -> EvaluationRequest:
    settings: dict[str, object] = {"model": RawModel(), "dataset": ArrayRows("rows", ROWS)}
    return EvaluationRequest(**settings | changes)  # type: ignore[arg-type]


def test_every_part_of_the_rate_comes_with_its_unit() -> None:
    numbers = {number.name: number for number in evaluate_rate(request())}
    assert {name: number.unit for name, number in numbers.items()} == UNITS
    assert numbers["items"].value == 9
    assert numbers["dims"].value == ROWS.size
    assert numbers["pixels"].value == 9 * 48
    assert numbers["total_bits"].value >= 8 * ROWS.size
    parts = numbers["payload_bits"].value + numbers["header_bits"].value
    assert parts == numbers["total_bits"].value
    assert numbers["bits_per_dim"].value == numbers["total_bits"].value / ROWS.size
    assert numbers["verified"].value == 1.0
    assert {number.n for number in numbers.values()} == {9}


def test_units_are_those_that_the_record_promises() -> None:
    spec = installed().find(EvaluatorSpec, "rate")
    assert {metric.name: metric.unit for metric in spec.metrics} == UNITS
    assert spec.load() is evaluate_rate


def test_a_limit_takes_the_first_items() -> None:
    few = {number.name: number.value for number in evaluate_rate(request(limit=2))}
    assert (few["items"], few["dims"]) == (2, ROWS[:2].size)


def test_threads_do_not_change_the_rate() -> None:
    def bits(threads: int) -> float:
        numbers = evaluate_rate(request(threads=threads))
        return next(number.value for number in numbers if number.name == "total_bits")

    assert bits(1) == bits(3)


def test_data_that_are_no_images_have_no_pixels() -> None:
    dataset = ArrayRows("rows", ROWS.reshape(9, -1))
    names = {number.name for number in evaluate_rate(request(dataset=dataset))}
    assert names == set(UNITS) - {"pixels", "bits_per_pixel"}


def test_numbers_that_do_not_exist_are_left_out() -> None:
    rate = Rate(
        items=1, dims=8, pixels=None, total_bits=80, payload_bits=64, initial_bits=0, bound_bits=0.0
    )
    names = {number.name for number in rate_measurements(rate)}
    assert not names & {"pixels", "bits_per_pixel", "overhead_percent", "encode_seconds"}
    assert "verified" in names


def test_no_model_is_a_usage_error() -> None:
    for model in (None, object()):
        with pytest.raises(UsageError, match="lossless model"):
            evaluate_rate(request(model=model))


def test_samples_that_a_model_cannot_code_are_refused() -> None:
    with pytest.raises(DataError, match="float32"):
        evaluate_rate(request(dataset=ArrayRows("rows", ROWS.astype(np.float32))))


def test_a_model_that_does_not_decode_is_a_failure_and_leaves_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Wrong(RawModel):
        def pop(self, *arguments):  # type: ignore[no-untyped-def]
            return super().pop(*arguments) ^ 1

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with pytest.raises(WorkError, match="does not decode"):
        evaluate_rate(request(model=Wrong()))
    assert list(tmp_path.iterdir()) == []
