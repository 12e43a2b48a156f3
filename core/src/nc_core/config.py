"""Recipes: named, validated configurations, in YAML, with ``--set a.b=c`` on top.

A package describes its configuration as a :class:`Config` (pydantic) and ships recipes as
``recipes/NAME.yaml`` inside its import package. A recipe may build on another one::

    extends: mnist-nz8
    model:
      levels: 2

YAML is read as version 1.2 reads scalars (``no`` is a word, ``1e-5`` a number), with the safe
loader, and a repeated key is an error.
"""

from __future__ import annotations

import importlib.resources
import os
import typing
from collections.abc import Iterator, Mapping, Sequence
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any, TypeVar

import pydantic

from nc_core.errors import DataError, UsageError
from nc_core.files import describe_os_error
from nc_core.lookup import did_you_mean
from nc_core.recipe_yaml import RecipeYamlError, parse_yaml

__all__ = ["Config", "field_names", "load_config", "read_recipe", "recipe_names"]

_SUFFIXES = (".yaml", ".yml", ".json")
_MOST_ERRORS = 3
_MOST_LISTED = 30


class Config(pydantic.BaseModel):
    """Base of all configuration: unknown fields are errors, instances do not change."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON data, from which the same configuration can be made again."""
        return self.model_dump(mode="json")


_Config = TypeVar("_Config", bound=Config)


def load_config(
    kind: type[_Config],
    recipe: str | os.PathLike[str] | None = None,
    *,
    package: str | None = None,
    settings: Sequence[str] = (),
) -> _Config:
    """The configuration of a recipe: defaults, the recipe over them, settings over both.

    Args:
        kind: the class to make.
        recipe: name of a recipe of ``package``, or the path of a YAML or JSON file; None to
            start from the defaults.
        package: import name of the package that ships the recipes.
        settings: what ``--set`` was given: ``"training.batch_size=64"``; values are YAML.

    Raises:
        UsageError: an unknown recipe, field or value; the message names it.
        DataError: a recipe file that cannot be read.

    Example:
        >>> settings = ["training.batch_size=64"]
        >>> load_config(BitswapConfig, "mnist-nz8", package="nc_bitswap", settings=settings)
    """
    data = _group_defaults(kind)
    if recipe is not None:
        data = _merged(data, read_recipe(recipe, package))
    chosen: dict[str, str] = {}
    for setting in settings:
        name, value = _parse_setting(setting)
        data = _merged(data, _nested(name.split("."), value))
        chosen[name] = setting
    try:
        return kind.model_validate(data)
    except pydantic.ValidationError as error:
        origin = "configuration" if recipe is None else f"recipe '{os.fspath(recipe)}'"
        raise _describe(error, kind, origin, chosen) from error


def read_recipe(recipe: str | os.PathLike[str], package: str | None = None) -> dict[str, Any]:
    """The data of a recipe, merged with those that it extends; not validated.

    Args:
        recipe: a name or a path: whatever ends in ``.yaml``, ``.yml`` or ``.json``.
        package: import name of the package that ships the recipe, or those that it extends.

    Raises:
        UsageError: no such recipe, or one that extends itself.
        DataError: not readable, or no YAML mapping.
    """
    read: list[str] = []
    data: dict[str, Any] = {}
    following: str | None = os.fspath(recipe)
    while following is not None:
        if following in read:
            raise UsageError(f"recipe '{following}' extends itself ({' -> '.join(read)})")
        read.append(following)
        layer = _read_layer(following, package)
        following = layer.pop("extends", None)
        if following is not None and not isinstance(following, str):
            raise UsageError(f"recipe '{read[-1]}': 'extends' must name a recipe")
        data = _merged(layer, data)
    return data


def recipe_names(package: str) -> list[str]:
    """Names of the recipes that a package ships, sorted."""
    folder = _folder(package)
    if not folder.is_dir():
        return []
    files = (file.name for file in folder.iterdir())
    return sorted(name.removesuffix(".yaml") for name in files if name.endswith(".yaml"))


def field_names(kind: type[pydantic.BaseModel], prefix: str = "") -> Iterator[str]:
    """Dotted names of all fields, groups before their members (``training.batch_size``)."""
    for name, info in kind.model_fields.items():
        yield prefix + name
        for group in _groups(info.annotation):
            yield from field_names(group, f"{prefix}{name}.")


def _group_defaults(kind: type[pydantic.BaseModel]) -> dict[str, Any]:
    """Defaults of groups as data, so that a recipe may name only some fields of a group."""
    defaults = {name: info.default for name, info in kind.model_fields.items()}
    return {
        name: default.model_dump(mode="json")
        for name, default in defaults.items()
        if isinstance(default, pydantic.BaseModel)
    }


def _groups(annotation: Any) -> Iterator[type[pydantic.BaseModel]]:
    """The configuration classes inside an annotation such as ``Ema | None``."""
    if isinstance(annotation, type) and issubclass(annotation, pydantic.BaseModel):
        yield annotation
    for argument in typing.get_args(annotation):
        yield from _groups(argument)


def _read_layer(recipe: str, package: str | None) -> dict[str, Any]:
    if recipe.endswith(_SUFFIXES):
        path = Path(recipe)
        try:
            text = path.read_text(encoding="utf-8")
        except OSError as error:
            raise describe_os_error(error, path) from error
        except UnicodeDecodeError as error:
            raise DataError(f"{path}: not a text file") from error
    else:
        text = _read_resource(recipe, package)
    try:
        data = parse_yaml(text)
    except RecipeYamlError as error:
        raise DataError(f"recipe '{recipe}': {error}") from error
    if not isinstance(data, dict):
        raise DataError(f"recipe '{recipe}': not a mapping of names to values")
    return data


def _read_resource(name: str, package: str | None) -> str:
    known = [] if package is None else recipe_names(package)
    if package is None or name not in known:
        listed = f"known: {', '.join(known)}" if known else "a path must end in .yaml"
        if len(known) > _MOST_LISTED:
            listed = f"'nc list recipes' shows all {len(known)}"
        raise UsageError(f"no recipe '{name}'{did_you_mean(name, known)}", listed)
    return _folder(package).joinpath(f"{name}.yaml").read_text(encoding="utf-8")


def _folder(package: str) -> Traversable:
    return importlib.resources.files(package) / "recipes"


def _parse_setting(setting: str) -> tuple[str, Any]:
    name, separator, text = setting.partition("=")
    if not separator or not all(name.split(".")):
        raise UsageError(f"--set {setting}: write it as name=value, for example model.width=64")
    try:
        return name, parse_yaml(text)
    except RecipeYamlError as error:
        raise UsageError(f"--set {setting}: {error}") from error


def _nested(names: Sequence[str], value: Any) -> dict[str, Any]:
    """``a.b`` and 1 as ``{"a": {"b": 1}}``."""
    for name in reversed(names):
        value = {name: value}
    return typing.cast(dict[str, Any], value)


def _merged(lower: Mapping[str, Any], upper: Mapping[str, Any]) -> dict[str, Any]:
    """Both mappings; where both are mappings they are merged, elsewhere ``upper`` wins."""
    result = dict(lower)
    for name, value in upper.items():
        below = result.get(name)
        both = isinstance(below, dict) and isinstance(value, dict)
        result[name] = _merged(below, value) if both else value  # type: ignore[arg-type]
    return result


def _describe(
    error: pydantic.ValidationError,
    kind: type[Config],
    origin: str,
    chosen: Mapping[str, str],
) -> UsageError:
    """One line that names the fields, and near matches for unknown ones."""
    known = list(field_names(kind))
    lines: dict[str, str] = {}  # by field: a union reports one field once per member
    for fault in error.errors(include_url=False):
        name, reason = _fault(fault, known)
        lines.setdefault(name, reason)
    said = [_said(name, reason, chosen) for name, reason in lines.items()]
    more = f"; and {len(said) - _MOST_ERRORS} more" if len(said) > _MOST_ERRORS else ""
    return UsageError(f"{origin}: {'; '.join(said[:_MOST_ERRORS])}{more}")


def _fault(fault: Any, known: Sequence[str]) -> tuple[str, str]:
    """The dotted field of a fault, and what is wrong with it."""
    full = ".".join(map(str, fault["loc"]))
    if fault["type"] == "extra_forbidden":
        peers = [name for name in known if name.count(".") == full.count(".")]
        return full, f"unknown setting '{full}'{did_you_mean(full, peers)}"
    parts = list(map(str, fault["loc"]))  # may end in tags of a union's members
    while len(parts) > 1 and ".".join(parts) not in known:
        parts.pop()
    name = ".".join(parts)
    if fault["type"] == "missing":
        return full, f"setting '{full}' is missing"
    reason = fault["msg"].removeprefix("Value error, ")
    return name, f"{name}: {reason[:1].lower()}{reason[1:]} (got {_shown(fault['input'])})"


def _said(name: str, reason: str, chosen: Mapping[str, str]) -> str:
    """The reason, led by the ``--set`` that it comes from."""
    related = (s for n, s in chosen.items() if _one_is_within(n, name))
    by = next(related, None)
    return reason if by is None else f"--set {by}: {reason}"


def _one_is_within(one: str, other: str) -> bool:
    shorter, longer = sorted((one, other), key=len)
    return f"{longer}.".startswith(f"{shorter}.")


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
