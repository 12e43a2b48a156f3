"""Names of datasets, and how one is opened.

A name reads ``name[@provider][:split][?option=value&...]``, as in ``mnist:test``,
``mnist:test?binarize=random&seed=1`` or ``mnist@nc-core:train``. A source of the user's own
files takes a path in place of the split: ``folder:/photos``, ``npz:/data/x.npz?key=data``.

Paths are taken literally, with spaces, colons, ``&`` and ``%``. Only a question mark is
special: if the whole text after the first colon exists as a path it is one; otherwise the last
question mark begins the options. Values of options may use ``%26`` for ``&``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, cast
from urllib.parse import unquote

from nc_core.datasets.locations import dataset_folder
from nc_core.errors import UsageError
from nc_core.lookup import did_you_mean
from nc_core.specs import DatasetSpec

if TYPE_CHECKING:
    from nc_core.plugins import PluginManager
    from nc_core.protocols import Dataset

__all__ = ["DatasetRequest", "find_dataset", "make_request", "one_of", "open_dataset"]

_MOST = 2**32 - 1


@dataclass(frozen=True)
class DatasetRequest:
    """What the target of a :class:`~nc_core.specs.DatasetSpec` is called with.

    Args:
        name: canonical full name, with split and options (``mnist:test``); of a path only the
            last part (``folder:photos``).
        split: one of the record's splits; empty where a path takes its place.
        path: the user's path, None for a dataset with splits.
        options: option name -> value as typed, only names that the record declares.
        folder: where the dataset's official files lie; it need not exist.
    """

    name: str
    split: str
    path: Path | None
    folder: Path
    options: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))

    def required_path(self) -> Path:
        """The user's path.

        Raises:
            UsageError: there is none.
        """
        if self.path is None:
            raise UsageError(f"dataset '{self.name}' needs a path: {self.name}:/path/to/the/data")
        return self.path

    def option(self, name: str, choices: Iterable[str], default: str) -> str:
        """The value of an option that has a few named values.

        Raises:
            UsageError: another value.
        """
        value = self.options.get(name, default)
        return value if value == default else one_of(value, choices, f"value of {name}")

    def integer(self, name: str, default: int) -> int:
        """The value of an option that is an integer from 0 to 2^32 - 1, as seeds are.

        Raises:
            UsageError: another value.
        """
        value = self.options.get(name, str(default))
        is_number = value.isascii() and value.isdecimal()
        if not is_number or len(value) > len(str(_MOST)) or int(value) > _MOST:
            raise UsageError(f"{name}={value[:20]}: expected an integer, 0 to {_MOST}")
        return int(value)


def open_dataset(text: str, plugins: PluginManager | None = None) -> Dataset:
    """Open a dataset by name.

    Args:
        text: ``name[@provider][:split or path][?option=value&...]``.
        plugins: where names are looked up; by default everything that is installed.

    Raises:
        UsageError: unknown split or option.
        PluginError: no such dataset.
        DataError: its files are missing or damaged.

    Example:
        >>> digits = open_dataset("mnist:test")  # doctest: +SKIP
        >>> digits[0]["label"]  # doctest: +SKIP
        array(7, dtype=uint8)
    """
    spec = find_dataset(text, plugins)
    request = make_request(text, spec)
    return cast("Dataset", spec.load()(request))


def find_dataset(text: str, plugins: PluginManager | None = None) -> DatasetSpec:
    """The record behind a name; whatever follows the first ``:`` or ``?`` is ignored."""
    name = _cut(text)[0]
    if not name or "/" in name or "\\" in name:
        raise UsageError(
            f"'{text}' is not the name of a dataset",
            f"for a folder of images write folder:{text}, for arrays npy:{text} or npz:{text}",
        )
    if plugins is None:
        from nc_core.models import installed

        plugins = installed()
    return plugins.find(DatasetSpec, name)


def _cut(text: str) -> tuple[str, str]:
    """Cut a full name into ``name[@provider]`` and the rest, which begins with ``:`` or ``?``."""
    ends = [index for index in (text.find(":"), text.find("?")) if index >= 0]
    end = min(ends, default=len(text))
    return text[:end], text[end:]


def make_request(text: str, spec: DatasetSpec) -> DatasetRequest:
    """Read a full name against the record of its dataset.

    Raises:
        UsageError: a split or option that the record does not declare, or a path missing.
    """
    rest = _cut(text)[1]
    folder = dataset_folder(spec.name)
    if spec.takes_path:
        place, options = _split_path(spec, rest)
        path: Path | None = Path(place).expanduser()
        # Names end up in files that are passed on, where the rest of a path is nobody's business.
        request_name = f"{spec.name}:{Path(place).expanduser().resolve().name}"
        split = ""
    else:
        place, _, tail = rest.partition("?")
        options = _parse_options(spec, tail)
        split = _split_of(spec, place.removeprefix(":"))
        request_name = f"{spec.name}:{split}" if split else spec.name
        path = None
    if options:
        request_name += "?" + "&".join(f"{key}={value}" for key, value in options.items())
    return DatasetRequest(request_name, split, path, folder, MappingProxyType(options))


def one_of(word: str, words: Iterable[str], what: str) -> str:
    """Return ``word`` if it is among ``words``.

    Raises:
        UsageError: it is not; the message names near matches, the hint all of them.
    """
    known = list(words)
    if word in known:
        return word
    raise UsageError(
        f"unknown {what}: '{word}'{did_you_mean(word, known)}",
        f"there are: {', '.join(known)}" if known else "it has none",
    )


def _split_path(spec: DatasetSpec, rest: str) -> tuple[str, dict[str, str]]:
    place = rest.removeprefix(":")
    if not rest.startswith(":") or not place:
        raise UsageError(f"dataset '{spec.name}' needs a path", f"{spec.name}:/path/to/the/data")
    if "?" not in place or Path(place).expanduser().exists():
        return place, {}
    path, _, tail = place.rpartition("?")
    return path, _parse_options(spec, tail)


def _split_of(spec: DatasetSpec, split: str) -> str:
    if not split:
        return spec.splits[0] if spec.splits else ""
    return one_of(split, spec.splits, f"split of dataset '{spec.name}'")


def _parse_options(spec: DatasetSpec, text: str) -> dict[str, str]:
    options: dict[str, str] = {}
    for part in filter(None, text.split("&")):
        name, equals, value = part.partition("=")
        one_of(name, spec.options, f"option of dataset '{spec.name}'")
        if not equals or not value:
            raise UsageError(f"option {name} of '{spec.name}' needs a value: {name}=VALUE")
        if name in options:
            raise UsageError(f"option {name} of '{spec.name}' is given twice")
        options[name] = unquote(value)
    return options
