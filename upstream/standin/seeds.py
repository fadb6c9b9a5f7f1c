"""The one source of chance: a generator per subject, so that no subject's draws shift another's."""

from __future__ import annotations

import random
from functools import cache

HEX_POOL_CHARACTERS = 1 << 20  # much longer than gzip's window: slices of it compress like hashes


def generator(*parts: object) -> random.Random:
    """A generator that depends on `parts` alone (not on hash randomisation or the platform)."""
    text = ":".join(str(part) for part in parts)
    return random.Random(text)


def likely(random_: random.Random, share: float) -> bool:
    """True in that share of the cases."""
    return random_.random() < share


@cache
def hex_pool(seed: int) -> str:
    """Random hexadecimal digits, sliced for the hashes of files that do not exist."""
    return generator("hex", seed).randbytes(HEX_POOL_CHARACTERS // 2).hex()
