"""Grids: ``lamb=0.3,1,3`` and ``seed=0,1`` are six points, and a template gives their commands."""

from __future__ import annotations

import hashlib
import itertools
import math
import re
from collections.abc import Iterator, Mapping, Sequence

from nc_core.errors import UsageError
from nc_core.launch.point import OUT, RESUME, Point, Value
from nc_core.lookup import did_you_mean

__all__ = ["grid_points", "parse_grids"]

_NAME = re.compile(r"[A-Za-z][\w-]*")
_PLACEHOLDER = re.compile(r"\{([A-Za-z][\w-]*)\}")
_UNSAFE = re.compile(r"[^A-Za-z0-9.,=+_-]+")
_RESERVED = (OUT.strip("{}"), RESUME.strip("{}"))
_LONGEST_NAME = 100


def parse_grids(texts: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Read grids such as ``lamb=0.3,1,3``; values stay as they were typed.

    Example:
        >>> parse_grids(["lamb=0.3,1", "seed=0"])
        {'lamb': ('0.3', '1'), 'seed': ('0',)}

    Raises:
        UsageError: something else, a name given twice, or a value given twice.
    """
    grids: dict[str, tuple[str, ...]] = {}
    for text in texts:
        name, equals, listed = text.partition("=")
        values = tuple(value.strip() for value in listed.split(","))
        if not equals or not _NAME.fullmatch(name) or not all(values):
            raise UsageError(f"--grid {text}: not NAME=VALUE,VALUE,...", "such as lamb=0.3,1,3")
        if name in grids or name in _RESERVED:
            taken = "given twice" if name in grids else "the name has a meaning of its own"
            raise UsageError(f"--grid {name}: {taken}", "choose another name")
        if len({_value(value) for value in values}) < len(values):
            raise UsageError(f"--grid {text}: a value is given twice")
        grids[name] = values
    return grids


def grid_points(template: Sequence[str], grids: Mapping[str, Sequence[str]]) -> list[Point]:
    """All points of the product of grids, the last grid running fastest.

    Args:
        template: arguments in which ``{NAME}`` stands for the value of a grid; ``{out}`` and
            ``{resume}`` remain for whoever runs the points.
        grids: values as text, by name.

    Raises:
        UsageError: a placeholder without a grid, or a grid without a placeholder.
    """
    used = {name for argument in template for name in _PLACEHOLDER.findall(argument)}
    for name in sorted(used - grids.keys() - set(_RESERVED)):
        near = did_you_mean(name, [*grids, *_RESERVED])
        raise UsageError(f"{{{name}}} in the command: no grid of that name{near}")
    for name in grids.keys() - used:
        raise UsageError(f"--grid {name}: the command has no {{{name}}}")
    return [
        Point(
            name=_folder_name(dict(zip(grids, values, strict=True))),
            values={name: _value(text) for name, text in zip(grids, values, strict=True)},
            command=tuple(_filled(template, dict(zip(grids, values, strict=True)))),
        )
        for values in itertools.product(*grids.values())
    ]


def _filled(template: Sequence[str], values: Mapping[str, str]) -> Iterator[str]:
    def value(match: re.Match[str]) -> str:
        return values.get(match[1], match[0])

    return (_PLACEHOLDER.sub(value, argument) for argument in template)


def _folder_name(values: Mapping[str, str]) -> str:
    """``lamb=0.3,seed=0``; values that no folder can be called are cut, and told apart by a hash.

    A sweep without grids has one point.
    """
    full = ",".join(f"{name}={value}" for name, value in values.items()) or "only"
    safe = _UNSAFE.sub("-", full)
    if safe == full and len(safe) <= _LONGEST_NAME:
        return safe
    return f"{safe[:_LONGEST_NAME]}-{hashlib.sha256(full.encode()).hexdigest()[:8]}"


def _value(text: str) -> Value:
    """The finite number that a text is, otherwise the text."""
    try:
        return int(text)
    except ValueError:
        pass
    try:
        number = float(text)
    except ValueError:
        return text
    return number if math.isfinite(number) else text
