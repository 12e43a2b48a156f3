"""Photographs by our models and by the classical codecs: size and time of every image alone.

    python bench/photographs.py --images ../shared/data/kodak --json bench/results/photographs.json

Ours go through ``nc_core.compress`` and ``decompress``, so their times include reading the image
and loading the model; the classical codecs are given pixels. Sizes are complete files. Times are
CPU seconds in one thread, the lesser of ``--runs``; everything is decoded and compared. Beside
the JSON file go all numbers as ``.csv`` and a figure. ``--through-cli`` does our part once more
with ``nc compress`` and ``nc decompress``, whose sizes must be the same; their times are those
of whole processes.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

import nc_core
from nc_core.evaluators.codecs import ImageCodec, Picture, find_codecs
from nc_core.images import image_files, read_image
from nc_core.models import installed
from nc_core.plots import Colours, look, save_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SCHEMA = "nc.bench.photographs/1"
SHARED = Path(os.environ.get("NC_TEST_SHARED", Path(__file__).parents[2] / "shared"))
MODELS = ("bitswap-photo", "predictive")
CODECS = ("png", "webp", "jpeg-2000", "jpeg-xl-3", "jpeg-xl-7")
DELIVERED = "PNG as delivered"

_Result = TypeVar("_Result")


@dataclass(frozen=True)
class Photograph:
    """An image file and its pixels, uint8, (H, W, 3)."""

    path: Path
    pixels: NDArray[Any]


@dataclass(frozen=True)
class Codec:
    """A way to code one photograph; ``model`` names it where it is ours."""

    title: str
    encode: Callable[[Photograph], bytes]
    decode: Callable[[bytes, Photograph], NDArray[Any]]
    model: str | None = None


@dataclass(frozen=True)
class Row:
    """One photograph by one codec; no times for a file that somebody else made."""

    image: str
    codec: str
    total_bytes: int
    bits_per_sample: float
    encode_seconds: float | None = None
    decode_seconds: float | None = None
    cli_encode_seconds: float | None = None
    cli_decode_seconds: float | None = None


def our_codec(model: str, plugins: Any) -> Codec:
    return Codec(
        model,
        lambda photograph: (
            nc_core.compress(photograph.path, model=model, verify=False, plugins=plugins).data
        ),
        lambda data, _: cast("NDArray[Any]", nc_core.decompress(data, plugins=plugins)[0]),
        model,
    )


def classical_codec(codec: ImageCodec) -> Codec:
    return Codec(
        codec.title,
        lambda photograph: codec.encode(Picture(photograph.pixels)),
        lambda data, photograph: codec.decode(data, Picture(photograph.pixels)),
    )


def least_seconds(work: Callable[[], _Result], runs: int) -> tuple[float, _Result]:
    seconds = []
    for _ in range(runs):
        start = time.process_time()
        result = work()
        seconds.append(time.process_time() - start)
    return min(seconds), result


def make_row(photograph: Photograph, codec: str, size: int, *seconds: float | None) -> Row:
    bits = 8 * size / photograph.pixels.size
    return Row(photograph.path.stem, codec, size, bits, *seconds)


def measure(photograph: Photograph, codec: Codec, runs: int, through_cli: bool) -> Row:
    """Code and decode one photograph.

    Raises:
        SystemExit: it does not come back exactly.
    """
    encoding, data = least_seconds(lambda: codec.encode(photograph), runs)
    decoding, pixels = least_seconds(lambda: codec.decode(data, photograph), runs)
    check_equal(pixels, photograph, codec.title)
    times: list[float | None] = [encoding, decoding]
    if through_cli and codec.model is not None:
        times += run_commands(photograph, codec.model, len(data))
    return make_row(photograph, codec.title, len(data), *times)


def run_commands(photograph: Photograph, model: str, expected_bytes: int) -> tuple[float, float]:
    """CPU seconds of ``nc compress`` and ``nc decompress``.

    Raises:
        SystemExit: another size than in Python, or other pixels.
    """
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "photograph.ncz")
        options = ["--model", model, "--no-verify", "--threads", "1"]
        encoding = command_seconds("compress", str(photograph.path), "-o", str(file), *options)
        if file.stat().st_size != expected_bytes:
            raise SystemExit(
                f"{photograph.path.name}, {model}: {file.stat().st_size:,} bytes by the command, "
                f"{expected_bytes:,} in Python"
            )
        decoding = command_seconds("decompress", str(file), "-o", folder, "--threads", "1")
        decoded = read_image(Path(folder, photograph.path.name)).pixels
    check_equal(decoded, photograph, f"nc decompress, {model}")
    return encoding, decoding


def command_seconds(*arguments: str) -> float:
    """User and system time of one ``nc``, in seconds."""
    nc = str(Path(sys.executable).with_name("nc"))
    process = subprocess.Popen([nc, *arguments], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"nc {' '.join(arguments)}: exit code {process.returncode}")
    return usage.ru_utime + usage.ru_stime


def check_equal(pixels: NDArray[Any], photograph: Photograph, title: str) -> None:
    if pixels.dtype != photograph.pixels.dtype or not np.array_equal(pixels, photograph.pixels):
        raise SystemExit(f"{photograph.path.name}, {title}: not the same pixels")


def first_use_seconds(path: Path, model: str) -> float:
    """What the first photograph after installation costs more than the second."""
    program = (
        "import sys, time, nc_core\n"
        "for _ in range(2):\n"
        "    start = time.process_time()\n"
        "    nc_core.compress(sys.argv[1], model=sys.argv[2])\n"
        "    print(time.process_time() - start)\n"
    )
    with tempfile.TemporaryDirectory() as cache:
        done = subprocess.run(
            [sys.executable, "-c", program, str(path), model],
            env=os.environ | {"NUMBA_CACHE_DIR": cache},
            stdout=subprocess.PIPE,
            check=True,
        )
    first, second = map(float, done.stdout.split())
    return first - second


def summarise(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Means over the images for every codec, the smallest first."""
    names = [field.name for field in fields(Row)][2:]
    summary = []
    for codec in dict.fromkeys(row.codec for row in rows):
        own = [row for row in rows if row.codec == codec]
        means = {
            name: fmean(getattr(row, name) for row in own)
            for name in names
            if getattr(own[0], name) is not None
        }
        summary.append({"codec": codec, **means})
    return sorted(summary, key=lambda line: line["bits_per_sample"])


def draw(rows: Sequence[Row]) -> Figure:
    """Bits per sample of every image, a mark for each codec; the hardest image on top."""
    ours = {row.image: row.bits_per_sample for row in rows if row.codec == MODELS[0]}
    images = sorted(ours, key=ours.__getitem__)
    titles = [line["codec"] for line in summarise(rows)]
    others = iter((("D", "none"), ("s", Colours.other), ("v", "none"), ("^", Colours.background),
                   ("x", Colours.other), ("|", Colours.other)))  # fmt: skip
    with look():
        from matplotlib.figure import Figure

        figure = Figure(figsize=(8.4, 1.6 + 0.24 * len(images)))
        axes = figure.subplots()
        for title in titles:
            own = {row.image: row.bits_per_sample for row in rows if row.codec == title}
            marker, face = ("o", Colours.ours) if title in MODELS else next(others)
            edge = Colours.ours if title in MODELS else Colours.other
            axes.scatter(
                [own[image] for image in images], range(len(images)), s=26, marker=marker,
                color=edge, facecolors="none" if title == MODELS[1] else face,
                linewidths=1.2, zorder=4 if title in MODELS else 3,
                label=f"{title}: {fmean(own.values()):.3f}",
            )  # fmt: skip
        axes.set_yticks(range(len(images)), images)
        axes.set(
            ylim=(-0.8, len(images) - 0.2),
            title=f"Lossless size of {len(images)} photographs",
            xlabel="bits per sample of the complete file",
        )
        axes.tick_params(axis="y", length=0)
        figure.legend(loc="outside right upper", title="mean", title_fontsize=8)
    return figure


def report(summary: Sequence[dict[str, Any]]) -> None:
    print(f"{'codec':<20}{'bytes':>12}{'bits/sample':>13}{'encode, s':>11}{'decode, s':>11}")
    for line in summary:
        seconds = [line.get(name) for name in ("encode_seconds", "decode_seconds")]
        cells = "".join(f"{'-' if value is None else f'{value:.3f}':>11}" for value in seconds)
        size = f"{line['total_bytes']:>12,.0f}{line['bits_per_sample']:>13.4f}"
        print(f"{line['codec']:<20}{size}{cells}")


def save(path: Path, document: dict[str, Any], rows: Sequence[Row]) -> None:
    """The document, its rows as CSV, and the figure."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document, indent=2) + "\n")
    columns = [field.name for field in fields(Row)]
    cells = [list(asdict(row).values()) for row in rows]
    save_figure(draw(rows), path.with_suffix(".png"), columns, cells)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=Path, default=SHARED / "data" / "kodak", help="folder")
    parser.add_argument("--limit", type=int, help="only the first images")
    parser.add_argument("--runs", type=int, default=2, help="of each codec on each image (2)")
    parser.add_argument("--through-cli", action="store_true", help="our part by commands as well")
    parser.add_argument("--json", type=Path, help="file to write the results to")
    options = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"  # before a model imports torch
    paths = image_files(options.images)[: options.limit]
    plugins = installed()
    codecs = [our_codec(model, plugins) for model in MODELS]
    codecs += [classical_codec(c) for c in find_codecs(CODECS) if isinstance(c, ImageCodec)]
    photographs = [Photograph(path, read_image(path).pixels) for path in paths]
    rows = [make_row(item, DELIVERED, item.path.stat().st_size) for item in photographs]
    for codec in codecs:
        measure(photographs[0], codec, 1, False)  # imports and compiles
        rows += [measure(item, codec, options.runs, options.through_cli) for item in photographs]
    summary = summarise(rows)
    first_use = {model: first_use_seconds(paths[0], model) for model in MODELS}
    print(f"{len(photographs)} images of {options.images.name}; means; CPU seconds, one thread")
    report(summary)
    for model, seconds in first_use.items():
        print(f"{model}: the first photograph costs {seconds:.1f} s of CPU more than the second")
    if options.json is not None:
        document = {
            "schema": SCHEMA,
            "images": len(photographs),
            "runs": options.runs,
            "means": summary,
            "first_use_seconds": first_use,
            "rows": [asdict(row) for row in rows],
        }
        save(options.json, document, rows)


if __name__ == "__main__":
    main()
