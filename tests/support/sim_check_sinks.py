"""The checker's part about sinks: I6, I7, I8, and that they arrive (I10). Standard library only."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from typing import Any

from tests.support.sim_history import Line
from tests.support.sim_replay import Recorded, Tables

ORDER = ("metadata", "releases", "state")
FILES = {"packages.jsonl.zst": "metadata", "releases.jsonl.zst": "releases"}


def check(run: Recorded) -> list[str]:
    """Everything that is wrong with what the sinks showed."""
    return [*_whole(run), *_never_back(run), *_agree(run), *_atomic(run), *_arrived(run)]


def _whole(run: Recorded) -> Iterator[str]:
    """I8: whatever a reader can open is what its manifest says, also just after a kill."""
    for line in run.history.of("shown"):
        for name, told in line["told"].items():
            if line["found"].get(name) != told:
                found = line["found"].get(name)
                yield f"I8 {line['sink']} at {line['at']}: {name} is {found}, told {told}"


def _never_back(run: Recorded) -> Iterator[str]:
    """I8: what is shown never falls back behind what was shown before."""
    before: dict[str, list[Line | None]] = {}
    for line in run.history.of("shown"):
        cuts: list[Line | None] = line["cuts"]
        old = before.get(line["sink"], cuts)
        if any(_behind(new, was) for new, was in zip(cuts, old, strict=True)):
            yield f"I8 {line['sink']} at {line['at']}: {cuts} after {old}"
        before[line["sink"]] = cuts


def _behind(new: Line | None, old: Line | None) -> bool:
    if new is None or old is None:
        return old is not None
    return any(new.get(name, 0) < old.get(name, 0) for name in (*ORDER, "serial"))


def _agree(run: Recorded) -> Iterator[str]:
    """I7: the rows shown are those of the log replayed up to the cuts that are shown with them."""
    for line in run.history.of("shown"):
        if line["rows"] is None:
            continue
        tables = Tables(run)
        for partition, cut in enumerate(line["cuts"]):
            for topic in ORDER if cut else ():
                tables.take(topic, partition, cut[topic])
        for part, due in _due(line["sink"], tables).items():
            yield from _different(f"I7 {line['sink']} at {line['at']}", part, line["rows"], due)


def _due(sink: str, tables: Tables) -> dict[str, dict[str, Any]]:
    if sink == "duckdb":
        return {"project": projects(tables)}
    due = {
        file: {name: digest(row["value"]) for name, row in tables.rows[topic].items()}
        for file, topic in FILES.items()
    }
    return due | {"state.jsonl.zst": {name: state_digest(tables, name) for name in _states(tables)}}


def _states(tables: Tables) -> list[str]:
    return list(tables.rows["state"])


def state_digest(tables: Tables, name: str) -> str:
    """Of a state's fields as a dump has them: its own `name` is called `display_name` there."""
    state = dict(tables.state(name) or {})
    if "name" in state:
        state["display_name"] = state.pop("name")
    return digest(json.dumps(state, sort_keys=True))


def projects(tables: Tables) -> dict[str, Any]:
    """Name -> [version, serial] of what `metadata` holds."""
    return {
        name: [json.loads(row["value"])["info"]["version"], int(row["headers"].get("serial") or 0)]
        for name, row in tables.rows["metadata"].items()
    }


def digest(text: str) -> str:
    """Enough to tell two documents apart."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _different(where: str, part: str, rows: Line, due: dict[str, Any]) -> Iterator[str]:
    found = rows[part]
    wrong = {name for name in {*found, *due} if found.get(name) != due.get(name)}
    if wrong:
        name = min(wrong)
        yield f"{where}: {part} has {name} {found.get(name)}, the log {due.get(name)}"


def _atomic(run: Recorded) -> Iterator[str]:
    """I6: a sink's own file holds exactly the records before the positions stored in it."""
    for line in run.history.of("image"):
        tables = Tables(run)
        rows = []
        for topic, partition, end in line["positions"]:
            if topic in ORDER:
                tables.take(topic, partition, end)
            elif topic == "changelog":
                records = run.log[topic, partition]
                rows += [r for r in records if r["offset"] < end and r["key"] is not None]
        where = f"I6 {line['sink']} at {line['at']}"
        yield from _different(where, "project", line["rows"], projects(tables))
        serials = sorted(json.loads(record["value"])["serial"] for record in rows)
        if serials != line["rows"]["changelog"]:
            yield f"{where}: {len(line['rows']['changelog'])} journal rows for {len(serials)}"


def _arrived(run: Recorded) -> Iterator[str]:
    """I10: at the end every sink shows the newest cut."""
    tables = Tables(run)
    moments = run.history.of("moment")
    if not moments:
        return
    tables.go_to(moments[-1]["ends"])
    last = {line["sink"]: line["cuts"] for line in run.history.of("shown")}
    for sink in run.schedule["sinks"]:
        if last.get(sink) != tables.cuts(run.partitions):
            yield f"I10 {sink} shows {last.get(sink)} at the end"
