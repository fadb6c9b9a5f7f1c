"""The index in place of the journal: what an index shows and the log does not know.

A name whose serial in the index is above what was read is one event, whatever happened to it. An
index shows a removal only by lacking the name, so that becomes an ask: the document decides.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from msgspec.structs import replace

from producers.difference import Gone, Scope, ask_for
from producers.reconcile import difference
from producers.rows import entry_record
from schemas import codec
from schemas.errors import InvalidName
from schemas.names import NormalizedName, normalize
from schemas.records import ChangelogEntry, Config, EventSource, Head, Reason
from schemas.topics import Offset, Topic
from streams.asks import ask_record
from streams.log import Log, Outgoing, TopicPartition
from streams.progress import read_progress
from streams.watching import up_to_now
from upstream.source import JournalRow, ProjectSerial, SerialMap

ACTION = "index"  # the action of such an event, in place of the journal's
AGAIN_MS = 900_000  # upstream lets a copy of a document be kept for so long
AGAIN_MS_MAX = 86_400_000  # a day: one that stays so has a document and no files to be listed
_SCOPE = Scope(Reason.RECONCILE)


def changes_of(index: SerialMap, head: Head) -> list[ProjectSerial]:
    """Projects with a serial above the head that had no event for it yet, in rising order. Pure."""
    newest: dict[NormalizedName, ProjectSerial] = {}
    for project in index.projects:
        if project.serial <= head.serial:
            continue
        try:
            name = normalize(project.name)
        except InvalidName:
            continue  # nothing could be asked for it
        if head.ahead.get(name, 0) >= project.serial:
            continue
        if name not in newest or newest[name].serial < project.serial:
            newest[name] = project
    return sorted(newest.values(), key=lambda project: project.serial)


def shown_by_index(
    head: Head, written: Sequence[ProjectSerial], reached: int, *, last: bool
) -> Head:
    """The head once `written`, the next of `changes_of`, are in; `reached`: the index's own. Pure.

    Serials rise, so everything up to the last one is in; those above `reached` are noted.
    """
    within = [project.serial for project in written if project.serial <= reached]
    serial = reached if last else max([head.serial, *within])
    ahead = dict(head.ahead)
    ahead.update((normalize(each.name), each.serial) for each in written)
    above = {name: given for name, given in ahead.items() if given > serial}
    return replace(head, serial=serial, source=EventSource.INDEX, ahead=above)


def read_to(head: Head, serial: int) -> Head:
    """The head once the journal is read up to `serial`. Pure."""
    above = {name: given for name, given in head.ahead.items() if given > serial}
    return replace(head, serial=serial, source=EventSource.JOURNAL, ahead=above)


def change_record(project: ProjectSerial, now_ms: int) -> Outgoing:
    """The event. Its time is not known, so it is the time when we saw it."""
    row = JournalRow(project.name, None, now_ms // 1000, ACTION, project.serial)
    return entry_record(row, now_ms, source=EventSource.INDEX)


async def vanished(log: Log, config: Config, index: SerialMap) -> list[Gone]:
    """The names that the log holds and the index, as new as their newest event, lacks.

    Including events that no worker has decided yet, whose project was removed afterwards. Raises
    LogUnavailable, LogCorrupt.
    """
    # First the positions: what is decided after this look is read twice, not never.
    cuts = (await read_progress(log)).cuts
    places = {
        TopicPartition(Topic.CHANGELOG, partition): Offset(cut.changelog if cut else 0)
        for partition, cut in enumerate(cuts)
    }
    found = await difference(log, config, index, _SCOPE)
    reader = await log.reader(places)
    try:
        async for records in up_to_now(log, reader, places):
            for record in records:
                if record.key is None or record.value is None or record.header("late") == "true":
                    continue
                entry = codec.decode(record.value, ChangelogEntry)
                found.heard(record.partition, record.key, entry.name, entry.serial)
    finally:
        await reader.close()
    return found.gone()


class _Asked(NamedTuple):
    serial: int
    again_ms: int  # not before
    gap_ms: int


@dataclass
class Checks:
    """Which of those were asked for by this process, and when to ask once more.

    The answer may be an old copy, which says that the project is there. So while the index lacks it
    it is asked for again, after AGAIN_MS and then twice as long each time.
    """

    _asked: dict[str, _Asked] = field(default_factory=dict)

    def new(self, gone: Sequence[Gone], map_serial: int, now_ms: int) -> list[Outgoing]:
        """Asks for what is due; what is there again is forgotten."""
        wanted = []
        asked = {}
        for each in gone:
            known = self._asked.get(each.name)
            if known is None or known.serial != each.serial:
                asked[each.name] = _Asked(each.serial, now_ms + AGAIN_MS, AGAIN_MS)
                wanted.append(each)
            elif now_ms < known.again_ms:
                asked[each.name] = known
            else:
                gap_ms = min(2 * known.gap_ms, AGAIN_MS_MAX)
                asked[each.name] = _Asked(each.serial, now_ms + gap_ms, gap_ms)
                wanted.append(each)
        self._asked = asked
        asks = (ask_for(each, Reason.RECONCILE, map_serial) for each in wanted)
        return [ask_record(name, ask, now_ms) for name, ask in asks]
