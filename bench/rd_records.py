"""What the programs about bounds share: the original's numbers, and records of results."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Callable, Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from nc_core.plots import write_csv

SCHEMA = "nc-bench-rd-bounds/1"
SHARED = Path(os.environ.get("NC_TEST_SHARED", Path(__file__).parents[2] / "shared"))
MEASURED = SHARED / "golden" / "rd-bounds-vector" / "scaled_runs.json"


def original(question: str) -> dict[str, dict[str, Any]]:
    """The original's runs, ``upper_bound`` or ``lower_bound``, by name."""
    return {row["name"]: row for row in json.loads(MEASURED.read_text())[question]["rows"]}


def evaluation_of(run: dict[str, Any], k: int) -> dict[str, Any]:
    """The original's evaluation of a network with minibatches of k samples."""
    (found,) = (one for one in run["evaluations"] if one["k"] == k)
    return dict(found)


def versions() -> dict[str, str]:
    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "machine": platform.machine(),
        "capability": torch.backends.cpu.get_cpu_capability(),
    }


def write(folder: Path, question: str, rows: list[dict[str, Any]], about: dict[str, Any]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"rd-bounds-{question}.json"
    document = {"schema": SCHEMA, "versions": versions(), **about, "rows": rows}
    path.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    write_csv(path.with_suffix(".csv"), list(rows[0]), [list(row.values()) for row in rows])


def record(
    rows: Iterable[Any], show: Callable[[Any], None], out: Path | None, question: str, quick: bool
) -> None:
    """Print rows as they come, and write all so far after each: some take minutes."""
    found: list[dict[str, Any]] = []
    load = os.getloadavg()[0]
    for row in rows:
        show(row)
        found.append(asdict(row))
        if out is not None:
            about = {"quick": quick, "load_average": [load, os.getloadavg()[0]]}
            write(out, question, found, about)
