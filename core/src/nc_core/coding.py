"""Coding options: choices that a model leaves to whoever compresses, as texts by key.

Which keys there are is the model's affair (:class:`nc_core.protocols.LosslessModel`), but for
``lead-in``, which every model that borrows bits has (:mod:`nc_core.lead_in`). What it was told
stands in the file, so that a decoder tells its own model the same before it begins.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, TypeVar

from nc_core.content import checked_text

__all__ = ["MOST_OPTIONS", "checked_coding", "coding_of", "told", "told_anew"]

MOST_OPTIONS = 16

_LONGEST_KEY = 40
_KEY = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_Model = TypeVar("_Model")


def checked_coding(options: Any) -> dict[str, str]:
    """Coding options as a header holds them: few, and every one of them short.

    Args:
        options: key (kebab-case, at most 40 characters) -> value (1 to 255 characters); at most
            16 of them.

    Raises:
        TypeError: no mapping.
        ValueError: anything else.
    """
    if not isinstance(options, Mapping):
        raise TypeError(f"coding options are texts by key, not {type(options).__name__}")
    if len(options) > MOST_OPTIONS:
        raise ValueError(f"{len(options)} coding options, more than {MOST_OPTIONS}")
    checked: dict[str, str] = {}
    for key, value in options.items():
        if not (isinstance(key, str) and len(key) <= _LONGEST_KEY and _KEY.fullmatch(key)):
            raise ValueError(f"coding option {key!r:.80} has a name that is not kebab-case")
        try:
            checked[key] = checked_text(value)
        except (TypeError, ValueError):
            raise ValueError(f"coding option '{key}' has no short printable value") from None
        if not value:
            raise ValueError(f"coding option '{key}' has no value")
    return checked


def coding_of(model: Any) -> dict[str, str]:
    """What a model was told; nothing for a model that has no options."""
    return dict(getattr(model, "coding", {}))


def told(model: _Model, options: Mapping[str, str]) -> _Model:
    """The same model, told these options and no others.

    Raises:
        ValueError: an option or a value that it does not take, with a reason for the user.
    """
    options = checked_coding(options)
    return model if options == coding_of(model) else told_anew(model, options)


def told_anew(model: _Model, options: Mapping[str, str]) -> _Model:
    """As :func:`told`, whatever the model was told before: made of the options alone.

    Raises:
        ValueError: as :func:`told`.
    """
    from nc_core.lead_in import LeadIn, with_lead_in

    options = checked_coding(options)
    if isinstance(model, LeadIn):
        model = model.alone
    own = {key: value for key, value in options.items() if key != LeadIn.KEY}
    with_coding = getattr(model, "with_coding", None)
    if with_coding is None and own != coding_of(model):
        raise ValueError("it takes no coding options")
    result: _Model = model if with_coding is None else with_coding(own)
    led: _Model = with_lead_in(result, options.get(LeadIn.KEY, LeadIn.NONE))
    return led
