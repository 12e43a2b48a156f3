"""This package keeps the contracts."""

from __future__ import annotations

from nc_core.testing import CommandContract, ModelContract, PluginContract


class TestPlugin(PluginContract):
    name = "nc-diffusion-bb"


class TestDigits(ModelContract):
    name = "diffusion-mnist"


class TestCommands(CommandContract):
    name = "diffusion-bb"
