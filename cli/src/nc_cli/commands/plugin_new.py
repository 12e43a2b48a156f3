"""``nc plugin new``: a package to begin with."""

from __future__ import annotations

import importlib.metadata
from pathlib import Path

import click

from nc_cli import options
from nc_cli.session import current_session
from nc_core.command_line.console import print_text
from nc_core.errors import UsageError
from nc_core.plugins import HOOKS, PluginManager

__all__ = ["command"]

_NEXT = {
    "model": "nc run {name} train --set limit=1000",
    "dataset": "nc compress --dataset {name} --limit 100 -o {name}.ncz",
    "coder": "nc compress --coder {name} photo.png",
    "evaluator": "nc eval {name} --dataset mnist:test --limit 100",
}


@click.command(
    "new",
    short_help="Write a package to begin with.",
    epilog=options.examples(
        "nc plugin new my-codec                   # writes nc-my-codec/",
        "nc plugin new my-digits --dataset -o ~/src/my-digits",
    ),
)
@click.argument("name", metavar="NAME")
@click.option("--dataset", is_flag=True, help="A package with a dataset.")
@click.option("--coder", is_flag=True, help="A package with an entropy coder.")
@click.option("--evaluator", is_flag=True, help="A package with an evaluator.")
@click.option(
    "-o",
    "--out",
    type=options.FilePath(),
    metavar="DIR",
    show_default="nc-NAME",
    help="Folder of the package.",
)
@options.force()
def command(
    name: str, dataset: bool, coder: bool, evaluator: bool, out: Path | None, force: bool
) -> None:
    """Write a package that installs, passes its tests and works, to be changed into yours.

    NAME is what users type, in kebab-case; the package is nc-NAME. Without an option it has a
    lossless model that learns in seconds, with its commands, configuration, recipe and tests.
    """
    from nc_cli.scaffold import checked_name, write_package

    chosen = [
        kind
        for kind, wanted in (("dataset", dataset), ("coder", coder), ("evaluator", evaluator))
        if wanted
    ]
    if len(chosen) > 1:
        raise UsageError(f"--{chosen[0]} or --{chosen[1]}: a package begins with one of them")
    kind = chosen[0] if chosen else "model"
    name = checked_name(name)
    _refuse_taken(name, current_session().plugins)
    folder = out or Path(f"nc-{name}")
    for path in write_package(kind, name, folder, force=force):
        print_text(str(path))
    click.echo(f"\nnext: pip install -e '{folder}[test]' && pytest {folder}", err=True)
    click.echo(f"then: {_NEXT[kind].format(name=name)}", err=True)


def _refuse_taken(name: str, plugins: PluginManager) -> None:
    """A new plugin must not make a name ambiguous.

    Raises:
        UsageError: a record or a distribution of that name is installed.
    """
    for kind in HOOKS.values():
        for record in plugins.specs(kind):
            if record.name == name:
                provider = record.provider.distribution if record.provider else "a plugin"
                raise UsageError(f"{provider} has a {kind.kind} '{name}'", "choose another name")
    try:
        importlib.metadata.distribution(f"nc-{name}")
    except importlib.metadata.PackageNotFoundError:
        return
    raise UsageError(f"a distribution nc-{name} is installed", "choose another name")
