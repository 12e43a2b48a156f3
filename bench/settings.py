"""Files coded under each of several settings, and decoded under every other one.

    python bench/settings.py --json bench/results/settings.json

Each setting has a process of its own, which makes all files and decodes those of other processes.
Nothing of a file may depend on the setting, so the bytes of all makers are compared, and every
distinct file is decoded under every setting and compared with the images. As a control, each
process hashes what the real-valued networks of a model give for some digits: these do depend on it.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

SCHEMA = "nc.bench.settings/1"
SHARED = Path(os.environ.get("NC_TEST_SHARED", Path(__file__).parents[2] / "shared"))
REFERENCE = "reference"


@dataclass(frozen=True)
class Setting:
    """How a process computes.

    Args:
        environment: variables that libraries read when they start.
        switches: names in SWITCHES.
        workers: chunks coded at once.
        torch_threads: threads of one operation of PyTorch.
        coder: entropy coder.
        networks: whether it changes anything only where there are networks.
        small: whether it is too slow for other than small files.
    """

    environment: Mapping[str, str] = field(default_factory=dict)
    switches: tuple[str, ...] = ()
    workers: int = 1
    torch_threads: int = 1
    coder: str = "rans"
    networks: bool = False
    small: bool = False


# What a machine with fewer instructions would take: other vector widths, other kernels.
PLAIN_MACHINE = {
    "ATEN_CPU_CAPABILITY": "default",
    "ONEDNN_MAX_CPU_ISA": "SSE41",
    "MKL_ENABLE_INSTRUCTIONS": "SSE4_2",
    "NPY_DISABLE_CPU_FEATURES": "AVX2 FMA3 AVX512F",
}
SETTINGS = {
    REFERENCE: Setting(),
    "coder in NumPy": Setting(coder="rans-numpy", small=True),
    "2 workers": Setting(workers=2),
    "2 threads of torch": Setting(torch_threads=2, networks=True),
    "oneDNN off": Setting(switches=("no-onednn",), networks=True),
    "oneDNN up to SSE4.1": Setting({"ONEDNN_MAX_CPU_ISA": "SSE41"}, networks=True),
    "torch without AVX": Setting({"ATEN_CPU_CAPABILITY": "default"}, networks=True),
    "bfloat16 allowed": Setting(switches=("medium-precision",), networks=True),
    "channels last": Setting(switches=("channels-last",), networks=True),
    "one example at a time": Setting(switches=("one-at-a-time",), networks=True),
    "chunks in reverse": Setting(switches=("reversed-chunks",)),
    "denormals flushed": Setting(switches=("flushed-denormals",)),
    "kernels for any CPU": Setting({"NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": ""}),
    "a plainer machine": Setting(PLAIN_MACHINE),
    "several at once": Setting(
        PLAIN_MACHINE,
        (
            "no-onednn",
            "medium-precision",
            "channels-last",
            "one-at-a-time",
            "reversed-chunks",
            "flushed-denormals",
        ),
        workers=2,
        torch_threads=2,
    ),
    "nothing compiled": Setting({"NUMBA_DISABLE_JIT": "1"}, coder="rans-numpy", small=True),
}
SELECTION = (REFERENCE, "oneDNN off", "several at once")


@dataclass(frozen=True)
class Subject:
    """A file to make: the images of a folder under a model."""

    images: str
    model: str
    order: str | None = None
    small: bool = False

    @property
    def networks(self) -> bool:
        """Whether the model has any."""
        return self.model != "predictive"


SUBJECTS = {
    "digits, Bit-Swap": Subject("digits", "bitswap-mnist", "bit-swap"),
    "digits, BB-ANS": Subject("digits", "bitswap-mnist", "bb-ans"),
    "photograph, bitswap-photo": Subject("photograph", "bitswap-photo"),
    "photograph, predictive": Subject("photograph", "predictive"),
    "5 digits, Bit-Swap": Subject("5-digits", "bitswap-mnist", "bit-swap", small=True),
    "5 digits, BB-ANS": Subject("5-digits", "bitswap-mnist", "bb-ans", small=True),
    "3 patches, bitswap-photo": Subject("3-patches", "bitswap-photo", small=True),
    "3 patches, predictive": Subject("3-patches", "predictive", small=True),
}


def image_sets(shared: Path) -> dict[str, list[NDArray[Any]]]:
    """Images of two sizes each, so that every file has two chunks or more."""
    from nc_core.datasets.idx import read_idx
    from nc_core.images import read_image

    digits = read_idx(shared / "data" / "mnist" / "t10k-images-idx3-ubyte.gz", 3)
    photograph = read_image(shared / "data" / "kodak" / "kodim05.png").pixels
    crop, tiles = photograph[128:384, 128:512], []
    for top in range(0, 256, 64):
        tiles += [crop[top : top + 64, left : left + 64] for left in (256, 320)]
    patches = photograph[240:256, 300:316].reshape(2, 8, 16, 3)
    return {
        "digits": [*digits[:24], *digits[24:48, 1:-1, 2:-2]],
        "photograph": [crop[:, :256], *tiles],
        "5-digits": [*digits[:3], *digits[3:5, 1:-1, 2:-2]],
        "3-patches": [photograph[200:216, 300:316], *patches],
    }


def applies(setting: Setting, subject: Subject) -> bool:
    """Whether a file under a setting can tell anything, in reasonable time."""
    return (subject.networks or not setting.networks) and (subject.small or not setting.small)


# In a process of its own ---------------------------------------------------------------------


def networks_of(model: Any) -> Iterator[Any]:
    """The PyTorch modules of a lossless model."""
    from torch import nn

    return (value for value in vars(model).values() if isinstance(value, nn.Module))


def turn_off_onednn(model: Any) -> None:
    """Let PyTorch's own kernels compute convolutions."""
    import torch

    onednn: Any = torch.backends.mkldnn
    onednn.enabled = False


def allow_bfloat16(model: Any) -> None:
    """Let libraries compute float32 products with fewer bits."""
    import torch

    torch.set_float32_matmul_precision("medium")


def flush_denormals(model: Any) -> None:
    """Take numbers below 2^-126 for zero."""
    import torch

    torch.set_flush_denormal(True)


def put_channels_last(model: Any) -> None:
    """Keep weights, and so what layers return, in the order (N, H, W, C)."""
    import torch

    for network in networks_of(model):
        network.to(memory_format=torch.channels_last)


def compute_one_at_a_time(model: Any) -> None:
    """Give every layer the examples of a batch one by one."""
    import torch

    from nc_core.exact.layer import ExactLayer

    def split(forward: Callable[[Any], Any]) -> Callable[[Any], Any]:
        return lambda inputs: torch.cat([forward(inputs[i : i + 1]) for i in range(len(inputs))])

    layers = (layer for network in networks_of(model) for layer in network.modules())
    for layer in layers:
        if isinstance(layer, ExactLayer):
            layer.__dict__["forward"] = split(layer.forward)


def reverse_chunks(model: Any) -> None:
    """Code the last chunk first, and hand results out in order."""
    from nc_core import decoding, encoding, parallel

    users: list[Any] = [decoding, encoding]

    def in_reverse(function: Any, tasks: Iterable[Any], threads: int) -> list[Any]:
        return list(parallel.in_order(function, reversed(list(tasks)), threads))[::-1]

    for user in users:
        user.in_order = in_reverse


SWITCHES = {
    "no-onednn": turn_off_onednn,
    "medium-precision": allow_bfloat16,
    "flushed-denormals": flush_denormals,
    "channels-last": put_channels_last,
    "one-at-a-time": compute_one_at_a_time,
    "reversed-chunks": reverse_chunks,
}


def prepared(setting: Setting, model: Any) -> Any:
    """The model, in a process that computes under a setting."""
    import torch

    torch.set_num_threads(setting.torch_threads)
    for name in setting.switches:
        SWITCHES[name](model)
    return model


def encode(folder: Path, setting_name: str, name: str) -> dict[str, Any]:
    """Make the file of a subject under a setting; its size and hashes."""
    from nc_core.lossless import compress_source
    from nc_core.models import installed, load_coder, load_model
    from nc_core.sources import FileSource, expand_inputs

    setting, subject, plugins = SETTINGS[setting_name], SUBJECTS[name], installed()
    path, images = file_of(folder, name, setting_name), folder / subject.images
    model: Any = load_model(subject.model, plugins)
    if subject.order is not None:
        model = model.with_order(subject.order)
    compress_source(
        FileSource(expand_inputs([images])), path, prepared(setting, model),
        load_coder(setting.coder, plugins), threads=setting.workers, verify=False,
    )  # fmt: skip
    return {
        "bytes": path.stat().st_size,
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "chunks_sha256": hash_of_chunks(path),
    }


def decode(folder: Path, setting_name: str, name: str, maker: str) -> bool:
    """Decode the file that another setting made of a subject; whether it holds the images."""
    from nc_core.images import image_files, read_image
    from nc_core.models import installed, load_coder
    from nc_core.restore import open_container, restore_arrays

    setting, plugins = SETTINGS[setting_name], installed()
    path, images = file_of(folder, name, maker), folder / SUBJECTS[name].images
    with path.open("rb") as file:
        container = open_container(file, path.name, plugins=plugins)
        model = prepared(setting, container.model)
        container = replace(container, model=model, coder=load_coder(setting.coder, plugins))
        found = restore_arrays(container, threads=setting.workers)
    wanted = [read_image(image).pixels for image in image_files(images)]
    return all(np.array_equal(*pair) for pair in zip(wanted, found, strict=True))


def work(
    folder: Path, setting: str, subjects: list[str], files: list[tuple[str, str]]
) -> dict[str, Any]:
    """What a process does: decode files that others made, and make its own.

    Args:
        folder: images and files.
        setting: under which.
        subjects: to encode.
        files: to decode, each (subject, setting that made it).
    """
    decoded = [decode(folder, setting, *file) for file in files]
    made = {name: encode(folder, setting, name) for name in subjects}
    floats = hash_of_floats(folder, SETTINGS[setting])
    return {"decoded": decoded, "made": made, "process": {**observed(), "floats_sha256": floats}}


def hash_of_chunks(path: Path) -> str:
    """Of a container without its header, which names the coder."""
    from nc_core.container import ContainerReader

    digest = hashlib.sha256()
    with path.open("rb") as file:
        for kind, payload in ContainerReader(file, path.name).chunks():
            digest.update(kind + payload)
    return digest.hexdigest()


def hash_of_floats(folder: Path, setting: Setting) -> str:
    """Of the means that the real-valued networks of a model give for five digits."""
    import torch

    from nc_bitswap.release import float_model
    from nc_core.images import image_files, read_image
    from nc_core.models import find_model_file, installed

    _, file = find_model_file("bitswap-mnist", installed())
    networks: Any = float_model(file)
    if "channels-last" in setting.switches:
        networks.to(memory_format=torch.channels_last)
    digits = [read_image(path).pixels for path in image_files(folder / "5-digits")][:3]
    batch = torch.from_numpy(np.pad(np.stack(digits), ((0, 0), (2, 2), (2, 2)))[:, None])
    size = 1 if "one-at-a-time" in setting.switches else len(batch)
    batches = [batch[start : start + size] for start in range(0, len(batch), size)]
    with torch.no_grad():
        means = torch.cat([networks.posterior(1, part)[0] for part in batches])
    return hashlib.sha256(means.contiguous().numpy().tobytes()).hexdigest()


def observed() -> dict[str, Any]:
    """What the libraries say of themselves."""
    import torch
    from numba import config

    compiler: Any = config
    return {
        "torch_threads": torch.get_num_threads(),
        "onednn": torch.backends.mkldnn.enabled,
        "torch_instructions": torch.backends.cpu.get_cpu_capability(),
        "compiled": not compiler.DISABLE_JIT,
        "numba_cpu": compiler.CPU_NAME or "host",
        "cpu_seconds": time.process_time(),
    }


# All processes -------------------------------------------------------------------------------


def file_of(folder: Path, subject: str, setting: str) -> Path:
    """Where the file of a subject is that was made under a setting."""
    return folder / f"{subject}, {setting}.ncz"


def run_worker(folder: Path, setting: str, subjects: list[str], files: Any) -> dict[str, Any]:
    """Do ``work`` in a process of its own."""
    environment = {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
    arguments = json.dumps([str(folder), setting, subjects, files])
    done = subprocess.run(
        [sys.executable, __file__, "--worker", arguments],
        env=os.environ | environment | dict(SETTINGS[setting].environment),
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        raise SystemExit(f"under '{setting}':\n{done.stderr}")
    result: dict[str, Any] = json.loads(done.stdout)
    print(f"{setting}: {len(subjects)} encoded, {len(files)} decoded", file=sys.stderr)
    return result


class Matrix:
    """Files by subject and setting, and which settings have decoded which.

    Args:
        folder: images and files.
        subjects: names of what is coded.
    """

    def __init__(self, folder: Path, subjects: Iterable[str]) -> None:
        self.folder = folder
        self.made: dict[str, dict[str, dict[str, Any]]] = {name: {} for name in subjects}
        self.decoded: dict[tuple[str, str, str], bool] = {}  # (subject, sha256, setting)
        self.processes: dict[str, Any] = {}

    def run(self, setting: str, *, encode: bool) -> None:
        """Let a process decode what it can, and what it has not; and encode, if asked to."""
        mine = [name for name in self.made if applies(SETTINGS[setting], SUBJECTS[name])]
        left = {
            (name, file["sha256"], setting): (name, maker)
            for name in mine
            for maker, file in reversed(self.made[name].items())
            if (name, file["sha256"], setting) not in self.decoded
        }
        if not encode and not left:
            return
        result = run_worker(self.folder, setting, mine if encode else [], list(left.values()))
        self.decoded |= dict(zip(left, result["decoded"], strict=True))
        for name, file in result["made"].items():
            self.made[name][setting] = file
        self.processes[setting] = result["process"]

    def rows(self) -> Iterator[dict[str, Any]]:
        """One for each file, setting that made it and setting that decoded it."""
        for name, files in self.made.items():
            usual = files[REFERENCE]
            for maker, file in files.items():
                for setting in files:
                    yield {
                        "file": name,
                        "encoded_under": maker,
                        "decoded_under": setting,
                        "bytes": file["bytes"],
                        "same_chunks": file["chunks_sha256"] == usual["chunks_sha256"],
                        "same_file": file["sha256"] == usual["sha256"],
                        "decoded": self.decoded[name, file["sha256"], setting],
                    }


def measure(folder: Path, settings: list[str], subjects: list[str]) -> dict[str, Any]:
    """Encode everything under every setting, and decode it under every other one."""
    from nc_core.images import Image, write_image

    for name, images in image_sets(SHARED).items():
        for index, pixels in enumerate(images):
            path = folder / name / f"{index:02d}.png"
            path.parent.mkdir(exist_ok=True)
            write_image(path, Image(np.ascontiguousarray(pixels)))
    matrix = Matrix(folder, subjects)
    for setting in settings:
        matrix.run(setting, encode=True)
    for setting in settings:  # files that were made later, and its own
        matrix.run(setting, encode=False)
    return {"processes": matrix.processes, "rows": list(matrix.rows())}


def summary(rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """For each file, how many settings made it, how many alike, and how many pairs decoded."""
    by_file: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        by_file.setdefault(row["file"], []).append(row)
    return [
        {
            "file": name,
            "bytes": mine[0]["bytes"],
            "settings": len({row["encoded_under"] for row in mine}),
            "made_alike": len({row["encoded_under"] for row in mine if row["same_chunks"]}),
            "pairs": len(mine),
            "decoded": sum(row["decoded"] for row in mine),
        }
        for name, mine in by_file.items()
    ]


def write_results(path: Path, result: Mapping[str, Any]) -> None:
    """Processes and a summary as JSON; all rows as CSV beside it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    document = {
        "schema": SCHEMA,
        "python": platform.python_version(),
        "machine": platform.machine(),
        "processes": result["processes"],
        "files": summary(result["rows"]),
    }
    path.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    with path.with_suffix(".csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(result["rows"][0]))
        writer.writeheader()
        writer.writerows(result["rows"])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--selection", action="store_true", help="a few settings on small files")
    parser.add_argument(
        "--json", type=Path, help="file for a summary; all pairs go to a .csv beside it"
    )
    parser.add_argument("--worker", type=json.loads, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        folder, *job = options.worker
        json.dump(work(Path(folder), *job), sys.stdout)
        return 0
    settings = list(SELECTION if options.selection else SETTINGS)
    subjects = [name for name in SUBJECTS if SUBJECTS[name].small or not options.selection]
    with tempfile.TemporaryDirectory() as temporary:
        result = measure(Path(temporary), settings, subjects)
    for line in summary(result["rows"]):
        print("  ".join(f"{name} {value}" for name, value in line.items()))
    floats = {name: report["floats_sha256"] for name, report in result["processes"].items()}
    others = [name for name, value in floats.items() if value != floats[REFERENCE]]
    print(f"real-valued networks compute otherwise under: {', '.join(others) or 'none'}")
    if options.json:
        write_results(options.json, result)
    return 0 if all(row["decoded"] and row["same_chunks"] for row in result["rows"]) else 1


if __name__ == "__main__":
    sys.exit(main())
