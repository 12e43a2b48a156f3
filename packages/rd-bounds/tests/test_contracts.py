"""This package keeps the contracts."""

from __future__ import annotations

from nc_core.testing import CommandContract, DatasetContract, PluginContract


class TestPlugin(PluginContract):
    name = "nc-rd-bounds"


class TestGaussian(DatasetContract):
    name = "gaussian"


class TestBanana(DatasetContract):
    name = "banana"


class TestCommands(CommandContract):
    name = "rd-bounds"
