"""Large jobs through the command line: memory, progress, random access, recovery.

Compresses ten thousand digits, and six hundred photographs of different sizes, into one container
each, and measures the peak memory of every command, the time of ``nc info``, one item read alone
(``--item``), and what is left after a byte of the file was changed (``--keep-going``).

    python bench/big_jobs.py --photographs FOLDER --json bench/results/big-jobs.json

MNIST must be prepared (``nc data prepare mnist``); FOLDER is searched for images with its
folders.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from nc_core.images import read_image

SCHEMA = "nc.bench.big-jobs/1"
_SUFFIXES = {".png", ".jpg", ".jpeg"}


@dataclass(frozen=True)
class Run:
    """One command: its exit code, CPU and wall time in seconds, and peak memory in MB."""

    command: str
    exit_code: int
    cpu_seconds: float
    wall_seconds: float
    peak_mb: float
    progress_lines: int
    last_line: str


def nc(*arguments: object) -> Run:
    """Run ``nc`` alone and measure it."""
    words = [str(argument) for argument in arguments]
    start = time.perf_counter()
    with tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(
            [sys.executable, "-m", "nc_cli", *words], stdout=subprocess.DEVNULL, stderr=errors
        )
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        errors.seek(0)
        lines = errors.read().splitlines()
    return Run(
        command=" ".join(["nc", *(Path(word).name if "/" in word else word for word in words)]),
        exit_code=process.returncode,
        cpu_seconds=round(usage.ru_utime + usage.ru_stime, 2),
        wall_seconds=round(time.perf_counter() - start, 2),
        peak_mb=round(usage.ru_maxrss / 1024, 1),
        progress_lines=sum(" left" in line for line in lines),
        last_line=lines[-1] if lines else "",
    )


def digits(folder: Path, model: str, count: int) -> list[Run]:
    """Ten thousand digits as one array, and item 17 of them."""
    packed = folder / f"{model}-{count}.ncz"
    runs = [
        nc("compress", "--dataset", "mnist:test", "--limit", count, "--model", model, "-o", packed),
        nc("decompress", packed, "-o", folder / "all"),
        nc("decompress", packed, "-o", folder / "one", "--item", 17),
        nc("info", packed),
    ]
    (one,) = (folder / "one").iterdir()
    (everything,) = (folder / "all").iterdir()
    assert np.array_equal(np.load(one), np.load(everything)[17])
    for name in ("one", "all"):
        shutil.rmtree(folder / name)
    return runs


def photographs(folder: Path, images: list[Path]) -> list[Run]:
    """Photographs of different sizes in one container, with one damaged byte at the end."""
    links, packed = folder / "in", folder / "photographs.ncz"
    links.mkdir()
    for number, image in enumerate(images):
        (links / f"{number:04}{image.suffix.lower()}").symlink_to(image)
    runs = [
        nc("compress", links, "-o", packed),
        nc("info", packed),
        nc("decompress", packed, "-o", folder / "one", "--item", len(images) // 2),
    ]
    (one,) = (folder / "one").iterdir()
    assert np.array_equal(read_image(one).pixels, read_image(images[len(images) // 2]).pixels)
    data = bytearray(packed.read_bytes())
    data[len(data) // 2] ^= 1
    packed.write_bytes(data)
    runs += [
        nc("decompress", packed, "-o", folder / "none"),
        nc("decompress", packed, "-o", folder / "left", "--keep-going"),
    ]
    restored = sorted((folder / "left").iterdir())
    for path in restored[:: max(len(restored) // 20, 1)]:
        original = images[int(path.name[:4])]
        assert np.array_equal(read_image(path).pixels, read_image(original).pixels)
    assert 0 < len(images) - len(restored) <= 20
    assert not (folder / "none").exists()
    return runs


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--photographs", type=Path, metavar="FOLDER", help="of at least 600")
    parser.add_argument("--count", type=int, default=600, help="of photographs (default: 600)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results there")
    options = parser.parse_args()
    runs: list[Run] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for model, count in (("bitswap-mnist", 1000), ("bitswap-mnist", 10_000),
                             ("predictive", 10_000)):  # fmt: skip
            runs += digits(folder, model, count)
        if options.photographs:
            found = sorted(
                path.resolve() for path in options.photographs.rglob("*")
                if path.suffix.lower() in _SUFFIXES
            )  # fmt: skip
            runs += photographs(folder, found[: options.count])
    for run in runs:
        print(f"{run.peak_mb:7.0f} MB {run.wall_seconds:7.2f} s  {run.exit_code}  {run.command}")
        print(f"           {run.progress_lines} lines of progress; {run.last_line}")
    if options.json:
        document: dict[str, Any] = {
            "schema": SCHEMA,
            "machine": platform.machine(),
            "runs": [asdict(run) for run in runs],
        }
        options.json.write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    main()
