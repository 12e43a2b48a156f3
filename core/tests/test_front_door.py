"""compress, decompress and evaluate, as a program calls them."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

import nc_core
from nc_core.datasets.arrays import ArrayRows
from nc_core.errors import CorruptFileError, DataError, PluginError, UsageError
from nc_core.evaluators.request import EvaluationRequest
from nc_core.front_door import compress, decompress, evaluate
from nc_core.hookspecs import hookimpl
from nc_core.plugins import PluginManager
from nc_core.rates import Measurement
from nc_core.specs import EvaluatorSpec, ModelSpec, Pretrained

ROWS = np.random.default_rng(0).integers(0, 99, (5, 8, 9), np.uint8)


def record_request(request: EvaluationRequest) -> list[Measurement]:
    """An evaluator that returns what it was asked."""
    return [Measurement(name=str(request.count), value=id(request.plugins), unit="id")]


@pytest.fixture
def plugins() -> PluginManager:
    """Core's own plugins, two evaluators and a model that cannot code losslessly."""
    manager = PluginManager()
    manager.discover({"NC_PLUGINS": ""})
    target = f"{__name__}:record_request"

    @hookimpl
    def nc_evaluators() -> list[EvaluatorSpec]:
        alone = EvaluatorSpec(name="alone", summary="data alone", target=target)
        needy = EvaluatorSpec(name="needy", summary="a model", target=target, needs=("dreams",))
        return [alone, needy]

    @hookimpl
    def nc_models() -> list[ModelSpec]:
        member = Pretrained("lossy-one", "a lossy model", "0" * 64)
        spec = ModelSpec(
            name="lossy", summary="a lossy family", target="nowhere:load",
            abilities=("lossy-model",), pretrained=(member,),
        )  # fmt: skip
        return [spec]

    module = SimpleNamespace(nc_evaluators=nc_evaluators, nc_models=nc_models)
    manager.register(module, distribution="nc-test")
    return manager


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_an_array_becomes_bytes_and_comes_back(kind: Any, plugins: PluginManager) -> None:
    made = compress(ROWS, layout="nhw", plugins=plugins)
    assert made.path is None
    assert made.rate.total_bits == 8 * len(made.data)
    assert np.array_equal(decompress(kind(made.data), plugins=plugins), ROWS)


def test_files_come_back_as_arrays_or_as_files(tmp_path: Path, plugins: PluginManager) -> None:
    for index in range(2):
        Image.fromarray(ROWS[index]).save(tmp_path / f"{index}.png")
    files = [tmp_path / "0.png", tmp_path / "1.png"]
    made = compress(files, tmp_path / "x.ncz", plugins=plugins)
    assert made.path == tmp_path / "x.ncz"
    arrays = decompress(made.path, plugins=plugins)
    assert isinstance(arrays, list)
    assert all(np.array_equal(array, row) for array, row in zip(arrays, ROWS[:2], strict=True))
    paths = decompress(made.path, tmp_path / "out", plugins=plugins)
    assert paths == [tmp_path / "out" / "0.png", tmp_path / "out" / "1.png"]
    with pytest.raises(DataError, match="file exists"):
        decompress(made.path, tmp_path / "out", plugins=plugins)
    decompress(made.path, tmp_path / "out", force=True, plugins=plugins)


def test_a_dataset_is_limited_and_a_damaged_container_refused(plugins: PluginManager) -> None:
    data = compress(ArrayRows("rows", ROWS), limit=3, plugins=plugins).data
    assert np.array_equal(decompress(data, plugins=plugins), ROWS[:3])
    with pytest.raises(CorruptFileError):
        decompress(data[:-9], plugins=plugins)


def test_what_does_not_apply_is_said_and_not_ignored(
    tmp_path: Path, plugins: PluginManager
) -> None:
    with pytest.raises(UsageError, match="limit"):
        compress(ROWS, limit=2, layout="nhw", plugins=plugins)
    with pytest.raises(UsageError, match="limit"):
        compress(tmp_path / "a.png", limit=2, plugins=plugins)
    with pytest.raises(UsageError, match="layout"):
        compress(ArrayRows("rows", ROWS), layout="hw", plugins=plugins)


@pytest.mark.parametrize("source", [b"bytes", bytearray(4), 3, None])
def test_a_source_of_another_type_is_named(source: Any, plugins: PluginManager) -> None:
    with pytest.raises(TypeError, match=type(source).__name__):
        compress(source, plugins=plugins)


def test_a_single_number_is_no_image(plugins: PluginManager) -> None:
    with pytest.raises(UsageError, match="shape"):
        compress(np.uint8(3), plugins=plugins)  # type: ignore[arg-type]


def test_an_evaluator_gets_the_plugins_that_were_given(plugins: PluginManager) -> None:
    (measured,) = evaluate("alone", ArrayRows("rows", ROWS), limit=2, plugins=plugins)
    assert (measured.name, measured.value) == ("2", id(plugins))


def test_a_rate_is_that_of_the_file(plugins: PluginManager) -> None:
    rows = ArrayRows("rows", ROWS)
    numbers = {m.name: m.value for m in evaluate("rate", rows, "predictive", plugins=plugins)}
    assert numbers["total_bits"] == compress(rows, plugins=plugins).rate.total_bits


@pytest.mark.parametrize(
    ("evaluator", "model", "message"),
    [
        ("rate", None, "needs a model"),
        ("rate", "lossy-one", "needs a lossless-model, which 'lossy-one' is not"),
        ("needy", "predictive", "needs a dreams"),
        ("alone", "predictive", "measures the dataset alone"),
        ("classical", "predictive", "measures the dataset alone"),
    ],
)
def test_a_model_that_does_not_fit_its_evaluator_is_refused(
    evaluator: str, model: str | None, message: str, plugins: PluginManager
) -> None:
    with pytest.raises(UsageError, match=message):
        evaluate(evaluator, ArrayRows("rows", ROWS), model, plugins=plugins)


def test_an_unknown_evaluator_is_told_where_to_look(plugins: PluginManager) -> None:
    with pytest.raises(PluginError, match="nc list evaluators"):
        evaluate("zzz", ArrayRows("rows", ROWS), plugins=plugins)


def test_the_front_door_is_the_package_itself() -> None:
    assert nc_core.compress is compress
    assert nc_core.decompress is decompress
    assert nc_core.evaluate is evaluate
