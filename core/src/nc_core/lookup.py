"""Choosing by name: exact matches, ``name@provider``, and suggestions for the rest."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from nc_core.errors import PluginError

__all__ = ["Offer", "choose", "did_you_mean"]

_T = TypeVar("_T")


@dataclass(frozen=True)
class Offer(Generic[_T]):
    """Something that a distribution offers under a name."""

    name: str
    provider: str
    value: _T


def did_you_mean(name: str, known: Iterable[str], most: int = 3) -> str:
    """``"; did you mean 'x' or 'y'?"``, or an empty string when nothing known is near."""
    import difflib

    near = difflib.get_close_matches(name, sorted(set(known)), n=most)
    return f"; did you mean {' or '.join(map(repr, near))}?" if near else ""


def choose(
    kind: str,
    wanted: str,
    offers: Sequence[Offer[_T]],
    hint: str | None = None,
    listing: str | None = None,
) -> _T:
    """The value of the one offer that is meant.

    Args:
        kind: what is looked for, for messages (``"model"``).
        wanted: ``"name"``, or ``"name@provider"`` where several provide it.
        offers: what there is.
        hint: where else an unknown name may come from.
        listing: what to say instead where there is no hint and no name that is near.

    Raises:
        PluginError: nobody offers the name, or several do and no provider is given.
    """
    name, _, provider = wanted.partition("@")
    named = [offer for offer in offers if offer.name == name]
    meant = [offer for offer in named if provider in ("", offer.provider)]
    if len(meant) == 1:
        return meant[0].value
    spellings = " or ".join(f"{name}@{offer.provider}" for offer in named)
    if meant:
        several = " and ".join(offer.provider for offer in meant)
        raise PluginError(f"{kind} '{name}' is provided by {several}", f"write {spellings}")
    if named:
        raise PluginError(f"{provider} provides no {kind} '{name}'", f"write {spellings}")
    near = did_you_mean(name, (offer.name for offer in offers))
    raise PluginError(f"no {kind} '{wanted}'{near}", hint or (None if near else listing))
