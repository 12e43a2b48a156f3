"""``nc doctor``: what it finds, and what it says to do."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from nc_cli import diagnosis
from nc_cli.self_test import run_self_test
from nc_core.errors import ExitCode
from nc_core.hookspecs import hookimpl
from nc_core.plugins import PluginManager
from nc_core.specs import CoderSpec

TESTED = {
    "bytes": 1024,
    "coded_bytes": {"rans": 900},
    "seconds": {"rans": 0.1},
    "identical": True,
}


@hookimpl
def raising() -> list[CoderSpec]:
    raise RuntimeError("no such device")


@hookimpl
def another_rans() -> list[CoderSpec]:
    return [CoderSpec(name="rans", summary="a coder", target="x:Coder")]


@pytest.fixture
def reports(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What fresh processes report, by their last argument; tests change it."""
    found: dict[str, Any] = {
        "nc_cli.self_test": TESTED,
        "torch": {"accelerators": [], "threads": 1},
    }

    def report_of(arguments: list[str]) -> Any:
        return found.get(arguments[-1], found["torch"])

    monkeypatch.setattr(diagnosis, "_report_of", report_of)
    return found


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NC_DATA", str(tmp_path / "data"))
    monkeypatch.setattr(diagnosis, "_own_scripts", lambda: [tmp_path / "bin" / "nc"])
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    program(tmp_path / "bin" / "nc")


def program(path: Path) -> None:
    path.parent.mkdir()
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)


def findings(nc) -> list[dict[str, str]]:
    found: list[dict[str, str]] = nc("doctor", "--json").json()["findings"]
    return found


def test_a_kilobyte_comes_back_from_every_coder() -> None:
    report = run_self_test()
    assert report["identical"]
    assert report["bytes"] == 1024
    assert all(size < 1024 for size in report["coded_bytes"].values())
    assert list(report["coded_bytes"]) == ["rans", "rans-numpy"]


def test_the_self_test_runs_in_a_process_of_its_own(nc) -> None:
    outcome = nc("doctor", "--json")
    assert outcome.exit_code == ExitCode.DONE, outcome.stderr
    document = outcome.json()
    assert document["self_test"]["identical"]
    assert document["schema"] == "nc.doctor/1"
    assert document["healthy"]


def test_nothing_wrong_is_said_to_be_so(nc, reports: dict[str, Any]) -> None:
    outcome = nc("doctor")
    assert outcome.exit_code == ExitCode.DONE
    assert outcome.stdout.endswith("Findings\n  nothing is wrong\n")
    assert "  rans  1024 bytes as 900, 0.10 s\n" in outcome.stdout


def test_versions_of_what_is_not_installed_are_null(
    nc, reports: dict[str, Any], monkeypatch
) -> None:
    monkeypatch.setattr(diagnosis, "_LIBRARIES", ("numpy", "no-such-library"))
    versions = nc("doctor", "--json").json()["versions"]
    assert versions["no-such-library"] is None
    assert versions["nc-core"] == "0.1.0"
    assert "no-such-library  not installed" in nc("doctor").stdout


def test_a_broken_plugin_is_exit_code_3(
    nc, plugins: PluginManager, reports: dict[str, Any]
) -> None:
    plugins.register(SimpleNamespace(nc_coders=raising), distribution="nc-bad", version="2")
    outcome = nc("doctor")
    assert outcome.exit_code == ExitCode.PLUGIN
    assert outcome.stderr == "nc: error: 1 thing is broken\nthe findings say what to do\n"
    assert (
        "broken: plugin nc-bad 2: nc_coders failed: RuntimeError: no such device" in outcome.stdout
    )
    (finding,) = findings(nc)
    assert "pip install --upgrade nc-bad" in finding["hint"]
    assert "NC_DISABLE_PLUGINS=nc-bad" in finding["hint"]


def test_a_broken_file_is_to_be_mended(
    nc, plugins: PluginManager, reports: dict[str, Any], tmp_path: Path
) -> None:
    path = tmp_path / "bad.py"
    path.write_text("import nowhere")
    plugins.load_file(path)
    (finding,) = findings(nc)
    assert finding["hint"].startswith(f"mend {path}")


def test_two_providers_of_a_name_are_a_warning(
    nc, plugins: PluginManager, reports: dict[str, Any]
) -> None:
    plugins.register(SimpleNamespace(nc_coders=another_rans), distribution="nc-other")
    (finding,) = findings(nc)
    assert finding == {
        "level": "warning",
        "what": "coder 'rans' is provided by nc-core and by nc-other",
        "hint": "write rans@nc-core or rans@nc-other",
    }
    assert nc("doctor").exit_code == ExitCode.DONE


def test_a_self_test_that_fails_is_broken(nc, reports: dict[str, Any]) -> None:
    reports["nc_cli.self_test"] = "the process was ended by SIGILL"
    outcome = nc("doctor")
    assert outcome.exit_code == ExitCode.PLUGIN
    assert "coding a kilobyte failed: the process was ended by SIGILL" in outcome.stdout
    reports["nc_cli.self_test"] = TESTED | {"identical": False}
    assert "is not what was coded" in nc("doctor").stdout


def test_a_torch_that_cannot_be_imported_is_broken(
    nc, reports: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(diagnosis.importlib.metadata, "version", lambda name: "9.9")
    reports["torch"] = "OSError: libcudart.so: cannot open"
    (finding,) = findings(nc)
    assert finding["what"] == "torch 9.9 cannot be used: OSError: libcudart.so: cannot open"


def test_another_nc_on_the_path_is_told(
    nc, reports: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program(tmp_path / "netcat" / "nc")
    monkeypatch.setenv("PATH", f"{tmp_path / 'netcat'}:{tmp_path / 'bin'}")
    (finding,) = findings(nc)
    assert finding["level"] == "warning"
    assert finding["what"] == f"'nc' on PATH is another program: {tmp_path / 'netcat' / 'nc'}"
    assert finding["hint"].startswith("use 'nctool' or 'python -m nc_cli' instead, or put ")
    monkeypatch.setenv("PATH", str(tmp_path))
    (finding,) = findings(nc)
    assert finding["what"] == "no program 'nc' is on PATH"


def test_a_link_to_our_program_is_ours(
    nc, reports: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "links").mkdir()
    (tmp_path / "links" / "nc").symlink_to(tmp_path / "bin" / "nc")
    monkeypatch.setenv("PATH", str(tmp_path / "links"))
    assert findings(nc) == []


def test_sizes_of_folders_are_counted(nc, reports: dict[str, Any], tmp_path: Path) -> None:
    models = tmp_path / "data" / "models"
    models.mkdir(parents=True)
    (models / "a.safetensors").write_bytes(bytes(700))
    (tmp_path / "data" / "digits").write_bytes(bytes(40))
    data, known, _ = nc("doctor", "--json").json()["folders"]
    assert (data["bytes"], known["bytes"]) == (740, 700)


def test_little_room_is_a_warning(
    nc, reports: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(diagnosis.shutil, "disk_usage", lambda path: SimpleNamespace(free=10))
    (finding,) = findings(nc)
    assert "hardly any room is left" in finding["what"]


def test_a_file_in_the_place_of_the_data_is_broken(
    nc, reports: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    for place in ("file", "file/data"):
        monkeypatch.setenv("NC_DATA", str(tmp_path / place))
        (finding,) = findings(nc)
        assert finding["level"] == "broken"
        assert finding["what"] == f"{tmp_path / place} cannot be written"


def test_a_report_does_not_name_the_user(
    nc, reports: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    text = nc("doctor", "--json").stdout
    assert str(tmp_path) not in text
    assert json.loads(text)["environment"]["NC_DATA"] == "~/data"


@pytest.mark.parametrize(
    ("program", "reason"),
    [
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "ended by SIGSEGV"),
        ("raise OSError('no such library')", "OSError: no such library"),
        ("raise SystemExit(3)", "exit code 3"),
    ],
)
def test_a_process_that_fails_is_described(program: str, reason: str) -> None:
    assert reason in str(diagnosis._report_of(["-c", program]))


def test_doctor_itself_imports_nothing_heavy() -> None:
    code = (
        "import sys; from nc_cli.diagnosis import diagnose; from nc_core.plugins import "
        "PluginManager; manager = PluginManager(); manager.discover({'NC_PLUGINS': ''}); "
        "diagnose(manager); print(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert {"torch", "numpy", "numba", "PIL"} & set(done.stdout.split()) == set()
