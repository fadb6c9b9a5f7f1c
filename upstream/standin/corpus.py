"""Make the corpus: names, serials, documents; or take it from the cache of an earlier start."""

from __future__ import annotations

import os
import random
import tempfile
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol

import orjson

from upstream.standin.descriptions import describe
from upstream.standin.documents import (
    Document,
    Plan,
    dumped,
    dumped_as_of_old,
    make_document,
    settle,
)
from upstream.standin.files import Era, FileMaker, file_name
from upstream.standin.oddities import ODDITIES, ODDITY_EVERY, oddity_of
from upstream.standin.packages import INSTALLABLE
from upstream.standin.seeds import generator
from upstream.standin.settings import SERIAL_MAX, SERIAL_MIN, StandinSettings
from upstream.standin.sizes import sizes_for
from upstream.standin.store import BodyRef, compressed, etag_of
from upstream.standin.vocabulary import CLASSIFIERS, fresh_name, normalized

FORMAT = 2  # raise when the made bytes change: it is part of the cache's file names
ROWS_EACH = 3  # journal rows that a project's history before the start has
WITHOUT_DOCUMENT = 0.16  # share of names that JSON answers 404 for
QUARANTINED_OF_THOSE = 0.05
BATCH_BYTES = 1 << 20  # handed to the compressing thread at once
BATCHES_MAX = 4  # not yet written; bounds memory when compressing is the slower half
INSTALLABLE_BYTES = 4000
ODD_BYTES_MAX = {"real": 500_000, "small": 12_000}
_TIME_MIN, _TIME_MAX = 1_604_188_800, 1_787_200_000  # when the first and last serial were given out
_ERA_SHARES = ((0.02, Era.OLD_INDEX), (0.05, Era.Y2018), (0.09, Era.Y2020), (0.14, Era.Y2024),
               (0.30, Era.LATE_2024))  # fmt: skip

Roles = tuple[tuple[str, str], ...]


class Seedling(NamedTuple):
    """A project as it stands at the start. `ref` is None without a document."""

    display_name: str
    status: str
    serials: tuple[int, ...]  # ROWS_EACH, rising; the last is `last_serial`
    roles: Roles
    etag: str
    version: str  # the latest, "" without
    classifiers: int  # bit n: has CLASSIFIERS[n]
    ref: BodyRef | None


@dataclass(frozen=True, slots=True)
class Corpus:
    """All projects at the start, and the open file of their bodies."""

    seedlings: list[Seedling]
    fd: int


def time_of(serial: int) -> int:
    """When a serial of the made-up history was given out, Unix seconds."""
    share = (serial - SERIAL_MIN) / (SERIAL_MAX - SERIAL_MIN)
    return _TIME_MIN + round(share * (_TIME_MAX - _TIME_MIN))


def classifier_bits(document: Document | None) -> int:
    """Classifiers of a document as a bit set over CLASSIFIERS."""
    if document is None:
        return 0
    found = document["info"].get("classifiers") or ()
    return sum(1 << CLASSIFIERS.index(text) for text in found if text in CLASSIFIERS)


def make_corpus(settings: StandinSettings) -> Corpus:
    """The corpus of these settings; equal seed, count and sizes give equal bytes."""
    if settings.cache is None:
        with tempfile.TemporaryFile(prefix="standin-") as target:
            seedlings = _write(settings, target)
            target.flush()
            return Corpus(seedlings, os.dup(target.fileno()))
    stem = f"standin-{FORMAT}-{settings.seed}-{settings.projects}-{settings.sizes}"
    bodies, index = settings.cache / f"{stem}.bodies", settings.cache / f"{stem}.json"
    if not index.exists():
        settings.cache.mkdir(parents=True, exist_ok=True)
        _fill_cache(settings, bodies, index)
    rows = orjson.loads(index.read_bytes())
    return Corpus([_from_row(row) for row in rows], os.open(bodies, os.O_RDONLY))


def _fill_cache(settings: StandinSettings, bodies: Path, index: Path) -> None:
    with tempfile.NamedTemporaryFile(dir=bodies.parent, delete=False) as target:
        seedlings = _write(settings, target)
    Path(target.name).replace(bodies)
    with tempfile.NamedTemporaryFile(dir=bodies.parent, delete=False) as target:
        target.write(orjson.dumps([_to_row(seedling) for seedling in seedlings]))
    # The index last: it says that the bodies beside it are complete.
    Path(target.name).replace(index)


def _to_row(seedling: Seedling) -> list[object]:
    ref = None if seedling.ref is None else list(seedling.ref)
    return [*seedling[:-1], ref]


def _from_row(row: list[object]) -> Seedling:
    name, status, serials, roles, etag, version, classifiers, ref = row
    return Seedling(
        str(name),
        str(status),
        tuple(serials),  # type: ignore[arg-type]  # a JSON list of numbers
        tuple((role, user) for role, user in roles),  # type: ignore[attr-defined]  # list of pairs
        str(etag),
        str(version),
        int(classifiers),  # type: ignore[call-overload]  # a JSON number
        None if ref is None else BodyRef(*ref),  # type: ignore[misc]  # list of four
    )


class _Target(Protocol):
    """What bodies are written to."""

    def write(self, content: bytes, /) -> int: ...


@dataclass(slots=True)
class _Made:
    """A seedling whose body is not placed yet."""

    seedling: Seedling
    raw: bytes


def _write(settings: StandinSettings, target: _Target) -> list[Seedling]:
    """Make and compress side by side (zlib lets go of the interpreter), write in order."""
    seedlings: list[Seedling] = []
    offset = 0

    def place(future: Future[list[tuple[_Made, bytes, str]]]) -> None:
        nonlocal offset
        for made, content, etag in future.result():
            ref = None
            if made.raw:
                ref = BodyRef(offset, len(content), len(made.raw), live=False)
                target.write(content)
                offset += len(content)
            seedlings.append(made.seedling._replace(ref=ref, etag=etag))

    waiting: deque[Future[list[tuple[_Made, bytes, str]]]] = deque()
    with ThreadPoolExecutor(max_workers=1) as pool:
        batch: list[_Made] = []
        size = 0
        for made in _make_all(settings):
            batch.append(made)
            size += len(made.raw) + 1
            if size >= BATCH_BYTES:
                waiting.append(pool.submit(_pack, batch))
                batch, size = [], 0
            while len(waiting) > BATCHES_MAX:
                place(waiting.popleft())
        waiting.append(pool.submit(_pack, batch))
        while waiting:
            place(waiting.popleft())
    return seedlings


def _pack(batch: list[_Made]) -> list[tuple[_Made, bytes, str]]:
    return [
        (made, compressed(made.raw), etag_of(made.raw)) if made.raw else (made, b"", "")
        for made in batch
    ]


def _make_all(settings: StandinSettings) -> Iterator[_Made]:
    count, seed = settings.projects, settings.seed
    random_ = generator("corpus", seed, count)
    serials = random_.sample(range(SERIAL_MIN, SERIAL_MAX), count * ROWS_EACH)
    bare = _without_document(count, random_)
    sizes = _sizes(settings, bare)
    fixed = list(INSTALLABLE)
    taken = {normalized(name) for name in fixed}
    for index in range(count):
        own = generator(seed, index)
        name = fixed[index] if index < len(fixed) else fresh_name(own, taken)
        taken.add(normalized(name))
        mine = tuple(sorted(serials[index * ROWS_EACH : (index + 1) * ROWS_EACH]))
        roles = make_roles(own, count)
        status = bare.get(index, "ok")
        document, raw = None, b""
        if status != "no-releases":
            plan = Plan(
                seed,
                index,
                name,
                mine[-1],
                sizes.get(index, INSTALLABLE_BYTES),
                _era(index, own),
                roles,
                time_of(mine[-1]),
            )
            document = installable(plan) if index < len(fixed) else _odd_document(plan, own)
            raw = _on_the_wire(document, plan)
        version = "" if document is None else document["info"]["version"]
        bits = classifier_bits(document)
        yield _Made(Seedling(name, status, mine, roles, "", version, bits, None), raw)


def _sizes(settings: StandinSettings, bare: dict[int, str]) -> dict[int, int]:
    """Bytes by project number, for those that serve a document."""
    numbers = [n for n in range(len(INSTALLABLE), settings.projects) if n not in bare]
    sizes = sizes_for(settings.seed, len(numbers), settings.sizes)
    wanted = dict(zip(numbers, sizes, strict=True))
    # An oddity may replace all releases: the large documents go to projects without one.
    limit = ODD_BYTES_MAX[settings.sizes]
    large = [n for n in numbers if n % ODDITY_EVERY == 0 and wanted[n] > limit]
    fitting = [n for n in numbers if n % ODDITY_EVERY and wanted[n] <= limit]
    for odd, other in zip(large, fitting, strict=False):
        wanted[odd], wanted[other] = wanted[other], wanted[odd]
    return wanted


def _without_document(count: int, chance: random.Random) -> dict[int, str]:
    """Project numbers with nothing to show -> why. Those with an oddity keep their document."""
    may = [n for n in range(len(INSTALLABLE), count) if n % ODDITY_EVERY]
    chosen = chance.sample(may, min(round(count * WITHOUT_DOCUMENT), len(may)))
    quarantined = round(len(chosen) * QUARANTINED_OF_THOSE)
    return {
        n: "quarantined" if place < quarantined else "no-releases" for place, n in enumerate(chosen)
    }


def make_roles(random_: random.Random, count: int) -> Roles:
    """An owner, now and then maintainers; about three projects per user."""
    choice = random_.random
    users = [f"user{int(choice() * (count / 3 + 1))}" for _ in range(1 + int(choice() * 1.4))]
    return tuple(
        ("Maintainer" if place else "Owner", user)
        for place, user in enumerate(dict.fromkeys(users))
    )


def _era(index: int, random_: random.Random) -> Era:
    draw = random_.random()
    if index % ODDITY_EVERY == 0:
        return Era.TODAY
    return next((era for share, era in _ERA_SHARES if draw < share), Era.TODAY)


def _odd_document(plan: Plan, random_: random.Random) -> Document:
    document = make_document(plan, random_)
    oddity = oddity_of(plan.index)
    if oddity is not None:
        maker = FileMaker(plan.seed, plan.display_name, plan.index * 977 + 13, plan.era)
        ODDITIES[oddity](document, random_, maker)
        settle(document)
    return document


def _on_the_wire(document: Document, plan: Plan) -> bytes:
    # Only the oldest documents have the forms of their time; all others were rendered today.
    describe(document)
    return dumped_as_of_old(document, plan.index) if plan.era is Era.OLD_INDEX else dumped(document)


def installable(plan: Plan) -> Document:
    """A project whose wheels exist (INSTALLABLE), so that an installer can be tried."""
    versions, requires = INSTALLABLE[plan.display_name]
    small = Plan(plan.seed, plan.index, plan.display_name, plan.serial, INSTALLABLE_BYTES,
                 Era.TODAY, plan.roles, plan.uploaded)  # fmt: skip
    document = make_document(small, generator("installable", plan.display_name))
    maker = FileMaker(plan.seed, plan.display_name, plan.index, Era.TODAY)
    document["releases"] = {
        version: [
            maker.make(version, file_name(maker.name, version, 1), ">=3.8", plan.uploaded - place)
        ]
        for place, version in enumerate(versions)
    }
    document["info"] |= {"requires_dist": list(requires), "requires_python": ">=3.8"}
    return settle(document)
