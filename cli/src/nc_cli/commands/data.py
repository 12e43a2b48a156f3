"""``nc data``: official files of datasets, downloaded, checked and found."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from nc_cli import options
from nc_cli.session import current_session
from nc_core.command_line.console import format_bytes, print_json, print_table, print_text, warn
from nc_core.command_line.progress import cumulative, progress
from nc_core.errors import DataError, InterruptedWorkError

if TYPE_CHECKING:
    from nc_core.datasets.manifest import Manifest, PreparedFile
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
        "nc data prepare cifar10 --from ~/Downloads/cifar-10-python.tar.gz",
    ),
)
@options.dataset_name()
@click.option(
    "--from",
    "source",
    type=options.FilePath(),
    metavar="PATH",
    help="Take the official files from this folder (or a folder in it) or archive, instead of "
    "the network.",
)
@click.option("--force", is_flag=True, help="Bring and convert everything again.")
@options.json_output()
def prepare(name: str, source: Path | None, force: bool, as_json: bool) -> None:
    """Bring the official files of dataset NAME, and check them.

    Files that are there and right stay. Every file has its name only after its size and SHA-256
    were compared, so the command can be interrupted and repeated. Some datasets are converted:
    into arrays, whose sizes and SHA-256 'nc data verify' compares.
    """
    from nc_core.datasets.prepare import prepare_dataset, prepared_manifest, verify_dataset

    spec = _spec(name)
    with (
        _file_progress("preparing", spec.download_bytes) as report,
        _conversion_progress() as converting,
    ):
        try:
            brought = prepare_dataset(
                spec, source, progress=report, converting=converting, force=force
            )
        except KeyboardInterrupt as error:
            raise InterruptedWorkError(
                "interrupted; the files that have arrived are kept",
                "run the same command again to bring the others",
            ) from error
    manifest = prepared_manifest(spec)
    if manifest is not None:
        _warn_of_other_counts(spec, manifest)
    if as_json:
        print_json(_document(spec, verify_dataset(spec), brought))
        return
    folder = _folder(spec)
    if brought:
        what = (
            f"{_files(len(brought))} {'downloaded' if source is None else f'copied from {source}'}"
        )
        if manifest is not None:
            what = f"{_items(manifest)} converted from {source or spec.files[0].name}"
        print_text(f"{spec.name}: {what}, sha256 {'right' if manifest is None else 'noted'}")
    files = spec.files if manifest is None else manifest.files
    size = format_bytes(sum(file.size for file in files))
    print_text(f"{spec.name} is ready: {_files(len(files))}, {size}, in {folder}")


@command.command("verify", epilog=options.examples("nc data verify mnist"))
@options.dataset_name()
@options.json_output()
def verify(name: str, as_json: bool) -> None:
    """Check every file of dataset NAME.

    Sizes and SHA-256 are compared with the official ones, or with those of the conversion; the
    exit code is 4 if a file is missing or wrong.
    """
    from nc_core.datasets.prepare import FileState, prepared_manifest, verify_dataset

    spec = _spec(name)
    manifest = prepared_manifest(spec)
    files = spec.files if manifest is None else manifest.files
    with _file_progress("checking", sum(file.size for file in files)) as report:
        checks = verify_dataset(spec, report)
    if as_json:
        print_json(_document(spec, checks))
    else:
        rows = [[check.file.name, check.size, check.file.size, check.state] for check in checks]
        expected = "official" if spec.converter is None else "expected"
        print_table(rows, ["file", "bytes", expected, "state"])
        print_text()
    wrong = [check for check in checks if check.state is not FileState.RIGHT]
    if wrong:
        raise DataError(
            f"{_folder(spec)}: {len(wrong)} of {_files(len(checks))} missing or wrong: "
            f"{_few([check.file.name for check in wrong])}",
            f"nc data prepare {spec.name}{'' if spec.files else ' --from PATH'}",
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


def _few(names: list[str]) -> str:
    """The first names of a list."""
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if names[3:] else "")


def _items(manifest: Manifest) -> str:
    """How many items there are: ``50,000 train and 10,000 test items``."""
    counts = [f"{count.found:,} {split}" for split, count in manifest.items.items()]
    return " and ".join(counts) + " items"


def _warn_of_other_counts(spec: DatasetSpec, manifest: Manifest) -> None:
    if any(count.found != count.official for count in manifest.items.values()):
        official = " and ".join(f"{c.official:,} {s}" for s, c in manifest.items.items())
        warn(
            f"{spec.name}: {_items(manifest)}, officially {official}: results will not be "
            "those of the official data"
        )


@contextmanager
def _file_progress(
    title: str, total: int
) -> Iterator[Callable[[RemoteFile | PreparedFile, int], None]]:
    """Progress over the bytes of all files; a file may be visited twice, checked and brought."""
    with progress(title, total, "bytes", interval_seconds=2.0) as advance:
        reached: dict[str, int] = {}

        def report(file: RemoteFile | PreparedFile, done: int) -> None:
            new = done - reached.get(file.name, 0)
            if new > 0:
                reached[file.name] = done
                advance(new)

        yield report


@contextmanager
def _conversion_progress() -> Iterator[Callable[[int, int], None]]:
    """Progress over items, whose number is known when the first of them are converted."""
    with ExitStack() as stack:
        reports: list[Callable[[float, float], None]] = []

        def report(done: int, total: int) -> None:
            if not reports:
                advance = stack.enter_context(progress("converting", total, "items"))
                reports.append(cumulative(advance))
            reports[0](done, total)

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
            "url": getattr(check.file, "url", None),  # nothing that was made here has one
        }
        for check in checks
    ]
    document = {"schema": SCHEMA, "dataset": spec.name, "folder": str(_folder(spec))}
    if brought is None:
        return document | {"files": files}
    return document | {"brought": [check.file.name for check in brought], "files": files}
