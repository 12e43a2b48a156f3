"""One table of all finished points: the values of the grid, and what each point measured."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nc_core.files import atomic_write
from nc_core.launch.point import PointRecord, State
from nc_core.plots import write_csv

__all__ = ["TABLE_SCHEMA", "Table", "collect", "write_table"]

TABLE_SCHEMA = "nc.sweep-table/1"

_TITLE = "point"


@dataclass(frozen=True)
class Table:
    """Rows of finished points.

    Args:
        columns: names; ``point``, those of the grid, and those of what was measured.
        grid: which of them are those of the grid.
        units: of the columns that have one.
        rows: values by column; a column that a point lacks is None.
    """

    columns: tuple[str, ...]
    grid: tuple[str, ...]
    units: Mapping[str, str]
    rows: tuple[Mapping[str, Any], ...]

    @property
    def has_measurements(self) -> bool:
        """Whether any point measured anything."""
        return any(column not in self.grid for column in self.columns[1:])

    @property
    def titles(self) -> list[str]:
        """Names of the columns with their units: ``rate [nats]``."""
        return [f"{c} [{self.units[c]}]" if c in self.units else c for c in self.columns]

    def cells(self) -> list[list[Any]]:
        """The rows as lists, in the order of the columns."""
        return [[row[column] for column in self.columns] for row in self.rows]

    def to_json(self) -> dict[str, Any]:
        """One document; rows are objects."""
        rows = [dict(row) for row in self.rows]
        return {"schema": TABLE_SCHEMA, "units": dict(self.units), "rows": rows}


def collect(records: Sequence[PointRecord]) -> Table:
    """Put finished points side by side.

    What a point printed is a list of measurements (``name``, ``value``, ``unit``,
    ``standard_error``), or an object whose numbers and texts are taken; anything else gives no
    columns. A measurement whose name is one of the grid's is called ``NAME (measured)``; one
    that comes in two units has two columns.
    """
    finished = [record for record in records if record.state == State.FINISHED]
    grid = list(dict.fromkeys(name for record in finished for name in record.values))
    measured = [list(_measured(record.result)) for record in finished]
    pairs = dict.fromkeys((name, unit) for cells in measured for name, unit, _ in cells)
    names = [name for name, _ in pairs]
    title = {
        (name, unit): (
            f"{name} (measured)" if name in (*grid, _TITLE)
            else f"{name} in {unit}" if names.count(name) > 1
            else name
        )
        for name, unit in pairs
    }  # fmt: skip
    columns = (_TITLE, *grid, *title.values())
    rows = []
    for record, cells in zip(finished, measured, strict=True):
        found = {title[name, unit]: value for name, unit, value in cells}
        known = {_TITLE: record.name, **record.values, **found}
        rows.append({column: known.get(column) for column in columns})
    units = {title[name, unit]: unit for name, unit in pairs if unit}
    return Table(columns, tuple(grid), units, tuple(rows))


def write_table(folder: Path, table: Table) -> None:
    """Write ``table.csv`` and ``table.json`` into the folder of a sweep.

    Raises:
        DataError: they cannot be written.
    """
    write_csv(folder / "table.csv", table.titles, table.cells())
    with atomic_write(folder / "table.json") as file:
        file.write(json.dumps(table.to_json(), indent=2).encode() + b"\n")


def _measured(result: Any) -> Iterator[tuple[str, str, Any]]:
    """Name, unit and value of all that a point measured."""
    if isinstance(result, dict):
        for name, value in result.items():
            if name != "schema" and isinstance(value, (int, float, str)):
                yield name, "", value
    for item in result if isinstance(result, list) else ():
        if not isinstance(item, dict) or not isinstance(item.get("name"), str):
            continue
        name, unit = item["name"], str(item.get("unit") or "")
        yield name, unit, item.get("value")
        if item.get("standard_error") is not None:
            yield f"{name} standard error", unit, item["standard_error"]
