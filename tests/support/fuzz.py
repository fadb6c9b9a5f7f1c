"""Bytes that nobody wrote, against every parser: `make fuzz SECONDS=60`.

python -m tests.support.fuzz PARSER SECONDS: good examples are changed at random and read; what gave
a reason not seen before is changed further. What crashes, or takes too long, is printed in
hexadecimal, and the exit code is 1.
"""

from __future__ import annotations

import sys
import time
from collections import Counter
from random import Random

from tests.support.chosen import chosen
from tests.support.parsers import PARSERS, Parser, outcome

BYTES_MAX = 4_096
CORPUS_MAX = 512
SECONDS_MAX = 3.0  # CPU of one input
TOKENS = (
    b"[", b"]", b"{", b"}", b'"', b"\\", b"\\u0000", b"\\ud800", b"1e999", b"NaN", b"-0", b"null",
    b"9" * 400, b"[" * 70, b"<value>", b"</value>", b"<!DOCTYPE x>", b"&amp;", b"\xe2\x80\xae",
    b"(" * 40, b";", b",", b"==", b"\n", b"\r\n", b"%00", b"../",
)  # fmt: skip
NO_TEXTS = (b"\x00", b"\xff", b"\xed\xa0\x80", b"\x1b[2J", b"\xef\xbb\xbf")
TEXTS_SHARE = 0.8  # of the inputs that stay UTF-8, or else little else would be tried


def mutated(raw: bytes, other: bytes, chance: Random) -> bytes:
    """A few small changes."""
    data = bytearray(raw)
    texts = chance.random() < TEXTS_SHARE
    for _ in range(chance.randint(1, 6)):
        at = chance.randrange(len(data) + 1)
        match chance.randrange(6):
            case 0:
                data[at:at] = chance.choice(TOKENS if texts else NO_TEXTS)
            case 1:
                del data[at : at + chance.randint(1, 20)]
            case 2 if data and not texts:
                data[at % len(data)] ^= 1 << chance.randrange(8)
            case 3:
                data[at : at + chance.randint(0, 4)] = bytes(
                    chance.choices(range(32, 127) if texts else range(256), k=chance.randint(1, 4))
                )
            case 4:
                cut = chance.randrange(len(other) + 1)
                data[at:] = other[cut:]
            case _:
                piece = data[at : at + chance.randint(1, 30)]
                data[at:at] = piece * chance.randint(1, 20)
    return bytes(data[:BYTES_MAX])


def fuzzed(
    parser: Parser, seconds: float, seed: int, inputs_max: int | None = None
) -> Counter[str]:
    """How often what came out. Raises what the parser must not raise, with the input in it."""
    chance, found = Random(seed), Counter[str]()
    corpus = list(parser.seeds)
    end = time.monotonic() + seconds
    while time.monotonic() < end and (inputs_max is None or found.total() < inputs_max):
        raw = mutated(chance.choice(corpus), chance.choice(corpus), chance)
        begun = time.process_time()
        try:
            what = outcome(parser, raw)
        except BaseException as error:
            error.add_note(f"{parser.name}: bytes.fromhex({raw.hex()!r})")
            raise
        assert time.process_time() - begun < SECONDS_MAX, f"slow: bytes.fromhex({raw.hex()!r})"
        kind = what.partition(":")[0]
        if kind not in found or chance.random() < 0.002:
            corpus.append(raw)
            del corpus[len(parser.seeds) : -CORPUS_MAX]
        found[kind] += 1
    return found


def main(names: list[str], seconds: int, seed: int) -> None:
    """Each for so long; the last line of each says what came out."""
    for name in names:
        found = fuzzed(PARSERS[name], seconds, seed)
        most = ", ".join(f"{count} {what}" for what, count in found.most_common(6))
        sys.stdout.write(f"{name}: {found.total()} inputs, 0 crashes (seed {seed}): {most}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(*chosen("make fuzz", PARSERS, "seconds"))
