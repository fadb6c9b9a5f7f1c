"""The published JSON Schemas, their types and examples. Their names are contracts.

The name of a value's schema travels in each record's `ce_dataschema` header. A breaking change
makes a `v2` beside the `v1`.
"""

from __future__ import annotations

from typing import NamedTuple

from msgspec import Struct

from schemas import examples
from schemas.topics import Topic


class Published(NamedTuple):
    """One schema of values: any of the examples' types. `stem` becomes the file's name."""

    stem: str
    title: str
    examples: tuple[Struct, ...]

    @property
    def file(self) -> str:
        """Name of the file in `schemas/`."""
        return f"{self.stem}.v1.schema.json"


class PublishedHeaders(NamedTuple):
    """The schema of a topic's headers, read as an object of names and texts.

    `types` is a pattern (ECMA 262) of `ce_type`, `example_type` one of them; `stems` is what
    `ce_dataschema` may name; `bare`: a record may come without any header.
    """

    topic: Topic
    types: str
    example_type: str
    stems: tuple[str, ...]
    bare: bool = False

    @property
    def file(self) -> str:
        """Name of the file in `schemas/`."""
        return f"{self.topic.value}.headers.v1.schema.json"


VALUES = (
    Published("changelog", "One row of PyPI's journal", (examples.ENTRY,)),
    Published("marker", "The changelog is complete up to here", (examples.MARKER,)),
    Published("refetch", "A name to fetch", (examples.ASK,)),
    Published("backfill", "A backfill begins or ends here", (examples.BACKFILL,)),
    Published("metadata", "The latest metadata of a project", (examples.METADATA,)),
    Published("releases", "Every release of a project", (examples.RELEASES,)),
    Published("state", "What is known and owed per name", (examples.STATE, examples.PARKED)),
    Published(
        "progress",
        "Positions and what belongs to the log as a whole",
        (
            *(examples.CUT, examples.CONFIG, examples.HEAD, examples.ALIVE),
            *(examples.HOLD, examples.SWEEP, examples.HISTORY_ASKED, examples.BOOTSTRAP),
            *(examples.RULE, examples.RATE_SIGN),
        ),
    ),
    Published("dead-letter", "What could not be processed", (examples.DEAD_LETTER,)),
    Published("packages.jsonl", "A line of packages.jsonl.zst", (examples.PACKAGE_LINE,)),
    Published("releases.jsonl", "A line of releases.jsonl.zst", (examples.RELEASES_LINE,)),
    Published("state.jsonl", "A line of state.jsonl.zst", (examples.STATE_LINE,)),
    Published("manifest", "manifest.json of a dump", (examples.MANIFEST,)),
    Published("full", "full/manifest.json of a dump", (examples.FULL_MANIFEST,)),
    Published(
        "deltas.jsonl",
        "A line of a delta",
        (
            *(examples.DELTA_PACKAGE, examples.DELTA_RELEASES),
            *(examples.DELTA_STATE, examples.DELTA_DELETED),
        ),
    ),
    Published("deltas", "deltas/manifest.json of a dump", (examples.DELTA_MANIFEST,)),
)

HEADERS = (
    PublishedHeaders(
        Topic.CHANGELOG,
        types=r"^pypistream\.(changelog\..+|marker)$",
        example_type="pypistream.changelog.new-release",
        stems=("changelog", "marker"),
    ),
    PublishedHeaders(
        Topic.REFETCH,
        types=r"^pypistream\.(ask\..+|backfill)$",
        example_type="pypistream.ask.reconcile",
        stems=("refetch", "backfill"),
    ),
    PublishedHeaders(
        Topic.PROGRESS,
        types=r"^pypistream\..+$",
        example_type="pypistream.head",
        stems=("progress",),
        bare=True,  # a cut is written in every transaction, and found by its place
    ),
    *(
        PublishedHeaders(
            topic,
            types=rf"^pypistream\.{topic.value}$",
            example_type=f"pypistream.{topic.value}",
            stems=(topic.value,),
        )
        for topic in (Topic.METADATA, Topic.RELEASES, Topic.STATE, Topic.DEAD_LETTER)
    ),
)
