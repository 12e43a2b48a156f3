"""YAML for recipes: the safe loader, with the plain scalars of YAML 1.2.

PyYAML reads scalars as version 1.1 does: ``no`` is false, ``12:30`` is 750, ``1e-5`` is a word.
None of this is what somebody who writes a configuration expects.
"""

from __future__ import annotations

import re
from typing import Any

import yaml

__all__ = ["RecipeYamlError", "parse_yaml"]


class RecipeYamlError(ValueError):
    """Text that is no YAML, said in one line."""


def parse_yaml(text: str) -> Any:
    """Plain data from YAML text: None, bool, int, float, str, list and dict.

    Raises:
        RecipeYamlError: no YAML, a repeated key, or a tag that stands for an object.
    """
    try:
        return yaml.load(text, _Loader)  # noqa: S506 - a subclass of the safe loader
    except yaml.MarkedYAMLError as error:
        where = f"line {error.problem_mark.line + 1}: " if error.problem_mark else ""
        raise RecipeYamlError(f"{where}{error.problem}") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise RecipeYamlError(f"no YAML ({str(error).partition(chr(10))[0]})") from error


class _Loader(yaml.SafeLoader):
    """Plain data only."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012 - as its base declares it

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key.value, str):  # keys that are no scalars are refused below
                if key.value in seen:
                    raise yaml.constructor.ConstructorError(
                        None, None, f"'{key.value}' is given twice", key.start_mark
                    )
                seen.add(key.value)
        return super().construct_mapping(node, deep)


for _tag, _pattern, _first in (
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", r"[-+]?(?:0|[1-9][0-9]*)|0x[0-9a-fA-F]+", list("-+0123456789")),
    (
        "float",
        r"[-+]?(?:\.[0-9]+|[0-9]+\.[0-9]*)(?:[eE][-+]?[0-9]+)?|[-+]?[0-9]+[eE][-+]?[0-9]+"
        r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)",
        list("-+.0123456789"),
    ),
):
    _Loader.add_implicit_resolver(
        f"tag:yaml.org,2002:{_tag}", re.compile(rf"(?:{_pattern})\Z"), _first
    )
