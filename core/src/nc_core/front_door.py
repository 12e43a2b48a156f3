"""``nc_core.compress``, ``decompress`` and ``evaluate``: one call each, on arrays and paths."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from nc_core.chunk_journal import INTERVAL_SECONDS
from nc_core.datasets.opening import open_dataset
from nc_core.errors import UsageError
from nc_core.evaluators.request import EvaluationRequest
from nc_core.files import describe_os_error
from nc_core.lossless import Progress, compress_source
from nc_core.models import (
    DEFAULT_CODER,
    DEFAULT_MODEL,
    configured,
    find_model_file,
    installed,
    load_coder,
    load_model,
)
from nc_core.plugins import PluginManager
from nc_core.protocols import Dataset
from nc_core.rates import Measurement, Rate
from nc_core.restore import open_container, restore_arrays, restore_files
from nc_core.sources import ArraySource, DatasetSource, FileSource, Source, expand_inputs
from nc_core.specs import EvaluatorSpec
from nc_core.staging import temporary_folder

__all__ = ["Compressed", "compress", "decompress", "evaluate"]

Pathlike = str | os.PathLike[str]
Bytes = bytes | bytearray | memoryview


@dataclass(frozen=True)
class Compressed:
    """What :func:`compress` made: its rate, and the file's path or, without one, its bytes."""

    rate: Rate
    path: Path | None = None
    data: bytes = b""


def compress(
    source: NDArray[Any] | Pathlike | Sequence[Pathlike] | Dataset,
    path: Pathlike | None = None,
    *,
    model: str = DEFAULT_MODEL,
    coder: str = DEFAULT_CODER,
    order: str | None = None,
    coding: Mapping[str, str] | None = None,
    layout: str | None = None,
    limit: int | None = None,
    threads: int = 1,
    verify: bool = True,
    force: bool = False,
    resume: bool = False,
    progress: Progress | None = None,
    plugins: PluginManager | None = None,
) -> Compressed:
    """Compress losslessly into an ``.ncz`` container.

    Args:
        source: an array of uint8 or uint16 (an image or a batch), one or several image files or
            folders, or a dataset.
        path: file to make; None to get the bytes.
        model: name of the model, or path of a model file or run directory; a model given by its
            path is kept, so that the container decodes without it.
        coder: name of the entropy coder.
        order: of the steps of bits-back coding, ``bit-swap`` or ``bb-ans``; by default the model's.
        coding: options for the model, as its family documents them.
        layout: axes of an array where they are not obvious: ``hw``, ``hwc``, ``chw``, with a
            leading ``n`` for a batch.
        limit: items of a dataset.
        threads: chunks coded at once; does not change a byte.
        verify: decode and compare before reporting success.
        force: replace an existing file.
        resume: go on with what an interrupted run left.
        progress: called with (samples done, samples in all).
        plugins: where models and coders come from; by default what is installed.

    Raises:
        NcError: see :func:`nc_core.lossless.compress_source`.
        UsageError: a layout without an array, a limit without a dataset, or an order or a coding
            option that the model does not take.
        TypeError: a source of another type.

    Example:
        >>> import numpy as np
        >>> compress(np.zeros((16, 16), np.uint8)).rate.verified
        True
    """
    plugins = installed() if plugins is None else plugins
    items = _source(source, layout, limit)
    chosen = load_model(model, plugins, keep=True, order=order, coding=coding)
    entropy_coder = load_coder(coder, plugins)

    def run(target: Path, journal_seconds: float | None) -> Rate:
        return compress_source(
            items, target, chosen, entropy_coder,
            threads=threads, verify=verify, force=force, resume=resume, progress=progress,
            journal_seconds=journal_seconds,
        )  # fmt: skip

    if path is not None:
        return Compressed(run(Path(path), INTERVAL_SECONDS), Path(path))
    with temporary_folder() as folder:
        target = folder / "data.ncz"
        rate = run(target, None)
        return Compressed(rate, None, target.read_bytes())


def decompress(
    source: Bytes | Pathlike,
    folder: Pathlike | None = None,
    *,
    items: Sequence[int] | None = None,
    model: str | None = None,
    threads: int = 1,
    force: bool = False,
    resume: bool = False,
    keep_going: bool = False,
    progress: Progress | None = None,
    plugins: PluginManager | None = None,
) -> NDArray[Any] | list[NDArray[Any]] | list[Path]:
    """Decompress an ``.ncz`` container, checked to the last bit.

    Args:
        source: its path or its bytes.
        folder: where to write files; None to get arrays.
        items: indices of the items to decode, without reading the others; None for all.
        model: name or path of the model to use instead of the one that the container names by
            its id.
        threads: chunks decoded at once.
        force: replace existing files.
        resume: with a folder: go on with what an interrupted run left there.
        keep_going: with a folder: write what a damaged container still gives.
        progress: called with (samples done, samples in all).
        plugins: where models and coders come from; by default what is installed.

    Returns:
        With a folder the paths written; without, the array that was compressed, or a list of
        images in the order in which they were given, or of the chosen items.

    Raises:
        UsageError: an index of no item, or ``keep_going`` or ``resume`` without a folder.
        InterruptedWorkError: Ctrl-C while files are made, with the work kept for ``resume``.
        PartlyRestoredError: with ``keep_going``: items are lost, and the others were written.
        CorruptFileError: damaged, truncated, or of another version or model.
        DataError: a file cannot be read or written.
    """
    name = "<bytes>" if isinstance(source, Bytes) else os.fspath(source)
    if keep_going and folder is None:
        raise UsageError("keep_going writes what is left; it needs a folder")
    if resume and folder is None:
        raise UsageError("resume goes on with what was left in a folder; it needs one")
    with _opened(source) as file:
        container = open_container(file, name, model, plugins, partial=keep_going)
        if folder is not None:
            return restore_files(
                container, Path(folder),
                wanted=items, keep_going=keep_going,
                threads=threads, force=force, resume=resume, progress=progress,
            )  # fmt: skip
        arrays = restore_arrays(container, items, threads, progress)
        one_array = container.header.content.kind == "array" and items is None
        return arrays[0] if one_array else arrays


def evaluate(
    evaluator: str,
    dataset: str | Dataset,
    model: Pathlike | None = None,
    *,
    coding: Mapping[str, str] | None = None,
    limit: int | None = None,
    seed: int = 0,
    threads: int = 1,
    plugins: PluginManager | None = None,
) -> list[Measurement]:
    """Measure a model on a dataset, or a dataset alone where the evaluator needs no model.

    Args:
        evaluator: its name (``nc list evaluators``).
        dataset: an open dataset or a name like ``mnist:test``.
        model: name of the model, or path of a model file or run directory.
        coding: options for the model, as for :func:`compress`.
        limit: items to use; None for all.
        seed: of whatever the evaluator draws.
        threads: for coding.
        plugins: where everything comes from; by default what is installed.

    Raises:
        PluginError: an unknown name.
        UsageError: the model lacks what the evaluator needs, or does not take the coding options,
            or the evaluator needs no model.
    """
    plugins = installed() if plugins is None else plugins
    spec = plugins.find(EvaluatorSpec, evaluator)
    run = spec.load()
    request = EvaluationRequest(
        model=_evaluated_model(spec, model, coding, plugins),
        dataset=open_dataset(dataset, plugins) if isinstance(dataset, str) else dataset,
        limit=limit,
        seed=seed,
        threads=threads,
        plugins=plugins,
    )
    measured: list[Measurement] = run(request)
    return measured


def _evaluated_model(
    spec: EvaluatorSpec,
    model: Pathlike | None,
    coding: Mapping[str, str] | None,
    plugins: PluginManager,
) -> Any:
    """The model that an evaluator needs, loaded; None where it needs none."""
    what = f"evaluator '{spec.name}'"
    if not spec.needs:
        if model is not None or coding:
            raise UsageError(f"{what} measures the dataset alone", "leave out the model")
        return None
    if model is None:
        raise UsageError(f"{what} needs a model", "'nc list models' shows what is installed")
    family, file = find_model_file(model, plugins)
    lacking = [ability for ability in spec.needs if ability not in family.abilities]
    if lacking:
        offers = ", ".join(family.abilities) or "nothing that can be measured"
        raise UsageError(
            f"{what} needs a {' and '.join(lacking)}, which '{os.fspath(model)}' is not",
            f"it offers: {offers}",
        )
    return configured(family.load()(file), os.fspath(model), coding=coding)


@contextmanager
def _opened(source: Bytes | Pathlike) -> Iterator[BinaryIO]:
    if isinstance(source, Bytes):
        yield io.BytesIO(source)
        return
    try:
        file = Path(source).open("rb")  # noqa: SIM115 - only opening is translated
    except OSError as error:
        raise describe_os_error(error, Path(source)) from error
    with file:
        yield file


def _source(
    source: NDArray[Any] | Pathlike | Sequence[Pathlike] | Dataset,
    layout: str | None,
    limit: int | None,
) -> Source:
    is_array = isinstance(source, (np.ndarray, np.generic))
    if layout is not None and not is_array:
        raise UsageError("layout is for arrays only")
    is_dataset = isinstance(source, Dataset) and not is_array
    if limit is not None and not is_dataset:
        raise UsageError("limit is for datasets only")
    if is_array:
        return ArraySource(np.asarray(source), layout)
    if isinstance(source, Dataset):
        return DatasetSource(source, limit)
    if isinstance(source, (str, os.PathLike)):
        return FileSource(expand_inputs([Path(source)]))
    if isinstance(source, Bytes) or not isinstance(source, Sequence):
        raise TypeError(f"cannot compress {type(source).__name__}: not an array, path or dataset")
    return FileSource(expand_inputs([Path(path) for path in source]))
