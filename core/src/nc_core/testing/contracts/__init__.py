"""The contracts, one module for each kind of thing that a plugin provides.

A contract is a class of subjects, which is opened by name, and checks of it: plain functions,
each named and described by the sentence that it checks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from nc_core.testing.contract import Check, Subject
from nc_core.testing.contracts import (
    coder,
    command,
    dataset,
    evaluator,
    model,
    model_files,
    model_journal,
    plugin,
)

__all__ = ["CONTRACTS", "Contract"]


@dataclass(frozen=True)
class Contract:
    """All that must hold for one kind of thing.

    Args:
        subject: opened with a name and a plugin manager.
        checks: called with the subject; :class:`ContractError` where one does not hold.
    """

    subject: Callable[..., Subject]
    checks: tuple[Check, ...]


CONTRACTS: Mapping[str, Contract] = {
    "plugin": Contract(plugin.PluginSubject, plugin.CHECKS),
    "dataset": Contract(dataset.DatasetSubject, dataset.CHECKS),
    "model": Contract(model.ModelSubject, model.CHECKS + model_journal.CHECKS + model_files.CHECKS),
    "coder": Contract(coder.CoderSubject, coder.CHECKS),
    "evaluator": Contract(evaluator.EvaluatorSubject, evaluator.CHECKS),
    "command": Contract(command.CommandSubject, command.CHECKS),
}
