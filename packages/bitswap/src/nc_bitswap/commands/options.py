"""Options that several commands of ``nc run bitswap`` have."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from nc_core.command_line import options

if TYPE_CHECKING:
    from nc_bitswap.codec import BitswapCodec

__all__ = ["DIGIT_MODEL", "bitswap_codec", "model_option"]

DIGIT_MODEL = "bitswap-mnist"
_Command = TypeVar("_Command", bound=Callable[..., Any])


def model_option(
    help_text: str, default: str | None = DIGIT_MODEL
) -> Callable[[_Command], _Command]:
    """``--model``, passed as ``model: str``; required where it has no default."""
    return options.model(help_text, default)


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
