"""How large documents are: quantiles of the real index, given out so that any corpus has them."""

from __future__ import annotations

import math
from bisect import bisect_right
from typing import Final

from upstream.standin.seeds import generator
from upstream.standin.settings import Sizes

KIB: Final = 1024
MIB: Final = 1024 * KIB

# (share of documents, bytes below which they are): median 10 KB, mean 60 KB, p99 1 MB, 1 in 1000
# over 5 MiB, the largest 22 MB. Between two points the logarithm of the size is linear.
REAL: Final = (
    (0.0, 2_000.0),
    (0.5, 10_000.0),
    (0.75, 30_000.0),
    (0.90, 60_000.0),
    (0.97, 210_000.0),
    (0.99, 1_000_000.0),
    (0.9985, 3_000_000.0),
    (0.999, 5_400_000.0),
    (1.0, 22_000_000.0),
)
SMALL: Final = ((0.0, 1_700.0), (0.5, 2_700.0), (0.9, 8_000.0), (0.99, 24_000.0), (1.0, 64_000.0))
QUANTILES: Final[dict[Sizes, tuple[tuple[float, float], ...]]] = {"real": REAL, "small": SMALL}


LARGEST_FROM: Final = 1000  # projects


def size_at(share: float, sizes: Sizes) -> int:
    """Bytes below which `share` (0..1) of the documents are."""
    points = QUANTILES[sizes]
    place = min(bisect_right([point for point, _ in points], share), len(points) - 1)
    (low, below), (high, above) = points[place - 1], points[place]
    inner = (share - low) / (high - low)
    return round(math.exp(math.log(below) + inner * (math.log(above) - math.log(below))))


def sizes_for(seed: int, count: int, sizes: Sizes) -> list[int]:
    """A size per project: evenly spaced quantiles, shuffled, so that small corpora fit too.

    The largest is the maximum itself if the corpus is large enough to have 1 in 1000.
    """
    result = [size_at((number + 0.5) / count, sizes) for number in range(count)]
    if count >= LARGEST_FROM:
        result[-1] = size_at(1.0, sizes)
    generator("sizes", seed, count).shuffle(result)
    return result
