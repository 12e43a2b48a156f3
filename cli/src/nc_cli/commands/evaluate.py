"""``nc eval``: an evaluator on a model and a dataset."""

from __future__ import annotations

import click

from nc_cli import options
from nc_cli.session import current_session
from nc_core.command_line.console import print_json, print_table

__all__ = ["command"]


@click.command(
    "eval",
    epilog=options.examples(
        "nc eval rate --model predictive --dataset mnist:test --limit 1000",
        "nc eval classical --dataset folder:photos --json",
    ),
)
@click.argument("evaluator", metavar="EVALUATOR")
@options.model()
@options.coding()
@options.dataset(required=True)
@options.limit()
@options.seed()
@options.threads()
@options.json_output()
def command(
    evaluator: str,
    model: str | None,
    coding: dict[str, str],
    dataset: str,
    limit: int | None,
    seed: int,
    threads: int,
    as_json: bool,
) -> None:
    """Measure a model on a dataset, or the dataset alone where EVALUATOR needs no model.

    'nc list evaluators' shows what can be measured.
    """
    from nc_core.front_door import evaluate

    measured = evaluate(
        evaluator,
        dataset,
        model,
        coding=coding,
        limit=limit,
        seed=seed,
        threads=threads,
        plugins=current_session().plugins,
    )
    if as_json:
        print_json([measurement.to_json() for measurement in measured])
        return
    rows = [[m.name, m.value, m.unit, m.standard_error, m.n] for m in measured]
    print_table(rows, ["name", "value", "unit", "standard error", "n"])
