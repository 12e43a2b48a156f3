"""Files of saved state: whole or not at all, bound to their work, and never believed."""

from __future__ import annotations

import hashlib
import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nc_core.saved_state import (
    DamagedStateError,
    ForeignStateError,
    read_state,
    write_state,
)
from nc_core.testing.journals import MemoryJournal

KEY, OTHER = b"k" * 32, b"o" * 32
ARRAYS: dict[str, Any] = {
    "bits": 3.5,
    "step": np.int64(7),
    "flag": np.bool_(True),
    "none": np.empty((0, 3), np.float32),
    "big endian": np.arange(6, dtype=">u2").reshape(2, 3),
    "image": np.arange(24, dtype=np.uint8).reshape(2, 3, 4)[:, ::2],
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state"


def test_arrays_come_back_and_may_be_changed(path: Path) -> None:
    for durable in (True, False):
        write_state(path, KEY, ARRAYS, durable=durable)
        found = read_state(path, KEY)
        assert found is not None
        assert found.keys() == ARRAYS.keys()
        for name, value in ARRAYS.items():
            assert found[name].shape == np.shape(value)
            assert found[name].dtype == np.asarray(value).dtype.newbyteorder("=")
            assert np.array_equal(found[name], value)
            found[name][...] = 0
    assert [entry.name for entry in path.parent.iterdir()] == ["state"]


def test_a_file_that_is_not_there_is_no_error(path: Path) -> None:
    assert read_state(path, KEY) is None


def test_state_of_other_work_is_refused(path: Path) -> None:
    write_state(path, KEY, ARRAYS)
    with pytest.raises(ForeignStateError, match="another input, model or version"):
        read_state(path, OTHER)


def test_any_flipped_byte_or_truncation_is_damage(path: Path) -> None:
    write_state(path, KEY, ARRAYS)
    data = path.read_bytes()
    for index in range(len(data)):
        path.write_bytes(data[:index] + bytes([data[index] ^ 4]) + data[index + 1 :])
        with pytest.raises(DamagedStateError):
            read_state(path, KEY)
        path.write_bytes(data[:index])
        with pytest.raises(DamagedStateError):
            read_state(path, KEY)


@pytest.mark.parametrize(
    "header",
    [
        [["x", "<u8", [1 << 40]]],
        [["x", "<u8", [1 << 70]]],
        [["x", "|O", [1]]],
        [["x", "<u8", [-1]]],
        [["x", "<u8", [1] * 40]],
        [["x", "no dtype", [1]]],
        [["x", "<u8", "1"]],
        [["x", "<u8"]],
        [[["x"], "<u8", [1]]],
        [["x", "<u4", [1]]],
        {"x": 1},
        7,
    ],
)
def test_a_header_that_lies_is_damage_though_its_checksum_fits(path: Path, header: Any) -> None:
    text = json.dumps(header).encode()
    body = KEY + struct.pack("<I", len(text)) + text + bytes(8)
    path.write_bytes(hashlib.sha256(body).digest() + body)
    with pytest.raises(DamagedStateError):
        read_state(path, KEY)


def test_a_link_is_not_followed(path: Path) -> None:
    write_state(path, KEY, ARRAYS)
    link = path.with_name("link")
    link.symlink_to(path)
    with pytest.raises(OSError, match="symbolic link"):
        read_state(link, KEY)


def test_what_is_no_number_cannot_be_saved(path: Path) -> None:
    from nc_core.ans.message import Message

    for value in ("text", None, [1, "x"]):
        with pytest.raises(TypeError, match="x: cannot save"):
            write_state(path, KEY, {"x": value})
        with pytest.raises(TypeError, match="x: cannot save"):
            MemoryJournal().save(Message(), {"x": value})
    assert list(path.parent.iterdir()) == []
