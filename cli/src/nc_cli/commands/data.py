"""``nc data``: official files of datasets, downloaded, checked and found."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from nc_cli import options
from nc_cli.console import format_bytes, print_json, print_table, print_text
from nc_cli.progress import progress
from nc_cli.session import current_session
from nc_core.errors import DataError, InterruptedWorkError

if TYPE_CHECKING:
    from nc_core.datasets.prepare import FileCheck
    from nc_core.specs import DatasetSpec, RemoteFile

__all__ = ["SCHEMA", "command"]

SCHEMA = "nc.data/1"


@click.group(
    "data",
    epilog=options.examples("nc data prepare mnist", "nc data verify mnist"),
)
def command() -> None:
    """Download and check datasets.

    Data live under $NC_DATA, by default the user's cache directory, each dataset in a folder
    of its name. 'nc list datasets' shows what there is.
    """


@command.command(
    "prepare",
    epilog=options.examples(
        "nc data prepare mnist",
        "nc data prepare kodak --from ~/Downloads/kodak",
    ),
)
@options.dataset_name()
@click.option(
    "--from",
    "source",
    type=options.FilePath(),
    metavar="FOLDER",
    help="Take the official files from this folder, or a folder in it, instead of the network.",
)
@options.json_output()
def prepare(name: str, source: Path | None, as_json: bool) -> None:
    """Bring the official files of dataset NAME, and check them.

    Files that are there and right stay. Every file has its name only after its size and SHA-256
    were compared, so the command can be interrupted and repeated.
    """
    from nc_core.datasets.prepare import prepare_dataset, verify_dataset

    spec = _spec(name)
    with _file_progress("preparing", spec) as report:
        try:
            brought = prepare_dataset(spec, source, progress=report)
        except KeyboardInterrupt as error:
            raise InterruptedWorkError(
                "interrupted; the files that have arrived are kept",
                "run the same command again to bring the others",
            ) from error
    if as_json:
        print_json(_document(spec, verify_dataset(spec), brought))
        return
    size = format_bytes(spec.download_bytes)
    folder = _folder(spec)
    if brought:
        what = "downloaded" if source is None else f"copied from {source}"
        print_text(f"{spec.name}: {_files(len(brought))} {what}, sha256 right")
    print_text(f"{spec.name} is ready: {_files(len(spec.files))}, {size}, in {folder}")


@command.command("verify", epilog=options.examples("nc data verify mnist"))
@options.dataset_name()
@options.json_output()
def verify(name: str, as_json: bool) -> None:
    """Check every official file of dataset NAME.

    Sizes and SHA-256 are compared; the exit code is 4 if a file is missing or wrong.
    """
    from nc_core.datasets.prepare import FileState, verify_dataset

    spec = _spec(name)
    with _file_progress("checking", spec) as report:
        checks = verify_dataset(spec, report)
    if as_json:
        print_json(_document(spec, checks))
    else:
        rows = [[check.file.name, check.size, check.file.size, check.state] for check in checks]
        print_table(rows, ["file", "bytes", "official", "state"])
        print_text()
    wrong = [check for check in checks if check.state is not FileState.RIGHT]
    if wrong:
        raise DataError(
            f"{_folder(spec)}: {len(wrong)} of {_files(len(checks))} missing or wrong",
            f"nc data prepare {spec.name}",
        )
    if not as_json:
        print_text(f"{spec.name}: all {_files(len(checks))} are right")


@command.command("path", epilog=options.examples("ls $(nc data path mnist)"))
@options.dataset_name()
def path(name: str) -> None:
    """Print the folder of dataset NAME, whether or not it exists."""
    print_text(str(_folder(_spec(name))))


def _spec(name: str) -> DatasetSpec:
    from nc_core.datasets.opening import find_dataset

    return find_dataset(name, current_session().plugins)


def _folder(spec: DatasetSpec) -> Path:
    from nc_core.datasets.locations import dataset_folder

    return dataset_folder(spec.name)


def _files(count: int) -> str:
    return f"{count} file" if count == 1 else f"{count} files"


@contextmanager
def _file_progress(title: str, spec: DatasetSpec) -> Iterator[Callable[[RemoteFile, int], None]]:
    """Progress over the bytes of all files; a file may be visited twice, checked and brought."""
    with progress(title, spec.download_bytes, "bytes", interval_seconds=2.0) as advance:
        reached: dict[str, int] = {}

        def report(file: RemoteFile, done: int) -> None:
            new = done - reached.get(file.name, 0)
            if new > 0:
                reached[file.name] = done
                advance(new)

        yield report


def _document(
    spec: DatasetSpec, checks: list[FileCheck], brought: list[FileCheck] | None = None
) -> dict[str, Any]:
    files = [
        {
            "name": check.file.name,
            "path": str(check.path),
            "state": str(check.state),
            "size_bytes": check.size,
            "official_bytes": check.file.size,
            "sha256": check.file.sha256,
            "url": check.file.url,
        }
        for check in checks
    ]
    document = {"schema": SCHEMA, "dataset": spec.name, "folder": str(_folder(spec))}
    if brought is None:
        return document | {"files": files}
    return document | {"brought": [check.file.name for check in brought], "files": files}
