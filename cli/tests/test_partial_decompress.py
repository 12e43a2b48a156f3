"""``nc decompress --item`` and ``--keep-going``, as a user meets them."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from nc_core import compress
from nc_core.errors import ExitCode

# More than one chunk: predictive takes 2**20 pixels a chunk.
ROWS = np.tile(np.arange(256, dtype=np.uint8), (5, 1024, 2))


def decompress(folder: Path, *arguments: object, code: int = ExitCode.DONE) -> tuple[str, str]:
    """Run ``nc decompress``; what it printed on standard output and error."""
    done = subprocess.run(
        [sys.executable, "-m", "nc_cli", "decompress", *map(str, arguments)],
        capture_output=True, cwd=folder, check=False, text=True,
    )  # fmt: skip
    assert done.returncode == code, done.stderr
    return done.stdout, done.stderr


@pytest.fixture
def packed(tmp_path: Path) -> Path:
    compress(ROWS, tmp_path / "rows.ncz", layout="nhw")
    return tmp_path / "rows.ncz"


def damage_last_chunk(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[data.rindex(b"CODE") + 40] ^= 1
    path.write_bytes(data)


def test_one_item_becomes_one_file(packed: Path, tmp_path: Path) -> None:
    out, _ = decompress(tmp_path, packed, "--item", 3, "-o", "out")
    assert out.split() == ["out/array-3.npy"]
    assert np.array_equal(np.load(tmp_path / "out" / "array-3.npy"), ROWS[3])


def test_an_item_that_is_not_there_is_a_usage_error(packed: Path, tmp_path: Path) -> None:
    out, errors = decompress(tmp_path, packed, "--item", 5, code=ExitCode.USAGE)
    assert "no item 5" in errors
    assert "it holds 5 items, numbers 0 to 4" in errors
    assert out == ""


def test_what_is_left_of_a_damaged_file_is_written_and_the_exit_code_says_so(
    packed: Path, tmp_path: Path
) -> None:
    damage_last_chunk(packed)
    out, errors = decompress(tmp_path, packed, "-o", "out", code=ExitCode.CORRUPT)
    assert out == ""
    assert "--keep-going" in errors
    assert not (tmp_path / "out").exists()
    out, errors = decompress(
        tmp_path, packed, "-o", "out", "--keep-going", "--json", code=ExitCode.CORRUPT
    )
    document = json.loads(out)
    assert document["files"] == ["out/array.npy"]
    assert document["lost_items"] == [4]
    assert document["verified"] is False
    assert "1 of 5 items lost: 4; zeros in array.npy instead" in errors
    restored = np.load(tmp_path / "out" / "array.npy")
    assert np.array_equal(restored[:4], ROWS[:4])
    assert not restored[4].any()


def test_what_is_left_of_a_truncated_file_is_written(packed: Path, tmp_path: Path) -> None:
    packed.write_bytes(packed.read_bytes()[:-300])
    _, errors = decompress(tmp_path, packed, "-o", "out", code=ExitCode.CORRUPT)
    assert "truncated" in errors
    assert "--keep-going" in errors
    _, errors = decompress(tmp_path, packed, "-o", "out", "--keep-going", code=ExitCode.CORRUPT)
    assert "items lost: " in errors
    restored = np.load(tmp_path / "out" / "array.npy")
    assert np.array_equal(restored[:3], ROWS[:3])


def test_nothing_is_promised_of_a_file_without_a_whole_chunk(packed: Path, tmp_path: Path) -> None:
    whole = packed.read_bytes()
    for length in (4, whole.index(b"CODE") + 40):
        packed.write_bytes(whole[:length])
        _, errors = decompress(tmp_path, packed, "-o", "out", code=ExitCode.CORRUPT)
        assert "truncated" in errors
        assert "--keep-going" not in errors


def test_what_is_left_of_a_damaged_file_goes_to_standard_output_too(
    packed: Path, tmp_path: Path
) -> None:
    damage_last_chunk(packed)
    command = [sys.executable, "-m", "nc_cli", "decompress", packed, "-o", "-", "--keep-going"]
    done = subprocess.run(command, capture_output=True, cwd=tmp_path, check=False)
    assert done.returncode == ExitCode.CORRUPT
    assert np.array_equal(np.load(io.BytesIO(done.stdout))[:4], ROWS[:4])


def test_several_files_for_standard_output_are_refused_before_they_are_decoded(
    packed: Path, tmp_path: Path
) -> None:
    damage_last_chunk(packed)
    choice = ("--item", 0, "--item", 4)
    _, errors = decompress(tmp_path, packed, *choice, "-o", "-", code=ExitCode.USAGE)
    assert "2 files" in errors
