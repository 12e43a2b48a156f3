"""What an evaluator is asked: which model on which data."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nc_core.datasets.items import count_items
from nc_core.errors import UsageError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from nc_core.plugins import PluginManager
    from nc_core.protocols import Dataset

__all__ = ["EvaluationRequest"]


@dataclass(frozen=True)
class EvaluationRequest:
    """What the target of an :class:`~nc_core.specs.EvaluatorSpec` is called with.

    Args:
        model: the loaded model; None for an evaluator that needs none.
        dataset: the opened data.
        limit: number of items, from the first; None for all of them.
        seed: of everything random that the evaluator does.
        threads: worker threads.
        coder: name of the entropy coder, where one is used.
        plugins: where names are looked up; None for everything that is installed.
    """

    model: Any | None
    dataset: Dataset
    limit: int | None = None
    seed: int = 0
    threads: int = 1
    coder: str = "rans"
    plugins: PluginManager | None = None

    @property
    def count(self) -> int:
        """Number of items to evaluate.

        Raises:
            UsageError: the data have no end and no limit was given, or there is no item.
        """
        count = count_items(self.dataset, self.limit)
        if count < 1:
            raise UsageError(f"no items of {self.dataset.name} to evaluate")
        return count

    def contents(self) -> Iterator[NDArray[Any]]:
        """The content (first field) of every item to evaluate."""
        field = self.dataset.fields[0]
        for index in range(self.count):
            yield self.dataset[index][field]
