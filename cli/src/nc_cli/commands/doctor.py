"""``nc doctor``: what is installed here, whether it works, and what to do where it does not."""

from __future__ import annotations

from typing import Any

import click

from nc_cli import options
from nc_cli.session import current_session
from nc_core.command_line.console import (
    format_bytes,
    print_heading,
    print_json,
    print_table,
    print_text,
)
from nc_core.errors import PluginError

__all__ = ["command"]


@click.command("doctor", epilog=options.examples("nc doctor", "nc doctor --json > report.json"))
@options.json_output()
def command(as_json: bool) -> None:
    """Find out what is wrong with this installation.

    Shows versions, devices, folders and plugins, codes and decodes a kilobyte, and looks for
    another program called nc. The exit code is 3 if something is broken. Please add the output
    of 'nc doctor --json' to reports of bugs; your home directory is left out of it.
    """
    from nc_cli.diagnosis import diagnose

    document = diagnose(current_session().plugins)
    if as_json:
        print_json(document)
    else:
        _print(document)
    broken = sum(finding["level"] == "broken" for finding in document["findings"])
    if broken:
        what = "1 thing is" if broken == 1 else f"{broken} things are"
        raise PluginError(f"{what} broken", "the findings say what to do")


def _print(document: dict[str, Any]) -> None:
    """Everything but the programs' paths, which matter only where a finding names them."""
    versions = document["versions"]
    _section("Versions", [[name, versions[name] or "not installed"] for name in versions])
    _section("Machine", [*document["platform"].items(), *_devices(document["devices"])])
    if document["environment"]:
        _section("Environment", document["environment"].items())
    folders = [
        [row["what"], format_bytes(row["bytes"]), row["path"]] for row in document["folders"]
    ]
    _section("Folders", folders)
    plugins = [
        [row["distribution"], row["version"], row["state"], row["path"] or ""]
        for row in document["plugins"]
    ]
    _section("Plugins", plugins)
    _section("Self-test", _self_test(document["self_test"]))
    print_heading("Findings")
    for finding in document["findings"]:
        print_text(f"  {finding['level']}: {finding['what']}")
        print_text(f"    {finding['hint']}")
    if not document["findings"]:
        print_text("  nothing is wrong")


def _section(title: str, rows: Any) -> None:
    print_heading(title)
    print_table([[f"  {name}", *cells] for name, *cells in rows])
    print_text()


def _devices(devices: dict[str, Any]) -> list[list[Any]]:
    torch = devices["torch"]
    accelerators = ", ".join(torch["accelerators"]) if torch else ""
    return [
        ["cores", str(devices["cores"])],
        ["torch's threads", str(torch["threads"]) if torch else None],
        ["accelerators", accelerators or None],
    ]


def _self_test(report: dict[str, Any] | None) -> list[list[Any]]:
    if report is None:
        return [["result", "failed"]]
    return [
        [coder, f"{report['bytes']} bytes as {size}, {report['seconds'][coder]:.2f} s"]
        for coder, size in report["coded_bytes"].items()
    ]
