"""Coding options: told when compressing, kept in the file, told again when decompressing."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from nc_core.ans.rans import Rans
from nc_core.coding import checked_coding, told
from nc_core.container import ContainerReader, ContainerWriter
from nc_core.datasets.arrays import ArrayRows
from nc_core.decoding import decode_container
from nc_core.encoding import Encoding
from nc_core.errors import CorruptFileError, InterruptedWorkError, UsageError, WorkError
from nc_core.front_door import compress, decompress, evaluate
from nc_core.header import Header
from nc_core.hookspecs import hookimpl
from nc_core.lossless import compress_source
from nc_core.models import load_model
from nc_core.plugins import PluginManager
from nc_core.restore import open_container
from nc_core.sources import ArraySource
from nc_core.specs import CodingOption, CommandSpec, ModelSpec, Pretrained
from raw_model import ChoosyModel, RawModel

ROWS = np.random.default_rng(0).integers(0, 256, (5, 8, 9), np.uint8)
TOLD = {"noise": "40", "order": "noise-last"}


@pytest.fixture
def plugins() -> PluginManager:
    """Core's own plugins and a model that has options."""
    manager = PluginManager()
    manager.discover({"NC_PLUGINS": ""})

    @hookimpl
    def nc_models() -> list[ModelSpec]:
        member = Pretrained("choosy", "raw samples and noise", ChoosyModel.id)
        return [
            ModelSpec(
                name="choosy", summary="raw samples", target="raw_model:load_choosy",
                abilities=("lossless-model",), pretrained=(member,),
            )
        ]  # fmt: skip

    manager.register(SimpleNamespace(nc_models=nc_models), distribution="nc-test")
    return manager


def packed(plugins: PluginManager, **options: Any) -> bytes:
    return compress(ROWS, layout="nhw", model="choosy", plugins=plugins, **options).data


def header_of(data: bytes) -> dict[str, Any]:
    return ContainerReader(io.BytesIO(data), "x.ncz").header


def changed(data: bytes, change: Callable[[dict[str, Any]], object]) -> bytes:
    """The container with another header and right checksums."""
    reader = ContainerReader(io.BytesIO(data), "x.ncz")
    chunks, header = list(reader.chunks()), dict(reader.header)
    change(header)
    file = io.BytesIO()
    writer = ContainerWriter(file, header)
    for kind, payload in chunks:
        writer.chunk(kind, payload)
    writer.finish(reader.footer)
    return file.getvalue()


# Round trips


@pytest.mark.parametrize("model", [None, "choosy"])
@pytest.mark.parametrize(
    "coding",
    [TOLD, {"noise": "0"}, {"order": "noise-last"}, {"order": "noise-first"}],
    ids=str,
)
def test_what_was_told_stands_in_the_file_and_decodes_it(
    coding: dict[str, str], model: str | None, plugins: PluginManager
) -> None:
    data = packed(plugins, coding=coding)
    assert header_of(data)["coding"] == coding
    assert np.array_equal(decompress(data, model=model, plugins=plugins), ROWS)


def test_initial_words_may_depend_on_what_was_told(plugins: PluginManager) -> None:
    assert header_of(packed(plugins, coding={"noise": "40"}))["initial_words"] == 80
    assert header_of(packed(plugins))["initial_words"] == 4


def test_a_model_that_was_told_nothing_writes_nothing_of_it(plugins: PluginManager) -> None:
    data = packed(plugins)
    assert "coding" not in header_of(data)
    assert data == packed(plugins, coding={})
    assert np.array_equal(decompress(data, plugins=plugins), ROWS)


def test_an_order_is_an_option_where_a_model_has_options(plugins: PluginManager) -> None:
    assert packed(plugins, order="noise-last") == packed(plugins, coding={"order": "noise-last"})


def test_the_spelling_is_the_models(plugins: PluginManager) -> None:
    assert packed(plugins, coding={"noise": "007"}) == packed(plugins, coding={"noise": "7"})


def test_an_open_container_has_the_model_that_decodes_it(plugins: PluginManager) -> None:
    container = open_container(io.BytesIO(packed(plugins, coding=TOLD)), "x.ncz", plugins=plugins)
    assert container.model.coding == TOLD  # type: ignore[attr-defined]


def test_the_engine_tells_a_model_that_was_not_told() -> None:
    source, file = ArraySource(ROWS, "nhw"), io.BytesIO()
    model = ChoosyModel(TOLD)
    header = Header.describing(source.content, model, "rans")
    Encoding(file, header, source, model, Rans()).to_the_end(1, None)
    reader = ContainerReader(file, "x.ncz")
    header = Header.from_json(reader.header, "x.ncz")
    for untold in (ChoosyModel(), ChoosyModel({"noise": "3"})):
        items = decode_container(reader, header, untold, Rans())
        assert np.array_equal([item.samples for item in items], ROWS)


def test_what_was_told_otherwise_is_not_resumed(tmp_path: Path) -> None:
    class Stopped(ChoosyModel):
        pushes = 0

        def with_coding(self, options: Any) -> Stopped:
            return Stopped(options)

        def push(self, *arguments: Any) -> float:
            self.pushes += 1
            if self.pushes > 1:
                raise KeyboardInterrupt
            return super().push(*arguments)

    path, model = tmp_path / "x.ncz", Stopped(TOLD)
    source = ArraySource(np.zeros((2, 64, 64), np.uint8), "nhw")
    with pytest.raises(InterruptedWorkError):
        compress_source(source, path, model, Rans())
    with pytest.raises(UsageError, match="other"):
        compress_source(source, path, ChoosyModel(), Rans(), resume=True)
    compress_source(source, path, ChoosyModel(TOLD), Rans(), resume=True)


def test_evaluators_measure_the_model_as_it_was_told(plugins: PluginManager) -> None:
    dataset = ArrayRows("toy", ROWS, "hw")
    initial = [
        {m.name: m.value for m in evaluate("rate", dataset, "choosy", coding=c, plugins=plugins)}[
            "initial_bits"
        ]
        for c in (None, {"noise": "0"}, {"noise": "40"})
    ]
    assert initial[1] == 0 < initial[0] < initial[2]
    with pytest.raises(UsageError, match="measures the dataset alone"):
        evaluate("classical", dataset, coding={"noise": "1"}, plugins=plugins)


class Rounds(ChoosyModel):
    """Borrows as many numbers as it is told, and says a round number."""

    def with_coding(self, options: Any) -> Rounds:
        told = Rounds(options)
        told.coding = {"noise": str(round(told._noise, -1))}
        return told


def test_a_model_that_says_something_else_than_it_was_told_codes_nothing(tmp_path: Path) -> None:
    path, source = tmp_path / "x.ncz", ArraySource(ROWS, "nhw")
    assert compress_source(source, path, Rounds().with_coding({"noise": "40"}), Rans()).verified
    with pytest.raises(WorkError, match="'noise': '40'}, which does not make the same model"):
        compress_source(source, path, Rounds().with_coding({"noise": "42"}), Rans(), force=True)


class Whispers(ChoosyModel):
    """Is told a key, of which its coding options say nothing."""

    key = 0

    def with_coding(self, options: Any) -> Whispers:
        return Whispers(options)

    def push(self, coder: Any, message: Any, blocks: Any) -> float:
        return super().push(coder, message, blocks ^ np.uint8(self.key))

    def pop(self, coder: Any, message: Any, shape: Any, dtype: Any) -> Any:
        return super().pop(coder, message, shape, dtype) ^ np.uint8(self.key)


def test_what_the_header_does_not_hold_is_not_coded_with(tmp_path: Path) -> None:
    model = Whispers(TOLD)
    model.key = 7
    path = tmp_path / "x.ncz"
    compress_source(ArraySource(ROWS, "nhw"), path, model, Rans())
    with path.open("rb") as file:
        reader = ContainerReader(file, "x.ncz")
        header = Header.from_json(reader.header, "x.ncz")
        items = list(decode_container(reader, header, Whispers(), Rans()))
    assert np.array_equal([item.samples for item in items], ROWS)


# What a model does not take


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("choosy", {"coding": {"nois": "1"}}, "no coding option 'nois'; it has 'noise' and"),
        ("choosy", {"coding": {"noise": "100"}}, "noise is 0 to 99 numbers, not '100'"),
        ("choosy", {"coding": {"noise": ""}}, "coding option 'noise' has no value"),
        ("choosy", {"coding": {"Noise": "1"}}, "'Noise' has a name that is not kebab-case"),
        ("choosy", {"order": "bb-ans"}, "no order 'bb-ans'"),
        ("choosy", {"order": "noise-last", "coding": TOLD}, "given twice"),
        ("predictive", {"coding": {"noise": "1"}}, "'predictive': it takes no coding options"),
        ("predictive", {"order": "bb-ans"}, "codes in one order only"),
    ],
)
def test_options_that_a_model_does_not_take_are_usage_errors(
    name: str, options: dict[str, Any], message: str, plugins: PluginManager
) -> None:
    with pytest.raises(UsageError, match=message):
        load_model(name, plugins, **options)


@pytest.mark.parametrize(
    "options",
    [
        {f"key-{i}": "1" for i in range(17)},
        {"k" * 41: "1"},
        {"key_of-snake": "1"},
        {3: "1"},
        {"key": 3},
        {"key": ""},
        {"key": "v" * 256},
        {"key": "\x1b[2J"},
    ],
    ids=lambda options: str(options)[:30],
)
def test_options_are_few_and_short_and_can_be_printed(options: Any) -> None:
    with pytest.raises(ValueError):
        checked_coding(options)
    with pytest.raises(ValueError):
        told(ChoosyModel(), options)


def test_as_many_options_as_there_may_be() -> None:
    options = {f"{i}-{'k' * 37}": "v" * 255 for i in range(10, 26)}
    assert checked_coding(options) == options


# Damaged headers


@pytest.mark.parametrize(
    "coding",
    [
        {}, [], None, "noise=40", 7, {"noise": 40}, {"noise": ""}, {"Noise": "40"},
        {"noise": "\n"}, {"noise": "4" * 256}, {f"key-{i}": "1" for i in range(17)},
    ],
    ids=lambda coding: str(coding)[:30],
)  # fmt: skip
def test_a_header_with_impossible_options_is_refused(coding: Any, plugins: PluginManager) -> None:
    data = changed(packed(plugins, coding=TOLD), lambda header: header.update(coding=coding))
    with pytest.raises(CorruptFileError, match="header lacks what a decoder needs"):
        decompress(data, plugins=plugins)


@pytest.mark.parametrize("model", [None, "choosy"])
@pytest.mark.parametrize(
    ("coding", "message"),
    [
        (TOLD | {"nois": "1"}, "made with coding options that model 'choosy' refuses: no coding"),
        (TOLD | {"noise": "100"}, "refuses: noise is 0 to 99 numbers, not '100'"),
        (TOLD | {"noise": "040"}, "its header does not fit model 'choosy'"),
        (TOLD | {"noise": "41"}, "its header does not fit model 'choosy'"),
        (TOLD | {"order": "noise-first"}, "damaged"),
    ],
    ids=str,
)
def test_a_header_with_options_that_do_not_fit_is_refused(
    coding: dict[str, str], message: str, model: str | None, plugins: PluginManager
) -> None:
    data = changed(packed(plugins, coding=TOLD), lambda header: header.update(coding=coding))
    with pytest.raises(CorruptFileError, match=message):
        decompress(data, model=model, plugins=plugins)


def test_a_header_that_lost_its_options_is_refused(plugins: PluginManager) -> None:
    data = changed(packed(plugins, coding=TOLD), lambda header: header.pop("coding"))
    with pytest.raises(CorruptFileError, match="its header does not fit model 'choosy'"):
        decompress(data, plugins=plugins)


def test_options_for_a_model_that_takes_none_are_refused(plugins: PluginManager) -> None:
    data = compress(ROWS, layout="nhw", plugins=plugins).data
    data = changed(data, lambda header: header.update(coding=TOLD))
    with pytest.raises(CorruptFileError, match="'predictive' refuses: it takes no coding options"):
        decompress(data, plugins=plugins)


def test_another_model_is_refused_for_what_it_is(plugins: PluginManager) -> None:
    data = packed(plugins, coding=TOLD)
    with pytest.raises(CorruptFileError, match="not with 'predictive'"):
        decompress(data, model="predictive", plugins=plugins)


def test_a_model_whose_options_no_header_holds_makes_no_header() -> None:
    model: Any = RawModel()
    model.coding = {"key": "v" * 1000}
    with pytest.raises(ValueError, match="no short printable value"):
        Header.describing(ArraySource(ROWS, "nhw").content, model, "rans")


# Options of a paper's command


def test_an_option_of_a_command_sets_the_key_of_its_name() -> None:
    assert CodingOption("lead-in", "Steps to begin with.").key == "lead-in"
    assert CodingOption("steps", "Steps.", key="respacing", kind="int").key == "respacing"


@pytest.mark.parametrize(
    "build",
    [
        lambda: CodingOption("Lead", "Steps."),
        lambda: CodingOption("lead", "Steps.", key="lead_in"),
        lambda: CodingOption("lead", ""),
        lambda: CodingOption("lead", "Steps.", metavar=""),
        lambda: CodingOption("lead", "Steps.", kind="float"),  # type: ignore[arg-type]
        lambda: paper(CodingOption("lead", "Steps."), CodingOption("lead", "More.", key="x")),
    ],
)
def test_an_option_of_a_command_that_makes_no_sense_is_refused(build: Any) -> None:
    with pytest.raises(ValueError):
        build()


def test_options_of_a_command_are_records() -> None:
    assert paper(CodingOption("lead", "Steps.")).coding[0].name == "lead"
    with pytest.raises(TypeError, match="must hold CodingOption"):
        paper("lead")
    with pytest.raises(TypeError, match="minimum of 'lead' must be an integer"):
        CodingOption("lead", "Steps.", kind="int", minimum="1")  # type: ignore[arg-type]


def paper(*options: Any) -> CommandSpec:
    return CommandSpec(name="p", summary="A paper.", target="x:command", coding=options)
