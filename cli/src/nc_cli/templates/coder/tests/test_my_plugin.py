"""The contracts that every plugin of nc keeps, and what is this package's own."""

from __future__ import annotations

import numpy as np

import nc_core
from nc_core.testing import CoderContract, PluginContract


class TestPlugin(PluginContract):
    name = "nc-my-plugin"


class TestCoder(CoderContract):
    name = "my-plugin"


def test_files_are_those_of_the_default_coder() -> None:
    image = np.random.default_rng(0).integers(0, 16, (12, 9), np.uint8)
    ours, default = (nc_core.compress(image, coder=coder) for coder in ("my-plugin", "rans"))
    assert ours.rate.payload_bits == default.rate.payload_bits
    np.testing.assert_array_equal(nc_core.decompress(ours.data), image)
