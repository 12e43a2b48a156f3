"""``nc info``: what a container, a model or a dataset is, without decoding or loading it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from nc_cli import options
from nc_cli.session import current_session
from nc_core.command_line.console import format_bytes, print_json, print_table
from nc_core.errors import PluginError, UsageError
from nc_core.lookup import did_you_mean
from nc_core.specs import DatasetSpec, ModelSpec, Spec

if TYPE_CHECKING:
    from nc_core.container import ContainerReader

__all__ = ["command"]

SCHEMA = "nc.info/1"
_MOST_ROWS = 40
_LISTED = 20


@click.command(
    "info",
    epilog=options.examples(
        "nc info photo.png.ncz",
        "nc info photo.png.ncz --json",
        "nc info mnist",
        "nc info predictive",
        "nc info runs/photos                      # the model of a run directory",
    ),
)
@click.argument("what", metavar="FILE|DATASET|MODEL")
@options.json_output()
def command(what: str, as_json: bool) -> None:
    """Show what a compressed file holds and what it costs, or what a dataset or model is.

    A model is given by its name, or by the path of a model file or run directory. Of a
    compressed file only header, footer and the types of its chunks are read, so it takes no time
    however large the file.
    """
    document = _describe(what)
    if as_json:
        print_json(document)
    else:
        print_table([[key.replace("_", " "), text] for key, text in _lines(document)])


def _describe(what: str) -> dict[str, Any]:
    """The document of a file, run directory or name."""
    if not what:
        raise UsageError("nothing to describe: the name is empty", "nc info FILE|DATASET|MODEL")
    path = Path(what)
    is_path = os.sep in what and not _is_dataset_of_path(what)
    if what.endswith(".safetensors") or (path.is_dir() and (is_path or _holds_model(path))):
        return _model_file(path)
    if is_path or what.endswith(".ncz") or path.is_file():
        return _container(path)
    return _record(what)


def _is_dataset_of_path(what: str) -> bool:
    """Whether it is a dataset with the path of its data: ``folder:/photos``."""
    base = what.partition(":")[0].partition("@")[0]
    datasets = current_session().plugins.specs(DatasetSpec)
    return not Path(what).exists() and any(d.takes_path and d.name == base for d in datasets)


def _holds_model(folder: Path) -> bool:
    from nc_core.models import RUN_MODEL

    return (folder / RUN_MODEL).exists()


def _model_file(path: Path) -> dict[str, Any]:
    from nc_core.models import find_model_file

    family, file = find_model_file(path, current_session().plugins)
    tensors = file.tensors().values()
    provider = family.provider
    return {
        "schema": SCHEMA,
        "kind": "model file",
        "file": str(path),
        "name": file.name,
        "id": file.id,
        "family": file.family,
        "provider": f"{provider.distribution} {provider.version}" if provider else None,
        "abilities": list(family.abilities),
        "parameters": sum(tensor.size for tensor in tensors),
        "parameter_bytes": sum(tensor.nbytes for tensor in tensors),
        "config": dict(file.config),
        "info": dict(file.info),
    }


def _container(path: Path) -> dict[str, Any]:
    from nc_core.container import ContainerReader
    from nc_core.header import Header, stored_rate

    with path.open("rb") as file:
        reader = ContainerReader(file, str(path))
        header = Header.from_json(reader.header, str(path))
        rate = stored_rate(reader, header).to_json()
        metadata = _metadata(reader)
    for key in ("encode_seconds", "decode_seconds", "verified"):
        del rate[key]  # no file holds its times
    content = header.content
    return {
        "schema": SCHEMA,
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
        **({} if header.order is None else {"order": header.order}),
        **({"coding": dict(header.coding)} if header.coding else {}),
        "arithmetic": header.arithmetic,
        "decodes": "on every machine"
        if header.arithmetic == "exact"
        else "on the same kind of machine only",
        "tables": header.tables,
        "probe": header.probe,
        "lanes": header.lanes,
        "group": header.group,
        "initial_words": header.initial_words,
        "tiling": {
            "height": header.tiling.height or None,
            "width": header.tiling.width or None,
            "pixels_per_chunk": header.tiling.pixels,
        },
        "chunks": len(reader.chunk_lengths),
        "metadata": metadata,
        "total_bytes": reader.size,
        "rate": {key: value for key, value in rate.items() if key != "schema"},
    }


def _metadata(reader: ContainerReader) -> list[dict[str, Any]]:
    """The kinds of metadata in a container, and what their chunks cost."""
    from nc_core.metadata import METADATA_TITLES

    lengths: dict[bytes, list[int]] = {kind: [] for kind in METADATA_TITLES}
    for index, length in enumerate(reader.chunk_lengths):
        kind = reader.chunk_type(index)
        if kind in lengths:
            lengths[kind].append(length)
    return [
        {"type": kind.decode(), "title": METADATA_TITLES[kind], "chunks": len(found),
         "bytes": sum(found)}
        for kind, found in lengths.items()
        if found
    ]  # fmt: skip


def _record(name: str) -> dict[str, Any]:
    """A dataset or a model by name; a dataset may come with split and options."""
    plugins = current_session().plugins
    plain = name.partition(":")[0].partition("?")[0]
    base = plain.partition("@")[0]
    datasets = [spec.name for spec in plugins.specs(DatasetSpec)]
    families = [spec.name for spec in plugins.specs(ModelSpec)]
    members = [m.name for family in plugins.specs(ModelSpec) for m in family.pretrained]
    if base in datasets:
        return _dataset(plugins.find(DatasetSpec, plain), name.removeprefix(plain))
    if name.partition("@")[0] in families:
        return _model(plugins.find(ModelSpec, name))
    if name.partition("@")[0] in members:
        family, member = plugins.find_pretrained(name)
        return {"schema": SCHEMA, "id": member.id, **_model(family), "summary": member.summary}
    near = did_you_mean(base, [*datasets, *families, *members])
    raise PluginError(
        f"'{name}' is no file, dataset or model{near}",
        "a broken plugin may provide it: nc plugin list --broken"
        if plugins.broken
        else "'nc list' shows what is installed",
    )


def _dataset(spec: DatasetSpec, rest: str) -> dict[str, Any]:
    """A dataset; ``rest`` of its name, split and options, is only checked."""
    from nc_core.datasets.locations import dataset_folder
    from nc_core.datasets.opening import make_request
    from nc_core.datasets.prepare import is_prepared, prepared_manifest

    if rest:
        make_request(f"{spec.name}{rest}", spec)

    document = _common(spec) | {
        "splits": list(spec.splits),
        "options": dict(spec.options),
        "licence": spec.licence,
    }
    if spec.homepage is not None:
        document["homepage"] = spec.homepage
    if spec.files:
        document["download_bytes"] = spec.download_bytes
    if spec.files or spec.converter:
        document |= {"folder": str(dataset_folder(spec.name)), "prepared": is_prepared(spec)}
    manifest = prepared_manifest(spec)
    if manifest is not None:
        document["items"] = {split: count.found for split, count in manifest.items.items()}
        document["official_items"] = {s: count.official for s, count in manifest.items.items()}
    return document


def _model(spec: ModelSpec) -> dict[str, Any]:
    members = {member.name: member.summary for member in spec.pretrained}
    ids = {member.name: member.id for member in spec.pretrained}
    return _common(spec) | {"abilities": list(spec.abilities), "pretrained": members, "ids": ids}


def _common(spec: Spec) -> dict[str, Any]:
    document: dict[str, Any] = {
        "schema": SCHEMA,
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
            if len(nested) > _MOST_ROWS:
                rows.append((f"{prefix}{key}", f"{len(nested)} entries (--json lists all)"))
                continue
            rows += [(f"{prefix}{key} {name}" if key != "rate" else name, t) for name, t in nested]
        elif key == "files":
            rows += _file_lines(value)
        elif key == "metadata":
            rows += [("metadata", _metadata_text(kind)) for kind in value]
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


def _metadata_text(kind: dict[str, Any]) -> str:
    count = kind["chunks"]
    files = f" for {count:,} files" if count > 1 else ""
    return f"{kind['title']}, {kind['bytes']:,} bytes{files}"


def _text(key: str, value: Any) -> str:
    if key == "shape":
        return _shape(value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int) and key.endswith("bytes"):
        return f"{value:,} ({format_bytes(value)})"
    if isinstance(value, list):
        return ", ".join(map(str, value))
    if isinstance(value, float):
        return f"{value:,.4f}"
    text = f"{value:,}" if isinstance(value, int) else str(value)
    return text if text.isprintable() else ascii(text)


def _shape(sides: list[int]) -> str:
    return " x ".join(map(str, sides))
