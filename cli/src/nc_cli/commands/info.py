"""``nc info``: what a container, a model or a dataset is, without decoding or loading it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click

from nc_cli import options
from nc_cli.console import format_bytes, print_json, print_table
from nc_cli.session import current_session
from nc_core.errors import PluginError
from nc_core.specs import DatasetSpec, ModelSpec, Spec

__all__ = ["command"]

_LISTED = 20


@click.command(
    "info",
    epilog=options.examples(
        "nc info photo.png.ncz",
        "nc info photo.png.ncz --json",
        "nc info mnist",
        "nc info predictive",
    ),
)
@click.argument("what", metavar="FILE|DATASET|MODEL")
@options.json_output()
def command(what: str, as_json: bool) -> None:
    """Show what a compressed file holds and what it costs, or what a dataset or model is.

    Of a file only header and footer are read, so it takes no time however large the file.
    """
    if Path(what).exists() or os.sep in what or what.endswith(".ncz"):
        document = _container(Path(what))
    else:
        document = _record(what)
    if as_json:
        print_json(document)
    else:
        print_table([[key.replace("_", " "), text] for key, text in _lines(document)])


def _container(path: Path) -> dict[str, Any]:
    from nc_core.container import ContainerReader
    from nc_core.header import Header, stored_rate

    with path.open("rb") as file:
        reader = ContainerReader(file, str(path))
        header = Header.from_json(reader.header, str(path))
        rate = stored_rate(reader, header).to_json()
    for key in ("encode_seconds", "decode_seconds", "verified"):
        del rate[key]  # no file holds its times
    content = header.content
    return {
        "schema": "nc.info/1",
        "file": str(path),
        "content": content.kind,
        "shape": list(content.array_shape) if content.kind == "array" else None,
        "files": [
            {"name": name, "shape": list(content[i].shape), "dtype": content[i].dtype}
            for i, name in enumerate(content.file_names)
        ],
        "model": header.model,
        "model_id": header.model_id,
        "codec": " ".join(header.codec),
        "coder": header.coder,
        "arithmetic": header.arithmetic,
        "decodes": "on every machine"
        if header.arithmetic == "exact"
        else "on the same kind of machine only",
        "tables": header.tables,
        "probe": header.probe,
        "lanes": header.lanes,
        "chunks": len(reader.chunk_lengths),
        "total_bytes": reader.size,
        "rate": {key: value for key, value in rate.items() if key != "schema"},
    }


def _record(name: str) -> dict[str, Any]:
    """A dataset or a model by name; a dataset may come with split and options."""
    plugins = current_session().plugins
    plain = name.partition(":")[0].partition("?")[0]
    if any(spec.name == plain.partition("@")[0] for spec in plugins.specs(DatasetSpec)):
        return _dataset(plugins.find(DatasetSpec, plain))
    if any(spec.name == name.partition("@")[0] for spec in plugins.specs(ModelSpec)):
        return _model(plugins.find(ModelSpec, name))
    try:
        family, member = plugins.find_pretrained(name)
    except PluginError as error:
        raise PluginError(
            f"'{name}' is no file, dataset or model{error.message.partition(name + chr(39))[2]}",
            error.hint or "'nc list' shows what is installed",
        ) from error
    return {"schema": "nc.info/1", "id": member.id, **_model(family), "summary": member.summary}


def _dataset(spec: DatasetSpec) -> dict[str, Any]:
    from nc_core.datasets.locations import dataset_folder

    document = _common(spec) | {
        "splits": list(spec.splits),
        "options": dict(spec.options),
        "licence": spec.licence,
    }
    if spec.files:
        folder = dataset_folder(spec.name)
        present = sum((folder / file.name).exists() for file in spec.files)
        document |= {
            "download_bytes": spec.download_bytes,
            "folder": str(folder),
            "prepared": present == len(spec.files),
        }
    return document


def _model(spec: ModelSpec) -> dict[str, Any]:
    members = {member.name: member.summary for member in spec.pretrained}
    ids = {member.name: member.id for member in spec.pretrained}
    return _common(spec) | {"abilities": list(spec.abilities), "pretrained": members, "ids": ids}


def _common(spec: Spec) -> dict[str, Any]:
    document: dict[str, Any] = {
        "schema": "nc.info/1",
        "kind": spec.kind,
        "name": spec.name,
        "summary": spec.summary,
    }
    if spec.provider is not None:
        document["provider"] = f"{spec.provider.distribution} {spec.provider.version}"
    if spec.reference is not None:
        reference = spec.reference
        arxiv = f" (arXiv {reference.arxiv})" if reference.arxiv else ""
        document["reference"] = f"{reference.authors}: {reference.title}{arxiv}"
    return document


def _lines(document: dict[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Rows of text: nested mappings with dotted keys, long lists cut."""
    rows: list[tuple[str, str]] = []
    for key, value in document.items():
        if key == "schema" or value is None or value in ([], {}):
            continue
        if isinstance(value, dict):
            nested = _lines(value)
            rows += [(f"{prefix}{key} {name}" if key != "rate" else name, t) for name, t in nested]
        elif isinstance(value, list) and value and isinstance(value[0], dict):
            rows += _file_lines(value)
        else:
            rows.append((f"{prefix}{key}", _text(key, value)))
    return rows


def _file_lines(files: list[dict[str, Any]]) -> list[tuple[str, str]]:
    rows = [
        (
            "file" if len(files) == 1 else f"file {i}",
            f"{f['name']}, {_shape(f['shape'])} {f['dtype']}",
        )
        for i, f in enumerate(files[:_LISTED])
    ]
    if len(files) > _LISTED:
        rows.append(("", f"... and {len(files) - _LISTED} more files (--json lists all)"))
    return rows


def _text(key: str, value: Any) -> str:
    if key == "shape":
        return _shape(value)
    if key.endswith("bytes"):
        return f"{value:,} ({format_bytes(value)})"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(map(str, value))
    if isinstance(value, float):
        return f"{value:,.4f}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def _shape(sides: list[int]) -> str:
    return " x ".join(map(str, sides))
