"""The frozen records that hooks return: what exists, said without importing it.

Plain dataclasses from the standard library: listing a hundred of them costs no import.
"""

from __future__ import annotations

import importlib
import importlib.util
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from nc_core.errors import MissingDependencyError, NcError, PluginError

__all__ = [
    "CoderSpec",
    "CodingOption",
    "CommandSpec",
    "DatasetSpec",
    "EvaluatorSpec",
    "Metric",
    "ModelSpec",
    "Pretrained",
    "Provider",
    "Reference",
    "RemoteFile",
    "Requirement",
    "Spec",
]

_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
# Control characters, line separators and marks that turn the direction of a text.
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
_TARGET = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")


class _Checked:
    """A record whose fields hold what they promise; lists of it are printed and searched."""

    _texts: ClassVar[tuple[str, ...]] = ()
    _optional_texts: ClassVar[tuple[str, ...]] = ()
    _tuples: ClassVar[Mapping[str, type]] = {}

    def __post_init__(self) -> None:
        for name in (*self._texts, *self._optional_texts):
            value = getattr(self, name)
            if value is not None or name in self._texts:
                _check_line(f"{name} of {self._label}", value)
        for name, kind in self._tuples.items():
            values = getattr(self, name)
            if not isinstance(values, tuple):
                raise TypeError(f"{name} of {self._label} must be a tuple")
            for value in values:
                if not isinstance(value, kind):
                    raise TypeError(
                        f"{name} of {self._label} must hold {kind.__name__}, not {value!r}"
                    )
                if isinstance(value, str):
                    _check_line(f"{name} of {self._label}", value)

    @property
    def _label(self) -> str:
        """What errors call the record."""
        return repr(getattr(self, "name", type(self).__name__))


def _check_line(what: str, value: object) -> None:
    if not isinstance(value, str):
        raise TypeError(f"{what} must be a text, not {value!r}")
    if not value or _UNPRINTABLE.search(value):
        raise ValueError(f"{what} must be one line of printable text")


@dataclass(frozen=True)
class Provider:
    """The distribution that provides a record; filled in by the plugin manager."""

    distribution: str
    version: str


@dataclass(frozen=True)
class Requirement(_Checked):
    """An importable name that a target needs, with the pip arguments that bring it."""

    _texts: ClassVar[tuple[str, ...]] = ("module", "install")

    module: str
    install: str


@dataclass(frozen=True)
class Reference(_Checked):
    """The publication that a record implements."""

    _texts: ClassVar[tuple[str, ...]] = ("authors", "title")
    _optional_texts: ClassVar[tuple[str, ...]] = ("arxiv",)

    authors: str
    title: str
    arxiv: str | None = None


@dataclass(frozen=True)
class RemoteFile(_Checked):
    """One official file of a dataset: name on disk, address, sha256 and size in bytes."""

    _texts: ClassVar[tuple[str, ...]] = ("name", "url", "sha256")

    name: str
    url: str
    sha256: str
    size: int

    def __post_init__(self) -> None:
        super().__post_init__()
        if type(self.size) is not int or self.size < 0:
            raise TypeError(f"size of {self._label} must be a number of bytes, not {self.size!r}")


@dataclass(frozen=True)
class Pretrained(_Checked):
    """One trained member of a model family.

    ``resource`` is the path of a model file inside the package that holds the family's target
    (None for a model without weights); ``id`` is the sha256 that a container names it by.
    """

    _texts: ClassVar[tuple[str, ...]] = ("name", "summary", "id")
    _optional_texts: ClassVar[tuple[str, ...]] = ("resource",)

    name: str
    summary: str
    id: str
    resource: str | None = None


@dataclass(frozen=True)
class Metric(_Checked):
    """A quantity that an evaluator returns, with its unit."""

    _texts: ClassVar[tuple[str, ...]] = ("name", "unit")

    name: str
    unit: str


@dataclass(frozen=True)
class CodingOption(_Checked):
    """An option of a paper's ``compress`` that tells its model how to code.

    Args:
        name: of the option, kebab-case (``lead-in`` for ``--lead-in``).
        summary: its help text, with unit and default.
        key: of the model's coding option that it sets; by default ``name``. Several options may
            set one, and a user then gives one of them.
        metavar: what stands for the value in the help text.
        kind: ``text``, or ``int`` for a whole number.
        minimum: the smallest one.

    Raises:
        TypeError, ValueError: as :class:`Spec`.
    """

    _texts: ClassVar[tuple[str, ...]] = ("name", "summary", "key", "metavar")

    name: str
    summary: str
    key: str = ""
    metavar: str = "VALUE"
    kind: Literal["text", "int"] = "text"
    minimum: int = 0

    def __post_init__(self) -> None:
        if not self.key:
            object.__setattr__(self, "key", self.name)
        super().__post_init__()
        for what, name in {"name": self.name, "key": self.key}.items():
            if not _NAME.fullmatch(name):
                raise ValueError(f"{what} {name!r} of a coding option is not kebab-case")
        if self.kind not in ("text", "int"):
            raise ValueError(f"kind {self.kind!r} of {self._label} is not text or int")
        if type(self.minimum) is not int:
            raise TypeError(f"minimum of {self._label} must be an integer, not {self.minimum!r}")


@dataclass(frozen=True, kw_only=True)
class Spec(_Checked):
    """What every record has.

    Args:
        name: kebab-case; what users type.
        summary: one line, shown in lists and help.
        target: ``"package.module:attribute"``; imported only by :meth:`load`.
        requires: modules that the target needs beyond its package's own dependencies.
        reference: the paper, where there is one.
        provider: set by the plugin manager.

    Raises:
        TypeError: a field of another type than declared.
        ValueError: a name, summary or target is not of the form above, or holds characters that
            cannot be printed.
    """

    kind: ClassVar[str] = "plugin record"
    _texts: ClassVar[tuple[str, ...]] = ("name", "summary", "target")
    _tuples: ClassVar[Mapping[str, type]] = {"requires": Requirement}

    name: str
    summary: str
    target: str
    requires: tuple[Requirement, ...] = ()
    reference: Reference | None = None
    provider: Provider | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.reference is not None and not isinstance(self.reference, Reference):
            raise TypeError(
                f"reference of {self._label} must be a Reference, not {self.reference!r}"
            )
        if not _NAME.fullmatch(self.name):
            raise ValueError(f"name {self.name!r} is not kebab-case")
        if not _TARGET.fullmatch(self.target):
            raise ValueError(f"target {self.target!r} is not of the form package.module:attribute")

    def load(self) -> Any:
        """Import the target and return it.

        Raises:
            MissingDependencyError: a required module is not installed.
            PluginError: the target cannot be imported.
        """
        for need in self.requires:
            if importlib.util.find_spec(need.module.partition(".")[0]) is None:
                raise MissingDependencyError(
                    f"{self.kind} '{self.name}' needs {need.module}, which is not installed",
                    f"pip install {need.install}",
                )
        module, _, attribute = self.target.partition(":")
        try:
            return getattr(importlib.import_module(module), attribute)
        except NcError:
            raise
        except (Exception, SystemExit) as error:  # a plugin's module may fail in any way
            reason = f"{type(error).__name__}: {error}".partition("\n")[0]
            raise PluginError(f"{self.kind} '{self.name}' cannot be loaded: {reason}") from error


@dataclass(frozen=True, kw_only=True)
class DatasetSpec(Spec):
    """A dataset; the target is ``open(request: DatasetRequest) -> Dataset``.

    Args:
        splits: names of its splits, the default first; empty where a path takes their place.
        takes_path: the part after the colon is a path (``folder:/photos``).
        options: option name -> help text with its values and default (``?name=value``).
        licence: as its source states it.
        files: official files; ``nc data prepare`` brings and checks them.
        converter: ``"package.module:attribute"`` of ``read(source: Path)`` that reads the official
            files; ``nc data prepare`` makes arrays of what it returns
            (:mod:`nc_core.datasets.converted`). None where the official files stay as they are.
        homepage: address where the official files are described and offered.
    """

    kind: ClassVar[str] = "dataset"
    _texts: ClassVar[tuple[str, ...]] = (*Spec._texts, "licence")
    _optional_texts: ClassVar[tuple[str, ...]] = ("converter", "homepage")
    _tuples: ClassVar[Mapping[str, type]] = {**Spec._tuples, "splits": str, "files": RemoteFile}

    splits: tuple[str, ...] = ()
    takes_path: bool = False
    options: Mapping[str, str] = field(default_factory=dict)
    licence: str = "unknown"
    files: tuple[RemoteFile, ...] = ()
    converter: str | None = None
    homepage: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.converter is not None and not _TARGET.fullmatch(self.converter):
            raise ValueError(f"converter {self.converter!r} is not of the form module:attribute")
        if not isinstance(self.options, Mapping):
            raise TypeError(f"options of {self._label} must be a mapping, not {self.options!r}")
        for name, help_text in self.options.items():
            _check_line(f"an option of {self._label}", name)
            _check_line(f"option {name} of {self._label}", help_text)

    @property
    def download_bytes(self) -> int:
        """Bytes of all official files together."""
        return sum(file.size for file in self.files)


@dataclass(frozen=True, kw_only=True)
class ModelSpec(Spec):
    """A model family; the target is ``load(file: ModelFile) -> model``.

    Args:
        abilities: which protocols of :mod:`nc_core.protocols` its models offer, in kebab-case
            (``lossless-model``).
        pretrained: the members that the package ships.
    """

    kind: ClassVar[str] = "model"
    _tuples: ClassVar[Mapping[str, type]] = {
        **Spec._tuples,
        "abilities": str,
        "pretrained": Pretrained,
    }

    abilities: tuple[str, ...] = ()
    pretrained: tuple[Pretrained, ...] = ()


@dataclass(frozen=True, kw_only=True)
class CoderSpec(Spec):
    """An entropy coder; the target is a class without arguments that offers ``Coder``.

    Args:
        max_precision: largest precision of a distribution, in bits.
        words: name of the word format; coders of equal ``words`` read each other's messages.
    """

    kind: ClassVar[str] = "coder"
    _texts: ClassVar[tuple[str, ...]] = (*Spec._texts, "words")

    max_precision: int = 28
    words: str = "rans-64-32"

    def __post_init__(self) -> None:
        super().__post_init__()
        if type(self.max_precision) is not int:
            raise TypeError(
                f"max_precision of {self._label} must be an integer, not {self.max_precision!r}"
            )


@dataclass(frozen=True, kw_only=True)
class EvaluatorSpec(Spec):
    """An evaluator; the target is ``evaluate(request: EvaluationRequest) -> list[Measurement]``.

    Args:
        needs: abilities that the model must offer; empty when no model is evaluated.
        metrics: what it returns, with units.
    """

    kind: ClassVar[str] = "evaluator"
    _tuples: ClassVar[Mapping[str, type]] = {**Spec._tuples, "needs": str, "metrics": Metric}

    needs: tuple[str, ...] = ()
    metrics: tuple[Metric, ...] = ()


@dataclass(frozen=True, kw_only=True)
class CommandSpec(Spec):
    """A paper's commands; the target is a click command, mounted at ``nc run NAME``.

    Args:
        recipes: names of the configurations that the package ships as ``recipes/NAME.yaml``.
        model: name of the model that ``nc run NAME compress`` takes by default. With it the
            paper's group has the commands of ``nc compress`` and ``nc decompress``, unless it
            brings its own.
        coding: options of that ``compress`` for what the model can be told.
        example: what its help shows behind ``compress``; by default ``photo.png``.
    """

    kind: ClassVar[str] = "command"
    _optional_texts: ClassVar[tuple[str, ...]] = ("model", "example")
    _tuples: ClassVar[Mapping[str, type]] = {
        **Spec._tuples,
        "recipes": str,
        "coding": CodingOption,
    }

    recipes: tuple[str, ...] = ()
    model: str | None = None
    coding: tuple[CodingOption, ...] = ()
    example: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        names = [option.name for option in self.coding]
        if len(set(names)) < len(names):
            raise ValueError(f"coding of {self._label} has two options of one name")
