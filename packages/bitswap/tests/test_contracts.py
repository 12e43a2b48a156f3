"""This package keeps the contracts."""

from __future__ import annotations

from nc_core.testing import CommandContract, ModelContract, PluginContract


class TestPlugin(PluginContract):
    name = "nc-bitswap"


class TestDigits(ModelContract):
    name = "bitswap-mnist"


class TestGreyDigits(ModelContract):
    name = "bbans-mnist"


class TestBinaryDigits(ModelContract):
    name = "bbans-mnist-binary"


class TestPhotographs(ModelContract):
    name = "bitswap-photo"


class TestCommands(CommandContract):
    name = "bitswap"
