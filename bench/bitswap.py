"""Bit-Swap's speed and memory: beside the original program, beside its networks alone, in parts.

    python bench/bitswap.py [speed] [memory] [profile] [--rounds N] [--json FILE] [--check]

- speed: whole files, from pixels to a container and back, in one thread. Full models are timed
  in turns with float32 passes of the same networks, weight normalisation folded away, in the very
  batches that the codec makes. The tiny model has the original's weights, the others random ones
  (time does not depend on them). Seconds of the original program were measured once, on another
  machine.
- memory: peak resident memory of ``nc compress`` and ``nc decompress`` with more and more digits.
- profile: where the seconds go, under a profiler, which costs Python code more than the rest.

All seconds are CPU time, and of speed the least of the rounds. ``--json`` keeps what FILE holds of
questions that are not asked again, and writes rows of speed as CSV beside it.
"""

from __future__ import annotations

import argparse
import copy
import cProfile
import json
import math
import os
import platform
import pstats
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

# NumPy, PyTorch and compiled kernels: one thread each.
os.environ.update({"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"})

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from nc_bitswap.codec import BitswapCodec
from nc_bitswap.discretization import LatentBins, find_bins
from nc_bitswap.layers import WeightNormConv, data_dependent_init
from nc_bitswap.model import Architecture, HierarchicalVAE
from nc_bitswap.release import lower_model
from nc_core.ans import Rans
from nc_core.container import ContainerReader
from nc_core.datasets.idx import read_idx
from nc_core.header import Header
from nc_core.images import read_rgb
from nc_core.lossless import compress_source, decode_container
from nc_core.models import load_model
from nc_core.plots import write_csv
from nc_core.protocols import LosslessModel
from nc_core.sources import ArraySource

SCHEMA = "nc-bench-bitswap/1"
SHARED = Path(os.environ.get("NC_TEST_SHARED", Path(__file__).parents[2] / "shared"))
GOLDEN = SHARED / "golden" / "bitswap"
QUESTIONS = ("speed", "memory", "profile")
FASTER_THAN_THE_ORIGINAL = 20.0
SLOWER_THAN_NETWORKS = 1.3
# From here on a dataset has several chunks: the peak may grow by no more.
MEMORY_GROWTH = 1.1
MEMORY_ITEMS = (1000, 5000, 10_000)
# Name: levels, width, images for each round.
SIZES = {"tiny": (2, 16, 1000), "nz2": (2, 63, 160), "nz8": (8, 61, 160)}


@dataclass(frozen=True)
class Subject:
    """A model, and pixels to code with it."""

    name: str
    codec: LosslessModel
    pixels: np.ndarray
    layout: str
    floats: HierarchicalVAE | None = None
    exact: HierarchicalVAE | None = None

    @property
    def items(self) -> int:
        return len(self.pixels) if self.layout == "nhw" else 1

    def encode(self, path: Path) -> None:
        source = ArraySource(self.pixels, self.layout)
        compress_source(source, path, self.codec, Rans(), verify=False, force=True)

    def decode(self, path: Path) -> np.ndarray:
        with path.open("rb") as file:
            reader = ContainerReader(file, str(path))
            header = Header.from_json(reader.header, str(path))
            items = decode_container(reader, header, self.codec, Rans())
            return np.stack([item.samples for item in items]).reshape(self.pixels.shape)


@dataclass(frozen=True)
class Row:
    """CPU milliseconds of one image, and the mark that the model has to reach."""

    model: str
    direction: str
    images: int
    ours_ms: float
    networks_ms: float
    over_networks: float
    original_ms: float
    over_original: float
    mark: str

    @property
    def passed(self) -> bool:
        if self.model == "tiny":
            return self.over_original >= FASTER_THAN_THE_ORIGINAL
        return self.over_networks <= SLOWER_THAN_NETWORKS


def digits(first: int, count: int) -> np.ndarray:
    """Test digits, uint8 (count, 28, 28)."""
    images = read_idx(SHARED / "data" / "mnist" / "t10k-images-idx3-ubyte.gz", 3)
    return images[first : first + count]


def tiny_model() -> tuple[HierarchicalVAE, LatentBins]:
    """The original's weights and bins."""
    arrays = np.load(GOLDEN / "encode_run_mnist_nz2.npz")
    model = HierarchicalVAE(Architecture(levels=2, hidden=16, processing=1, blocks=2))
    model.load_state_dict(load_file(GOLDEN / "encode_run_mnist_nz2.model.safetensors"))
    extremes = (arrays["bins_lo0"], arrays["bins_hi0"])
    return model.eval(), LatentBins.from_extremes(10, [extremes], 256)


def full_model(levels: int, width: int, images: np.ndarray) -> tuple[HierarchicalVAE, LatentBins]:
    """Random weights as training starts with."""
    torch.manual_seed(0)
    model = HierarchicalVAE(Architecture(levels=levels, hidden=width))
    with data_dependent_init(model):
        model(torch.from_numpy(images))
    seeded = torch.Generator().manual_seed(0)
    return model.eval(), find_bins(model, images, generator=seeded, samples_per_bin=1)


def digit_subject(name: str) -> Subject:
    levels, width, count = SIZES[name]
    calibration = np.pad(digits(9000, 64), ((0, 0), (2, 2), (2, 2)))[:, None]
    model, bins = tiny_model() if name == "tiny" else full_model(levels, width, calibration)
    exact = lower_model(model, calibration)
    codec = BitswapCodec(name, "0" * 64, exact, bins)
    return Subject(name, codec, digits(0, count), "nhw", folded(model), exact)


def photo_subject() -> Subject:
    pixels = read_rgb(SHARED / "data" / "kodak" / "kodim01.png")
    return Subject("bitswap-photo", load_model("bitswap-photo"), pixels, "hwc")


def folded(model: HierarchicalVAE) -> HierarchicalVAE:
    """The model with plain convolutions."""
    model = copy.deepcopy(model)
    for module in list(model.modules()):
        for name, child in module._modules.items():
            if isinstance(child, WeightNormConv):
                module._modules[name] = plain_convolution(child)
    return model


@torch.no_grad()
def plain_convolution(layer: WeightNormConv) -> nn.Conv2d:
    weight = layer.effective_weight()
    plain = nn.Conv2d(weight.shape[1], weight.shape[0], weight.shape[2], padding=layer.padding)
    plain.weight.copy_(weight)
    assert plain.bias is not None
    plain.bias.copy_(layer.effective_bias())
    return plain


class Passes:
    """All networks once, in float32, in the batches that coding a subject takes.

    Encoding and decoding evaluate the same networks, in other orders.
    """

    def __init__(self, subject: Subject, path: Path) -> None:
        assert subject.floats is not None and subject.exact is not None
        self._model, sizes = subject.floats, []
        hook = subject.exact.infer_in.register_forward_pre_hook(
            lambda _, inputs: sizes.append(len(inputs[0]))
        )
        subject.encode(path)
        hook.remove()
        shape = self._model.architecture
        generator = torch.Generator().manual_seed(0)
        self.batches: list[tuple[Tensor, Tensor]] = [
            (
                torch.randint(0, 256, (size, *shape.image_shape), generator=generator),
                torch.randn((size, *shape.latent_shape), generator=generator),
            )
            for size in sizes
        ]

    @torch.inference_mode()
    def __call__(self) -> None:
        for images, latents in self.batches:
            for level in range(1, self._model.architecture.levels + 1):
                self._model.posterior(level, images if level == 1 else latents)
                self._model.likelihood(level - 1, latents)


def cpu_seconds(function: Callable[..., Any], *arguments: Any) -> float:
    start = time.process_time()
    function(*arguments)
    return time.process_time() - start


def speed(rounds: int) -> list[Row]:
    return [row for name in SIZES for row in measure_speed(digit_subject(name), rounds)]


def measure_speed(subject: Subject, rounds: int) -> list[Row]:
    best = {"encode": math.inf, "decode": math.inf, "networks": math.inf}
    with TemporaryDirectory(prefix="nc-bitswap-") as folder:
        path = Path(folder) / "digits.ncz"
        networks = Passes(subject, path)
        if not np.array_equal(subject.decode(path), subject.pixels):
            raise SystemExit(f"{subject.name}: not lossless")
        for _ in range(rounds):
            for name, work in (
                ("encode", lambda: subject.encode(path)),
                ("networks", networks),
                ("decode", lambda: subject.decode(path)),
                ("networks", networks),
            ):
                best[name] = min(best[name], cpu_seconds(work))
    original = dict(zip(("encode", "decode"), original_seconds(subject.name), strict=True))
    rows = []
    for direction in ("encode", "decode"):
        ours = best[direction] / subject.items
        rows.append(
            Row(
                subject.name,
                direction,
                subject.items,
                ours * 1e3,
                best["networks"] / subject.items * 1e3,
                best[direction] / best["networks"],
                original[direction] * 1e3,
                original[direction] / ours,
                f">= {FASTER_THAN_THE_ORIGINAL:g} x the original"
                if subject.name == "tiny"
                else f"<= {SLOWER_THAN_NETWORKS:g} x its networks",
            )
        )
    return rows


def original_seconds(name: str) -> list[float]:
    """Seconds for each image of the original program: encode, decode."""
    measured = json.loads((GOLDEN / "measured.json").read_text())
    if name == "tiny":
        return [seconds for _, seconds in measured["tiny_mnist_coding"]["q10_bs1"]["times"]]
    levels, width, _ = SIZES[name]
    found: list[float] = measured["bitswap_speed_s_per_image"][f"mnist_nz{levels}_w{width}"][
        "bitswap"
    ]
    return found


def memory() -> list[dict[str, Any]]:
    """Peak resident memory of the commands, in MiB."""
    rows = []
    with TemporaryDirectory(prefix="nc-bitswap-") as name:
        folder = Path(name)
        environment = {**os.environ, "NC_DATA": str(folder / "data")}

        def peak(*arguments: object) -> float:
            return peak_mib([sys.executable, "-m", "nc_cli", *map(str, arguments)], environment)

        peak("data", "prepare", "mnist", "--from", SHARED / "data" / "mnist")
        for items in MEMORY_ITEMS:
            file = folder / f"{items}.ncz"
            compressing = peak(
                "compress", "--dataset", "mnist:test", "--limit", items, "-o", file,
                "--model", "bitswap-mnist", "--threads", 1, "--no-verify",
            )  # fmt: skip
            restoring = peak("decompress", file, "-o", folder / f"{items}", "--threads", 1)
            rows.append({"items": items, "compress_mib": compressing, "decompress_mib": restoring})
    return rows


def peak_mib(command: list[str], environment: dict[str, str]) -> float:
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} ended with exit code {process.returncode}")
    return round(usage.ru_maxrss / 1024, 1)


def memory_is_bounded(rows: list[dict[str, Any]]) -> bool:
    several, more = rows[-2:]
    return all(
        more[key] <= MEMORY_GROWTH * several[key] for key in ("compress_mib", "decompress_mib")
    )


# What a function is part of, by the end of its file's path; what calls it says it for the rest.
PARTS = {
    "nc_core/ans/compiled.py": None,
    "nc_core/exact/": "activations",
    "nc_core/ans/": "coder",
    "nc_bitswap/chain.py": "coder",
    "nc_bitswap/discretization.py": "coder",
    "nc_bitswap/photo/base_coding.py": "coder",
    "nc_bitswap/photo/distributions.py": "coder",
    "nc_bitswap/photo/intervals.py": "coder",
    "nc_core/": "rest",
    "nc_bitswap/": "rest",
    "torch/nn/": "rest",
}
DEEPEST_CALL = 8


def profile() -> list[dict[str, Any]]:
    """Seconds in convolutions, activations (all other integer arithmetic), coder, and the rest."""
    rows = []
    with TemporaryDirectory(prefix="nc-bitswap-") as folder:
        path = Path(folder) / "one.ncz"
        for subject in (*map(digit_subject, SIZES), photo_subject()):
            subject.encode(path)
            for direction, work in (("encode", subject.encode), ("decode", subject.decode)):
                with profiled() as seconds:
                    work(path)
                rows.append({"model": subject.name, "direction": direction,
                             "images": subject.items, **seconds})  # fmt: skip
    return rows


@contextmanager
def profiled() -> Iterator[dict[str, float]]:
    """CPU seconds of each part; filled at the end."""
    parts: dict[str, float] = {}
    profiler = cProfile.Profile(time.process_time)
    with profiler:
        yield parts
    stats = pstats.Stats(profiler).stats  # type: ignore[attr-defined]
    found: Counter[str] = Counter()
    for function, (_, _, own, _, _) in stats.items():
        for part, share in shares(function, stats, 0).items():
            found[part] += own * share
    for part in ("convolutions", "activations", "coder", "rest"):
        parts[part] = round(found[part], 3)


def shares(function: Any, stats: Any, depth: int) -> dict[str, float]:
    """Which parts a function's time belongs to; that of a library's functions to their callers."""
    file, _, name = function
    if "conv2d" in name and file == "~":
        return {"convolutions": 1.0}
    for path, part in PARTS.items():
        if path in file and part is not None:
            return {part: 1.0}
        if path in file:
            break
    callers = stats[function][4] if depth < DEEPEST_CALL else {}
    total = sum(numbers[3] for numbers in callers.values())
    if not total:
        return {"rest": 1.0}
    found: Counter[str] = Counter()
    for caller, numbers in callers.items():
        for part, share in shares(caller, stats, depth + 1).items():
            found[part] += share * numbers[3] / total
    return dict(found)


def print_speed(rows: list[Row]) -> None:
    print(f"{'':21}{'milliseconds of CPU per image':>29}{'times faster':>14}{'times the':>11}")
    print(
        f"{'':21}{'ours':>8}{'networks':>10}{'original':>11}{'than original':>14}{'networks':>11}"
    )
    for row in rows:
        print(
            f"{row.model:13}{row.direction:8}{row.ours_ms:8.2f}{row.networks_ms:10.2f}"
            f"{row.original_ms:11.1f}{row.over_original:14.1f}{row.over_networks:11.2f}"
            f"   {row.mark}: {'ok' if row.passed else 'MISSED'}"
        )


def print_table(title: str, rows: list[dict[str, Any]]) -> None:
    print(f"\n{title}")
    print("".join(f"{key:>15}" for key in rows[0]))
    for row in rows:
        print("".join(f"{value!s:>15}" for value in row.values()))


def versions() -> dict[str, str]:
    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "machine": platform.machine(),
        "capability": torch.backends.cpu.get_cpu_capability(),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "questions", nargs="*", metavar="QUESTION", help=f"{', '.join(QUESTIONS)} (default: all)"
    )
    parser.add_argument("--rounds", type=int, default=3, help="rounds of speed (default 3)")
    parser.add_argument("--json", type=Path, help="also write the results here")
    parser.add_argument("--check", action="store_true", help="exit code 1 when a mark is missed")
    options = parser.parse_args()
    asked = options.questions or list(QUESTIONS)
    if unknown := set(asked) - set(QUESTIONS):
        parser.error(f"no question {', '.join(sorted(unknown))}; there are {', '.join(QUESTIONS)}")
    torch.set_num_threads(1)
    results: dict[str, Any] = {}
    passed = True
    if "speed" in asked:
        rows = speed(options.rounds)
        print_speed(rows)
        results["speed"] = [{**asdict(row), "passed": row.passed} for row in rows]
        passed &= all(row.passed for row in rows)
    if "memory" in asked:
        results["memory"] = memory()
        print_table("peak resident memory", results["memory"])
        passed &= memory_is_bounded(results["memory"])
    if "profile" in asked:
        results["profile"] = profile()
        print_table("CPU seconds under a profiler", results["profile"])
    if options.json:
        write(options.json, results)
    return int(options.check and not passed)


def write(path: Path, results: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    kept = json.loads(path.read_text()) if path.exists() else {}
    document = {**kept, "schema": SCHEMA, "versions": versions(), **results}
    path.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    if "speed" in results:
        rows = results["speed"]
        write_csv(path.with_suffix(".csv"), list(rows[0]), [list(row.values()) for row in rows])


if __name__ == "__main__":
    sys.exit(main())
