"""Speed and cost of the entropy coder, side by side with craystack and constriction.

One run, one thread, CPU time. Each pair of programs codes symbols of the same distributions,
alternately, and the best of several rounds counts; every round trip is checked. Building
a distribution from its parameters is part of what is timed, on both sides.

    python bench/coder.py [--rounds N] [--json FILE] [--check]

``--json`` also writes the rows that have a peer as CSV beside FILE. craystack comes from its
repository, constriction from PyPI; what is not installed is left out.
"""

from __future__ import annotations

import argparse
import csv
import importlib.metadata
import importlib.util
import json
import math
import os
import platform
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

# A fresh array costs page faults until the allocator keeps the memory, and on virtual machines
# these can cost more than the coding. All programs get an allocator that keeps it, and one thread.
ENVIRONMENT = {
    "MALLOC_MMAP_THRESHOLD_": str(1 << 30),
    "MALLOC_TRIM_THRESHOLD_": str(1 << 32),
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
}
if __name__ == "__main__" and not ENVIRONMENT.items() <= os.environ.items():
    os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, **ENVIRONMENT})

import numpy as np  # noqa: E402

from nc_core.ans import (  # noqa: E402
    AffineBins,
    Bernoulli,
    Categorical,
    DiscretizedGaussian,
    DiscretizedLaplace,
    DiscretizedLogistic,
    EdgeBins,
    Message,
    Mixture,
    PixelBins,
    Rans,
    Uniform,
)
from nc_core.ans.distributions import scale_value  # noqa: E402

BINS = PixelBins(256)
PRECISION = 24
SYMBOLS = 200_000
SCHEMA = "nc-bench-coder/1"


@dataclass(frozen=True)
class Row:
    """One measured pair; ``required`` is the smallest ratio that is asked for."""

    what: str
    direction: str
    lanes: int
    ours: float
    peer: str
    theirs: float
    ratio: float
    required: float
    unit: str = "million symbols/s"

    @property
    def passed(self) -> bool:
        return bool(self.ratio >= self.required)


@dataclass(frozen=True)
class Loss:
    """Bits of a message over the ideal code length of the real-valued distribution."""

    what: str
    bits_per_symbol: float
    loss_percent: float
    allowed_percent: float = 0.01

    @property
    def passed(self) -> bool:
        return bool(self.loss_percent <= self.allowed_percent)


@dataclass(frozen=True)
class Alone:
    """A family that no peer offers in this form; None where there is one direction only."""

    what: str
    encode: float
    decode: float | None
    unit: str = "million symbols/s"


@dataclass(frozen=True)
class Program:
    """A coder at work on its own copy of the data: encode returns what decode takes."""

    encode: Callable[[], Any]
    decode: Callable[[Any], Any]
    symbols: np.ndarray

    def check(self) -> None:
        decoded = np.asarray(self.decode(self.encode())).reshape(self.symbols.shape)
        if not np.array_equal(decoded, self.symbols):
            raise SystemExit("a round trip failed")


def pixels(count: int, lanes: int, low: float, high: float, noise: str) -> dict[str, np.ndarray]:
    """Means, scales and symbols drawn from them, all (steps, lanes)."""
    generator = np.random.default_rng(0)
    shape = (count // lanes, lanes)
    means = generator.uniform(20, 235, shape)
    scales = np.exp(generator.uniform(math.log(low), math.log(high), shape))
    drawn = means + scales * getattr(generator, noise)(size=shape)
    return {
        "means": means,
        "scales": scales,
        "symbols": np.clip(np.rint(drawn), 0, 255).astype(np.int64),
    }


def ours_parametric(family: Any, data: dict[str, np.ndarray]) -> Program:
    coder, symbols = Rans(), data["symbols"]
    means, scales = BINS.mean_index(data["means"]), BINS.scale_index(data["scales"])

    def encode() -> Message:
        message = Message(symbols.shape[1])
        coder.push(message, symbols, family(means, scales, BINS))
        return message

    def decode(message: Message) -> np.ndarray:
        return coder.pop(message.copy(), family(means, scales, BINS))

    return Program(encode, decode, symbols)


def ours_table(distribution: Any, symbols: np.ndarray) -> Program:
    """Coding with a distribution that is built beforehand."""
    coder = Rans()

    def encode() -> Message:
        message = Message()
        coder.push(message, symbols, distribution)
        return message

    return Program(encode, lambda message: coder.pop(message.copy(), distribution), symbols)


def craystack_logistic(data: dict[str, np.ndarray]) -> Program:
    import craystack

    # Its bins are those of ours, in units of [-1, 1].
    means = (data["means"] * 2 + 1) / 256 - 1
    log_scales = np.log(data["scales"] * 2 / 256)
    symbols = data["symbols"].astype(np.uint64)
    rows = range(len(symbols))

    def codec(row: int) -> Any:
        return craystack.Logistic_UnifBins(
            means[row], log_scales[row], PRECISION, 8, bin_lb=-1.0, bin_ub=1.0
        )

    def encode() -> Any:
        message = craystack.base_message((symbols.shape[1],))
        for row in reversed(rows):
            (message,) = codec(row).push(message, symbols[row])
        return message

    def decode(message: Any) -> list[np.ndarray]:
        decoded = []
        for row in rows:
            message, symbol = codec(row).pop(message)
            decoded.append(symbol)
        return decoded

    return Program(encode, decode, symbols)


def constriction_gaussian(data: dict[str, np.ndarray]) -> Program:
    import constriction

    means, scales = data["means"].ravel(), data["scales"].ravel()
    symbols = data["symbols"].ravel().astype(np.int32)
    gaussian = constriction.stream.model.QuantizedGaussian(0, 255)

    def encode() -> Any:
        coder = constriction.stream.stack.AnsCoder()
        coder.encode_reverse(symbols, gaussian, means, scales)
        return coder.get_compressed()

    def decode(words: Any) -> Any:
        return constriction.stream.stack.AnsCoder(words).decode(gaussian, means, scales)

    return Program(encode, decode, symbols)


def constriction_categorical(pmf: np.ndarray, symbols: np.ndarray) -> Program:
    import constriction

    flat = symbols.ravel().astype(np.int32)
    table = constriction.stream.model.Categorical(pmf, perfect=False)

    def encode() -> Any:
        coder = constriction.stream.stack.AnsCoder()
        coder.encode_reverse(flat, table)
        return coder.get_compressed()

    return Program(
        encode,
        lambda words: constriction.stream.stack.AnsCoder(words).decode(table, len(flat)),
        flat,
    )


def cpu_seconds(function: Callable[..., Any], *arguments: Any) -> float:
    start = time.process_time()
    function(*arguments)
    return time.process_time() - start


def measure(
    what: str, lanes: int, ours: Program, peer: str, theirs: Program, required: float, rounds: int
) -> list[Row]:
    """Time two programs alternately, in both directions. The faster one runs more often."""
    best: dict[tuple[str, str], float] = {}
    for program in (ours, theirs):
        program.check()
    for _ in range(rounds):
        for name, program, times in (("ours", ours, 8), ("theirs", theirs, 1)):
            for _ in range(times):
                coded = program.encode()
                for direction, seconds in (
                    ("encode", cpu_seconds(program.encode)),
                    ("decode", cpu_seconds(program.decode, coded)),
                ):
                    key = (name, direction)
                    best[key] = min(best.get(key, math.inf), seconds)
    rows = []
    for direction in ("encode", "decode"):
        our_speed = ours.symbols.size / best["ours", direction] / 1e6
        their_speed = theirs.symbols.size / best["theirs", direction] / 1e6
        ratio = our_speed / their_speed
        rows.append(Row(what, direction, lanes, our_speed, peer, their_speed, ratio, required))
    return rows


def measure_loss(low: float, high: float) -> Loss:
    """Code symbols and compare with what their real-valued distributions ask."""
    data = pixels(SYMBOLS, 1, low, high, "logistic")
    program = ours_parametric(DiscretizedLogistic, data)
    means = BINS.mean_index(data["means"]) / 256
    scales = scale_value(BINS.scale_index(data["scales"]))
    symbols = data["symbols"]
    # P = F(upper) - F(lower), mirrored above the mean so that no digits cancel.
    lower, upper = symbols - 0.5 - means, symbols + 0.5 - means
    mirrored = lower + upper > 0
    lower, upper = np.where(mirrored, -upper, lower), np.where(mirrored, -lower, upper)
    lower = np.where(np.where(mirrored, symbols == 255, symbols == 0), -np.inf, lower)
    upper = np.where(np.where(mirrored, symbols == 0, symbols == 255), np.inf, upper)
    with np.errstate(over="ignore"):
        ideal = -np.log2(1 / (1 + np.exp(-upper / scales)) - 1 / (1 + np.exp(-lower / scales)))
    total = ideal.sum()
    coded = program.encode().bits
    name = f"logistic, scales {low:g} to {high:g} grey levels"
    return Loss(name, float(total / symbols.size), float(100 * (coded / total - 1)))


def measure_alone(rounds: int) -> list[Alone]:
    """Our other families, at one lane, and the rounding of parameters to their grids."""
    generator = np.random.default_rng(0)
    data = pixels(SYMBOLS // 4, 1, 0.5, 30, "logistic")
    symbols, shape = data["symbols"], data["symbols"].shape
    means, scales = BINS.mean_index(data["means"]), BINS.scale_index(data["scales"])
    latents = AffineBins(-128, 256, 256)
    edges = EdgeBins(np.arange(1, 256) * 256 - 128)
    quantiles = generator.dirichlet(np.ones(256), shape[0])[:, None]
    families = {
        "pixels, Laplace": DiscretizedLaplace(means, scales, BINS),
        "latents, equal bins, 28 bits": DiscretizedGaussian(means, scales, latents, precision=28),
        "latents, any edges, 28 bits": DiscretizedGaussian(means, scales, edges, precision=28),
        "mixture of 5 logistics": Mixture(
            [DiscretizedLogistic(means, scales, BINS)] * 5,
            np.array([1, 2, 3, 1, 1])[:, None, None],
        ),
        "a table of 256 for each symbol": Categorical.from_pmf(quantiles),
        "uniform over 1000": Uniform(1000, shape),
        "Bernoulli": Bernoulli.from_probability(generator.random(shape)),
    }
    results = []
    for what, distribution in families.items():
        if distribution.size != 256:
            symbols = generator.integers(0, distribution.size, shape)
        program = ours_table(distribution, symbols)
        program.check()
        coded = program.encode()
        encode = min(cpu_seconds(program.encode) for _ in range(4 * rounds))
        decode = min(cpu_seconds(program.decode, coded) for _ in range(4 * rounds))
        results.append(Alone(what, symbols.size / encode / 1e6, symbols.size / decode / 1e6))
    for what, function, values in (
        ("rounding means to their grid", BINS.mean_index, data["means"]),
        ("rounding scales to their grid", BINS.scale_index, data["scales"]),
    ):
        seconds = min(cpu_seconds(function, values) for _ in range(4 * rounds))
        results.append(Alone(what, values.size / seconds / 1e6, None, "million values/s"))
    return results


def installed(name: str) -> bool:
    found = importlib.util.find_spec(name) is not None
    if not found:
        print(f"{name} is not installed: left out", file=sys.stderr)
    return found


def measure_all(rounds: int) -> list[Row]:
    rows = []
    if installed("craystack"):
        for lanes, theirs_count, required in (
            (1, 2000, 5000),
            (100, 40_000, 100),
            (10_000, 100_000, 6),
        ):
            rows += measure(
                "discretized logistic, 256 symbols",
                lanes,
                ours_parametric(DiscretizedLogistic, pixels(SYMBOLS, lanes, 0.5, 30, "logistic")),
                "craystack",
                craystack_logistic(pixels(theirs_count, lanes, 0.5, 30, "logistic")),
                required,
                rounds,
            )
    if installed("constriction"):
        data = pixels(SYMBOLS, 1, 0.5, 30, "normal")
        rows += measure(
            "discretized Gaussian, 256 symbols",
            1,
            ours_parametric(DiscretizedGaussian, data),
            "constriction",
            constriction_gaussian(data),
            5,
            rounds,
        )
        generator = np.random.default_rng(0)
        pmf = generator.dirichlet(np.full(256, 2.0))
        symbols = generator.choice(256, (SYMBOLS, 1), p=pmf)
        rows += measure(
            "one table of 256 symbols",
            1,
            ours_table(Categorical.from_pmf(pmf, symbols.shape, PRECISION), symbols),
            "constriction",
            constriction_categorical(pmf, symbols),
            1,
            rounds,
        )
    return rows


def versions() -> dict[str, str]:
    found = {"python": platform.python_version(), "machine": platform.machine()}
    for name in ("nc-core", "numpy", "numba", "craystack", "constriction"):
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    cpu = Path("/proc/cpuinfo")
    if cpu.exists():
        lines = cpu.read_text().splitlines()
        models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
        found["cpu"] = models[0] if models else "unknown"
    return found


def print_tables(rows: list[Row], losses: list[Loss], alone: list[Alone]) -> None:
    print(f"{'million symbols/s':36}{'lanes':>7} {'':7}{'ours':>9}{'peer':>11}  ratio   required")
    for row in rows:
        print(
            f"{row.what:36}{row.lanes:>7} {row.direction:7}{row.ours:9.1f}{row.theirs:11.4f}"
            f"{row.ratio:8.1f} >= {row.required:<6g}{'ok' if row.passed else 'MISSED':8}{row.peer}"
        )
    print(f"\n{'code length':42}{'bits/symbol':>12}{'loss %':>10}   allowed")
    for loss in losses:
        print(
            f"{loss.what:42}{loss.bits_per_symbol:12.3f}{loss.loss_percent:10.4f}"
            f" <= {loss.allowed_percent:<6g}{'ok' if loss.passed else 'MISSED'}"
        )
    print(f"\n{'million symbols/s, without a peer':42}{'encode':>12}{'decode':>10}")
    for one in alone:
        decode = "-" if one.decode is None else f"{one.decode:.1f}"
        print(f"{one.what:42}{one.encode:12.1f}{decode:>10}")


def write(path: Path, rows: list[Row], losses: list[Loss], alone: list[Alone]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    speed = [{**asdict(row), "passed": row.passed} for row in rows]
    document = {
        "schema": SCHEMA,
        "versions": versions(),
        "speed": speed,
        "code_length": [{**asdict(loss), "passed": loss.passed} for loss in losses],
        "alone": [asdict(one) for one in alone],
    }
    path.write_text(json.dumps(document, indent=2) + "\n")
    with path.with_suffix(".csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, [*asdict(rows[0]), "passed"] if rows else ["what"])
        writer.writeheader()
        writer.writerows(speed)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7, help="rounds of each pair (default 7)")
    parser.add_argument("--json", type=Path, help="also write the results here, and as CSV beside")
    parser.add_argument("--check", action="store_true", help="exit code 1 when a mark is missed")
    options = parser.parse_args()
    # craystack warns about precisions that it could not code exactly.
    warnings.simplefilter("ignore")
    rows = measure_all(options.rounds)
    losses = [measure_loss(*scales) for scales in ((0.05, 0.5), (0.3, 3), (2, 30))]
    alone = measure_alone(options.rounds)
    print_tables(rows, losses, alone)
    if options.json:
        write(options.json, rows, losses, alone)
    passed = [row.passed for row in rows] + [loss.passed for loss in losses]
    return int(options.check and not all(passed))


if __name__ == "__main__":
    sys.exit(main())
