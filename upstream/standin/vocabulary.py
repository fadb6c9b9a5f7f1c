"""Made-up names and text. Nothing here is taken from a real project."""

from __future__ import annotations

import random
import re
from collections.abc import Container


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


_HEADS = _words(
    "zel vor kip tam bru nax oli fen gri lum pod rix sab tuv wem yor dax hob jil mek "
    "qua ral sto thi umo vex wob xan yip zub arn bel cov dru eph fiz gol huk iva jod"
)
_MIDDLES = _words("ora imi ent ulo ark eli ondo ati uma isk ova ern illo usta emi ango ith oru")
_TAILS = _words(
    "parse kit flow grid mesh port cast link form seed lint wave tune dock pack view "
    "sync pipe cell hash leaf spin core gate loom mint node path ring shed tool vault"
)
_WORDS = _words(
    "the a of and to with for from small fast typed async table stream record index cache "
    "reader writer schema packet signal matrix filter layer window sample report client "
    "server plugin widget parser solver planner tracker bridge adapter engine buffer queue"
)

CLASSIFIERS = (
    "Development Status :: 3 - Alpha",
    "Development Status :: 4 - Beta",
    "Development Status :: 5 - Production/Stable",
    "Environment :: Console",
    "Framework :: AsyncIO",
    "Intended Audience :: Developers",
    "Intended Audience :: Science/Research",
    "License :: OSI Approved :: Apache Software License",
    "License :: OSI Approved :: BSD License",
    "License :: OSI Approved :: MIT License",
    "Natural Language :: English",
    "Operating System :: OS Independent",
    "Operating System :: POSIX :: Linux",
    "Programming Language :: Python",
    "Programming Language :: Python :: 2.7",
    "Programming Language :: Python :: 3",
    "Programming Language :: Python :: 3 :: Only",
    "Programming Language :: Python :: 3.9",
    "Programming Language :: Python :: 3.10",
    "Programming Language :: Python :: 3.11",
    "Programming Language :: Python :: 3.12",
    "Programming Language :: Python :: 3.13",
    "Topic :: Software Development :: Libraries",
    "Topic :: System :: Archiving",
    "Topic :: Utilities",
    "Typing :: Typed",
)

LICENSES = ("MIT", "BSD-3-Clause", "Apache-2.0", "MPL-2.0", "BSD", "MIT License", "Apache 2.0")
PYTHONS = (">=3.9", ">=3.8", ">=3.10", ">=3.11", ">=3.7,<4", "!=3.0.*,>=2.7", ">=3.12")
LABELS = ("Homepage", "Source", "homepage", "Bug Tracker", "Änderungen", "ドキュメント", "Сайт")
NON_ASCII = (
    "Zażółć gęślą jaźń",
    "naïve café",
    "数据流工具",
    "مكتبة بيانات",
    "🐍 snakes 🚀",
    "Ünïcødé",
)
PEOPLE = ("Ana Oru", "Béla Vándor", "Chidi Ekwe", "Dagny Holm", "李小溪", "Eli Marrow", "Fatou N.")

SECOND_WORD_SHARE = 0.5
NUMBER_SHARE = 0.1
STYLED_SHARE = 0.16  # of recorded names are not in their normalised form
_SEPARATORS = re.compile(r"[-_.]+")


def normalized(display_name: str) -> str:
    """PEP 503 form."""
    return _SEPARATORS.sub("-", display_name).lower()


def respelled(display_name: str, random_: random.Random) -> str:
    """Another spelling of the same name; differs from `display_name` for every made-up name."""
    words = _SEPARATORS.split(display_name)
    choices = (
        "-".join(words),
        "_".join(words),
        ".".join(words),
        "-".join(word.capitalize() for word in words),
        "_".join(word.upper() for word in words),
        "--".join(words),
    )
    others = [choice for choice in choices if choice != display_name]
    return random_.choice(others)


def fresh_name(random_: random.Random, taken: Container[str]) -> str:
    """A display name whose normalised form is not in `taken`."""
    while True:
        parts = [random_.choice(_HEADS) + random_.choice(_MIDDLES)]
        draw = random_.random()
        if draw < SECOND_WORD_SHARE:
            parts.append(random_.choice(_HEADS) + random_.choice(_MIDDLES))
        parts.append(random_.choice(_TAILS))
        if draw > 1 - NUMBER_SHARE:
            parts.append(str(random_.randrange(2, 1000)))
        name = "-".join(parts)
        if name not in taken:
            styled = random_.random() < STYLED_SHARE
            return respelled(name, random_) if styled else name


def prose(random_: random.Random, characters: int) -> str:
    """Text of exactly `characters` characters that compresses about as well as a README does."""
    if characters <= 0:
        return ""
    words = random_.choices(_WORDS + _TAILS + _HEADS, k=min(characters // 4 + 2, 3000))
    for place in range(0, len(words), 12):
        words[place] = f"{words[place]}.\n\n## {random_.getrandbits(40):x}"
    text = " ".join(words)
    copies = [text]
    for number in range(1, characters // len(text) + 1):
        shift = number * 7919 % len(text)  # shifted, so that copies do not compress to nothing
        copies.append(f"\n\n{number}. {text[shift:]}{text[:shift]}")
    return "".join(copies)[:characters]
