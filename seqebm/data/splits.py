"""Which recordings are to train on, by their names."""

from __future__ import annotations

from collections.abc import Iterable, Mapping


def splits_by_name(names: Iterable[str], splits: Mapping[str, str] | None) -> dict[str, str]:
    """The split of each name: what `splits` says, "train" where it says nothing.

    Raises:
        ValueError: `splits` has a name that is none of these.

    Example:
        >>> splits_by_name(["a", "b"], {"b": "test"})
        {'a': 'train', 'b': 'test'}
    """
    named = dict.fromkeys(names, "train")
    unknown = sorted(set(splits or {}) - set(named))
    if unknown:
        raise ValueError(f"splits: there is no {unknown[0]!r}, there are {', '.join(named)}")
    return {**named, **(splits or {})}
