"""Every broken, odd and hostile file, in every place that a file can take on the command line.

    python bench/broken_inputs.py FOLDER --csv bench/results/broken-inputs.csv

For each file of FOLDER: as input of ``compress``, as a dataset, as a model, as a checkpoint to
import, as a container, and as a recipe. What is refused must say so in at most two lines, with an
exit code, leave nothing behind, and execute nothing (the hostile files create one named PWNED).
"""

from __future__ import annotations

import argparse
import csv
import os
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np

from nc_core.images import Image, write_image


@dataclass(frozen=True)
class Row:
    """One command on one file, and how it ended."""

    file: str
    used_as: str
    exit_code: int
    message: str
    faults: str


def commands(path: Path) -> Iterator[tuple[str, list[str]]]:
    """What a user may do with a file, by the place that it takes."""
    yield "input", ["compress", str(path), "-o", "out.ncz"]
    yield "dataset", _as_dataset(path)
    yield "model", ["compress", "photo.png", "-o", "out.ncz", "--model", str(path)]
    yield "container", ["decompress", str(path), "-o", "out"]
    yield "info", ["info", str(path)]
    yield "recipe", ["run", "bitswap", "train", "--recipe", str(path), "--out", "run"]
    if path.suffix in {".pt", ".npz", ".npy"}:
        yield "checkpoint", ["run", "bitswap", "import-checkpoint", str(path),
                             "-o", "out.safetensors"]  # fmt: skip


def _as_dataset(path: Path) -> list[str]:
    if path.name.startswith("idx_"):
        return ["data", "prepare", "mnist", "--from", str(path)]
    if path.name == "malicious_cifar":
        return ["data", "prepare", "cifar10", "--from", str(path)]
    kind = {".npz": "npz", ".npy": "npy"}.get(path.suffix, "folder")
    return ["compress", "--dataset", f"{kind}:{path}", "-o", "out.ncz"]


def run(file: str, used_as: str, arguments: list[str]) -> Row:
    """One command in a folder of its own, with a dataset folder of its own."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name, "work")
        folder.mkdir()
        write_image(folder / "photo.png", Image(np.zeros((8, 8, 3), np.uint8)))
        before = _files(folder)
        environment = {**os.environ, "NC_DATA": str(Path(name, "data"))}
        done = subprocess.run(
            [sys.executable, "-m", "nc_cli", *arguments],
            cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=300,
        )  # fmt: skip
        said = done.stderr.strip().splitlines()
        faults = []
        if done.returncode not in {0, 1, 2, 3, 4, 5} or "Traceback" in done.stderr:
            faults.append("crashed")
        if "unexpected" in done.stderr:
            faults.append("unexpected error")
        if done.returncode != 0 and (len(said) > 2 or not said):
            faults.append(f"{len(said)} lines")
        if done.returncode != 0 and _files(folder) != before:
            faults.append("left something behind")
        if any(path.name == "PWNED" for path in Path(name).rglob("*")):
            faults.append("EXECUTED")
    return Row(file, used_as, done.returncode, " / ".join(said), ", ".join(faults))


def _files(folder: Path) -> set[str]:
    return {str(path) for path in folder.rglob("*")}


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path, help="of the files")
    parser.add_argument("--csv", type=Path, metavar="FILE", help="write the table there")
    options = parser.parse_args()
    hidden = {"README.md", "SHA256SUMS"}
    paths = sorted(path for path in options.folder.resolve().iterdir() if path.name not in hidden)
    rows = []
    for path in paths:
        for used_as, arguments in commands(path):
            row = run(path.name, used_as, arguments)
            message = row.message.replace(f"{options.folder.resolve()}{os.sep}", "")
            rows.append(Row(row.file, row.used_as, row.exit_code, message, row.faults))
            print(f"{row.file:34} {used_as:10} {row.exit_code} {message[:120]} {row.faults}")
    if options.csv:
        with options.csv.open("w", newline="") as file:
            writer = csv.DictWriter(file, [field.name for field in fields(Row)])
            writer.writeheader()
            writer.writerows(asdict(row) for row in rows)
    faulty = [row for row in rows if row.faults]
    print(f"{len(rows)} commands, exit codes {dict(Counter(row.exit_code for row in rows))}, "
          f"{len(faulty)} faulty")  # fmt: skip
    for row in faulty:
        print(f"  {row.file} as {row.used_as}: {row.faults}: {row.message}")
    return 1 if faulty else 0


if __name__ == "__main__":
    sys.exit(main())
