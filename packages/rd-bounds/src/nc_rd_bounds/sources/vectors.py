"""Any dataset of nc as rows of float32: what every method of this package reads.

Vectors and images of one shape; integers are refused, save the samples of 8-bit images, which are
brought to [0, 1]. Rows are a function of (source, seed, index) and nothing else.
"""

from __future__ import annotations

import re
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from nc_core.datasets.locations import NotPreparedError
from nc_core.datasets.opening import DatasetRequest, find_dataset, make_request
from nc_core.errors import DataError, UsageError
from nc_core.protocols import Layout
from nc_rd_bounds.sources.truth import KnownTruth

if TYPE_CHECKING:
    from nc_core.plugins import PluginManager
    from nc_core.protocols import Dataset

__all__ = [
    "Source",
    "chosen_rows",
    "evaluation_pair",
    "first",
    "open_evaluation",
    "open_source",
    "sample",
    "split_source",
]

_MOST_LOADED_BYTES = 2 << 30
_TRAIN, _TEST = "train", "test"
_EVALUATION_SHARE = 0.1
_LARGEST_SEED = 2**32 - 1
_SPLITTING, _SAMPLING = 0, 1  # purposes of random words


class Source(Protocol):
    """Rows of one shape, float32.

    Attributes:
        name: full name of the dataset, and which of its rows.
        shape: of a row.
        length: number of rows; None for a sampler without end.
        value_range: smallest and largest possible value; None where there are none.
        layout: order of the axes of an image; ``none`` for other data.
        truth: what is known of the distribution in closed form; None for data.
        origin: of equal value where rows come from the same data or stream: the name with whole
            paths and the seed, and of held-out rows that of the whole. For comparisons: results
            have the name.
        held_out: the rows are a part of a source, which was divided for training and evaluation.
        pinned_seed: of a sampler without end whose name has ``?seed=``; it decides the samples,
            and the seed of a command does not. None otherwise.
    """

    name: str
    shape: tuple[int, ...]
    length: int | None
    value_range: tuple[float, float] | None
    layout: Layout
    truth: KnownTruth | None
    origin: str
    held_out: bool
    pinned_seed: int | None

    @property
    def dims(self) -> int:
        """Numbers per row."""
        ...

    def rows(self, indices: NDArray[np.int64]) -> NDArray[np.float32]:
        """Rows of these indices, (B, *shape); may be called in several threads.

        Raises:
            IndexError: an index outside ``0 .. length - 1``.
            DataError: a row that cannot be read.
        """
        ...


def open_source(text: str, plugins: PluginManager | None = None, *, seed: int = 0) -> Source:
    """Open a dataset by name.

    Args:
        text: as :func:`nc_core.datasets.opening.open_dataset` reads it.
        plugins: where names are looked up; by default everything that is installed.
        seed: of a sampler without end, unless ``?seed=`` gives one; data do not depend on it.

    Raises:
        UsageError: unknown split or option.
        PluginError: no such dataset.
        DataError: files missing or damaged, integers, items of several shapes, no rows.
    """
    if not 0 <= seed <= _LARGEST_SEED:
        raise UsageError(f"seed {seed}: expected an integer, 0 to {_LARGEST_SEED}")
    spec = find_dataset(text, plugins)
    request = make_request(text, spec)
    dataset = cast("Dataset", spec.load()(request))
    with_seed = getattr(dataset, "with_seed", None)
    pinned = None
    if with_seed is not None and "seed" in request.options:
        pinned = seed = request.integer("seed", seed)
    elif with_seed is not None:
        dataset = with_seed(seed)
    origin = _origin(request, spec.name, None if with_seed is None else seed)
    return _DatasetRows(dataset, _without_folders(request), origin, pinned)


def open_evaluation(text: str, plugins: PluginManager | None = None, *, seed: int = 0) -> Source:
    """Open what a user names to evaluate on: of a sampler without a split its split ``test``.

    Raises:
        UsageError, PluginError, DataError: as :func:`open_source`.
    """
    source = open_source(text, plugins, seed=seed)
    pair = _split_names(text, plugins)
    if source.length is not None or pair is None or ":" in text.partition("?")[0]:
        return source
    return open_source(pair[1], plugins, seed=seed)


def split_source(source: Source, share: float = 0.1, seed: int = 0) -> tuple[Source, Source]:
    """Two disjoint parts of a finite source: for training and for evaluation.

    Args:
        source: the whole.
        share: of the rows that are for evaluation, between 0 and 1; at least one row.
        seed: of the choice.

    Raises:
        UsageError: a source without end, or of a single row.
    """
    if source.length is None:
        raise UsageError(f"{source.name} has no end: its splits are apart already")
    if source.length < 2:
        raise UsageError(f"{source.name}: one row cannot be divided into training and evaluation")
    held = min(max(1, round(share * source.length)), source.length - 1)
    words = _words(seed, _SPLITTING, source.length)
    order = np.argsort(words, kind="stable")  # also of the parts: their first rows are random ones
    return _Part(source, order[held:]), _Part(source, order[:held])


def first(source: Source, count: int) -> NDArray[np.float32]:
    """The first rows, in order: ``count`` of them, or all where there are fewer."""
    most = count if source.length is None else min(count, source.length)
    return source.rows(np.arange(most))


def sample(source: Source, count: int, seed: int = 0) -> NDArray[np.float32]:
    """Different rows drawn at random, whatever the order of the data; all where there are fewer.

    Of a sampler without end the first rows, which are random as they are.
    """
    return source.rows(chosen_rows(source, count, seed))


def chosen_rows(source: Source, count: int, seed: int) -> NDArray[np.int64]:
    """Indices of some rows: all of them, or so many that a seed chooses, in order.

    Neighbours in a file are often alike, so its first rows would not do. A sampler without end
    gives its first ones.
    """
    if source.length is None or count >= source.length:
        return np.arange(count if source.length is None else source.length)
    words = _words(seed, _SAMPLING, source.length)
    chosen: NDArray[np.int64] = np.sort(np.argsort(words, kind="stable")[:count])
    return chosen


def evaluation_pair(
    train_text: str,
    test_text: str | None = None,
    plugins: PluginManager | None = None,
    seed: int = 0,
) -> tuple[Source, Source]:
    """Sources for training and for evaluation, with no row in common.

    ``NAME`` stands for ``NAME:train`` and ``NAME:test`` where both splits can be opened. Of
    everything else 10 % of the rows are held out, unless ``test_text`` says what to evaluate on
    (as :func:`open_evaluation` reads it; it may then be what is trained on, as ``origin`` tells).

    Raises:
        UsageError, PluginError, DataError: as :func:`open_source`; a source without end and
            without a split for evaluation.
    """
    if test_text is not None:
        return (
            open_source(train_text, plugins, seed=seed),
            open_evaluation(test_text, plugins, seed=seed),
        )
    pair = _split_names(train_text, plugins)
    if pair is not None:
        try:
            return (
                open_source(pair[0], plugins, seed=seed),
                open_source(pair[1], plugins, seed=seed),
            )
        except NotPreparedError:
            pass  # perhaps only one of its splits is there; if not, the next line says so
    whole = open_source(train_text, plugins, seed=seed)
    if whole.length is None:
        raise UsageError(
            f"{whole.name} has no end, and no split for evaluation",
            "name the data to evaluate on",
        )
    return split_source(whole, _EVALUATION_SHARE, seed)


def _without_folders(request: DatasetRequest) -> str:
    """The full name, and of files in its options the last part: results are passed on."""
    if not request.options:
        return request.name
    typed = "&".join(f"{key}={value}" for key, value in request.options.items())
    values = {key: re.split(r"[/\\]", value)[-1] for key, value in request.options.items()}
    return request.name.removesuffix(typed) + "&".join(
        f"{key}={value}" for key, value in values.items()
    )


def _origin(request: DatasetRequest, dataset: str, seed: int | None) -> str:
    """The same for every way to write a path or a sampler's seed."""
    place = request.split if request.path is None else str(request.path.resolve())
    options = {key: _whole_path(value) for key, value in request.options.items()}
    if seed is not None:
        options["seed"] = str(seed)
    return f"{dataset}:{place}?" + "&".join(f"{key}={options[key]}" for key in sorted(options))


def _whole_path(value: str) -> str:
    path = Path(value).expanduser()
    return str(path.resolve()) if path.is_file() else value


def _words(seed: int, purpose: int, count: int) -> NDArray[np.uint64]:
    """Random words, one per row; they are the same in every version of NumPy."""
    return np.random.Philox(key=np.array([seed, purpose], np.uint64)).random_raw(count)


def _split_names(text: str, plugins: PluginManager | None) -> tuple[str, str] | None:
    """Full names of both splits, where the text means neither or the first."""
    spec = find_dataset(text, plugins)
    if not {_TRAIN, _TEST} <= set(spec.splits):
        return None
    head, question, options = text.partition("?")
    name, _, split = head.partition(":")
    if split not in ("", _TRAIN):
        return None
    return f"{name}:{_TRAIN}{question}{options}", f"{name}:{_TEST}{question}{options}"


class _DatasetRows:
    """All rows of a dataset. Small ones are loaded whole when first used.

    Raises:
        DataError: integers, items of several shapes, no rows.
    """

    held_out = False

    def __init__(
        self, dataset: Dataset, name: str, origin: str, pinned_seed: int | None = None
    ) -> None:
        self._dataset: Any = dataset
        self.name = name
        self.origin = origin
        self.pinned_seed = pinned_seed
        if None in dataset.shape:
            raise DataError(
                f"{dataset.name}: items of several shapes",
                "take crops of one size: crops:PATH?size=32",
            )
        self.shape: tuple[int, ...] = tuple(int(side or 0) for side in dataset.shape)
        self._scale = _scale(dataset)
        self.truth: KnownTruth | None = getattr(dataset, "truth", None)
        self.value_range = _value_range(dataset, self._scale)
        self.layout: Layout = dataset.layout
        try:
            self.length: int | None = len(dataset)
        except TypeError:
            self.length = None
        if self.length == 0 or 0 in self.shape:
            raise DataError(f"{dataset.name}: no samples")
        self._lock = threading.Lock()
        self._loaded: NDArray[Any] | None = None

    @property
    def dims(self) -> int:
        return int(np.prod(self.shape, dtype=np.int64))

    def rows(self, indices: NDArray[np.int64]) -> NDArray[np.float32]:
        stored = self._stored(np.asarray(indices, np.int64))
        if stored.dtype == np.uint8:
            return (stored / np.float32(self._scale)).astype(np.float32, copy=False)
        with np.errstate(over="ignore"):  # refused in the next line
            rows = stored.astype(np.float32, copy=False)
        if stored.dtype.itemsize > rows.dtype.itemsize and not np.isfinite(rows).all():
            raise DataError(
                f"{self.name}: values beyond the range of float32", "divide the data by a constant"
            )
        return rows

    def _stored(self, indices: NDArray[np.int64]) -> NDArray[Any]:
        """Rows as the dataset has them."""
        if indices.size and indices.min() < 0:
            raise IndexError(int(indices.min()))
        if self.length is not None and indices.size and indices.max() >= self.length:
            raise IndexError(int(indices.max()))
        take = getattr(self._dataset, "rows", None)
        if take is not None:
            return cast(NDArray[Any], take(indices))
        if self._is_small():
            return self._whole()[indices]
        return self._gather(indices)

    def _is_small(self) -> bool:
        if self.length is None:
            return False
        return self.length * self.dims * int(self._dataset.dtype.itemsize) <= _MOST_LOADED_BYTES

    def _whole(self) -> NDArray[Any]:
        with self._lock:
            if self._loaded is None:
                self._loaded = self._gather(np.arange(self.length or 0))
            return self._loaded

    def _gather(self, indices: NDArray[np.int64]) -> NDArray[Any]:
        rows = np.empty((len(indices), *self.shape), self._dataset.dtype)
        content = self._dataset.fields[0]
        for place, index in enumerate(indices.tolist()):
            rows[place] = self._dataset[index][content]
        return rows


class _Part:
    """Some rows of a source."""

    held_out = True
    pinned_seed: int | None = None

    def __init__(self, whole: Source, chosen: NDArray[np.int64]) -> None:
        self._whole = whole
        self._chosen = chosen
        self.name = f"{whole.name} ({len(chosen):,} of {whole.length:,} rows)"
        self.shape = whole.shape
        self.length: int | None = len(chosen)
        self.value_range = whole.value_range
        self.layout: Layout = whole.layout
        self.truth = whole.truth
        self.origin = whole.origin

    @property
    def dims(self) -> int:
        return self._whole.dims

    def rows(self, indices: NDArray[np.int64]) -> NDArray[np.float32]:
        indices = np.asarray(indices, np.int64)
        if indices.size and indices.min() < 0:
            raise IndexError(int(indices.min()))
        return self._whole.rows(self._chosen[indices])


def _scale(dataset: Dataset) -> float:
    """What samples are divided by: 1 for real numbers, the largest value for 8-bit images.

    Raises:
        DataError: other integers.
    """
    if dataset.dtype.kind == "f":
        return 1.0
    if dataset.dtype == np.uint8 and dataset.layout != "none":
        return float(dataset.range[1])
    raise DataError(
        f"{dataset.name}: samples of type {dataset.dtype}; expected real numbers, or images of "
        "uint8",
        "convert the array first: x.astype(numpy.float32)",
    )


def _value_range(dataset: Dataset, scale: float) -> tuple[float, float] | None:
    low, high = (float(limit) / scale for limit in dataset.range)
    return (low, high) if np.isfinite([low, high]).all() else None
