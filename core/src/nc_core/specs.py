"""The frozen records that hooks return: what exists, said without importing it.

Plain dataclasses from the standard library: listing a hundred of them costs no import.
"""

from __future__ import annotations

import importlib
import importlib.util
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from nc_core.errors import MissingDependencyError, NcError, PluginError

__all__ = [
    "CoderSpec",
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
_TARGET = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")


@dataclass(frozen=True)
class Provider:
    """The distribution that provides a record; filled in by the plugin manager."""

    distribution: str
    version: str


@dataclass(frozen=True)
class Requirement:
    """An importable name that a target needs, with the pip arguments that bring it."""

    module: str
    install: str


@dataclass(frozen=True)
class Reference:
    """The publication that a record implements."""

    authors: str
    title: str
    arxiv: str | None = None


@dataclass(frozen=True)
class RemoteFile:
    """One official file of a dataset: name on disk, address, sha256 and size in bytes."""

    name: str
    url: str
    sha256: str
    size: int


@dataclass(frozen=True)
class Pretrained:
    """One trained member of a model family.

    ``resource`` is the path of a model file inside the package that holds the family's target
    (None for a model without weights); ``id`` is the sha256 that a container names it by.
    """

    name: str
    summary: str
    id: str
    resource: str | None = None


@dataclass(frozen=True)
class Metric:
    """A quantity that an evaluator returns, with its unit."""

    name: str
    unit: str


@dataclass(frozen=True, kw_only=True)
class Spec:
    """What every record has.

    Args:
        name: kebab-case; what users type.
        summary: one line, shown in lists and help.
        target: ``"package.module:attribute"``; imported only by :meth:`load`.
        requires: modules that the target needs beyond its package's own dependencies.
        reference: the paper, where there is one.
        provider: set by the plugin manager.

    Raises:
        ValueError: a name, summary or target is not of the form above.
    """

    kind: ClassVar[str] = "plugin record"

    name: str
    summary: str
    target: str
    requires: tuple[Requirement, ...] = ()
    reference: Reference | None = None
    provider: Provider | None = None

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ValueError(f"name {self.name!r} is not kebab-case")
        if not self.summary or "\n" in self.summary:
            raise ValueError(f"summary of {self.name!r} must be one line")
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
    """

    kind: ClassVar[str] = "dataset"

    splits: tuple[str, ...] = ()
    takes_path: bool = False
    options: Mapping[str, str] = field(default_factory=dict)
    licence: str = "unknown"
    files: tuple[RemoteFile, ...] = ()

    @property
    def download_bytes(self) -> int:
        """Bytes of all official files together."""
        return sum(file.size for file in self.files)


@dataclass(frozen=True, kw_only=True)
class ModelSpec(Spec):
    """A model family; the target is ``load(member: Pretrained) -> model``.

    Args:
        abilities: which protocols of :mod:`nc_core.protocols` its models offer, in kebab-case
            (``lossless-model``).
        pretrained: the members that the package ships.
    """

    kind: ClassVar[str] = "model"

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

    max_precision: int = 28
    words: str = "rans-64-32"


@dataclass(frozen=True, kw_only=True)
class EvaluatorSpec(Spec):
    """An evaluator; the target is ``evaluate(request: EvaluationRequest) -> list[Measurement]``.

    Args:
        needs: abilities that the model must offer; empty when no model is evaluated.
        metrics: what it returns, with units.
    """

    kind: ClassVar[str] = "evaluator"

    needs: tuple[str, ...] = ()
    metrics: tuple[Metric, ...] = ()


@dataclass(frozen=True, kw_only=True)
class CommandSpec(Spec):
    """A paper's commands; the target is a click command, mounted at ``nc run NAME``."""

    kind: ClassVar[str] = "command"
