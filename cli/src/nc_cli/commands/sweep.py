"""``nc sweep``: one command at all points of a grid."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from nc_cli import options
from nc_cli.session import current_session
from nc_core.command_line.console import (
    label_logged_warnings,
    print_json,
    print_table,
    print_text,
    warn,
)
from nc_core.command_line.progress import progress
from nc_core.errors import DataError, UsageError, WorkError

if TYPE_CHECKING:
    from nc_core.launch import Point, PointRecord, Table

__all__ = ["command"]

SWEEP_SCHEMA = "nc.sweep/1"
STATE_SCHEMA = "nc.sweep-state/1"


@click.command(
    "sweep",
    # The command may have options of the same spelling; they are its own, also without '--'.
    context_settings={"allow_interspersed_args": False},
    epilog=options.examples(
        "nc sweep -o sweeps/rates --grid data=mnist:test,cifar10:test -- \\",
        "  eval rate --model predictive --dataset {data} --limit 100 --json",
        "nc sweep -o sweeps/levels --grid levels=1,2,4 --jobs 2 -- \\",
        "  run bitswap train --set model.levels={levels} -o {out} {resume}",
        "nc sweep -o sweeps/levels --list          # how far it is",
        "nc sweep -o sweeps/levels                 # goes on with what is not finished",
    ),
)
@options.out("DIR", "Folder of the sweep: a folder per point, table.csv and .json.", required=True)
@click.option(
    "--grid",
    "grids",
    multiple=True,
    metavar="NAME=VALUE,...",
    help="Values that {NAME} in the command takes; with several grids, all combinations.",
)
@click.option(
    "--jobs",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    metavar="N",
    help="Points that run at a time; from two on, libraries use one thread for each.",
)
@click.option("--list", "only_list", is_flag=True, help="Show the state of all points; run none.")
@click.option(
    "--force", is_flag=True, help="Run finished points again, and remove their files first."
)
@options.json_output()
@click.argument("template", metavar="[COMMAND]...", nargs=-1, type=click.UNPROCESSED)
def command(
    out: Path,
    grids: tuple[str, ...],
    jobs: int,
    only_list: bool,
    force: bool,
    as_json: bool,
    template: tuple[str, ...],
) -> None:
    """Run a command of nc at every point of a grid, and collect what it measures in one table.

    COMMAND is a command line without the word nc. In it, {NAME} stands for a value of the grid,
    {out} for a folder of the point's own, and {resume} for --resume when a point runs again. Let
    it print its measurements with --json. Without COMMAND, the points that DIR holds go on.

    Each point is a process. A finished point never runs again; what failed or was interrupted
    does. Several 'nc sweep' may work in one DIR at the same time, each on points of its own.
    """
    points = _points(out, grids, template)
    if only_list:
        _print_states(out, points, as_json)
        return
    records = _run(out, points, jobs, force)
    table = _collected(out)
    failed = [record for record in records if record.state == "failed"]
    if as_json:
        document = table.to_json() | {"schema": SWEEP_SCHEMA, "failed": [*map(_described, failed)]}
        print_json(document)
    else:
        _print_table(out, table)
    keeps_files = any("{out}" in word for point in points for word in point.command)
    if table.rows and not table.has_measurements and not keeps_files:
        warn("no point printed measurements; does COMMAND have --json?")
    for record in failed:
        click.echo(f"nc: point {record.name}: {record.reason}", err=True)
    if failed:
        raise WorkError(
            f"{len(failed)} of {len(records)} points failed",
            f"they run again with: {_same_sweep(out)}\n"
            f"all that they said: {out / 'points' / failed[0].name / 'stderr.txt'}",
        )


def _points(folder: Path, grids: Sequence[str], template: Sequence[str]) -> list[Point]:
    """The points that are meant: those of the grid, or without a command those of the folder."""
    from nc_core.launch import Point, grid_points, parse_grids, read_points

    if template:
        points = grid_points(template, parse_grids(grids))
        for name in dict.fromkeys(point.command[0] for point in points):
            _check_command(name)
        return points
    if grids:
        raise UsageError("--grid without a command", "nc sweep -o DIR --grid a=1,2 -- COMMAND")
    records = read_points(folder)
    if not records:
        raise DataError(f"{folder}: no sweep is there, and no command to run", "see --help")
    return [Point(name=r.name, values=r.values, command=r.command) for r in records]


def _check_command(name: str) -> None:
    """Refuse at once what would fail at every point of that command.

    Raises:
        UsageError: nc has no such command.
    """
    from nc_core.lookup import did_you_mean

    context = click.get_current_context().find_root()
    known = getattr(context.command, "commands", {})
    if not name.startswith("-") and name not in known:
        near = "; leave out the word nc" if name == "nc" else did_you_mean(name, known)
        raise UsageError(f"no command '{name}' to sweep{near}")


def _run(folder: Path, points: Sequence[Point], jobs: int, force: bool) -> list[PointRecord]:
    from nc_core.launch import nc_program, run_sweep

    label_logged_warnings()
    with progress("sweep", len(points), "points") as advance:
        return run_sweep(
            folder,
            points,
            program=nc_program(current_session().plugin_files),
            jobs=jobs,
            force=force,
            progress=lambda _: advance(1),
            go_on=f"go on with: {_same_sweep(folder)}" + (f" --jobs {jobs}" if jobs > 1 else ""),
        )


def _same_sweep(folder: Path) -> str:
    plugins = [word for file in current_session().plugin_files for word in ("--plugin", str(file))]
    return shlex.join(["nc", *plugins, "sweep", "-o", str(folder)])


def _collected(folder: Path) -> Table:
    """The table of all finished points, written beside them."""
    from nc_core.launch import collect, read_points, write_table

    table = collect(read_points(folder))
    write_table(folder, table)
    return table


def _print_table(folder: Path, table: Table) -> None:
    if table.rows:
        print_table(table.cells(), table.titles)
        print_text(f"wrote {folder / 'table.csv'} and .json")


def _print_states(folder: Path, points: Sequence[Point], as_json: bool) -> None:
    """Print how far each point is."""
    from nc_core.launch import PointRecord

    rows = []
    for point in points:
        record = PointRecord.read(folder, point.name) or PointRecord.of(point)
        rows.append((record, _state(folder, record)))
    if as_json:
        print_json(
            {
                "schema": STATE_SCHEMA,
                "points": [_described(record) | {"state": state} for record, state in rows],
            }
        )
        return
    print_table(
        [
            [r.name, state, r.attempts, r.seconds, r.reason if state == "failed" else ""]
            for r, state in rows
        ],
        ["point", "state", "attempts", "seconds", "reason"],
    )


def _state(folder: Path, record: PointRecord) -> str:
    """The state for people, who want to know whether somebody is at it."""
    from nc_core.launch.sweep import is_held

    if record.state == "running" and not is_held(folder, record.name):
        return "killed"
    return str(record.state)


def _described(record: PointRecord) -> dict[str, object]:
    return {
        "point": record.name,
        "values": record.values,
        "attempts": record.attempts,
        "exit_code": record.exit_code,
        "seconds": record.seconds,
        "error": record.error,
    }
