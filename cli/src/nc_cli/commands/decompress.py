"""``nc decompress``: the files that a container holds, checked to the last bit."""

from __future__ import annotations

import logging
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import click

from nc_cli import options
from nc_cli.console import print_json, print_text
from nc_cli.progress import cumulative, progress
from nc_cli.session import current_session
from nc_core.errors import DataError, UsageError

__all__ = ["command"]

_log = logging.getLogger(__name__)


@click.command(
    "decompress",
    epilog=options.examples(
        "nc decompress photo.png.ncz -o restored  # writes restored/photo.png",
        "cat photo.ncz | nc decompress - -o - > photo.png",
    ),
)
@click.argument("file", metavar="FILE.ncz", type=options.FilePath())
@options.out("DIR", "Folder to write to; by default the folder of the file, - for standard output.")
@options.model(help_text="Model to decode with; by default the one that the file names by its id.")
@options.threads()
@options.force()
@options.json_output()
def command(
    file: Path, out: Path | None, model: str | None, threads: int, force: bool, as_json: bool
) -> None:
    """Restore what a compressed file holds.

    Images come back as PNG under their own names (photo.jpg as photo.jpg.png), a dataset as one
    .npy file, or as PNG files where the sizes of its images differ. Every file is compared with
    its checksum; either all are written or none.
    """
    to_stdout = out is not None and str(out) == "-"
    if to_stdout and as_json:
        raise UsageError("the file and the JSON document cannot both go to standard output")
    start = time.perf_counter()
    if to_stdout:
        with tempfile.TemporaryDirectory(prefix="nc-") as folder:
            paths = _restore(file, Path(folder), model, threads, force=False)
            if len(paths) > 1:
                raise UsageError(f"{file} holds {len(paths)} files", "give a folder: -o DIR")
            with paths[0].open("rb") as restored:
                shutil.copyfileobj(restored, sys.stdout.buffer)
        return
    folder_path = out if out is not None else (Path() if str(file) == "-" else file.parent)
    if folder_path.exists() and not folder_path.is_dir():
        raise DataError(f"{folder_path}: not a folder", "give a folder, new or existing: -o DIR")
    paths = _restore(file, folder_path, model, threads, force=force)
    seconds = time.perf_counter() - start
    if as_json:
        print_json(
            {
                "schema": "nc.decompress/1",
                "files": [str(path) for path in paths],
                "decode_seconds": seconds,
                "verified": True,
            }
        )
        return
    for path in paths:
        print_text(str(path))
    files = "1 file" if len(paths) == 1 else f"{len(paths)} files"
    click.echo(f"nc: {files} restored and verified in {seconds:.2f} s", err=True)


def _restore(
    file: Path, folder: Path, model: str | None, threads: int, *, force: bool
) -> list[Path]:
    from nc_core.restore import open_container, restore_files

    with _opened(file) as (stream, name):
        container = open_container(stream, name, model, current_session().plugins)
        header = container.header
        _log.info("%s: model %s (id %s), coder %s", name, header.model, header.model_id[:12],
                  header.coder)  # fmt: skip
        with progress("decompressing", container.header.content.dims, "samples") as advance:
            return restore_files(
                container, folder, threads=threads, force=force, progress=cumulative(advance)
            )


@contextmanager
def _opened(file: Path) -> Iterator[tuple[BinaryIO, str]]:
    """The container as a seekable file, and what to call it."""
    if str(file) != "-":
        with file.open("rb") as stream:
            yield stream, str(file)
        return
    with tempfile.TemporaryFile() as spool:
        shutil.copyfileobj(sys.stdin.buffer, spool)
        yield spool, "standard input"
