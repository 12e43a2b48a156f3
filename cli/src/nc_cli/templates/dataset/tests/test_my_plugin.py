"""The contracts that every plugin of nc keeps, and what is this package's own."""

from __future__ import annotations

import numpy as np

from nc_core.datasets.opening import open_dataset
from nc_core.testing import DatasetContract, PluginContract


class TestPlugin(PluginContract):
    name = "nc-my-plugin"


class TestTrain(DatasetContract):
    name = "my-plugin:train"


class TestTest(DatasetContract):
    name = "my-plugin:test"


def test_splits_and_seeds_differ() -> None:
    names = ("my-plugin:train", "my-plugin:test", "my-plugin:train?seed=1")
    first, *others = (open_dataset(name)[0]["image"] for name in names)
    assert all(np.any(first != other) for other in others)
