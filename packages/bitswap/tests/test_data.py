"""Images of a dataset in a model's shape, and training on a sampler without end."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from nc_bitswap.config import BitswapConfig
from nc_bitswap.data import ModelImages
from nc_bitswap.train import train
from nc_core import open_dataset
from nc_core.config import load_config
from nc_core.errors import UsageError
from nc_core.runs import RunDirectory
from nc_core.training import Hardware

SHAPE = (3, 8, 8)
SETTINGS = (
    "model.channels=3", "model.height=8", "model.width=8", "model.hidden=4", "model.processing=0",
    "model.blocks=1", "bins.bits=4", "bins.samples_per_bin=2", "warm_up_batches=2",
    "training.duration=2", "training.batch_size=4", "training.evaluate_every=2",
    "training.evaluate_at_start=false", "training.checkpoint_every=2",
)  # fmt: skip


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    (tmp_path / "photos").mkdir()
    for number in range(3):
        pixels = np.random.default_rng(number).integers(0, 256, (12, 10, 3), np.uint8)
        Image.fromarray(pixels).save(tmp_path / "photos" / f"{number}.png")
    return tmp_path / "photos"


def test_a_sampler_without_end_has_no_length_and_first_images(photos: Path) -> None:
    endless = ModelImages(open_dataset(f"crops:{photos}?size=8&count=endless"), SHAPE)
    assert endless.count is None
    assert endless.first(7).shape == (7, *SHAPE)
    with pytest.raises(UsageError, match="has no end"):
        len(endless)
    finite = ModelImages(open_dataset(f"crops:{photos}?size=8"), SHAPE)
    assert (finite.count, len(finite), len(finite.first(7))) == (3, 3, 3)
    np.testing.assert_array_equal(endless.first(3), finite.first(3))


def test_a_model_trains_on_a_sampler_without_end(photos: Path, tmp_path: Path) -> None:
    config = load_config(BitswapConfig, settings=SETTINGS)
    images = [
        ModelImages(open_dataset(f"crops:{photos}?size=8{option}"), SHAPE)
        for option in ("&count=endless", "")
    ]
    with RunDirectory.create(tmp_path / "run", config.to_json()) as run:
        result = train(config, run, *images, hardware=Hardware("cpu", threads=1, loaders=0))
    assert result.step == 2
    assert (tmp_path / "run" / "model.safetensors").exists()
