"""Work in a fresh Python process, which shares nothing with this one and can be stopped.

The child calls a generator function with JSON arguments and writes down what it yields, event by
event, so that what it did before it died or hung is known.
"""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nc_core.testing.command_line import import_path
from nc_core.testing.contract import ContractError, told

if TYPE_CHECKING:
    from nc_core.plugins import PluginManager

__all__ = ["Report", "manager_with", "run_afresh"]


@dataclass(frozen=True)
class Report:
    """What a fresh process did.

    Args:
        events: what the function yielded.
        failure: how it ended before its time, in one line; None if it came to its end.
    """

    events: tuple[Mapping[str, Any], ...]
    failure: str | None = None

    def event(self, name: str, task: str) -> Mapping[str, Any]:
        """The event of that name.

        Args:
            name: value of its key ``event``.
            task: what the process was to do, for the message.

        Raises:
            ContractError: the process did not come that far.
        """
        for event in self.events:
            if event["event"] == name:
                return event
        raise ContractError(f"a fresh process was to {task}, and {self.failure or 'did not'}")


def run_afresh(
    function: Callable[..., Iterator[Mapping[str, Any]]],
    manager: PluginManager,
    arguments: Mapping[str, Any],
    *,
    seconds: float,
    environment: Mapping[str, str] | None = None,
) -> Report:
    """Call a generator function in a fresh process.

    Args:
        function: at the top of a module; it yields JSON objects with a key ``event``.
        manager: its plugins that are single files are known there as well.
        arguments: keyword arguments, plain JSON data; ``files`` is added, the plugin files.
        seconds: after which the process is ended, because it hangs.
        environment: variables to set.
    """
    files = [plugin.path for plugin in manager.plugins if plugin.path and not plugin.disabled]
    request = {
        "target": f"{function.__module__}:{function.__name__}",
        "arguments": {**arguments, "files": files},
    }
    with tempfile.TemporaryDirectory(prefix="nc-fresh-") as name:
        folder = Path(name)
        (folder / "request.json").write_text(json.dumps(request), encoding="utf-8")
        try:
            done = subprocess.run(
                [sys.executable, "-m", "nc_core.testing.fresh", name],
                env={
                    **os.environ,
                    "PYTHONPATH": import_path(),
                    "PYTHONHASHSEED": "random",  # runners of tests fix it, users do not
                    **(environment or {}),
                },
                cwd=folder,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=seconds,
                check=False,
            )
            failure = _how_it_ended(done)
        except subprocess.TimeoutExpired:
            failure = f"did not end within {seconds:.0f} s"
        return Report(_events(folder / "events.jsonl"), failure)


def manager_with(
    files: Sequence[str], environment: Mapping[str, str] = os.environ
) -> PluginManager:
    """A manager of what is installed and of plugin files; for functions that run afresh."""
    from nc_core.plugins import PluginManager

    manager = PluginManager()
    manager.discover(environment)
    for file in files:
        manager.load_file(Path(file))
    return manager


def _how_it_ended(done: subprocess.CompletedProcess[bytes]) -> str | None:
    if done.returncode == 0:
        return None
    lines = done.stderr.decode(errors="replace").strip().splitlines()
    if done.returncode < 0:
        return f"was killed by signal {-done.returncode}"
    return f"failed: {lines[-1] if lines else f'exit code {done.returncode}'}"


def _events(path: Path) -> tuple[Mapping[str, Any], ...]:
    """All whole events; the process may have been stopped while it wrote one."""
    if not path.exists():
        return ()
    lines = path.read_text(encoding="utf-8").split("\n")[:-1]
    return tuple(json.loads(line) for line in lines)


def main(folder: Path) -> int:
    """What the child does."""
    request = json.loads((folder / "request.json").read_text(encoding="utf-8"))
    module, _, function = request["target"].partition(":")
    with (folder / "events.jsonl").open("w", encoding="utf-8") as file:
        try:
            for event in getattr(importlib.import_module(module), function)(**request["arguments"]):
                file.write(json.dumps(event) + "\n")
                file.flush()
        except Exception as error:  # noqa: BLE001 - of other people's code; told to the parent
            sys.stderr.write(told(error) + "\n")
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
