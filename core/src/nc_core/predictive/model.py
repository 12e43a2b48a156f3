"""The predictive codec as a lossless model of the engine."""

from __future__ import annotations

import hashlib
import json
from math import prod
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

import nc_core
from nc_core.ans import Message, Rans, RansNumpy
from nc_core.ans.arguments import restored_on_error
from nc_core.errors import CorruptFileError
from nc_core.model_file import ModelFile
from nc_core.predictive import colour
from nc_core.predictive.analysis import analyse
from nc_core.predictive.side import Side, pop_side, push_side, side_bits
from nc_core.predictive.state import new_state
from nc_core.protocols import Block, Coder

__all__ = ["PREDICTIVE_ID", "PredictiveModel", "load"]

_DESCRIPTION = {"name": "nc predictive codec", "format": 1}
PREDICTIVE_ID = hashlib.sha256(
    json.dumps(_DESCRIPTION, sort_keys=True, separators=(",", ":")).encode()
).hexdigest()
_PRECISION = 24
_ENCODE, _DECODE = 0, 1


def load(file: ModelFile) -> PredictiveModel:
    """The model of a registered member; there is one, and it has no weights."""
    return PredictiveModel(file.name)


class PredictiveModel:
    """Adaptive prediction of every sample from its neighbours; integers throughout.

    The blocks of a call are coded one after the other, and what was learnt stays.
    """

    package = ("nc-core", nc_core.__version__)
    arithmetic: Literal["exact", "float"] = "exact"
    tables = 1
    block = Block((1, 2, 3, 4), None, None, 1 << 20, ("uint8", "uint16"))
    lanes = 1
    group: int | None = None
    initial_words = 0
    adaptive = True

    def __init__(self, name: str = "predictive") -> None:
        self.name = name
        self.id = PREDICTIVE_ID

    def push(self, coder: Coder, message: Message, blocks: NDArray[Any]) -> float:
        """Push blocks and return their ideal code length in bits, side information included.

        Args:
            coder: any; every symbol is one interval of 24 bits.
            message: one lane is used.
            blocks: uint8 or uint16, (B, C, H, W), no axis empty, C at most 4.

        Raises:
            ValueError: another shape or dtype.
        """
        side, planes = self._analyse(blocks)
        starts, freqs = _intervals(side, planes)
        with restored_on_error(message):
            coder.push_intervals(message, starts[:, None], freqs[:, None], _PRECISION)
            push_side(coder, message, side, _sample_bits(blocks.dtype))
        return float(_code_length(freqs).sum()) + side_bits(side, _sample_bits(blocks.dtype))

    def pop(
        self, coder: Coder, message: Message, shape: tuple[int, int, int, int], dtype: np.dtype[Any]
    ) -> NDArray[Any]:
        """Pop what one ``push`` of blocks of that shape and dtype pushed.

        Raises:
            CorruptFileError: the message is damaged or too short.
            ValueError: a shape or dtype that ``push`` refuses.
        """
        dtype = np.dtype(dtype)
        self._check(shape, dtype)
        with restored_on_error(message):
            side = pop_side(_for_few(coder), message, shape[1], _sample_bits(dtype))
            samples = np.empty(prod(shape), np.int32)
            if isinstance(coder, Rans):
                _decode(message, side, shape, samples)
            else:
                _decode_stepwise(coder, message, side, shape, samples)
        blocks = colour.backward(samples.reshape(shape), side.transform)
        if blocks.min() < 0 or blocks.max() >= 1 << _sample_bits(dtype):
            raise CorruptFileError("decoded samples lie outside their range")
        return blocks.astype(dtype)

    def bits(self, blocks: NDArray[Any]) -> NDArray[np.float64]:
        """Code length of each block in bits; the side information of the call is shared evenly."""
        side, planes = self._analyse(blocks)
        _, freqs = _intervals(side, planes)
        each = _code_length(freqs).reshape(len(blocks), -1).sum(1)
        shared = side_bits(side, _sample_bits(blocks.dtype)) / len(blocks)
        return np.asarray(each + shared, np.float64)

    def probe(self) -> str:
        """Hex sha256 of the intervals of a fixed small image."""
        ramp = np.arange(2 * 3 * 24 * 40, dtype=np.int64).reshape(2, 3, 24, 40)
        blocks = (ramp * ramp // 97 + ramp // 7 + (ramp % 41) ** 2).astype(np.uint8)
        side, planes = self._analyse(blocks)
        starts, freqs = _intervals(side, planes)
        digest = hashlib.sha256(starts.astype("<u8").tobytes())
        digest.update(freqs.astype("<u8").tobytes())
        return digest.hexdigest()

    def _analyse(self, blocks: NDArray[Any]) -> tuple[Side, NDArray[np.int32]]:
        self._check(blocks.shape, blocks.dtype)
        return analyse(blocks, _sample_bits(blocks.dtype))

    def _check(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        if len(shape) != 4 or shape[1] not in self.block.channels or not all(shape):
            raise ValueError(f"blocks have the shape (B, C, H, W), C in 1 .. 4, not {shape}")
        if dtype.name not in self.block.dtypes:
            raise ValueError(f"samples are {' or '.join(self.block.dtypes)}, not {dtype}")


def _for_few(coder: Coder) -> Coder:
    """The coder to pop side information with: the same words without a kernel to compile."""
    return RansNumpy() if isinstance(coder, Rans) else coder


class _Sample:
    """The distribution of one sample: locating a count decodes it and moves on."""

    precision = _PRECISION
    shape = (1, 1)

    def __init__(self, state: list[Any], index: int) -> None:
        self._state = state
        self._index = index

    def intervals(self, symbols: NDArray[Any]) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
        """Not offered: encoding pushes intervals."""
        raise ValueError("a sample of the predictive codec is only popped")

    def locate(
        self, step: int, counts: NDArray[np.uint64]
    ) -> tuple[NDArray[np.int64], NDArray[np.uint64], NDArray[np.uint64]]:
        """The sample that owns the count; a message of one symbol stands in for the coder's."""
        stand_in = Message()
        stand_in.heads[0] = (np.uint64(1) << np.uint64(62)) | counts[0]
        stand_in.cursor[0] = 8
        start, freq = np.zeros(1, np.uint64), np.zeros(1, np.uint64)
        _run(stand_in, self._state, self._index, self._index + 1, _DECODE, start, freq)
        return self._state[3][self._index : self._index + 1].astype(np.int64), start, freq


def _intervals(
    side: Side, planes: NDArray[np.int32]
) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    samples = np.ascontiguousarray(planes).ravel()
    starts, freqs = np.empty(samples.size, np.uint64), np.empty(samples.size, np.uint64)
    state = new_state(planes.shape, side, samples)
    _run(Message(), state, 0, samples.size, _ENCODE, starts, freqs)
    return starts, freqs


def _decode(
    message: Message, side: Side, shape: tuple[int, ...], samples: NDArray[np.int32]
) -> None:
    start, freq = np.zeros(1, np.uint64), np.zeros(1, np.uint64)
    _run(message, new_state(shape, side, samples), 0, samples.size, _DECODE, start, freq)


def _decode_stepwise(
    coder: Coder, message: Message, side: Side, shape: tuple[int, ...], samples: NDArray[np.int32]
) -> None:
    state = new_state(shape, side, samples)
    for index in range(samples.size):
        coder.pop(message, _Sample(state, index))


def _run(
    message: Message, state: list[Any], first: int, last: int, mode: int,
    starts: NDArray[np.uint64], freqs: NDArray[np.uint64],
) -> None:  # fmt: skip
    from nc_core.predictive import kernels

    numbers, *rest = state
    status = kernels.code(
        message.heads,
        message.stack,
        message.cursor,
        numbers,
        first,
        last,
        mode,
        *rest,
        starts,
        freqs,
    )
    if status != kernels.OK:
        raise CorruptFileError("message ends before the last sample")


def _code_length(freqs: NDArray[np.uint64]) -> NDArray[np.float64]:
    return _PRECISION - np.log2(freqs.astype(np.float64))


def _sample_bits(dtype: np.dtype[Any]) -> int:
    return 8 * dtype.itemsize
