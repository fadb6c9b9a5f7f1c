"""Writes the records in docs/topics.md from the published schemas; `--check` says if they agree.

What lies outside the two marks on the page is written by hand.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from schemas.generate import FOLDER
from schemas.published import HEADERS, VALUES, Published, PublishedHeaders
from schemas.topics import TOPICS, Topic, TopicSpec
from scripts.pages import write_or_check

PAGE = Path(__file__).parents[1] / "docs/topics.md"
BEGIN = "<!-- from here on made by scripts/topic_reference.py -->\n"
END = "<!-- up to here -->\n"
DAY_MS = 24 * 60 * 60 * 1000

KEYS = {
    Topic.CHANGELOG: "normalised project name; null for a marker",
    Topic.REFETCH: "normalised project name; null for a marker of a backfill",
    Topic.PROGRESS: "the partition's number for a cut; "
    "`config`, `head`, `alive`, `hold`, `rate:…`, `sweep`",
}
TEXTS = {
    Topic.CHANGELOG: "PyPI's journal, row by row, and nothing else. Between the rows lie markers:"
    " every row up to `serial` lies before it.",
    Topic.METADATA: "PyPI's JSON document of a project without `info.description` and without the"
    " releases ordered below the latest; otherwise equal, unknown keys too. Documents of several"
    " years lie side by side: accept any mix of keys. Null = the project is gone.",
    Topic.RELEASES: "Every release of a project; of each file what resolvers and mirrors ask for."
    " Not there with `--releases latest`. Null = the project is gone.",
    Topic.STATE: "What is known of a name and what is owed to it. A name that was only ever a 404"
    " is here, too.",
    Topic.REFETCH: "Asks: fetch this name. Not events; they are served after them.",
    Topic.PROGRESS: "One record per worker transaction: its cut through all topics. The log's"
    " configuration, how far the journal was read, until when upstream asked to wait, how far the"
    " sweep is. N + 2 partitions: the last two are the producer's and everybody's.",
    Topic.DEAD_LETTER: "What could not be processed, as evidence. The project stays published as it"
    " was.",
}


def reference() -> str:
    """Every topic."""
    return "".join(_topic(topic) for topic in Topic) + "\n"


def page(text: str) -> str:
    """`text` with the part between the marks made anew."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}{reference()}{END}{after}"


def _topic(topic: Topic) -> str:
    header = next(each for each in HEADERS if each.topic is topic)
    stems = header.stems
    rows = [
        ("key", KEYS.get(topic, "normalised project name")),
        ("kept", _kept(TOPICS[topic])),
        ("`ce_type`", f"`{header.types}`".replace("|", r"\|")),
        ("value", ", ".join(_link(f"{stem}.v1.schema.json") for stem in stems)),
        ("headers", _link(header.file) + ("; a record may have none" if header.bare else "")),
    ]
    table = "| | |\n| --- | --- |\n" + "".join(f"| {a} | {b} |\n" for a, b in rows)
    values = [each for stem in stems for each in VALUES if each.stem == stem]
    examples = "".join(_examples(each) for each in values)
    return f"\n### {topic.value}\n\n{TEXTS[topic]}\n\n{table}{examples}{_headers(header)}"


def _kept(spec: TopicSpec) -> str:
    if spec.cleanup == "compact":
        days = (spec.tombstone_ms or 0) // DAY_MS
        return f"compacted: at least the last record per key; tombstones {days} days"
    return "for ever" if spec.retention_ms is None else f"{spec.retention_ms // DAY_MS} days"


def _examples(published: Published) -> str:
    schema = json.loads((FOLDER / published.file).read_text(encoding="utf-8"))
    found = "\n\n".join(_json(each) for each in schema["examples"])
    return f"\n{published.title}:\n\n```json\n{found}\n```\n"


def _headers(header: PublishedHeaders) -> str:
    schema = json.loads((FOLDER / header.file).read_text(encoding="utf-8"))
    return f"\nIts headers:\n\n```json\n{_json(schema['examples'][0])}\n```\n"


def _json(value: object) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False)


def _link(file: str) -> str:
    return f"[`{file}`](../schemas/{file})"


def main(arguments: list[str]) -> int:
    """Write the page, or check it."""
    return write_or_check(PAGE, page(PAGE.read_text(encoding="utf-8")), arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
