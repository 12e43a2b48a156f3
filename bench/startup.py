"""CPU time that a fresh process spends on help and lists.

Every command runs in new processes; what counts is their user and system time together, so that
a busy machine disturbs little. The first run of each is dropped: it writes bytecode. Of the
dummy plugins the last one is broken: it imports what is not there.

    python bench/startup.py --json startup.json
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from nc_core.testing.distributions import write_distribution

SCHEMA = "nc.bench.startup/1"
PLUGIN = """
from nc_core.hookspecs import hookimpl
from nc_core.specs import CommandSpec, DatasetSpec, ModelSpec, Pretrained


@hookimpl
def nc_datasets():
    return [DatasetSpec(name="data-{n}", summary="a dataset", target="nowhere:open")]


@hookimpl
def nc_models():
    member = Pretrained(name="model-{n}", summary="a model", id="{n:064x}")
    return [
        ModelSpec(
            name="family-{n}", summary="a family", target="nowhere:load", pretrained=(member,)
        )
    ]


@hookimpl
def nc_commands():
    return [CommandSpec(name="paper-{n}", summary="a paper", target="nowhere:command")]
"""
BROKEN = "import no_such_module_of_the_plugin\n"


@dataclass(frozen=True)
class Timing:
    """CPU seconds of one command; ``limit_seconds`` is None where nothing is promised."""

    command: str
    plugins: int
    min_seconds: float
    median_seconds: float
    limit_seconds: float | None

    @property
    def kept(self) -> bool:
        return self.limit_seconds is None or self.min_seconds <= self.limit_seconds


def cpu_seconds(command: Sequence[str], environment: Mapping[str, str]) -> float:
    """User and system time of one process, in seconds."""
    process = subprocess.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} ended with exit code {process.returncode}")
    return usage.ru_utime + usage.ru_stime


def commands() -> list[tuple[str, list[str], float | None, dict[str, str]]]:
    """Title, arguments, promised CPU seconds and extra environment of what is measured."""
    nc = str(Path(sys.executable).with_name("nc"))
    completion = {"_NC_COMPLETE": "bash_complete", "COMP_WORDS": "nc run ", "COMP_CWORD": "2"}
    return [
        ("python -c pass", [sys.executable, "-c", "pass"], None, {}),
        ("nc --help", [nc, "--help"], 0.15, {}),
        ("nc list", [nc, "list"], 0.25, {}),
        ("nc plugin list", [nc, "plugin", "list"], 0.25, {}),
        ("nc run --help", [nc, "run", "--help"], 0.25, {}),
        ("nc run <TAB>", [nc], 0.25, completion),
    ]


def measure(runs: int, plugins: int) -> list[Timing]:
    """Time all commands with a number of dummy plugins installed."""
    with tempfile.TemporaryDirectory() as folder:
        for n in range(plugins):
            module = f"dummy_plugin_{n}"
            source = BROKEN if n == plugins - 1 else PLUGIN.format(n=n)
            write_distribution(Path(folder), f"nc-dummy-{n}", {module: source}, {f"d{n}": module})
        environment = os.environ | {"PYTHONPATH": folder}
        timings = []
        for title, command, limit, extra in commands():
            cpu_seconds(command, environment | extra)
            seconds = [cpu_seconds(command, environment | extra) for _ in range(runs)]
            timings.append(Timing(title, plugins, min(seconds), statistics.median(seconds), limit))
        return timings


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--runs", type=int, default=15, help="processes per command (default 15)")
    parser.add_argument(
        "--plugins", type=int, default=10, help="dummy plugins, one of them broken (default 10)"
    )
    parser.add_argument("--json", type=Path, help="file to write the results to")
    options = parser.parse_args()
    timings = measure(options.runs, 0) + measure(options.runs, options.plugins)
    print(f"{'command':<16}{'plugins':>8}{'min, s':>9}{'median, s':>11}{'limit, s':>10}")
    for timing in timings:
        limit = "-" if timing.limit_seconds is None else f"{timing.limit_seconds:.2f}"
        print(
            f"{timing.command:<16}{timing.plugins:>8}{timing.min_seconds:>9.3f}"
            f"{timing.median_seconds:>11.3f}{limit:>10}{'' if timing.kept else '  exceeded'}"
        )
    if options.json:
        document = {
            "schema": SCHEMA,
            "python": platform.python_version(),
            "machine": platform.machine(),
            "cores": os.cpu_count(),
            "load_average": os.getloadavg()[0],
            "runs": options.runs,
            "timings": [asdict(timing) for timing in timings],
        }
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    return 0 if all(timing.kept for timing in timings) else 1


if __name__ == "__main__":
    sys.exit(main())
