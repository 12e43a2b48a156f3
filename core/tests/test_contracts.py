"""What core itself provides keeps the contracts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from nc_core.datasets.prepare import prepare_dataset
from nc_core.models import installed
from nc_core.specs import DatasetSpec
from nc_core.testing import (
    CoderContract,
    DatasetContract,
    EvaluatorContract,
    ModelContract,
    PluginContract,
)


class TestCore(PluginContract):
    name = "nc-core"


class TestRans(CoderContract):
    name = "rans"


class TestRansNumpy(CoderContract):
    name = "rans-numpy"


class TestCraystack(CoderContract):
    name = "craystack"


class TestPredictive(ModelContract):
    name = "predictive"


class TestRate(EvaluatorContract):
    name = "rate"


class TestClassical(EvaluatorContract):
    name = "classical"


class TestMnist(DatasetContract):
    @pytest.fixture(scope="class")
    @classmethod
    def location(cls, shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("NC_DATA", str(tmp_path_factory.mktemp("data")))
            prepare_dataset(installed().find(DatasetSpec, "mnist"), shared / "data" / "mnist")
            yield "mnist:test?binarize=random&seed=3"


class TestFolder(DatasetContract):
    @pytest.fixture(scope="class")
    @classmethod
    def location(cls, tmp_path_factory: pytest.TempPathFactory) -> str:
        folder = tmp_path_factory.mktemp("photos")
        generator = np.random.default_rng(0)
        for name, shape in (("a", (8, 5, 3)), ("b", (1, 1)), ("c", (13, 7, 4))):
            Image.fromarray(generator.integers(0, 256, shape, np.uint8)).save(
                folder / f"{name}.png"
            )
        return f"folder:{folder}"


class TestNpy(DatasetContract):
    @pytest.fixture(scope="class")
    @classmethod
    def location(cls, tmp_path_factory: pytest.TempPathFactory) -> str:
        path = tmp_path_factory.mktemp("arrays") / "rows.npy"
        np.save(path, np.random.default_rng(0).normal(size=(20, 6)).astype(">f4"))
        return f"npy:{path}"


class TestNpz(DatasetContract):
    @pytest.fixture(scope="class")
    @classmethod
    def location(cls, tmp_path_factory: pytest.TempPathFactory) -> str:
        path = tmp_path_factory.mktemp("arrays") / "images.npz"
        images = np.random.default_rng(0).integers(0, 256, (20, 6, 4, 3), np.uint8)
        np.savez_compressed(path, data=images, label=np.arange(20))
        return f"npz:{path}?key=data"
