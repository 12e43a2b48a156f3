"""What there is to say about an installation, as plain data, and what is wrong with it."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import shutil
import signal
import stat
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from nc_cli.options import usable_cores
from nc_core.plugins import HOOKS, PluginManager

__all__ = ["SCHEMA", "Finding", "diagnose", "first_on_path", "size_of"]

SCHEMA = "nc.doctor/1"
_LIBRARIES = (
    "numpy", "numba", "llvmlite", "Pillow", "click", "pluggy", "torch", "lightning-fabric",
    "safetensors", "pydantic", "PyYAML", "matplotlib", "imagecodecs",
)  # fmt: skip
_VARIABLES = ("NC_", "NUMBA_", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "CUDA_VISIBLE_DEVICES")
_LITTLE_ROOM = 100_000_000
_SECONDS = 120.0
# In a process of its own: importing torch takes seconds, and can end the process.
_TORCH = """
import json, torch
cuda = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
mps = ["mps"] if torch.backends.mps.is_available() else []
print(json.dumps({"accelerators": cuda + mps, "threads": torch.get_num_threads()}))
"""


@dataclass(frozen=True)
class Finding:
    """Something that is wrong: ``broken`` does not work, ``warning`` may surprise."""

    level: Literal["broken", "warning"]
    what: str
    hint: str


def diagnose(plugins: PluginManager) -> dict[str, Any]:
    """The document of ``nc doctor``; the user's home directory is written as ``~``."""
    findings: list[Finding] = []
    tell = findings.append
    document: dict[str, Any] = {
        "schema": SCHEMA,
        "versions": _versions(plugins),
        "platform": {
            "system": platform.platform(),
            "machine": platform.machine(),
            "python": sys.executable,
        },
        "environment": {
            name: value for name, value in sorted(os.environ.items()) if name.startswith(_VARIABLES)
        },
        "devices": _devices(tell),
        "folders": _folders(tell),
        "plugins": _plugins(plugins, tell),
        "command": _command(tell),
        "self_test": _self_test(tell),
    }
    broken = any(finding.level == "broken" for finding in findings)
    document |= {"healthy": not broken, "findings": [asdict(finding) for finding in findings]}
    shown: dict[str, Any] = _without_home(document, str(Path.home()))
    return shown


def _versions(plugins: PluginManager) -> dict[str, str | None]:
    """Of nc's packages, Python and the libraries; None for what is not installed."""
    versions: dict[str, str | None] = {"python": platform.python_version()}
    ours = {plugin.distribution for plugin in plugins.plugins if not plugin.path}
    for name in ("nc-cli", *sorted(ours), *_LIBRARIES):
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            versions[name] = None
    return versions


def _devices(tell: Callable[[Finding], None]) -> dict[str, Any]:
    devices: dict[str, Any] = {"cores": usable_cores(), "torch": None}
    try:
        version = importlib.metadata.version("torch")
    except importlib.metadata.PackageNotFoundError:
        return devices
    report = _report_of(["-c", _TORCH])
    if isinstance(report, str):
        hint = "install it again, for this machine: pip install --force-reinstall torch"
        tell(Finding("broken", f"torch {version} cannot be used: {report}", hint))
        return devices
    return devices | {"torch": report}


def _folders(tell: Callable[[Finding], None]) -> list[dict[str, Any]]:
    """Where things are kept: how much, and whether there may be more."""
    import nc_core
    from nc_core.datasets.locations import data_folder

    data = data_folder()
    kernels = Path(os.environ.get("NUMBA_CACHE_DIR") or Path(nc_core.__file__).parent)
    folders = [
        ("data (NC_DATA)", data, size_of(data)),
        ("known models", data / "models", size_of(data / "models")),
        ("compiled kernels (NUMBA_CACHE_DIR)", kernels, size_of(kernels, ("*.nbi", "*.nbc"))),
    ]
    place = next(folder for folder in (data, *data.parents) if os.path.lexists(folder))
    if not place.is_dir() or not os.access(place, os.W_OK):
        hint = "set NC_DATA to a folder that you may write to"
        tell(Finding("broken", f"{data} cannot be written", hint))
    elif shutil.disk_usage(place).free < _LITTLE_ROOM:
        hint = "make room there, or set NC_DATA to a folder elsewhere"
        tell(Finding("warning", f"hardly any room is left for {data}", hint))
    return [{"what": what, "path": str(path), "bytes": size} for what, path, size in folders]


def size_of(folder: Path, patterns: Sequence[str] = ("*",)) -> int:
    """Bytes of all files below a folder that match one of the patterns; 0 where there is none."""
    size = 0
    for path in (path for pattern in patterns for path in folder.rglob(pattern)):
        with suppress(OSError):  # it may have gone meanwhile
            status = path.lstat()
            size += status.st_size if stat.S_ISREG(status.st_mode) else 0
    return size


def _plugins(plugins: PluginManager, tell: Callable[[Finding], None]) -> list[dict[str, Any]]:
    """All plugins with their states."""
    paths = {(plugin.distribution, plugin.name): plugin.path for plugin in plugins.plugins}
    for fault in plugins.broken:
        named = " ".join(filter(None, [fault.distribution, fault.version]))
        path = paths.get((fault.distribution, fault.name))
        mend = f"mend {path}" if path else f"pip install --upgrade {fault.distribution}"
        hint = (
            f"{mend}, or leave it out with NC_DISABLE_PLUGINS={fault.name}; "
            "'nc plugin list --broken --traceback' shows where it fails"
        )
        tell(Finding("broken", f"plugin {named}: {fault.reason}", hint))
    for kind in HOOKS.values():
        specs = plugins.specs(kind)
        for name, count in Counter(spec.name for spec in specs).items():
            if count > 1:
                who = [s.provider.distribution for s in specs if s.name == name and s.provider]
                what = f"{kind.kind} '{name}' is provided by {' and by '.join(who)}"
                hint = f"write {' or '.join(f'{name}@{one}' for one in who)}"
                tell(Finding("warning", what, hint))
    broken = {(fault.distribution, fault.name) for fault in plugins.broken}
    return [
        {
            "distribution": plugin.distribution,
            "version": plugin.version or None,
            "path": plugin.path,
            "state": "disabled"
            if plugin.disabled
            else "broken" if (plugin.distribution, plugin.name) in broken else "loaded",
        }
        for plugin in plugins.plugins
    ]  # fmt: skip


def _command(tell: Callable[[Finding], None]) -> dict[str, Any]:
    """Which program runs when the user types ``nc``."""
    ours = _own_scripts()
    first = first_on_path("nc", os.environ.get("PATH", ""))
    folder = ours[0].parent if ours else None
    way_out = "use 'nctool' or 'python -m nc_cli' instead"
    if folder is not None:
        way_out += f", or put {folder} first on PATH"
    if first is None:
        tell(Finding("warning", "no program 'nc' is on PATH", way_out))
    elif first.resolve() not in [path.resolve() for path in ours]:
        tell(Finding("warning", f"'nc' on PATH is another program: {first}", way_out))
    return {"nc_on_path": str(first) if first else None, "ours": [str(path) for path in ours]}


def _own_scripts() -> list[Path]:
    """The programs ``nc`` that this distribution brought."""
    try:
        files = importlib.metadata.files("nc-cli") or []
    except importlib.metadata.PackageNotFoundError:
        return []
    return [Path(str(file.locate())).resolve() for file in files if file.name in ("nc", "nc.exe")]


def first_on_path(name: str, path: str) -> Path | None:
    """The program that a shell runs for a name, given the value of ``PATH``."""
    found = shutil.which(name, path=path) if path else None
    return Path(found) if found else None


def _self_test(tell: Callable[[Finding], None]) -> dict[str, Any] | None:
    report = _report_of(["-m", "nc_cli.self_test"])
    if isinstance(report, dict) and report["identical"]:
        return report
    reason = report if isinstance(report, str) else "what was decoded is not what was coded"
    hint = (
        "install them again: pip install --force-reinstall nc-core numba numpy; "
        "if that does not help, please report it with the output of 'nc doctor --json'"
    )
    tell(Finding("broken", f"coding a kilobyte failed: {reason}", hint))
    return None if isinstance(report, str) else report


def _report_of(arguments: Iterable[str]) -> dict[str, Any] | str:
    """What a fresh Python process prints as JSON, or why it did not, in one line."""
    command = [sys.executable, "-P", *arguments]  # -P: no modules from the current folder
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        return f"no answer in {_SECONDS:.0f} s"
    if done.returncode < 0:
        return f"the process was ended by {signal.Signals(-done.returncode).name}"
    if done.returncode:
        lines = done.stderr.strip().splitlines()
        return lines[-1] if lines else f"exit code {done.returncode}"
    report: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return report


def _without_home(value: Any, home: str) -> Any:
    """The value with ``~`` for the home directory in every text: reports are passed on."""
    if isinstance(value, dict):
        return {key: _without_home(item, home) for key, item in value.items()}
    if isinstance(value, list):
        return [_without_home(item, home) for item in value]
    return value.replace(home, "~") if isinstance(value, str) and len(home) > 1 else value
