"""``nc run PAPER``: the commands that papers bring with them."""

from __future__ import annotations

import copy
import inspect
import sys
from contextlib import redirect_stdout

import click

from nc_cli.lazy import LazyGroup, StandIn
from nc_cli.options import examples
from nc_cli.session import current_session
from nc_core.errors import PluginError
from nc_core.specs import CommandSpec, ModelSpec

__all__ = ["command"]

_NO_PAPER = "no paper is installed; for example: pip install nc-bitswap"


class PaperGroup(LazyGroup):
    """A group whose commands are the records of the hook ``nc_commands``."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names of papers, with the distribution where several provide one name."""
        return list(_papers(ctx))

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Name and summary, for help and completion."""
        paper = _papers(ctx).get(cmd_name)
        return None if paper is None else StandIn(cmd_name, paper.summary)

    def load_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """The click command of a paper, imported.

        Raises:
            PluginError: it is unknown, ambiguous, broken, or needs what is not installed.
        """
        papers = _papers(ctx)
        if ctx.resilient_parsing and name not in papers:
            return None
        try:
            paper = current_session(ctx).plugins.find(CommandSpec, name)
        except PluginError as error:
            plugins = current_session(ctx).plugins
            missing = plugins.broken or any(plugin.disabled for plugin in plugins.plugins)
            nothing = not papers and not missing
            raise PluginError(error.message, _NO_PAPER if nothing else error.hint) from None
        with redirect_stdout(sys.stderr):  # what a module prints is no result of the command
            loaded = paper.load()
        if not isinstance(loaded, click.Command):
            raise PluginError(f"command '{name}': {paper.target} is not a click command")
        if paper.model is None or not isinstance(loaded, click.Group):
            return loaded
        return _with_file_commands(loaded, paper, f"nc run {name}", _summary(ctx, paper.model))

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write names and summaries of what is installed."""
        rows = [(name, paper.summary) for name, paper in _papers(ctx).items()]
        with formatter.section("Papers"):
            if rows:
                formatter.write_dl(rows)
            else:
                formatter.write_text(_NO_PAPER)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """End the page with a command that works with what is installed."""
        papers = list(_papers(ctx))
        formatter.write_paragraph()
        with formatter.indentation():
            formatter.write_text(
                examples(f"nc run {papers[0]} --help" if papers else "nc list papers")
            )


def _with_file_commands(
    group: click.Group, paper: CommandSpec, path: str, summary: str | None
) -> click.Group:
    """A copy of a paper's group that can also compress, by default with its model, and decompress.

    Args:
        group: what the paper brings; its own commands of these names stay.
        paper: names the model, and the options of ``compress`` for it.
        path: of the group, as a user types it.
        summary: of its model; None where it is not known.

    Raises:
        PluginError: such an option is one of every ``compress``.
    """
    from nc_cli.coding_options import with_coding_options
    from nc_cli.commands import compress, decompress

    compress_command = with_coding_options(compress.command, paper.coding, f"{path} compress")
    if summary is not None:
        text = inspect.cleandoc(compress_command.help or "")
        compress_command.help = f"{text}\n\nModel '{paper.model}' is for {summary}."

    file = "photo.png.ncz" if paper.example is None else "FILE.ncz"
    extended = copy.copy(group)
    extended.commands = dict(group.commands)
    for name, command, example in (
        ("compress", compress_command, paper.example or "photo.png"),
        ("decompress", decompress.command, f"{file} -o restored"),
    ):
        own = copy.copy(command)
        own.epilog = examples(f"{path} {name} {example}")
        extended.commands.setdefault(name, own)
    defaults = {"compress": {"model": paper.model}}
    extended.context_settings = {"default_map": defaults, **group.context_settings}
    return extended


def _summary(ctx: click.Context, model: str) -> str | None:
    """What a shipped model is for."""
    families = current_session(ctx).plugins.specs(ModelSpec)
    members = (member for family in families for member in family.pretrained)
    return next((member.summary for member in members if member.name == model), None)


def _papers(ctx: click.Context) -> dict[str, CommandSpec]:
    """Papers by the name that a user types."""
    papers = current_session(ctx).plugins.specs(CommandSpec)
    names = [paper.name for paper in papers]
    return {
        f"{paper.name}@{paper.provider.distribution}"
        if paper.provider and names.count(paper.name) > 1
        else paper.name: paper
        for paper in papers
    }


@click.command(
    "run",
    cls=PaperGroup,
    entries={},
    subcommand_metavar="PAPER COMMAND [ARGS]...",
)
def command() -> None:
    """Run the commands of a paper.

    Every paper brings prepare, train, compress, decompress, evaluate, plot and demo, and its own
    words beside them.
    """
