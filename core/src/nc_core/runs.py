"""Run directories: what one training run leaves on disk, usable at any moment.

    config.json        what is run: command, recipe, configuration, versions
    metrics.jsonl      one JSON record per line, each with its ``step``
    timing.jsonl       the same for seconds, which no two runs have in common
    progress.csv       metrics as a table, of papers whose original wrote one
    log.txt            the same to read
    checkpoints/       step-000001000.safetensors, the last few
    model.safetensors  the model as of the best evaluation so far; variants are model-NUMBER
    results/           NAME.json, what evaluators found
    samples/           NAME-STEP.png, what evaluations drew

Every file but the two logs appears whole or not at all; a log loses at most its last line. One
process at a time may write: it holds a lock that the system drops when the process dies.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

from nc_core.errors import DataError
from nc_core.file_lock import lock_folder
from nc_core.files import atomic_write, describe_os_error, remove_leftovers
from nc_core.model_file import MAX_NAME
from nc_core.run_config import (
    CONFIG,
    check_same,
    describe_run,
    read_description,
    write_description,
)
from nc_core.run_logs import encode_record, read_records

__all__ = ["RunDirectory", "is_main_process"]

_LOGS = ("metrics.jsonl", "timing.jsonl")
_TABLES = ("progress.csv", "log.txt")
_FOLDERS = ("checkpoints", "results", "samples", "tensorboard")
_MODEL = "model.safetensors"
_VARIANT = re.compile(r"model-\d+(\.\d+)?\.safetensors")
_CHECKPOINT = re.compile(r"step-(\d{9,})\.safetensors")
_RESULT = re.compile(r"[A-Za-z0-9][\w.+@-]*")


class RunDirectory:
    """One run directory; make it with :meth:`create` to write, with :meth:`open` to read.

    In all but the first of several processes that train together :meth:`create` touches
    nothing, and what writes does nothing, so that a program need not ask which one it is.

    Attributes:
        path: the folder.
        config: the resolved configuration.
        about: command, recipe, overrides, versions and the random id, which a resumed run keeps.
        resumed: it existed, and the run goes on.

    Example:
        >>> with RunDirectory.create(Path("runs/a"), {"width": 2}) as run:
        ...     run.log({"step": 1, "loss": 0.5})
    """

    def __init__(
        self, path: Path, document: Mapping[str, Any], lock: BinaryIO | None, *, resumed: bool
    ) -> None:
        self.path = path
        self.config: dict[str, Any] = document["config"]
        self.about = {key: value for key, value in document.items() if key != "config"}
        self.resumed = resumed
        self._lock = lock
        self._logs: dict[str, BinaryIO] = {}

    @classmethod
    def create(
        cls,
        path: Path,
        config: Mapping[str, Any],
        *,
        command: str = "",
        recipe: str | None = None,
        overrides: Sequence[str] = (),
        force: bool = False,
        resume: bool = False,
        may_differ: Sequence[str] = (),
        can_resume: bool = True,
    ) -> RunDirectory:
        """Start a run, or go on with one.

        Args:
            path: the folder; made if need be.
            config: plain JSON data.
            command: what runs, for the record (``bitswap train``).
            recipe: name of the recipe, for the record.
            overrides: what was given beside it (``training.batch_size=64``), for the record.
            force: replace an existing run.
            resume: go on with an existing run of the same configuration; start where there is
                none, or where one ended before it wrote anything.
            may_differ: dotted names that may differ from the existing run's, ``training.duration``.
            can_resume: the command has ``--resume``, which a refusal then names.

        Raises:
            DataError: another process uses it, it exists, or it is something else.
            UsageError: ``resume`` with another configuration.
        """
        document = describe_run(config, command, recipe, overrides)
        if not is_main_process():
            return cls(path, document, None, resumed=resume)
        _refuse_foreign(path)
        try:
            path.mkdir(parents=True, exist_ok=True)
            lock = lock_folder(path)
        except OSError as error:
            raise describe_os_error(error, path) from error
        started = _has_started(path)
        run = cls(path, document, lock, resumed=resume and started)
        try:
            if run.resumed:
                before = read_description(path)
                check_same(path, before["config"], run.config, may_differ)
                run.about["id"] = document["id"] = before.get("id", document["id"])
            elif started and not force:
                choices = "--force starts again, --out names another"
                raise DataError(
                    f"{path}: run directory exists",
                    f"--resume goes on with it, {choices}" if can_resume else choices,
                )
            _clean(path, everything=not run.resumed)
            write_description(path, document)
        except BaseException:
            run.close()
            raise
        return run

    @classmethod
    def open(cls, path: Path) -> RunDirectory:
        """An existing run directory, for reading and for results; it may be in use.

        Raises:
            DataError: no run directory, or a damaged one.
        """
        return cls(path, read_description(path), None, resumed=True)

    @property
    def model_path(self) -> Path:
        """Where the run's model file is."""
        return self.path / _MODEL

    def model_name(self, suffix: str = "") -> str:
        """What a model of this run is called: the folder's name, also where the path is ``.``.

        Args:
            suffix: tells it from others of the run.
        """
        has_name = self.path.name not in ("", "..")  # of a link, its own
        folder = self.path.name if has_name else self.path.resolve().name or "run"
        name = "".join(sign if sign.isprintable() else "_" for sign in f"{folder}{suffix}")
        return name[-MAX_NAME:]

    def log(self, record: Mapping[str, Any], *, name: str = "metrics") -> None:
        """Append a record to ``metrics.jsonl`` (or ``timing.jsonl``); what is not finite is null.

        Raises:
            DataError: it cannot be written.
        """
        if self._lock is None:
            return
        path = self.path / f"{name}.jsonl"
        try:
            if name not in self._logs:
                self._logs[name] = path.open("ab", buffering=0)
            self._logs[name].write(encode_record(record))
        except OSError as error:
            raise describe_os_error(error, path) from error

    def log_sizes(self) -> dict[str, int]:
        """Bytes of each log, which are on disk when this returns: for a checkpoint."""
        for file in self._logs.values():
            os.fsync(file.fileno())
        paths = [self.path / name for name in _LOGS]
        return {path.name: path.stat().st_size for path in paths if path.exists()}

    def rewind(self, sizes: Mapping[str, int]) -> None:
        """Cut the logs to what they were when a checkpoint was made; empty sizes empty them.

        Raises:
            DataError: a log cannot be written.
        """
        if self._lock is None:
            return
        self._close_logs()
        for path in (self.path / name for name in _LOGS):
            try:
                if path.exists() and path.stat().st_size > sizes.get(path.name, 0):
                    os.truncate(path, sizes.get(path.name, 0))
            except OSError as error:
                raise describe_os_error(error, path) from error

    def metrics(self) -> list[dict[str, Any]]:
        """All whole records of ``metrics.jsonl``.

        Raises:
            DataError: a line before the last is damaged.
        """
        return read_records(self.path / _LOGS[0])

    def checkpoint_path(self, step: int) -> Path:
        """Where the checkpoint of a step is."""
        return self.path / "checkpoints" / f"step-{step:09d}.safetensors"

    def checkpoint_steps(self) -> list[int]:
        """Steps of which there are checkpoints, in order."""
        folder = self.path / "checkpoints"
        names = [entry.name for entry in folder.iterdir()] if folder.is_dir() else []
        found = (_CHECKPOINT.fullmatch(name) for name in names)
        return sorted(int(match[1]) for match in found if match)

    def keep_checkpoints(self, last: int) -> None:
        """Remove all checkpoints but the last few."""
        if self._lock is not None:
            for step in self.checkpoint_steps()[:-last]:
                self.checkpoint_path(step).unlink(missing_ok=True)

    def save_result(self, name: str, document: Any) -> None:
        """Write ``results/NAME.json``, replacing one of that name.

        Raises:
            DataError: it cannot be written.
        """
        if not _RESULT.fullmatch(name):
            raise ValueError(f"{name!r} cannot be the name of a result")
        if is_main_process():
            with atomic_write(self.path / "results" / f"{name}.json") as file:
                file.write(json.dumps(document, indent=2, allow_nan=False).encode() + b"\n")

    def results(self) -> dict[str, Any]:
        """All results by name."""
        files = sorted((self.path / "results").glob("*.json"))
        return {file.stem: json.loads(file.read_bytes()) for file in files}

    def close(self) -> None:
        """Let other processes write."""
        self._close_logs()
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def _close_logs(self) -> None:
        for file in self._logs.values():
            file.close()
        self._logs.clear()

    def __enter__(self) -> RunDirectory:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def is_main_process() -> bool:
    """Whether this is the first of the processes that torchrun, SLURM or a launcher started."""
    if "RANK" in os.environ:  # torchrun's, which also knows of nodes
        return os.environ["RANK"] == "0"
    ranks = ("NODE_RANK", "LOCAL_RANK", "SLURM_PROCID")
    return all(os.environ.get(rank, "0") == "0" for rank in ranks)


def _refuse_foreign(path: Path) -> None:
    """Nothing is written into, let alone removed from, a folder that holds something else."""
    if path.exists() and not path.is_dir():
        raise DataError(f"{path}: exists, and is not a folder")
    foreign = path.is_dir() and not (path / CONFIG).exists()
    if foreign and any(not entry.name.startswith(".") for entry in path.iterdir()):
        raise DataError(f"{path}: exists, and is not a run directory", "choose another --out")


def _has_started(path: Path) -> bool:
    """Whether a run is there that wrote more than its configuration."""
    written = any((path / name).exists() for name in (_MODEL, *_LOGS, *_FOLDERS))
    return written and (path / CONFIG).exists()


def _clean(path: Path, *, everything: bool) -> None:
    """Remove what killed writers left; with ``everything`` what a run consists of, and no more."""
    try:
        for folder in (path, *(path / name for name in _FOLDERS)):
            remove_leftovers(folder)
        if everything:
            variants = filter(_VARIANT.fullmatch, [file.name for file in path.iterdir()])
            for name in (_MODEL, *variants, *_TABLES, *_LOGS):
                (path / name).unlink(missing_ok=True)
            for name in _FOLDERS:
                if (path / name).is_dir():
                    shutil.rmtree(path / name)
    except OSError as error:
        raise describe_os_error(error, path) from error
