"""Writing a new package from a template.

A template is a real package below ``templates/``, named ``my-plugin``: it can be read, checked and
run as it stands. Making a new one replaces the name in its three spellings, in paths and texts.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

from nc_core.errors import DataError, UsageError
from nc_core.files import check_target, describe_os_error, made_folder
from nc_core.staging import staging_folder

__all__ = ["KINDS", "checked_name", "render", "write_package"]

KINDS = ("model", "dataset", "coder", "evaluator")
_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
_LONGEST = 40
_LEFT_BY_PYTHON = "__pycache__"


def checked_name(text: str) -> str:
    """The name of a new plugin, without the ``nc-`` that its distribution has.

    Raises:
        UsageError: not kebab-case, or too long.
    """
    name = text.removeprefix("nc-")
    if not _NAME.fullmatch(name) or len(name) > _LONGEST:
        near = re.sub(r"[^a-z0-9]+", "-", name.lower()).lstrip("-0123456789")[:_LONGEST].strip("-")
        raise UsageError(
            f"'{text}' cannot be the name of a plugin: small letters, digits and single hyphens, "
            f"a letter first, at most {_LONGEST} characters",
            f"for example: {near or 'my-codec'}",
        )
    return name


def render(kind: str, name: str) -> dict[str, bytes]:
    """The files of a new package: content by path, with ``/`` between its parts.

    Args:
        kind: one of ``KINDS``.
        name: kebab-case.
    """
    camel = "".join(part.capitalize() for part in name.split("-"))
    spellings = {"my-plugin": name, "my_plugin": name.replace("-", "_"), "MyPlugin": camel}

    def renamed(text: str) -> str:
        for old, new in spellings.items():
            text = text.replace(old, new)
        return text

    template = files("nc_cli") / "templates" / kind
    return {
        renamed(path): renamed(file.read_text(encoding="utf-8")).encode()
        for path, file in _files(template)
    }


def write_package(kind: str, name: str, folder: Path, *, force: bool = False) -> list[Path]:
    """Write a new package: all of its files or none, where the folder is new.

    Args:
        kind: one of ``KINDS``.
        name: kebab-case.
        folder: to make, or an empty one; with ``force`` any, whose other files stay.
        force: replace files that exist.

    Returns:
        What was written, sorted.

    Raises:
        DataError: the folder holds something and ``force`` is off, a file is in the way of a
            folder, or the folder cannot be written.
    """
    contents = render(kind, name)
    paths = [folder / path for path in sorted(contents)]
    try:
        _check_folder(folder, force=force)
        for path in paths:
            _check_parents(path)
            check_target(path, force=force)
        with made_folder(folder.parent), staging_folder(folder.parent) as staging:
            # Not the temporary folder itself, which is private to the user.
            _write(contents, staging / "package")
            _move(staging / "package", folder, sorted(contents))
    except OSError as error:
        raise describe_os_error(error, folder) from error
    return paths


def _check_folder(folder: Path, *, force: bool) -> None:
    """Refuse a place that holds something else; hidden files (``.git``) do not count."""
    occupied = folder.is_dir() and any(not e.name.startswith(".") for e in folder.iterdir())
    if occupied and not force:
        raise DataError(
            f"{folder}: exists, and is not empty",
            "-o names another folder, --force replaces files of the same names in this one",
        )


def _check_parents(path: Path) -> None:
    """Refuse a place below a file, before anything is written."""
    for parent in path.parents:
        if parent.exists() and not parent.is_dir():
            raise DataError(f"{parent}: exists, and is not a folder")


def _files(folder: Traversable, prefix: str = "") -> Iterator[tuple[str, Traversable]]:
    """All files below a folder, with their paths from there."""
    for entry in folder.iterdir():
        path = f"{prefix}{entry.name}"
        if entry.is_file():
            yield path, entry
        elif entry.name != _LEFT_BY_PYTHON:
            yield from _files(entry, f"{path}/")


def _write(contents: dict[str, bytes], folder: Path) -> None:
    for path, content in contents.items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)


def _move(staging: Path, folder: Path, paths: list[str]) -> None:
    """Give finished files their names: the whole folder at once where it is new."""
    if not folder.exists():
        staging.rename(folder)
        return
    for path in paths:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (staging / path).replace(folder / path)
