"""Models and coders by name, models by path, and models by the id that a container names."""

from __future__ import annotations

import importlib.resources
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

from nc_core.coding import told
from nc_core.errors import CorruptFileError, DataError, PluginError, UsageError
from nc_core.model_file import ModelFile, read_model_file, store_model, stored_model
from nc_core.plugins import PluginManager
from nc_core.protocols import Coder, LosslessModel
from nc_core.specs import CoderSpec, ModelSpec, Pretrained

__all__ = [
    "DEFAULT_CODER",
    "DEFAULT_MODEL",
    "configured",
    "find_model_file",
    "installed",
    "is_model_path",
    "load_coder",
    "load_model",
    "model_by_id",
]

DEFAULT_MODEL = "predictive"
DEFAULT_CODER = "rans"
RUN_MODEL = "model.safetensors"
_Model = TypeVar("_Model")
_PLUGIN_FILE = re.compile(r"\w[\w.+-]*\.py")


def installed() -> PluginManager:
    """A manager of everything that is installed."""
    plugins = PluginManager()
    plugins.discover()
    return plugins


def load_model(
    name: str | os.PathLike[str] = DEFAULT_MODEL,
    plugins: PluginManager | None = None,
    *,
    keep: bool = False,
    order: str | None = None,
    coding: Mapping[str, str] | None = None,
) -> LosslessModel:
    """The model of that name, or in that model file or run directory.

    Args:
        name: as ``nc list models`` shows it (``name`` or ``name@provider``), or a path: whatever
            exists as one, holds a separator or ends in ``.safetensors``.
        plugins: where to look; by default what is installed.
        keep: store a model that is given by its path, so that what is compressed with it
            decodes without naming the path again.
        order: of the steps of bits-back coding, where the model has several (``bit-swap``,
            ``bb-ans``); by default its own. Decoding needs none.
        coding: what to tell the model; by default nothing. Decoding needs none of it.

    Raises:
        PluginError: unknown, ambiguous, or its package is broken.
        DataError: the path holds no model file, or a damaged one.
        UsageError: an order or a coding option that the model does not take.
    """
    plugins = installed() if plugins is None else plugins
    family, file = find_model_file(name, plugins)
    if keep and is_model_path(name):
        store_model(file)
    model: LosslessModel = family.load()(file)
    return configured(model, os.fspath(name), order=order, coding=coding)


def configured(
    model: _Model,
    name: str,
    *,
    order: str | None = None,
    coding: Mapping[str, str] | None = None,
) -> _Model:
    """The model as a user wants it; ``order`` is the coding option of that name, if it has any.

    Args:
        model: of any kind.
        name: what the user calls it.
        order: as for :func:`load_model`.
        coding: the same.

    Raises:
        UsageError: an order or a coding option that the model does not take.
    """
    options = dict(coding or {})
    if order is not None and not hasattr(model, "with_coding"):
        model = _in_order(model, name, order)
    elif order is not None:
        if "order" in options:
            raise UsageError("the order is given twice, also as a coding option", "give it once")
        options["order"] = order
    if getattr(model, "leads_in", False):
        from nc_core.lead_in import LeadIn

        options = {LeadIn.KEY: LeadIn.PREDICTIVE} | options
    if not options:
        return model
    try:
        return told(model, options)
    except ValueError as error:
        raise UsageError(f"model '{name}': {error}") from error


def find_model_file(
    name: str | os.PathLike[str], plugins: PluginManager
) -> tuple[ModelSpec, ModelFile]:
    """The file of a model by name or path, and its family; loads neither torch nor the model.

    Raises:
        PluginError, DataError: as :func:`load_model`.
    """
    if not is_model_path(name):
        family, member = plugins.find_pretrained(os.fspath(name))
        return family, _open_member(family, member)
    path = Path(name)
    file = read_model_file(_inside(path) if path.is_dir() else path)
    return _family(file, str(path), plugins), file


def is_model_path(name: str | os.PathLike[str]) -> bool:
    """Whether a model is given by its path rather than by its registered name."""
    if not isinstance(name, str):
        return True
    separators = [os.sep, *([os.altsep] if os.altsep else [])]
    return (
        any(separator in name for separator in separators)
        or name.endswith(".safetensors")
        or Path(name).exists()
    )


def model_by_id(
    model_id: str,
    name: str,
    file: str,
    plugins: PluginManager | None = None,
    package: str = "",
) -> LosslessModel:
    """The model that a container was made with: a pretrained one, or one of the store.

    Args:
        model_id: the sha256 that names it.
        name: what it was called there; only for the message.
        file: the container; only for the message.
        plugins: where to look; by default what is installed.
        package: distribution or plugin file that has it; only for the message.

    Raises:
        CorruptFileError: it is nowhere to be found.
        DataError: it is there, and damaged.
        PluginError: it is in the store, but the package of its family is not installed.
    """
    plugins = installed() if plugins is None else plugins
    model: LosslessModel
    for family in plugins.specs(ModelSpec):
        for member in family.pretrained:
            if member.id == model_id:
                model = family.load()(_open_member(family, member))
                return model
    is_file = _PLUGIN_FILE.fullmatch(package)  # a container says it, and somebody may paste it
    by_file = f"give the file that has it, as it was: nc --plugin {package} ..." if is_file else ""
    stored = stored_model(model_id)
    if stored is not None:
        model = _family(stored, file, plugins, by_file).load()(stored)
        return model
    raise CorruptFileError(
        f"{file}: made with model '{name}' (id {model_id[:12]}), which is not installed",
        by_file
        or f"install the package that has it{f' ({package})' if package else ''}; 'nc list models' "
        "shows what is there; or give its file with --model",
    )


def load_coder(name: str = DEFAULT_CODER, plugins: PluginManager | None = None) -> Coder:
    """The entropy coder of that name.

    Raises:
        PluginError: unknown, ambiguous, or what it needs is not installed.
    """
    coder: Coder = (plugins or installed()).find(CoderSpec, name).load()()
    return coder


def _open_member(family: ModelSpec, member: Pretrained) -> ModelFile:
    """The file of a pretrained model, from the package that holds its family's target."""
    if member.resource is None:
        return ModelFile.without_weights(member.name, family.name, member.id)
    package = family.target.partition(":")[0].partition(".")[0]
    what = f"model '{member.name}' of package {package}"
    try:
        resource = importlib.resources.files(package).joinpath(member.resource)
        with importlib.resources.as_file(resource) as path:
            file = read_model_file(path)
    except (ModuleNotFoundError, FileNotFoundError) as error:
        raise PluginError(f"{what}: {error}", "install the package again") from error
    if (file.id, file.family) != (member.id, family.name):
        raise DataError(f"{what} is not the one that the package registers", "install it again")
    return file.renamed(member.name)


def _family(file: ModelFile, where: str, plugins: PluginManager, hint: str = "") -> ModelSpec:
    try:
        return plugins.find(ModelSpec, file.family)
    except PluginError as error:
        raise PluginError(
            f"{where}: needs model family '{file.family}': {error.message}",
            hint or error.hint or "install the package that has it",
        ) from error


def _in_order(model: _Model, name: str, order: str) -> _Model:
    with_order = getattr(model, "with_order", None)
    if with_order is None:
        raise UsageError(f"model '{name}' codes in one order only; leave out the order")
    try:
        ordered: _Model = with_order(order)
    except ValueError as error:
        raise UsageError(f"model '{name}': {error}") from error
    return ordered


def _inside(folder: Path) -> Path:
    """The model file of a run directory."""
    path = folder / RUN_MODEL
    if not path.exists():
        raise DataError(
            f"{folder}: holds no {RUN_MODEL}",
            "a run directory has one from the first evaluation of its training on",
        )
    return path
