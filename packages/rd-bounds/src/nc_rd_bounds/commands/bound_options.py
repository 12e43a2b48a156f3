"""What both commands that train a bound ask for, and the settings that it stands for."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, TypeVar

import click

from nc_core.command_line import options

__all__ = ["bound_options", "chosen_settings"]

_Command = TypeVar("_Command", bound=Callable[..., Any])


def bound_options(evaluation: str) -> Callable[[_Command], _Command]:
    """``--dataset``, ``--evaluate-on``, ``--seed`` and ``--evaluate``, passed under these names.

    Args:
        evaluation: the command that measures the bound.
    """
    return options.all_of(
        click.option(
            "--dataset", metavar="NAME", show_default="the recipe's",
            help="Vectors to train on. Others are for evaluation: of the split 'test' if there is "
            "one, otherwise 10 % of the rows.",
        ),
        click.option(
            "--evaluate-on", metavar="NAME", show_default="what --dataset says",
            help="Vectors to evaluate on; a sampler without a split is its split 'test'.",
        ),
        click.option(
            "--seed", type=click.IntRange(min=0), metavar="N", show_default="the recipe's",
            help="Seed of weights, samples and noise.",
        ),
        click.option(
            "--evaluate", is_flag=True, help=f"Measure the bound at the end ({evaluation})."
        ),
    )  # fmt: skip


def chosen_settings(
    dataset: str | None, evaluate_on: str | None, seed: int | None, **others: float | str | None
) -> list[str]:
    """The settings (``NAME=VALUE``) that options stand for; None is the recipe's own.

    Another dataset to train on makes the recipe's evaluation data void.
    """
    given = [] if dataset is None else [f"data.train={json.dumps(dataset)}", "data.test=null"]
    chosen = {"data.test": evaluate_on, "training.seed": seed, **others}
    return given + [f"{n}={json.dumps(value)}" for n, value in chosen.items() if value is not None]
