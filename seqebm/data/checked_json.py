"""The checks that JSON from strangers needs."""

from __future__ import annotations

import json
from typing import Any

LONGEST = 2**24  # characters of JSON
LARGEST = 1e30  # number in JSON; the squares of what follows from it are finite


def read_object(text: str, what: str) -> dict[str, Any]:
    """The JSON object in a text, which `what` is the name of.

    Raises:
        ValueError: it is anything else.
    """
    if len(text) > LONGEST:
        raise ValueError(f"{what}: expected at most {LONGEST} characters")
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{what}: expected JSON: {error}") from error
    return typed(content, dict, what)


def read_format(text: str, wanted: str) -> dict[str, Any]:
    """The preparation of this format in a text; a ValueError for anything else."""
    content = read_object(text, "preparation")
    if content.get("format") != wanted:
        raise ValueError(f"format: expected {wanted}, got {shown(content.get('format'))}")
    return content


def field(content: dict[str, Any], key: str, kind: type) -> Any:
    """An entry of an object; a ValueError if it is missing or of another type."""
    return typed(content.get(key), kind, key)


def typed(value: Any, kind: type, what: str) -> Any:
    """The value; a ValueError if it is of another type."""
    if type(value) is not kind:
        raise ValueError(f"{what}: expected a value of type {kind.__name__}, got {shown(value)}")
    return value


def numbers(values: Any, count: int, what: str) -> list[float]:
    """A list of `count` numbers; a ValueError if it is anything else."""
    if type(values) is not list or len(values) != count:
        raise ValueError(f"{what}: expected {count} numbers, got {shown(values)}")
    return [number(value, what) for value in values]


def number(value: Any, what: str) -> float:
    """A finite number of a size that can be computed with; a ValueError for anything else."""
    if type(value) not in (int, float) or not abs(value) <= LARGEST:
        raise ValueError(
            f"{what}: expected a number from {-LARGEST} to {LARGEST}, got {shown(value)}"
        )
    return float(value)


def shown(value: Any) -> str:
    """What came, for an error message."""
    return repr(value)[:60]
