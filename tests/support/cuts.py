"""A cut at given places, as a worker of one partition would write it."""

from __future__ import annotations

from collections.abc import Mapping

from schemas.records import Cut
from schemas.topics import Topic


def cut_at(places: Mapping[Topic, int], serial: int, time: int = 0) -> Cut:
    """Places by topic, the next offsets; no ask was ever read."""
    return Cut(
        changelog=places[Topic.CHANGELOG],
        refetch=0,
        metadata=places[Topic.METADATA],
        releases=places[Topic.RELEASES],
        state=places[Topic.STATE],
        serial=serial,
        time=time,
    )
