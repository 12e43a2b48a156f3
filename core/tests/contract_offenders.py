"""A plugin of which everything breaks its contract in one way: what the checks must catch."""

from __future__ import annotations

import os
import pickle
import signal
import time
from collections.abc import Iterator, Mapping
from copy import copy
from itertools import count
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nc_core.ans import Message, Rans
from nc_core.datasets.arrays import ArrayRows
from nc_core.datasets.opening import DatasetRequest
from nc_core.evaluators.request import EvaluationRequest
from nc_core.hookspecs import hookimpl
from nc_core.model_file import ModelFile
from nc_core.protocols import Coder, Distribution
from nc_core.rates import Measurement
from nc_core.specs import (
    CoderSpec,
    DatasetSpec,
    EvaluatorSpec,
    Metric,
    ModelSpec,
    Pretrained,
)
from raw_model import RawModel

# Coders


class NamedRans(Rans):
    """As good as the default coder, under the name of its record."""


class LosesABit(NamedRans):
    """The last symbol of long messages comes back with its lowest bit cleared."""

    name = "loses-a-bit"

    def pop(self, message: Message, distribution: Distribution) -> NDArray[np.int64]:
        symbols = super().pop(message, distribution)
        if len(symbols) > 100:
            symbols[-1, -1] &= ~np.int64(1)
        return symbols


class InventsBits(NamedRans):
    """Goes on with zeros when the stack is empty."""

    name = "invents-bits"

    def pop(self, message: Message, distribution: Distribution) -> NDArray[np.int64]:
        before = message.copy()
        message.reserve(10_000)
        filled = message.copy()
        filled.stack[: message.size + 10_000] = 0
        filled.stack[10_000 : message.size + 10_000] = message.stack[: message.size]
        filled.cursor[:] += 10_000
        symbols = super().pop(filled, distribution)
        if filled.size >= 10_000:
            message.heads[:] = filled.heads
            message.cursor[0] = filled.size - 10_000
            message.cursor[1] = min(before.low_water, message.size)
        return symbols


class WastesBits(NamedRans):
    """Pushes a byte that nobody asked for."""

    name = "wastes-bits"

    def push(self, message: Message, symbols: NDArray[Any], distribution: Distribution) -> None:
        super().push(message, symbols, distribution)
        lanes = symbols.shape[1]
        for _ in range(8):
            ones = np.ones((1, lanes), np.uint64)
            super().push_intervals(message, ones, ones, 28)


class TakesTheImpossible(NamedRans):
    """Pushes something else for an impossible symbol."""

    name = "takes-the-impossible"

    def push(self, message: Message, symbols: NDArray[Any], distribution: Distribution) -> None:
        try:
            super().push(message, symbols, distribution)
        except ValueError:
            super().push(message, np.ones_like(symbols), distribution)


# Models


class _Model(RawModel):
    """Nothing wrong with it: raw samples."""

    package = ("nc-offenders", "1")

    def __init__(self, file: ModelFile) -> None:
        self.name, self.id = file.name, file.id


class Faultless(_Model):
    """What the offenders would be without their offence."""


class BatchCounts(_Model):
    """Its code length depends on how many blocks there are, like a network's batch norm."""

    def bits(self, blocks: NDArray[Any]) -> NDArray[np.float64]:
        return super().bits(blocks) * (1 + 1e-6 * (len(blocks) - 1))


class ForgetsASample(_Model):
    """Largest samples come back one smaller."""

    def pop(
        self, coder: Coder, message: Message, shape: tuple[int, int, int, int], dtype: np.dtype[Any]
    ) -> NDArray[Any]:
        blocks = super().pop(coder, message, shape, dtype)
        blocks[blocks == np.iinfo(dtype).max] -= 1
        return blocks


class LiesAboutBits(_Model):
    """Says that it needs half of the bits that it needs."""

    def push(self, coder: Coder, message: Message, blocks: NDArray[Any]) -> float:
        return super().push(coder, message, blocks) / 2


class ElboOfItsOwn(_Model):
    """Says better things to evaluators than to the engine."""

    def bits(self, blocks: NDArray[Any]) -> NDArray[np.float64]:
        return super().bits(blocks) * 0.8


class UsesPickle(_Model):
    """Copies what it is given by way of a pickle."""

    def push(self, coder: Coder, message: Message, blocks: NDArray[Any]) -> float:
        return super().push(coder, message, pickle.loads(pickle.dumps(blocks)))


class AnyWeights(_Model):
    """Takes its id from its name instead of from its file."""

    def __init__(self, file: ModelFile) -> None:
        super().__init__(file)
        self.id = "a" * 64


class RemembersTheProcess(_Model):
    """Codes samples xor a number that every process draws anew."""

    _KEY = np.uint8(time.time_ns() % 255 + 1)

    def push(self, coder: Coder, message: Message, blocks: NDArray[Any]) -> float:
        return super().push(coder, message, blocks ^ blocks.dtype.type(self._KEY))

    def pop(
        self, coder: Coder, message: Message, shape: tuple[int, int, int, int], dtype: np.dtype[Any]
    ) -> NDArray[Any]:
        return super().pop(coder, message, shape, dtype) ^ dtype.type(self._KEY)


class CrashesOnDamage(_Model):
    """Looks samples up in a table that is too short for what only damage brings."""

    def pop(
        self, coder: Coder, message: Message, shape: tuple[int, int, int, int], dtype: np.dtype[Any]
    ) -> NDArray[Any]:
        table = np.arange(140).astype(dtype)
        return table[super().pop(coder, message, shape, dtype)]


class SavesTooLate(_Model):
    """Takes the state that its journal keeps for that of the end."""

    journaled = True

    def push(
        self, coder: Coder, message: Message, blocks: NDArray[Any], *, journal: Any = None
    ) -> float:
        bits = super().push(coder, message, blocks[:1])
        if journal is not None:
            if journal.state() is not None:
                return bits
            journal.save(message, {"bits": bits})
        for block in blocks[1:]:
            bits += super().push(coder, message, block[None])
        return bits

    def pop(
        self,
        coder: Coder,
        message: Message,
        shape: tuple[int, int, int, int],
        dtype: np.dtype[Any],
        *,
        journal: Any = None,
    ) -> NDArray[Any]:
        single = (1, *shape[1:])
        blocks = [
            super(SavesTooLate, self).pop(coder, message, single, dtype) for _ in range(shape[0])
        ]
        return np.concatenate(blocks[::-1])


class ForgetsWhatItWasTold(_Model):
    """Does as it is told, and writes something else into the file."""

    coding: Mapping[str, str] = {"steps": "10"}

    def with_coding(self, options: Mapping[str, str]) -> ForgetsWhatItWasTold:
        if set(options) - {"steps"}:
            raise ValueError("it has the option 'steps' only")
        model = copy(self)
        model.coding = {"steps": str(int(options["steps"]) + 1)}
        return model


class ListensToAnything(_Model):
    """Takes coding options that it does not know."""

    coding: Mapping[str, str] = {}

    def with_coding(self, options: Mapping[str, str]) -> ListensToAnything:
        return self


_loads = count(1)


class EveryLoadDiffers(_Model):
    """Codes samples xor the number of its load, of which no file holds anything."""

    def __init__(self, file: ModelFile) -> None:
        super().__init__(file)
        self._key = next(_loads) % 251

    def push(self, coder: Coder, message: Message, blocks: NDArray[Any]) -> float:
        return super().push(coder, message, blocks ^ blocks.dtype.type(self._key))

    def pop(
        self, coder: Coder, message: Message, shape: tuple[int, int, int, int], dtype: np.dtype[Any]
    ) -> NDArray[Any]:
        return super().pop(coder, message, shape, dtype) ^ dtype.type(self._key)


_MODELS = {
    "faultless": Faultless,
    "batch-counts": BatchCounts,
    "forgets-a-sample": ForgetsASample,
    "lies-about-bits": LiesAboutBits,
    "elbo-of-its-own": ElboOfItsOwn,
    "uses-pickle": UsesPickle,
    "any-weights": AnyWeights,
    "remembers-the-process": RemembersTheProcess,
    "crashes-on-damage": CrashesOnDamage,
    "saves-too-late": SavesTooLate,
    "forgets-what-it-was-told": ForgetsWhatItWasTold,
    "listens-to-anything": ListensToAnything,
    "every-load-differs": EveryLoadDiffers,
}


# Datasets


class _Rows(ArrayRows):
    """Ten small grey images, as they are declared."""

    def __init__(self, request: DatasetRequest) -> None:
        super().__init__(request.name, np.arange(600, dtype=np.uint8).reshape(10, 6, 10))


class WrongDtype(_Rows):
    """Declares bytes, and gives floats."""

    def __getitem__(self, index: int) -> dict[str, NDArray[Any]]:
        return {"image": super().__getitem__(index)["image"].astype(np.float32)}


class NewEachTime(_Rows):
    """Adds one to every second item that is read."""

    _odd = False

    def __getitem__(self, index: int) -> dict[str, NDArray[Any]]:
        self._odd = not self._odd
        return {"image": super().__getitem__(index)["image"] + np.uint8(self._odd)}


class OutOfRange(_Rows):
    """Declares bits, and gives bytes."""

    def __init__(self, request: DatasetRequest) -> None:
        super().__init__(request)
        self.range = (0, 1)


class WrapsAround(_Rows):
    """Has an item for every index."""

    def __getitem__(self, index: int) -> dict[str, NDArray[Any]]:
        return super().__getitem__(index % len(self))


class HashesNames(_Rows):
    """Its values depend on Python's hash of a text, which differs from process to process."""

    def __getitem__(self, index: int) -> dict[str, NDArray[Any]]:
        image = super().__getitem__(index)["image"]
        code = (hash(f"{index}") % 2**63).to_bytes(8, "little")
        return {"image": image ^ np.resize(np.frombuffer(code, np.uint8), image.shape)}


_DATASETS = {
    "wrong-dtype": WrongDtype,
    "new-each-time": NewEachTime,
    "out-of-range": OutOfRange,
    "wraps-around": WrapsAround,
    "hashes-names": HashesNames,
}


# Evaluators

_calls = count()


def undeclared_metric(request: EvaluationRequest) -> list[Measurement]:
    """Return a metric that the record does not know."""
    return [
        Measurement(name="entropy", value=1.0, unit="bit"),
        Measurement(name="perplexity", value=2.0, unit="1"),
    ]


def other_unit(request: EvaluationRequest) -> list[Measurement]:
    """Return nats where bits are declared."""
    return [Measurement(name="entropy", value=1.0, unit="nat")]


def not_a_number(request: EvaluationRequest) -> list[Measurement]:
    """Return what is left of a division by zero."""
    return [Measurement(name="entropy", value=float("nan"), unit="bit")]


def own_seed(request: EvaluationRequest) -> list[Measurement]:
    """Return another value each time."""
    return [Measurement(name="entropy", value=float(next(_calls)), unit="bit")]


_EVALUATORS = (undeclared_metric, other_unit, not_a_number, own_seed)


# Processes


def forever(files: list[str]) -> Iterator[dict[str, Any]]:
    """Hang after the first event."""
    yield {"event": "begun"}
    time.sleep(600)


def suddenly(files: list[str]) -> Iterator[dict[str, Any]]:
    """Die after the first event, without a word."""
    yield {"event": "begun"}
    os.kill(os.getpid(), signal.SIGKILL)


@hookimpl
def nc_coders() -> Iterator[CoderSpec]:
    for kind in (LosesABit, InventsBits, WastesBits, TakesTheImpossible):
        target = f"{__name__}:{kind.__name__}"
        yield CoderSpec(name=kind.name, summary="wrong", target=target)


@hookimpl
def nc_models() -> Iterator[ModelSpec]:
    for number, (name, kind) in enumerate(_MODELS.items()):
        yield ModelSpec(
            name=name,
            summary="wrong",
            target=f"{__name__}:{kind.__name__}",
            abilities=("lossless-model",),
            pretrained=(Pretrained(name=name, summary="wrong", id=f"{number:064x}"),),
        )


@hookimpl
def nc_datasets() -> Iterator[DatasetSpec]:
    for name, kind in _DATASETS.items():
        yield DatasetSpec(name=name, summary="wrong", target=f"{__name__}:{kind.__name__}")


@hookimpl
def nc_evaluators() -> Iterator[EvaluatorSpec]:
    for function in _EVALUATORS:
        yield EvaluatorSpec(
            name=function.__name__.replace("_", "-"),
            summary="wrong",
            target=f"{__name__}:{function.__name__}",
            metrics=(Metric("entropy", "bit"),),
        )
