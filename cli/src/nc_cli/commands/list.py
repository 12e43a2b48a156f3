"""``nc list``: what is installed, by kind."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import click

from nc_cli import options
from nc_cli.session import current_session
from nc_core.command_line.console import (
    format_bytes,
    print_heading,
    print_json,
    print_table,
    print_text,
    warn,
)
from nc_core.plugins import PluginManager
from nc_core.specs import CoderSpec, CommandSpec, DatasetSpec, EvaluatorSpec, ModelSpec, Spec

__all__ = ["command"]

SCHEMA = "nc.list/1"
_Row = list[Any]


@dataclass(frozen=True)
class _Kind:
    """How one kind of record is listed.

    Args:
        record: class of its records.
        headers: titles of the columns between name and summary.
        rows: the rows of one record: name, columns, summary.
        fields: its own keys in JSON.
        names: what one record lists in JSON; usually itself.
        nothing: what to say when there is none.
    """

    record: type[Spec]
    headers: tuple[str, ...]
    rows: Callable[[Any], list[_Row]]
    fields: Callable[[Any], dict[str, Any]]
    nothing: str = "none installed"
    names: Callable[[Any], tuple[str, ...]] = lambda spec: (spec.name,)


def _dataset_rows(spec: DatasetSpec) -> list[_Row]:
    splits = "a path" if spec.takes_path else ", ".join(spec.splits)
    download = format_bytes(spec.download_bytes) if spec.files else None
    return [[spec.name, splits or None, download, spec.summary]]


def _dataset_fields(spec: DatasetSpec) -> dict[str, Any]:
    return {
        "splits": spec.splits,
        "takes_path": spec.takes_path,
        "options": spec.options,
        "licence": spec.licence,
        "download_bytes": spec.download_bytes,
    }


def _model_rows(spec: ModelSpec) -> list[_Row]:
    """The family, and its trained members below it."""
    members = [[f"  {member.name}", "", member.summary] for member in spec.pretrained]
    return [[spec.name, ", ".join(spec.abilities) or None, spec.summary], *members]


def _model_fields(spec: ModelSpec) -> dict[str, Any]:
    members = [
        {"name": member.name, "summary": member.summary, "id": member.id}
        for member in spec.pretrained
    ]
    return {"abilities": spec.abilities, "pretrained": members}


def _coder_rows(spec: CoderSpec) -> list[_Row]:
    return [[spec.name, spec.words, spec.max_precision, spec.summary]]


def _coder_fields(spec: CoderSpec) -> dict[str, Any]:
    return {"words": spec.words, "max_precision_bits": spec.max_precision}


def _evaluator_rows(spec: EvaluatorSpec) -> list[_Row]:
    """The evaluator, and the numbers that it returns below it."""
    metrics = [[f"  {metric.name}", "", metric.unit, ""] for metric in spec.metrics]
    return [[spec.name, ", ".join(spec.needs) or None, "", spec.summary], *metrics]


def _evaluator_fields(spec: EvaluatorSpec) -> dict[str, Any]:
    return {"needs": spec.needs, "metrics": [asdict(metric) for metric in spec.metrics]}


def _paper_rows(spec: CommandSpec) -> list[_Row]:
    reference = spec.reference
    return [[spec.name, reference.arxiv if reference else None, spec.summary]]


def _recipe_rows(spec: CommandSpec) -> list[_Row]:
    return [[recipe, spec.name, spec.summary] for recipe in spec.recipes]


_KINDS = {
    "datasets": _Kind(DatasetSpec, ("splits", "download"), _dataset_rows, _dataset_fields),
    "models": _Kind(ModelSpec, ("abilities",), _model_rows, _model_fields),
    "coders": _Kind(CoderSpec, ("words", "bits"), _coder_rows, _coder_fields),
    "evaluators": _Kind(EvaluatorSpec, ("needs", "unit"), _evaluator_rows, _evaluator_fields),
    "papers": _Kind(
        CommandSpec,
        ("arXiv",),
        _paper_rows,
        lambda spec: {"recipes": spec.recipes},
        "none installed; for example: pip install nc-bitswap",
    ),
    "recipes": _Kind(
        CommandSpec,
        ("paper",),
        _recipe_rows,
        lambda spec: {"paper": spec.name},
        names=lambda spec: spec.recipes,
    ),
}


@click.command(
    "list",
    epilog=options.examples("nc list", "nc list models", "nc list datasets --json"),
)
@click.argument("kind", metavar="[KIND]", type=click.Choice([*_KINDS]), required=False)
@options.json_output()
def command(kind: str | None, as_json: bool) -> None:
    """List what is installed.

    KIND is datasets, models, coders, evaluators, papers or recipes, and shows more about it.
    Below a family of models are its trained models, whose names --model takes; below an
    evaluator are the numbers that it returns. A recipe is a configuration that a paper brings.
    """
    plugins = current_session().plugins
    if as_json:
        kinds = [kind] if kind else [*_KINDS]
        print_json({"schema": SCHEMA} | {name: _documents(plugins, _KINDS[name]) for name in kinds})
    elif kind:
        _print_kind(plugins, _KINDS[kind])
    else:
        _print_all(plugins)
    broken = sorted({fault.distribution for fault in plugins.broken})
    if broken:
        warn(f"broken: {', '.join(broken)}; see 'nc plugin list --broken'")


def _print_kind(plugins: PluginManager, kind: _Kind) -> None:
    """All columns of one kind."""
    rows = [
        [*row[:-1], "" if row[0].startswith(" ") else _provider(spec), row[-1]]
        for spec in plugins.specs(kind.record)
        for row in kind.rows(spec)
    ]
    if rows:
        print_table(rows, ["name", *kind.headers, "from", "summary"])
    else:
        print_text(kind.nothing)


def _print_all(plugins: PluginManager) -> None:
    """Names and summaries of everything, in columns that align across the sections."""
    sections = {
        title: [
            [f"  {row[0]}", row[-1]]
            for spec in plugins.specs(kind.record)
            for row in kind.rows(spec)
            if row[-1]  # without the numbers that evaluators return
        ]
        for title, kind in _KINDS.items()
    }
    width = max((len(row[0]) for rows in sections.values() for row in rows), default=0)
    for index, (title, rows) in enumerate(sections.items()):
        if index:
            print_text()
        print_heading(title.capitalize())
        if rows:
            print_table([[name.ljust(width), summary] for name, summary in rows])
        else:
            print_text(f"  {_KINDS[title].nothing}")


def _documents(plugins: PluginManager, kind: _Kind) -> list[dict[str, Any]]:
    """The records of a kind as plain data."""
    return [
        {
            "name": name,
            "summary": spec.summary,
            "provider": spec.provider.distribution if spec.provider else None,
            "version": spec.provider.version if spec.provider else None,
            "reference": asdict(spec.reference) if spec.reference else None,
            **kind.fields(spec),
        }
        for spec in plugins.specs(kind.record)
        for name in kind.names(spec)
    ]


def _provider(spec: Spec) -> str | None:
    return spec.provider.distribution if spec.provider else None
