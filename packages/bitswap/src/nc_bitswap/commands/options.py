"""Options that several commands of ``nc run bitswap`` have, and the plugins that they run with."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from nc_bitswap.codec import BitswapCodec
    from nc_core.plugins import PluginManager

__all__ = [
    "DIGIT_MODEL",
    "bitswap_codec",
    "example",
    "force_option",
    "json_option",
    "limit_option",
    "model_option",
    "order_option",
    "out_file",
    "plugins_of",
    "seed_option",
]

DIGIT_MODEL = "bitswap-mnist"
_Command = TypeVar("_Command", bound=Callable[..., Any])


def example(*lines: str) -> str:
    """An epilog that ends a help page with commands that work as they stand."""
    title = "Examples:" if len(lines) > 1 else "Example:"
    return "\n".join(["\b", title, *(f"  {line}" for line in lines)])


def model_option(
    help_text: str, default: str | None = DIGIT_MODEL
) -> Callable[[_Command], _Command]:
    """``--model``, passed as ``model: str``; required where it has no default."""
    return click.option(
        "--model",
        default=default,
        required=default is None,
        show_default=default is not None,
        metavar="NAME",
        help=f"{help_text}: a registered name, a model file or a run directory.",
    )


def out_file(metavar: str, help_text: str) -> Callable[[_Command], _Command]:
    """``-o/--out``, passed as ``out: Path``."""
    return click.option(
        "-o", "--out", type=click.Path(path_type=Path), required=True, metavar=metavar,
        help=help_text,
    )  # fmt: skip


json_option = click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON document instead of text."
)
force_option = click.option("--force", is_flag=True, help="Replace files that exist.")
seed_option = click.option(
    "--seed", type=click.IntRange(min=0), default=0, show_default=True, metavar="N",
    help="Seed of every random choice.",
)  # fmt: skip
limit_option = click.option(
    "--limit", type=click.IntRange(min=1), metavar="N", help="Use only the first N images."
)
order_option = click.option(
    "--order", type=click.Choice(["bit-swap", "bb-ans"]), show_default="the model's own",
    help="Order of the steps of bits-back coding, where the model has several.",
)  # fmt: skip


def plugins_of(context: click.Context) -> PluginManager:
    """The application's plugin manager, or one of what is installed."""
    from nc_core.models import installed

    manager: PluginManager | None = getattr(context.obj, "plugins", None)
    return installed() if manager is None else manager


def bitswap_codec(model: Any) -> BitswapCodec:
    """A loaded model as one of this paper's family.

    Raises:
        UsageError: it is of another.
    """
    from nc_bitswap.codec import BitswapCodec
    from nc_core.errors import UsageError

    if not isinstance(model, BitswapCodec):
        raise UsageError(
            f"model '{model.name}' is no Bit-Swap model",
            "'nc eval rate' measures models of any kind",
        )
    return model
