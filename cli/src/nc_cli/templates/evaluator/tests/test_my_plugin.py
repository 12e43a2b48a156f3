"""The contracts that every plugin of nc keeps, and what is this package's own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import nc_core
from nc_core.testing import EvaluatorContract, PluginContract


class TestPlugin(PluginContract):
    name = "nc-my-plugin"


class TestEvaluator(EvaluatorContract):
    name = "my-plugin"


@pytest.mark.parametrize(("values", "bits"), [(1, 0.0), (2, 1.0), (256, 8.0)])
def test_equally_frequent_values_have_their_logarithm(
    tmp_path: Path, values: int, bits: float
) -> None:
    images = np.arange(4 * 16 * 16).reshape(4, 16, 16) % values
    np.save(tmp_path / "images.npy", images.astype(np.uint8))
    (entropy,) = nc_core.evaluate("my-plugin", f"npy:{tmp_path / 'images.npy'}")
    assert entropy.value == pytest.approx(bits)
