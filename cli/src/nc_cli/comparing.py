"""What ``nc compare`` compares, and what it keeps."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from nc_core.command_line.console import warn
from nc_core.comparison import COLUMNS, Comparison
from nc_core.datasets.items import file_stem
from nc_core.errors import DataError, MissingDependencyError, UsageError
from nc_core.file_lock import LOCK
from nc_core.files import atomic_write, describe_os_error, made_folder
from nc_core.outcomes import COLUMNS as OUTCOME_COLUMNS
from nc_core.outcomes import OUTCOMES_SCHEMA, Outcome, draw_outcomes
from nc_core.plots import check_suffix, draw_comparison, save_figure, write_csv
from nc_core.sources import DatasetSource, FileSource, Source, expand_inputs
from nc_core.staging import publish, staging_folder

if TYPE_CHECKING:
    from nc_core.plugins import PluginManager
    from nc_core.protocols import LosslessModel

__all__ = [
    "FigureFile",
    "OutcomeFiles",
    "OutputFolder",
    "Subject",
    "find_models",
    "find_subject",
]

_SAMPLE = "grace_hopper.jpg"
_JPEG_MAGIC = b"\xff\xd8\xff"


@dataclass(frozen=True, kw_only=True)
class Subject:
    """What is compared.

    Args:
        name: of the file, folder or dataset.
        stem: what file names are made of.
        source: the items.
        files: input files; none for a dataset.
        binary: all samples are 0 or 1.
        is_sample: nobody asked for it: it is the sample photograph.
    """

    name: str
    stem: str
    source: Source
    files: tuple[Path, ...] = ()
    binary: bool = False
    is_sample: bool = False

    @property
    def input_bytes(self) -> int | None:
        """Size of the input files; None for a dataset."""
        return sum(path.stat().st_size for path in self.files) if self.files else None

    @property
    def jpeg_bytes(self) -> int:
        """Size of the input files that are JPEGs."""
        return sum(path.stat().st_size for path in self.files if _is_jpeg(path))


def find_subject(
    inputs: Sequence[Path], dataset: str | None, limit: int | None, plugins: PluginManager
) -> Subject:
    """Files, a dataset, or the sample photograph if neither is given.

    Raises:
        UsageError: files and a dataset, a limit without a dataset, or no sample photograph.
        DataError: something cannot be read.
    """
    if dataset is not None:
        if inputs:
            raise UsageError("give files or --dataset, not both")
        from nc_core.datasets.opening import open_dataset

        opened = open_dataset(dataset, plugins)
        source = DatasetSource(opened, limit)
        binary = tuple(opened.range) == (0, 1)
        return Subject(name=opened.name, stem=file_stem(opened.name), source=source, binary=binary)
    if limit is not None:
        raise UsageError("--limit needs --dataset")
    paths = list(inputs) or [_sample_photograph()]
    files = tuple(expand_inputs(paths))
    first = paths[0].resolve().name
    name, stem = (first, first) if len(paths) == 1 else (f"{first} and more", "images")
    return Subject(
        name=name, stem=stem, source=FileSource(files), files=files, is_sample=not inputs
    )


def find_models(
    names: Sequence[str], plugins: PluginManager, *, keep: bool = False
) -> dict[str, LosslessModel]:
    """The models, each once, by what file names call them: as typed, or by the name of a file.

    Args:
        names: registered names, or paths of model files or run directories.
        plugins: where names are looked up.
        keep: store models given by their path, so that their files decode.
    """
    from nc_core.models import is_model_path, load_model

    found: dict[str, LosslessModel] = {}
    known: set[str] = set()
    for name in names:
        model = load_model(name, plugins, keep=keep)
        if model.id in known:
            continue
        known.add(model.id)
        label = file_stem(model.name if is_model_path(name) else name)
        found[f"{label}-{model.id[:8]}" if label in found else label] = model
    return found


class OutputFolder:
    """The folder that keeps results: all of them, or none.

    Use it as a context; files are made in a hidden folder and get their names at its end.

    Args:
        folder: where to keep results; None to keep none.
        subject: what is compared.
        models: what to call the models in file names.
        force: replace existing files.

    Raises:
        DataError: a file exists and ``force`` is off, or the folder cannot be written.
    """

    def __init__(
        self, folder: Path | None, subject: Subject, models: Sequence[str], force: bool
    ) -> None:
        self._folder = folder
        endings = [".ncz"] if len(models) == 1 else [f".{model}.ncz" for model in models]
        self._names = [subject.stem + ending for ending in endings]
        if folder is None or force:
            return
        decoded = [f"decoded/{name}" for name in subject.source.content.file_names]
        results = [f"compare.{ending}" for ending in ("csv", "json", "png")]
        for name in [*self._names, *decoded, *results]:
            _refuse_existing(folder / name, force)

    def __enter__(self) -> OutputFolder:
        if self._folder is not None:
            with ExitStack() as stack:
                try:
                    stack.enter_context(made_folder(self._folder))
                    self._staging = stack.enter_context(staging_folder(self._folder))
                except OSError as error:
                    raise describe_os_error(error, self._folder) from error
                self._stack = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._folder is None:
            return
        with self._stack:
            if error is not None:
                raise error
            _publish_all(self._staging, self._folder)

    @property
    def containers(self) -> list[Path] | None:
        """Where the container of each model is made; None where none is kept."""
        if self._folder is None:
            return None
        return [self._staging / name for name in self._names]

    def fill(self, comparison: Comparison, plugins: PluginManager) -> None:
        """Add the decoded images, the table, and the figure where matplotlib is installed.

        The images are decoded as anybody would: with the model that the file names.
        """
        if self._folder is None or self.containers is None:
            return
        folder = self._staging
        _decode(self.containers[0], folder / "decoded", plugins)
        with atomic_write(folder / "compare.json") as file:
            text = json.dumps(comparison.to_json(), indent=2, allow_nan=False) + "\n"
            file.write(text.encode())
        write_csv(folder / "compare.csv", COLUMNS, comparison.table())
        try:
            figure = draw_comparison(comparison)
            save_figure(figure, folder / "compare.png", COLUMNS, comparison.table())
        except MissingDependencyError as error:
            warn(f"no figure: {error.message}; {error.hint}")


class FigureFile:
    """One file for the figure; what would prevent it is noticed before the work.

    Raises:
        UsageError: an unknown suffix.
        DataError: the file exists and ``force`` is off.
        MissingDependencyError: matplotlib is not installed.
    """

    def __init__(self, path: Path, force: bool) -> None:
        _check_figure(path, force)
        self._path = path

    def draw(self, comparison: Comparison) -> None:
        """Draw and save, with the data beside it."""
        save_figure(draw_comparison(comparison), self._path, COLUMNS, comparison.table())


class OutcomeFiles:
    """Where the table and the figure of finished files and runs go.

    Args:
        folder: for ``compare.csv``, ``.json`` and ``.png``; None for none of them.
        plot: for a figure alone, with its data beside it; None for none.
        force: replace existing files.

    Raises:
        UsageError, DataError, MissingDependencyError: as :class:`FigureFile`.
    """

    def __init__(self, folder: Path | None, plot: Path | None, force: bool) -> None:
        self._folder = folder
        self._figures = [plot] if plot is not None else []
        self.paths = list(self._figures)
        if folder is not None:
            self._figures.append(folder / "compare.png")
            self.paths += [folder / f"compare.{ending}" for ending in ("png", "csv", "json")]
            _refuse_existing(folder / "compare.json", force)
        for path in self._figures:
            _check_figure(path, force)

    def write(self, rows: Sequence[Outcome]) -> None:
        """Write all of them.

        Raises:
            DataError: a figure is wanted, and no row has a rate.
        """
        if self._figures and all(row.bits_per_dim is None for row in rows):
            raise DataError("none of these has a rate: there is nothing to draw")
        table = [row.cells() for row in rows]
        for path in self._figures:
            path.parent.mkdir(parents=True, exist_ok=True)
            save_figure(draw_outcomes(rows), path, OUTCOME_COLUMNS, table)
        if self._folder is not None:
            document = {"schema": OUTCOMES_SCHEMA, "rows": [row.to_json() for row in rows]}
            with atomic_write(self._folder / "compare.json") as file:
                file.write(json.dumps(document, indent=2, allow_nan=False).encode() + b"\n")


def _decode(container: Path, folder: Path, plugins: PluginManager) -> None:
    from nc_core.restore import open_container, restore_files

    with container.open("rb") as file:
        restore_files(open_container(file, container.name, plugins=plugins), folder)


def _sample_photograph() -> Path:
    try:
        from matplotlib.cbook import get_sample_data
    except ImportError as error:
        raise MissingDependencyError(
            "nothing to compare, and the sample photograph comes with matplotlib",
            "give a file or --dataset, or: pip install 'nc-core[plots]'",
        ) from error
    return Path(str(get_sample_data(_SAMPLE, asfileobj=False)))


def _is_jpeg(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(3) == _JPEG_MAGIC


def _check_figure(path: Path, force: bool) -> None:
    """Notice before the work what would prevent a figure."""
    check_suffix(path)
    _refuse_existing(path, force)
    _refuse_existing(path.with_suffix(".csv"), force)
    if importlib.util.find_spec("matplotlib") is None:
        raise MissingDependencyError(
            "figures need matplotlib, which is not installed", "pip install 'nc-core[plots]'"
        )


def _refuse_existing(path: Path, force: bool) -> None:
    if not force and path.exists():
        raise DataError(f"{path}: file exists", "use --force to replace it")


def _publish_all(staging: Path, folder: Path) -> None:
    """Give every file its place."""
    try:
        files = (path for path in sorted(staging.rglob("*")) if path.is_file())
        names = [path.relative_to(staging).as_posix() for path in files]
        publish(staging, [name for name in names if name != LOCK])
    except OSError as error:
        raise describe_os_error(error, folder) from error
