"""Commands killed at random moments, and run again: nothing half-written, nothing lost.

    python bench/interruptions.py --kills 25 --json bench/results/interruptions.json

Every command runs once undisturbed. Then it is killed (SIGKILL) at moments drawn uniformly from
the time which that took, what it left is checked, and it runs again: with ``--resume`` where the
command has it. In the end every output must have the bytes of the undisturbed run.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

SCHEMA = "nc.bench.interruptions/1"
SHARED = Path(os.environ.get("NC_TEST_SHARED", Path(__file__).parents[2] / "shared"))
NC = [sys.executable, "-m", "nc_cli"]
TINY_TRAINING = {
    "model.height": 8,
    "model.width": 8,
    "model.hidden": 4,
    "model.processing": 0,
    "model.blocks": 1,
    "bins.bits": 4,
    "bins.samples_per_bin": 2,
    "warm_up_batches": 2,
    "training.duration": 120,
    "training.batch_size": 8,
    "training.log_every": 5,
    "training.evaluate_every": 15,
    "training.checkpoint_every": 10,
}


@dataclass(frozen=True)
class Job:
    """A command to kill.

    Args:
        command: as users call it.
        what: what it works on.
        arguments: of ``nc``, but for the output.
        out: name of the output; empty for a command that writes to NC_DATA.
        again: options of the run after the kill.
    """

    command: str
    what: str
    arguments: tuple[str, ...]
    out: str = ""
    again: tuple[str, ...] = ()


def prepare_jobs(folder: Path) -> list[Job]:
    """Write the inputs of all jobs to a folder; the jobs."""
    from nc_core.datasets.idx import read_idx
    from nc_core.images import Image, write_image

    digits = read_idx(SHARED / "data" / "mnist" / "t10k-images-idx3-ubyte.gz", 3)
    images, stack, small = folder / "digits", folder / "mnist.npy", folder / "small.npy"
    images.mkdir()
    for index, digit in enumerate(digits[:96]):
        border = index // 8 % 2  # every eight images have another size, so there are 12 chunks
        cropped = np.ascontiguousarray(digit[border : 28 - border])
        write_image(images / f"{index:02d}.png", Image(cropped))
    np.save(stack, digits)
    np.save(small, digits[:200, ::4, ::4])
    settings = TINY_TRAINING | {"data.train": f"npy:{small}", "data.test": f"npy:{small}"}
    changes = [f"--set={name}={value}" for name, value in settings.items()]
    training = ("run", "bitswap", "train", "--device", "cpu", "--threads", "1", *changes)
    jobs = [
        Job("run bitswap train", "120 steps of a tiny model", training, "run", ("--resume",)),
        Job("data prepare", "mnist", ("data", "prepare", "mnist", "--from", str(SHARED / "data"))),
    ]
    for what, inputs in (
        ("96 digits, bitswap-mnist", (str(images), "--model", "bitswap-mnist")),
        ("10,000 digits, predictive", ("--dataset", f"npy:{stack}")),
    ):
        packed = folder / f"{what}.ncz"
        compressing = ("compress", *inputs, "--threads", "1")
        subprocess.run([*NC, *compressing, "-o", str(packed)], check=True, capture_output=True)
        jobs.append(Job("compress", what, compressing, "out.ncz", ("--resume",)))
        restoring = ("decompress", str(packed), "--threads", "1")
        jobs.append(Job("decompress", what, restoring, "out", ("--resume",)))
    return jobs


@dataclass(frozen=True)
class Kill:
    """What one kill did.

    Args:
        at_seconds, of_seconds: when it came, and how long the undisturbed command took.
        ended: whether the command had ended by then.
        bytes_left: on disk at that moment, unfinished files included.
        files_left: how many of the final names were there.
        whole: all of these files were.
        exit_code: of the run after the kill; None where all was there already.
        identical: all outputs have the undisturbed run's bytes in the end.
        litter: unfinished files that are still there in the end.
    """

    command: str
    what: str
    at_seconds: float
    of_seconds: float
    ended: bool
    bytes_left: int
    files_left: int
    whole: bool
    exit_code: int | None
    identical: bool
    litter: int

    @property
    def good(self) -> bool:
        """Nothing was half-written, and nothing was lost."""
        return self.whole and self.identical and not self.exit_code


def kill_once(job: Job, folder: Path, expected: Mapping[str, str], of: float, at: float) -> Kill:
    """Run a job in a new folder, kill it, look, run it again, compare."""
    folder.mkdir()
    process = start(job, folder)
    try:
        ended = process.wait(at) == 0
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
        ended = process.wait() == 0
    left = final_files(folder)
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    whole = all(
        digest == expected.get(name) or is_whole(folder / name) for name, digest in left.items()
    )
    code = None
    if results(left) != results(expected):
        code = start(job, folder, *job.again).wait()
    return Kill(
        command=job.command,
        what=job.what,
        at_seconds=round(at, 3),
        of_seconds=round(of, 3),
        ended=ended,
        bytes_left=size,
        files_left=len(left),
        whole=whole,
        exit_code=code,
        identical=results(final_files(folder)) == results(expected),
        litter=sum(1 for _ in hidden(folder)),
    )


def start(job: Job, folder: Path, *options: str) -> subprocess.Popen[bytes]:
    """Start a job whose outputs go to a folder."""
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    out = ["-o", str(folder / job.out)] if job.out else []
    if not out:
        environment["NC_DATA"] = str(folder)
    return subprocess.Popen(
        [*NC, *job.arguments, *out, *options],
        env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip


def final_files(folder: Path) -> dict[str, str]:
    """Hash of every file that has its final name."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    }


def results(files: Mapping[str, str]) -> dict[str, str]:
    """Those that must not differ between runs: not what seconds go into."""
    return {
        name: digest
        for name, digest in files.items()
        if "checkpoints" not in name and not name.endswith("timing.jsonl")
    }


def is_whole(path: Path) -> bool:
    """Whether a file that is not the final one belongs to a training run and is readable."""
    if path.suffix == ".jsonl":  # a log loses at most its last line
        lines = path.read_text().split("\n")[:-1]
        return all(isinstance(json.loads(line), dict) for line in lines)
    if path.suffix != ".safetensors":
        return False
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "numpy") as file:
            return all(file.get_tensor(name) is not None for name in file.keys())  # noqa: SIM118
    except SafetensorError:
        return False


def hidden(folder: Path) -> Iterator[Path]:
    """Unfinished files and folders; a run's lock is none."""
    return (p for p in folder.rglob(".*") if p.name != ".lock")


def undisturbed(job: Job, folder: Path) -> tuple[dict[str, str], float]:
    """Files of a job, and the seconds that it takes."""
    folder.mkdir()
    begin = time.perf_counter()
    if start(job, folder).wait():
        raise SystemExit(f"nc {job.command} failed undisturbed ({job.what})")
    return final_files(folder), time.perf_counter() - begin


def measure(jobs: list[Job], folder: Path, kills: int, seed: int, minutes: float) -> list[Kill]:
    """Kill each command some times, the commands in turns, until time is up."""
    generator = random.Random(seed)
    end = time.monotonic() + 60 * minutes
    finished = {job: undisturbed(job, folder / f"job-{i}") for i, job in enumerate(jobs)}
    turns: dict[str, list[Job]] = {}
    for job in jobs:
        turns.setdefault(job.command, []).append(job)
    done: list[Kill] = []
    for number in range(kills):
        for variants in turns.values():
            job = variants[number % len(variants)]
            expected, seconds = finished[job]
            if time.monotonic() > end:
                return done
            here = folder / f"kill-{len(done)}"
            done.append(kill_once(job, here, expected, seconds, generator.uniform(0, seconds)))
            print(done[-1], file=sys.stderr)
            if done[-1].good:
                shutil.rmtree(here)
    return done


def summary(kills: list[Kill]) -> list[dict[str, Any]]:
    """Counts for each command and what it works on."""
    rows = []
    for command, what in dict.fromkeys((kill.command, kill.what) for kill in kills):
        mine = [kill for kill in kills if (kill.command, kill.what) == (command, what)]
        rows.append(
            {
                "command": command,
                "what": what,
                "seconds": mine[0].of_seconds,
                "kills": len(mine),
                "ended_before": sum(kill.ended for kill in mine),
                "left_something": sum(kill.bytes_left > 0 for kill in mine),
                "half_written": sum(not kill.whole for kill in mine),
                "failed_again": sum(kill.exit_code not in (0, None) for kill in mine),
                "identical": sum(kill.identical for kill in mine),
                "litter": sum(kill.litter > 0 for kill in mine),
            }
        )
    return rows


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--kills", type=int, default=25, help="of each command (default 25)")
    parser.add_argument("--seed", type=int, default=0, help="of the moments (default 0)")
    parser.add_argument("--minutes", type=float, default=60, help="stop after these (default 60)")
    parser.add_argument("--json", type=Path, help="file to write the results to; a .csv beside it")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="nc-interruptions-"))
    kills = measure(prepare_jobs(folder), folder, options.kills, options.seed, options.minutes)
    rows = summary(kills)
    for row in rows:
        print("  ".join(f"{name} {value}" for name, value in row.items()))
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        document = {
            "schema": SCHEMA, "seed": options.seed, "summary": rows,
            "kills": [asdict(kill) for kill in kills],
        }  # fmt: skip
        options.json.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
        with options.json.with_suffix(".csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
    good = all(kill.good for kill in kills)
    if good:
        shutil.rmtree(folder)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
