"""Files do not depend on how a process computes: a selection of what ``bench/settings.py`` does."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest

PROGRAM = Path(__file__).parents[3] / "bench" / "settings.py"
SETTINGS = {"reference", "oneDNN off", "several at once"}


class Result(NamedTuple):
    """What processes said of themselves, and one row per file, maker and decoder."""

    processes: dict[str, dict[str, Any]]
    rows: list[dict[str, str]]


@pytest.fixture(scope="module")
def result(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Result:
    """Digits in both orders and patches of a photograph, coded by processes that compute as usual,
    and otherwise: workers, threads, oneDNN, instructions, memory layout, batch, order of chunks.
    """
    path = tmp_path_factory.mktemp("settings") / "settings.json"
    subprocess.run(
        [sys.executable, str(PROGRAM), "--selection", "--json", str(path)],
        env=os.environ | {"NC_TEST_SHARED": str(shared), "NC_DATA": str(path.parent)},
        check=False, capture_output=True, timeout=280,
    )  # fmt: skip
    with path.with_suffix(".csv").open(encoding="utf-8", newline="") as file:
        return Result(json.loads(path.read_text("utf-8"))["processes"], list(csv.DictReader(file)))


def test_processes_compute_otherwise(result: Result) -> None:
    usual, other = result.processes["reference"], result.processes["several at once"]
    assert (usual["torch_threads"], other["torch_threads"]) == (1, 2)
    assert usual["onednn"] and not other["onednn"]
    assert other["torch_instructions"] in {"DEFAULT", "NO AVX"}


def test_every_setting_makes_the_same_file(result: Result) -> None:
    assert {row["encoded_under"] for row in result.rows} == SETTINGS
    assert all(row["same_file"] == "True" for row in result.rows)


def test_every_file_decodes_under_every_setting(result: Result) -> None:
    assert len({row["file"] for row in result.rows}) == 4
    # Settings of torch do not concern "predictive", which has none.
    assert len(result.rows) == 3 * len(SETTINGS) ** 2 + 2**2
    assert all(row["decoded"] == "True" for row in result.rows)
