"""What is fuzzed: seeds of valid files, how they are mutated, and the program that reads them.

Reading must end in a result or in an ``NcError``. Of a container, a result must be what the
original holds: damage that no checksum sees must be seen by what is decoded.
"""

from __future__ import annotations

import contextlib
import gzip
import importlib.resources
import io
import pickle
import struct
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from random import Random

import numpy as np
from PIL import Image as Picture

import nc_core
from fuzzing import mutations
from nc_core.datasets.idx import read_idx
from nc_core.datasets.opening import open_dataset
from nc_core.datasets.plain_pickle import read_plain_pickle
from nc_core.errors import PluginError
from nc_core.header import stored_rate
from nc_core.images import Image, read_image, write_image
from nc_core.model_file import write_model_file
from nc_core.models import installed, load_model
from nc_core.restore import open_container

__all__ = ["TARGETS", "Target"]

_Mutate = Callable[[bytes, Random], bytes]


class Target(ABC):
    """One kind of file.

    Attributes:
        seeds: valid files.
        mutators: each with how often it is chosen.
    """

    suffix = ""
    mutators: tuple[_Mutate, ...] = (mutations.mutate_bytes,)

    def __init__(self) -> None:
        self.random = np.random.default_rng(0)
        self.seeds = self.make_seeds()

    @abstractmethod
    def make_seeds(self) -> list[bytes]:
        """Valid files to begin with, small ones."""

    @abstractmethod
    def read(self, path: Path, seed: int) -> str | None:
        """Read a mutated file of that seed; what is wrong with the result, or None."""


class Containers(Target):
    """``.ncz`` files of the built-in model: images with metadata, arrays, tiles, 16 bits."""

    suffix = ".ncz"
    mutators = (mutations.mutate_bytes, mutations.mutate_container, mutations.mutate_container)

    def make_seeds(self) -> list[bytes]:
        noise = self.random.integers
        seeds = [
            nc_core.compress(noise(0, 256, (9, 7, 3), np.uint8)).data,
            nc_core.compress(noise(0, 9, (6, 5, 4), np.uint8), layout="nhw").data,
            nc_core.compress(noise(0, 65536, (8, 8), np.uint16)).data,
            nc_core.compress(noise(0, 256, (100,), np.uint8), layout="none").data,
        ]
        with tempfile.TemporaryDirectory() as folder:
            for name, shape in (("a.png", (5, 6)), ("b.png", (7, 4, 3))):
                pixels = noise(0, 256, shape, np.uint8)
                write_image(Path(folder) / name, Image(pixels, b"profile" * 20))
            seeds.append(nc_core.compress(folder).data)
        self._expected = [self._digest(data) for data in seeds]
        return seeds

    def _digest(self, data: bytes) -> list[bytes]:
        container = open_container(io.BytesIO(data), "seed.ncz")
        return [item.samples.tobytes() for item in container.items()]

    def read(self, path: Path, seed: int) -> str | None:
        with path.open("rb") as file:
            container = open_container(file, path.name)
            stored_rate(container.reader, container.header)
            found = [item.samples.tobytes() for item in container.items()]
        return None if found == self._expected[seed] else "other samples than were compressed"


class ModelFiles(Target):
    """Model files of whatever families are installed, and of none."""

    suffix = ".safetensors"
    mutators = (mutations.mutate_bytes, mutations.mutate_safetensors, mutations.mutate_safetensors)

    def make_seeds(self) -> list[bytes]:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "small.safetensors"
            write_model_file(
                path, "nobody", {"width": 3, "parts": [1, {"a": None}]},
                {"weight": np.ones((3, 2), np.float32), "float/weight": np.zeros(4)},
            )  # fmt: skip
            seeds = [path.read_bytes()]
        with contextlib.suppress(PluginError):  # where the package is not installed
            family, member = installed().find_pretrained("bitswap-mnist")
            package = family.target.partition(".")[0]
            resource = importlib.resources.files(package) / str(member.resource)
            seeds.append(resource.read_bytes())
        return seeds

    def read(self, path: Path, seed: int) -> str | None:
        load_model(str(path))
        return None


class IdxFiles(Target):
    """IDX files, plain and compressed."""

    def make_seeds(self) -> list[bytes]:
        pixels = self.random.integers(0, 256, (5, 4, 3), np.uint8)
        plain = struct.pack(">HBBIII", 0, 8, 3, *pixels.shape) + pixels.tobytes()
        return [plain, gzip.compress(plain, mtime=0)]

    def read(self, path: Path, seed: int) -> str | None:
        read_idx(path, 3)
        return None


class Arrays(Target):
    """``.npy`` and ``.npz`` files as datasets."""

    def __init__(self, kind: str) -> None:
        self._kind = kind
        self.suffix = f".{kind}"
        self.mutators = (
            (mutations.mutate_bytes, _front) if kind == "npy"
            else (mutations.mutate_bytes, mutations.mutate_npz)
        )  # fmt: skip
        super().__init__()

    def make_seeds(self) -> list[bytes]:
        seeds = []
        for array in (
            self.random.integers(0, 256, (4, 5, 3), np.uint8),
            np.asfortranarray(self.random.normal(size=(3, 4)).astype(np.float32)),
        ):
            for save in (np.save,) if self._kind == "npy" else (_savez, _savez_compressed):
                file = io.BytesIO()
                save(file, array)
                seeds.append(file.getvalue())
        return seeds

    def read(self, path: Path, seed: int) -> str | None:
        dataset = open_dataset(f"{self._kind}:{path}")
        for index in range(min(len(dataset), 3)):
            dataset[index]
        return None


class Pickles(Target):
    """Batches of CIFAR-10 as Python 2 pickled them, and payloads that call something."""

    def make_seeds(self) -> list[bytes]:
        batch = {b"labels": [1, 2], b"filenames": [b"a", b"b"], b"batch_label": b"x"}
        return [pickle.dumps(batch, protocol=2), b"cos\nsystem\n(S'touch PWNED'\ntR."]

    def read(self, path: Path, seed: int) -> str | None:
        read_plain_pickle(path.read_bytes(), path.name)
        return None


class Images(Target):
    """PNG and JPEG files, as input of ``compress``."""

    suffix = ".png"
    mutators = (mutations.mutate_bytes, mutations.mutate_png)

    def make_seeds(self) -> list[bytes]:
        pixels = self.random.integers(0, 256, (9, 8, 3), np.uint8)
        seeds = []
        for mode in ("RGB", "L", "P", "RGBA", "1"):
            file = io.BytesIO()
            Picture.fromarray(pixels).convert(mode).save(file, "png", icc_profile=b"profile" * 9)
            seeds.append(file.getvalue())
        return seeds

    def read(self, path: Path, seed: int) -> str | None:
        read_image(path)
        return None


class Recipes(Target):
    """Recipes as a user writes them."""

    suffix = ".yaml"

    def __init__(self) -> None:
        self.mutators = (mutations.mutate_bytes, _text, _text)
        super().__init__()

    def make_seeds(self) -> list[bytes]:
        return [
            b"training:\n  duration: 3 epochs\n  batch_size: 16\n  ema: {decay: 0.999}\n"
            b"  clip_norm: 1e-1\n  evaluate_every: 5 steps\nname: [a, b]\nrate: 0.5\n"
        ]

    def read(self, path: Path, seed: int) -> str | None:
        from fuzzing.recipe import RecipeConfig
        from nc_core.config import load_config

        load_config(RecipeConfig, path)
        return None


def _text(data: bytes, random: Random) -> bytes:
    return mutations.mutate_text(data.decode(), random).encode("utf-8", "surrogatepass")


def _front(data: bytes, random: Random) -> bytes:
    """The first 128 bytes, where everything is that a reader believes."""
    return mutations.mutate_bytes(data[:128], random) + data[128:]


def _savez(file: io.BytesIO, array: np.ndarray) -> None:
    np.savez(file, data=array)


def _savez_compressed(file: io.BytesIO, array: np.ndarray) -> None:
    np.savez_compressed(file, data=array)


TARGETS: dict[str, Callable[[], Target]] = {
    "containers": Containers,
    "model-files": ModelFiles,
    "idx": IdxFiles,
    "npy": lambda: Arrays("npy"),
    "npz": lambda: Arrays("npz"),
    "pickles": Pickles,
    "images": Images,
    "recipes": Recipes,
}
