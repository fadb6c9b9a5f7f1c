"""When the sinks' process is given up."""

from __future__ import annotations

import pytest

from pypistream.sinks_child import SINKS, WELL_SECONDS, was_well


@pytest.mark.parametrize("name", SINKS)
def test_one_sink_that_publishes_does_not_excuse_the_other(name: str) -> None:
    assert not was_well({}, {name: 5.0}, 10)
    assert not was_well(dict.fromkeys(SINKS, 1.0), dict.fromkeys(SINKS, 1.0) | {name: 5.0}, 10)


def test_a_life_in_which_all_published_or_a_long_one_is_no_failure() -> None:
    assert was_well({}, dict.fromkeys(SINKS, 5.0), 1)
    assert was_well({}, {}, WELL_SECONDS)
