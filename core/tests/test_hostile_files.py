"""Files made to do harm: every checksum in them is right, and what they say is not."""

from __future__ import annotations

import io
import math
import struct
import time
import tracemalloc
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from nc_core.ans.rans import Rans
from nc_core.blocks import Tiling, fewest_chunks, plan_chunks
from nc_core.container import ContainerReader, ContainerWriter
from nc_core.content import Content, Item, check_name
from nc_core.decoding import decode_container
from nc_core.encoding import Encoding
from nc_core.errors import CorruptFileError, DataError, WorkError
from nc_core.header import Header, stored_rate
from nc_core.metadata import METADATA_LIMITS, pack_metadata
from nc_core.sources import ArraySource, Metadata, Source
from raw_model import BorrowingModel, RawModel

CODER = Rans()
RANDOM = np.random.default_rng(0)
Chunks = list[tuple[bytes, bytes]]
Change = Callable[[dict[str, Any], Chunks, dict[str, Any]], None]


class Pictures:
    """Images of 2 x 2 pixels, the first with a colour profile."""

    def __init__(self, count: int = 3) -> None:
        items = tuple(Item((2, 2), "uint8", "hw", f"{i}.png") for i in range(count))
        self.content = Content("images", items)

    def load(self, index: int) -> tuple[NDArray[Any], Metadata]:
        return np.full((2, 2), index, np.uint8), [(b"ICCP", b"profile")] if index == 0 else []


def container(source: Source, model: RawModel) -> bytes:
    file = io.BytesIO()
    header = Header.describing(source.content, model, CODER.name)
    Encoding(file, header, source, model, CODER).to_the_end(1, None)
    return file.getvalue()


def changed(data: bytes, change: Change) -> bytes:
    """The container with other contents and right checksums."""
    reader = ContainerReader(io.BytesIO(data), "x.ncz")
    chunks = list(reader.chunks())
    change(reader.header, chunks, reader.footer)
    file = io.BytesIO()
    writer = ContainerWriter(file, reader.header)
    for kind, payload in chunks:
        writer.chunk(kind, payload)
    writer.finish(reader.footer)
    return file.getvalue()


def decode(data: bytes, model: RawModel) -> int:
    reader = ContainerReader(io.BytesIO(data), "x.ncz")
    header = Header.from_json(reader.header, "x.ncz")
    stored_rate(reader, header)
    return sum(1 for _ in decode_container(reader, header, model, CODER))


def test_a_change_of_nothing_is_no_damage() -> None:
    data = changed(container(Pictures(), RawModel()), lambda *_: None)
    assert decode(data, RawModel()) == 3


@pytest.mark.parametrize(
    "rates",
    [
        None,
        [],
        {},
        {"payload_bits": -1},
        {"payload_bits": 10**400},
        {"payload_bits": 1.5},
        {"payload_bits": True},
        {"initial_bits": 10**9},
        {"bound_bits": 10**400},
        {"bound_bits": 1e18},
        {"bound_bits": "1"},
        {"bound_bits": False},
    ],
    ids=str,
)
def test_rates_that_cannot_be_are_refused(rates: Any) -> None:
    def change(_header: Any, _chunks: Any, footer: dict[str, Any]) -> None:
        footer["rates"] = footer["rates"] | rates if rates else rates

    with pytest.raises(CorruptFileError, match="footer holds no rates"):
        decode(changed(container(Pictures(), RawModel()), change), RawModel())


@pytest.mark.parametrize("bound", [math.nan, math.inf, -math.inf])
def test_a_rate_that_is_no_number_is_refused(bound: float) -> None:
    reader = ContainerReader(io.BytesIO(container(Pictures(), RawModel())), "x.ncz")
    reader.footer["rates"]["bound_bits"] = bound
    with pytest.raises(CorruptFileError, match="footer holds no rates"):
        stored_rate(reader, Header.from_json(reader.header, "x.ncz"))


@pytest.mark.parametrize(
    "change",
    [
        {"arithmetic": "float"},
        {"lanes": 1},
        {"lanes": 1 << 20},
        {"group": 1},
        {"initial_words": 1 << 26},
        {"tiling": [0, 0, 1 << 24]},
        {"tiling": [1, 1, 4096]},
    ],
    ids=str,
)
def test_a_header_that_does_not_fit_its_model_is_refused(change: dict[str, Any]) -> None:
    data = changed(container(Pictures(), RawModel()), lambda header, *_: header.update(change))
    with pytest.raises(CorruptFileError, match="does not fit model 'raw'"):
        decode(data, RawModel())


@pytest.mark.parametrize("key", ["model", "coder", "arithmetic", "probe", "model_id"])
@pytest.mark.parametrize("text", ["\x1b[2J", "\x9b2J", "a\nb", "\u202egnp", "x" * 256])
def test_text_that_a_terminal_would_obey_is_refused(key: str, text: str) -> None:
    data = changed(container(Pictures(), RawModel()), lambda header, *_: header.update({key: text}))
    with pytest.raises(CorruptFileError):
        decode(data, RawModel())


@pytest.mark.parametrize("name", ["\x9b2J.png", "\u202egnp.a", "a\u2028b"])
def test_file_names_that_a_terminal_would_obey_are_refused(name: str) -> None:
    with pytest.raises(DataError) as caught:
        check_name(name)
    assert caught.value.message.isprintable()


def test_usual_names_in_any_script_are_file_names() -> None:
    for name in ("ünï.png", "写真\u3000一.png", "Screenshot at 9.41\u202fAM.png", "a b.png"):
        check_name(name)


@pytest.mark.parametrize(
    ("name", "reason"),
    [("a:b", "':'"), ("a?", "'?'"), ("nul", "reserves"), ("a.", "ends in '.'"), ("é" * 128, "255")],
)
def test_a_refused_file_name_is_told_why(name: str, reason: str) -> None:
    with pytest.raises(DataError) as caught:
        check_name(name)
    assert reason in caught.value.message


def profile(item: int, data: bytes = b"x") -> tuple[bytes, bytes]:
    return b"ICCP", pack_metadata(b"ICCP", item, data, "x")


@pytest.mark.parametrize(
    "extra",
    [
        [profile(1), profile(1)],  # two of one kind
        [profile(0)],
        [profile(3)],  # no such item
        [profile(1 << 31)],
        [(b"EXIF", b"abc")],
        [(b"EXIF", bytes(4) + b"no zlib stream")],
        [(b"EXIF", bytes(4) + zlib.compress(bytes(METADATA_LIMITS[b"EXIF"] + 1)))],
        [(b"EXIF", bytes(4) + zlib.compress(bytes(1000))[:-1])],
        [(b"JUNK", b"")],
    ],
    ids=str,
)
def test_metadata_that_belong_nowhere_are_refused(extra: Chunks) -> None:
    data = changed(
        container(Pictures(), RawModel()),
        lambda _header, chunks, _footer: chunks.__setitem__(slice(0, 0), extra),
    )
    with pytest.raises(CorruptFileError):
        decode(data, RawModel())


def test_metadata_behind_the_last_item_are_refused() -> None:
    data = changed(
        container(Pictures(), RawModel()),
        lambda _header, chunks, _footer: chunks.append(profile(2)),
    )
    with pytest.raises(CorruptFileError, match="do not fit"):
        decode(data, RawModel())


def test_metadata_of_many_items_take_the_memory_of_one() -> None:
    bomb = bytes(METADATA_LIMITS[b"ICCP"])
    _, packed = profile(0, bomb)
    count = 30

    def change(_header: Any, chunks: Chunks, _footer: Any) -> None:
        chunks[:-1] = [(b"ICCP", i.to_bytes(4, "little") + packed[4:]) for i in range(count)]

    data = changed(container(Pictures(count), RawModel()), change)
    tracemalloc.start()
    assert decode(data, RawModel()) == count
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 5 * len(bomb)


def test_metadata_that_no_container_holds_are_refused_when_compressing() -> None:
    with pytest.raises(DataError, match=r"a\.png: .* bytes of EXIF"):
        pack_metadata(b"EXIF", 0, bytes(METADATA_LIMITS[b"EXIF"] + 1), "a.png")


@pytest.mark.parametrize(
    ("shape", "layout"),
    [([(1 << 31) - 1, 1, 1], "nhw"), ([1 << 30, 1 << 30], "hw"), ([(1 << 31) - 1] * 9, "none")],
)
def test_content_beyond_the_file_takes_neither_time_nor_memory(
    shape: list[int], layout: str
) -> None:
    class Wide(RawModel):
        block = RawModel.block.__class__((1, 2, 3), None, None, 1 << 24)

    def change(header: dict[str, Any], chunks: Chunks, _footer: Any) -> None:
        header["content"].update(shape=shape, layout=layout)
        chunks += chunks * 1000

    data = changed(container(ArraySource(np.zeros((4, 4), np.uint8)), Wide()), change)
    tracemalloc.start()
    start = time.process_time()
    with pytest.raises(CorruptFileError, match="do not fit"):
        decode(data, Wide())
    seconds = time.process_time() - start
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert seconds < 2
    assert peak < 1 << 24


def test_a_chunk_has_a_limited_number_of_tiles() -> None:
    content = Content("array", (Item((1, 1), "uint8", "hw"),), 200_000, "x.npy")
    tiling = Tiling(0, 0, 1 << 24)
    assert [len(tiles) for tiles in plan_chunks(content, tiling)] == [65536] * 3 + [3392]
    assert fewest_chunks(content, tiling) == 4


@pytest.mark.parametrize("tiling", [Tiling(0, 0, 64), Tiling(16, 16, 64), Tiling(4, 4, 64)])
def test_the_fewest_chunks_are_never_more_than_there_are(tiling: Tiling) -> None:
    for shape in ((1, 1), (7, 9), (64, 3), (31, 33)):
        content = Content("array", (Item(shape, "uint8", "hw"),), 5, "x.npy")
        assert 1 <= fewest_chunks(content, tiling) <= sum(1 for _ in plan_chunks(content, tiling))


def test_many_names_are_checked_in_linear_time() -> None:
    items = tuple(Item((1, 1), "uint8", "hw", f"{i}.png") for i in range(60_000))
    start = time.process_time()
    with pytest.raises(DataError, match=r"7\.PNG: two inputs"):
        Content("images", (*items, Item((1, 1), "uint8", "hw", "7.PNG"))).check()
    assert time.process_time() - start < 5


@pytest.mark.parametrize("error", [ValueError("impossible symbol"), WorkError("out of words")])
def test_a_model_that_chokes_on_a_chunk_says_that_it_is_damaged(error: Exception) -> None:
    class Choking(BorrowingModel):
        def pop(self, *_: Any) -> NDArray[Any]:
            raise error

    data = container(Pictures(), Choking())
    with pytest.raises(CorruptFileError, match=f"x.ncz: damaged: {error}"):
        decode(data, Choking())


@pytest.mark.parametrize("model", [RawModel(), BorrowingModel()], ids=lambda model: model.name)
def test_noise_in_a_chunk_never_ends_in_another_error(model: RawModel) -> None:
    data = container(Pictures(), model)

    def change(_header: Any, chunks: Chunks, _footer: Any) -> None:
        kind, payload = chunks[-1]
        noise = bytearray(payload)
        for _ in range(RANDOM.integers(1, 9)):
            noise[RANDOM.integers(len(noise))] = RANDOM.integers(256)
        chunks[-1] = kind, bytes(noise[: len(noise) - 4 * int(RANDOM.integers(3))])

    for _ in range(300):
        hostile = changed(data, change)
        try:
            assert decode(hostile, model) == 3
        except CorruptFileError:
            continue


def test_a_code_length_that_is_no_number_is_refused() -> None:
    def change(_header: Any, chunks: Chunks, _footer: Any) -> None:
        kind, payload = chunks[-1]
        chunks[-1] = kind, payload[:4] + struct.pack("<d", math.nan) + payload[12:]

    with pytest.raises(CorruptFileError, match="code length"):
        decode(changed(container(Pictures(), RawModel()), change), RawModel())
