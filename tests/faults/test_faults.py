"""Every fault of upstream, alone, for 20 s and under sixty changes: a minute later all is right.

The program and the stand-in are processes; see tests/support/fault_run.py for how a scene goes and
fault_scenes.py for the few faults of which less can be expected, with the reason.
"""

from __future__ import annotations

from tests.support.fault_run import Ended


def test_the_truth_is_published_within_a_minute_of_healing(kind: str, ended: Ended) -> None:
    """No project wrong or missing in dump and DuckDB file, no crash, no broken manners."""
    assert not ended.problems, "\n".join(ended.problems)
    assert ended.seconds is not None
