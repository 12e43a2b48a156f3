"""All contracts of an installed plugin, run without pytest: what ``nc plugin check`` shows."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from nc_core import specs
from nc_core.plugins import Plugin, PluginManager
from nc_core.specs import Spec
from nc_core.testing.contract import Check, ContractError, NotCheckedError, Subject, sentence, told
from nc_core.testing.contracts import CONTRACTS

__all__ = ["Result", "Task", "check_plugin", "tasks_of"]

_log = logging.getLogger(__name__)

State = Literal["passed", "failed", "not checked"]
_LOSSLESS = "lossless-model"


@dataclass(frozen=True)
class Task:
    """A contract and what it is about.

    Args:
        kind: key of :data:`nc_core.testing.contracts.CONTRACTS`.
        name: what users call the subject.
        location: the same, with the provider, so that it is unambiguous.
        reason: why it cannot be checked; None if it can.
    """

    kind: str
    name: str
    location: str
    reason: str | None = None

    @property
    def checks(self) -> tuple[Check, ...]:
        """What is to be checked."""
        return CONTRACTS[self.kind].checks


@dataclass(frozen=True)
class Result:
    """What came of one check.

    Args:
        task: the contract that it belongs to.
        check: name of the check; empty where the whole contract was not checked.
        sentence: what it says.
        state: how it ended.
        message: what was expected, what happened, on which input; or why it was not checked.
    """

    task: Task
    check: str
    sentence: str
    state: State
    message: str | None = None


def tasks_of(plugin: Plugin, manager: PluginManager) -> list[Task]:
    """The contracts that a plugin and its records must hold."""
    tasks = [Task("plugin", plugin.name, plugin.distribution)]
    for record in manager.provided_by(plugin):
        tasks += _tasks_of_record(record, plugin.distribution)
    return tasks


def check_plugin(
    plugin: Plugin, manager: PluginManager, progress: Callable[[int], None] | None = None
) -> Iterator[Result]:
    """Run all contracts of a plugin.

    Args:
        plugin: one of the manager's.
        manager: what is installed.
        progress: called with the number of checks done since the last call.

    Yields:
        a result for every check, in order, as soon as it is there.
    """
    for task in tasks_of(plugin, manager):
        for result in _run(task, manager):
            yield result
            if progress is not None:
                progress(1 if result.check else len(task.checks))


def _tasks_of_record(record: Spec, provider: str) -> Iterator[Task]:
    located = f"{record.name}@{provider}"
    if isinstance(record, specs.DatasetSpec):
        for split in record.splits or ("",):
            suffix = f":{split}" if split else ""
            yield Task("dataset", f"{record.name}{suffix}", f"{located}{suffix}")
    elif isinstance(record, specs.ModelSpec):
        yield from _tasks_of_family(record, provider)
    elif isinstance(record, (specs.CoderSpec, specs.EvaluatorSpec, specs.CommandSpec)):
        yield Task(record.kind, record.name, located)


def _tasks_of_family(record: specs.ModelSpec, provider: str) -> Iterator[Task]:
    if _LOSSLESS not in record.abilities:
        reason: str | None = f"its abilities ({', '.join(record.abilities)}) have no contract yet"
        yield Task("model", record.name, record.name, reason)
        return
    for member in record.pretrained:
        yield Task("model", member.name, f"{member.name}@{provider}")
    if not record.pretrained:
        reason = "nothing of this family is trained yet; its tests check a model file"
        yield Task("model", record.name, record.name, reason)


def _run(task: Task, manager: PluginManager) -> Iterator[Result]:
    """Run the checks of one contract."""
    if task.reason is not None:
        yield Result(task, "", "", "not checked", task.reason)
        return
    contract = CONTRACTS[task.kind]
    try:
        subject = contract.subject(task.location, manager)
    except NotCheckedError as error:
        yield Result(task, "", "", "not checked", str(error))
        return
    except Exception as error:  # noqa: BLE001 - of other people's code
        yield Result(task, "it_can_be_loaded", "It can be loaded", "failed", told(error))
        return
    with subject:
        for check in task.checks:
            yield _checked(task, check, subject)


def _checked(task: Task, check: Check, subject: Subject) -> Result:
    _log.info("%s '%s': %s", task.kind, task.name, sentence(check))
    state: State = "passed"
    message = None
    try:
        check(subject)
    except NotCheckedError as error:
        state, message = "not checked", str(error)
    except ContractError as error:
        state, message = "failed", str(error)
    except Exception as error:  # noqa: BLE001 - of other people's code
        state, message = "failed", f"raised {told(error)}"
        _log.debug("traceback", exc_info=error)
    return Result(task, check.__name__, sentence(check), state, message)
