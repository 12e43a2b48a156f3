"""The contract of a dataset: items are what it declares, the same each time."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from nc_core.datasets.locations import NotPreparedError
from nc_core.datasets.opening import find_dataset, make_request, open_dataset
from nc_core.errors import MissingDependencyError
from nc_core.plugins import PluginManager
from nc_core.protocols import Dataset
from nc_core.testing.contract import NotCheckedError, Subject, require, told, told_to_user
from nc_core.testing.fresh import run_afresh
from nc_core.testing.replay import digest_item, replay_dataset

__all__ = ["CHECKS", "DatasetSubject"]

_ITEMS = 12  # of a dataset, that are looked at
_SECONDS = 120.0
_RANKS = {"hw": 2, "hwc": 3, "chw": 3}


class DatasetSubject(Subject):
    """A dataset, opened.

    Args:
        location: its full name, as users type it (``mnist:test``).
        manager: where it is looked up.

    Raises:
        NotCheckedError: its data are not there, or what it needs is not installed.
    """

    def __init__(self, location: str, manager: PluginManager) -> None:
        super().__init__(manager)
        self.location = location
        self.spec = find_dataset(location, manager)
        if self.spec.takes_path and location.partition(":")[2] == "":
            raise NotCheckedError("it takes a path: only a test can give it data")
        self.dataset: Any = self.open()

    def open(self) -> Any:
        """The dataset, opened once more."""
        try:
            return open_dataset(self.location, self.manager)
        except NotPreparedError as error:
            raise NotCheckedError(
                f"its files are not there; 'nc data prepare {self.spec.name}' brings them"
            ) from error
        except MissingDependencyError as error:
            raise NotCheckedError(told_to_user(error)) from error

    @cached_property
    def length(self) -> int | None:
        """Number of items; None for a sampler without end."""
        try:
            return len(self.dataset)
        except TypeError:
            return None

    @cached_property
    def indices(self) -> list[int]:
        """The items that are looked at: the first and the last, and some between."""
        if self.length is None:
            return [*range(_ITEMS - 1), 1000]
        last = self.length - 1
        if last < _ITEMS:
            return list(range(self.length))
        between = np.random.default_rng(0).integers(1, last, _ITEMS - 2)
        return sorted({0, last, *map(int, between)})


def it_opens(subject: DatasetSubject) -> None:
    """It opens, and offers what a dataset must offer."""
    dataset = subject.dataset
    lacking = [
        name
        for name in ("name", "fields", "shape", "dtype", "range", "layout", "__getitem__")
        if not hasattr(dataset, name)
    ]
    require(
        not lacking and isinstance(dataset, Dataset),
        f"{type(dataset).__name__} lacks {', '.join(lacking) or '__len__'}",
    )


def its_name_is_canonical(subject: DatasetSubject) -> None:
    """Its name is the full name under which it was opened."""
    expected = make_request(subject.location, subject.spec).name
    found = subject.dataset.name
    require(found == expected, f"its name is {found!r}, and should be the request's, {expected!r}")


def its_description_makes_sense(subject: DatasetSubject) -> None:
    """Fields, shape, dtype, range and layout are of the right types and fit each other."""
    dataset = subject.dataset
    fields, shape, limits = dataset.fields, dataset.shape, dataset.range
    require(
        isinstance(fields, tuple) and bool(fields) and all(isinstance(f, str) for f in fields),
        f"fields must be a tuple of names, the content first, not {fields!r}",
    )
    require(
        isinstance(shape, tuple) and all(side is None or side >= 0 for side in shape),
        f"shape must be a tuple of sides, None where they vary, not {shape!r}",
    )
    require(
        isinstance(dataset.dtype, np.dtype),
        f"dtype must be a NumPy dtype, not {dataset.dtype!r}; write np.dtype(...)",
    )
    require(
        len(limits) == 2 and limits[0] <= limits[1],
        f"range must be the smallest and the largest value, not {limits!r}",
    )
    require(
        dataset.layout in {*_RANKS, "none"},
        f"layout must be one of hw, hwc, chw and none, not {dataset.layout!r}",
    )
    rank = _RANKS.get(dataset.layout, len(shape))
    require(len(shape) == rank, f"layout '{dataset.layout}' does not fit the shape {shape}")


def it_has_a_length(subject: DatasetSubject) -> None:
    """Len is the number of items, or TypeError for a sampler without end."""
    require(
        subject.length != 0, "it has no items; a sampler without end raises TypeError in __len__"
    )
    again = None if subject.length is None else len(subject.dataset)
    require(again == subject.length, f"len was {subject.length}, and then {again}")


def items_have_the_declared_fields(subject: DatasetSubject) -> None:
    """Every item has the declared fields, and each is an array."""
    for index, item in _items(subject):
        require(
            isinstance(item, Mapping) and tuple(item) == subject.dataset.fields,
            f"item {index} has {_keys(item)}, and should have {subject.dataset.fields}",
        )
        for field, value in item.items():
            require(
                isinstance(value, np.ndarray),
                f"'{field}' of item {index} is a {type(value).__name__}, not a NumPy array",
            )


def items_have_the_declared_dtype_and_shape(subject: DatasetSubject) -> None:
    """The content of every item has the declared dtype and shape."""
    dataset = subject.dataset
    for index, item in _items(subject):
        content = item[dataset.fields[0]]
        require(
            content.dtype == dataset.dtype,
            f"item {index} is {content.dtype}, and {dataset.dtype} is declared",
        )
        # Images of varying shape may be grey, without the axis of the channels.
        varying_grey = dataset.layout == "hwc" and None in dataset.shape and content.ndim == 2
        fits = len(content.shape) == len(dataset.shape) and all(
            declared in (None, side)
            for declared, side in zip(dataset.shape, content.shape, strict=True)
        )
        require(
            fits or varying_grey,
            f"item {index} has the shape {content.shape}, and {dataset.shape} is declared",
        )


def items_lie_in_the_declared_range(subject: DatasetSubject) -> None:
    """The content of every item is finite and lies in the declared range."""
    low, high = subject.dataset.range
    for index, item in _items(subject):
        content = item[subject.dataset.fields[0]]
        if not content.size:
            continue
        least, most = content.min(), content.max()
        require(
            math.isfinite(least) and math.isfinite(most) and low <= least and most <= high,
            f"item {index} holds values from {least} to {most}, and the declared range is "
            f"{low} to {high}",
        )


def there_is_nothing_outside(subject: DatasetSubject) -> None:
    """An index outside 0 .. len - 1 raises IndexError."""
    outside = [-1] if subject.length is None else [-1, subject.length, subject.length + 1000]
    for index in outside:
        try:
            subject.dataset[index]
        except IndexError:
            continue
        except Exception as error:  # noqa: BLE001 - whatever it is, it should be the other one
            happened = f"raises {told(error)}"
        else:
            happened = "returns an item"
        require(False, f"item {index} {happened}, and should raise IndexError")


def items_are_the_same_each_time(subject: DatasetSubject) -> None:
    """An item is the same each time, in any order, and when the dataset is opened again."""
    first = {index: digest_item(subject.dataset[index]) for index in subject.indices}
    again = subject.open()
    for index, dataset in itertools.product(reversed(subject.indices), (subject.dataset, again)):
        where = "read twice" if dataset is subject.dataset else "read after opening it again"
        require(
            digest_item(dataset[index]) == first[index],
            f"item {index} differs when {where}; whatever is random must come from a seed "
            "and the index",
        )


def a_fresh_process_reads_the_same(subject: DatasetSubject) -> None:
    """A fresh process reads the same items."""
    first = [digest_item(subject.dataset[index]) for index in subject.indices]
    report = run_afresh(
        replay_dataset,
        subject.manager,
        {
            "location": subject.location,
            "folder": str(Path.cwd()),
            "indices": subject.indices,
        },
        seconds=_SECONDS,
    )
    found = report.event("read", f"read {len(first)} items")["sha256"]
    for index, here, there in zip(subject.indices, first, found, strict=True):
        require(here == there, f"item {index} differs in a fresh process")


def _items(subject: DatasetSubject) -> list[tuple[int, Any]]:
    return [(index, subject.dataset[index]) for index in subject.indices]


def _keys(item: object) -> object:
    return (
        tuple(item) if isinstance(item, Mapping) else f"no fields, but is a {type(item).__name__}"
    )


CHECKS = (
    it_opens,
    its_name_is_canonical,
    its_description_makes_sense,
    it_has_a_length,
    items_have_the_declared_fields,
    items_have_the_declared_dtype_and_shape,
    items_lie_in_the_declared_range,
    there_is_nothing_outside,
    items_are_the_same_each_time,
    a_fresh_process_reads_the_same,
)
