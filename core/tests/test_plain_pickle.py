"""Pickles of plain data are read, and nothing that one names is called."""

from __future__ import annotations

import pickle
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cifar_batches import array, batch, text
from nc_core.datasets.plain_pickle import read_plain_pickle
from nc_core.errors import DataError


def test_a_batch_of_python_2_is_read_as_it_was_written() -> None:
    rows = np.arange(12, dtype=np.uint8).reshape(3, 4)
    content = read_plain_pickle(batch(rows, [3, 0, 9]), "batch")
    assert content["labels"] == [3, 0, 9]
    np.testing.assert_array_equal(content["data"], rows)
    fortran = b"\x80\x02}(" + text("data") + array(rows.T, fortran=True) + b"u."
    np.testing.assert_array_equal(read_plain_pickle(fortran, "batch")["data"], rows.T)


def test_values_may_be_recalled_from_the_memo() -> None:
    data = b"\x80\x02}q\x00(" + text("a") + b"q\x01]q\x02K\x05a" + text("b") + b"h\x02u."
    assert read_plain_pickle(data, "x") == {"a": [5], "b": [5]}


def test_official_files_are_read(shared: Path) -> None:
    folder = shared / "data" / "cifar10-format-standin" / "cifar-10-batches-py"
    content = read_plain_pickle((folder / "data_batch_1").read_bytes(), "batch")
    assert content["batch_label"] == "training batch 1 of 5"
    assert content["data"].shape == (200, 3072)
    assert len(content["filenames"]) == 200
    meta = read_plain_pickle((folder / "batches.meta").read_bytes(), "meta")
    assert meta["num_vis"] == 3072
    assert meta["label_names"][9] == "group9"


class Payload:
    """Creates a file when it is unpickled."""

    def __reduce__(self) -> Any:
        return open, ("PWNED", "w")


@pytest.mark.parametrize("protocol", range(6))
def test_nothing_is_called(protocol: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for value in (Payload(), {"data": Payload()}, {"data": np.dtype}):
        with pytest.raises(DataError) as error:
            read_plain_pickle(pickle.dumps(value, protocol), "batch")
        assert "\n" not in error.value.message
    assert not list(tmp_path.iterdir())


DAMAGED = [
    (b"", "ends early"),
    (b"text that is no pickle", "damaged|refused"),
    (b"\x80\x02", "ends early"),
    (b"\x80\x02}", "ends early"),
    (b"\x80\x02cos", "ends early"),
    (b"\x80\x02.", "damaged"),
    (b"\x80\x04}.", "protocol 4"),
    (b"\x80\x02].", "of a list, not of a dict"),
    (b"\x80\x02}}.", "damaged"),
    (b"\x80\x02}(K\x01K\x02u.", "keys that are not texts"),
    (b"\x80\x02}(" + text("a") + b"u.", "damaged"),
    (b"\x80\x02}" + text("a") + b"K\x01a.", "a list that is none"),
    (b"\x80\x02}u.", "mark is missing"),
    (b"\x80\x02}h\x05.", "damaged"),
    (b"\x80\x02}\x87.", "too few values"),
    (b"\x80\x02cos\nsystem\n" + text("ls") + b"\x85R.", "wants to call os.system"),
    (b"\x80\x02cnumpy\nndarray\n(tR.", "call that plain data do not need"),
    (b"\x80\x02}}b.", "fills something other than an array"),
    (b"\x80\x02(i__main__\nx\n.", "instruction i"),
    (b"\x80\x02}\x8e\xff\xff\xff\xff\xff\xff\xff\x7f.", "damaged"),
]


@pytest.mark.parametrize(("data", "reason"), DAMAGED)
def test_damaged_and_hostile_pickles_are_refused_in_one_line(data: bytes, reason: str) -> None:
    with pytest.raises(DataError, match=reason) as error:
        read_plain_pickle(data, "batch")
    assert error.value.message.startswith("batch: ")
    assert "\n" not in error.value.message


def test_arrays_that_are_not_bytes_or_not_whole_are_refused() -> None:
    rows = np.zeros((2, 3), np.uint8)
    good = b"\x80\x02}(" + text("data") + array(rows) + b"u."
    for old, new, reason in [
        (b"U\x02u1", b"U\x02f8", "array of f8 where uint8 is needed"),
        (b"K\x02K\x03\x86", b"K\x02K\x04\x86", r"shape \(2, 4\) with 6 bytes"),
        (b"K\x02K\x03\x86", b"K\x02U\x01x\x86", "array without a shape"),
        (b"K\x02K\x03\x86", b"J\xff\xff\xff\xffK\x03\x86", "array without a shape"),
    ]:
        assert old in good
        with pytest.raises(DataError, match=reason):
            read_plain_pickle(good.replace(old, new), "batch")


def test_sizes_that_a_file_does_not_have_cost_no_memory() -> None:
    claims = [
        b"\x80\x02}T\xff\xff\xff\x7f",  # a text of two gigabytes
        b"\x80\x02}r\xff\xff\xff\x7f.",  # a place in the memo far away
        b"\x80\x02}(" + text("data") + array(np.zeros((1, 1), np.uint8)).replace(
            b"K\x01K\x01\x86", b"J\xff\xff\xff\x7fJ\xff\xff\xff\x7f\x86"
        ) + b"u.",
    ]  # fmt: skip
    tracemalloc.start()
    try:
        for data in claims:
            try:
                read_plain_pickle(data, "batch")
            except DataError:
                continue
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


def test_any_single_damage_of_the_framing_is_refused_or_harmless() -> None:
    whole = batch(np.arange(6, dtype=np.uint8).reshape(2, 3), [1, 2])
    generator = np.random.default_rng(0)
    for _ in range(3000):
        data = bytearray(whole)
        for place in generator.integers(0, len(data), generator.integers(1, 4)):
            data[place] = generator.integers(0, 256)
        cut = generator.integers(0, len(data) + 1) if generator.random() < 0.2 else len(data)
        try:
            assert isinstance(read_plain_pickle(bytes(data[:cut]), "batch"), dict)
        except DataError as error:
            assert "\n" not in error.message


def test_one_text_does_not_become_many_arrays() -> None:
    rows = np.full((64, 64), 7, np.uint8)
    once = text("data") + array(rows)
    start, _, end = array(rows).partition(b"T" + rows.size.to_bytes(4, "little") + rows.tobytes())
    again = b"".join(text(f"copy{i}") + start + b"h\x09" + end for i in range(9))
    memo = once.replace(rows.tobytes(), rows.tobytes() + b"q\x09")
    data = b"\x80\x02}(" + memo + again + b"u."
    with pytest.raises(DataError, match="more bytes than the file has"):
        read_plain_pickle(data, "batch")
