"""Damage for files that readers must survive."""

import random
import re

TOKENS = (b"nan", b"-1", b"1e999", b"99999999999", b"{", b"}", b"0", b"")


def mutated(data: bytes, rng: random.Random) -> bytes:
    """The data with one thing changed somewhere."""
    start = rng.randrange(len(data))
    end = min(len(data), start + rng.randint(1, 40))
    kind = rng.choice(["flip", "delete", "repeat", "replace", "cut"])
    if kind == "flip":
        changed = bytearray(data)
        for place in rng.choices(range(len(data)), k=rng.randint(1, 3)):
            changed[place] ^= 1 << rng.randrange(8)
        return bytes(changed)
    if kind == "delete":
        return data[:start] + data[end:]
    if kind == "repeat":
        return data[:end] + data[start:]
    if kind == "replace":
        token = rng.choice([*re.finditer(rb"\S+", data)])
        return data[: token.start()] + rng.choice(TOKENS) + data[token.end() :]
    return data[:start]
