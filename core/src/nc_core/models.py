"""Models and coders by name, and models by the id that a container names."""

from __future__ import annotations

from nc_core.errors import CorruptFileError
from nc_core.plugins import PluginManager
from nc_core.protocols import Coder, LosslessModel
from nc_core.specs import CoderSpec, ModelSpec

__all__ = ["DEFAULT_CODER", "DEFAULT_MODEL", "installed", "load_coder", "load_model", "model_by_id"]

DEFAULT_MODEL = "predictive"
DEFAULT_CODER = "rans"


def installed() -> PluginManager:
    """A manager of everything that is installed."""
    plugins = PluginManager()
    plugins.discover()
    return plugins


def load_model(name: str = DEFAULT_MODEL, plugins: PluginManager | None = None) -> LosslessModel:
    """The pretrained model of that name (``name`` or ``name@provider``).

    Args:
        name: as ``nc list models`` shows it.
        plugins: where to look; by default what is installed.

    Raises:
        PluginError: unknown, ambiguous, or its package is broken.
    """
    family, member = (plugins or installed()).find_pretrained(name)
    model: LosslessModel = family.load()(member)
    return model


def model_by_id(
    model_id: str, name: str, file: str, plugins: PluginManager | None = None
) -> LosslessModel:
    """The model that a container was made with.

    Args:
        model_id: the sha256 that names it.
        name: what it was called there; only for the message.
        file: the container; only for the message.
        plugins: where to look; by default what is installed.

    Raises:
        CorruptFileError: no installed package has it.
    """
    for family in (plugins or installed()).specs(ModelSpec):
        for member in family.pretrained:
            if member.id == model_id:
                model: LosslessModel = family.load()(member)
                return model
    raise CorruptFileError(
        f"{file}: made with model '{name}' (id {model_id[:12]}), which is not installed",
        "install the package that has it; 'nc list models' shows what is there",
    )


def load_coder(name: str = DEFAULT_CODER, plugins: PluginManager | None = None) -> Coder:
    """The entropy coder of that name.

    Raises:
        PluginError: unknown, ambiguous, or what it needs is not installed.
    """
    coder: Coder = (plugins or installed()).find(CoderSpec, name).load()()
    return coder
