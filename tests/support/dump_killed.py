"""Publish a dump again and again, killed each time at a later thing asked of the disk.

python -m tests.support.dump_killed TEMPLATE FOLDER: FOLDER/1, FOLDER/2, … are what copies of the
data directory TEMPLATE look like after the kill; prints how many, when one came to its end.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from unittest.mock import patch

from sinks.dump import sink as dump
from tests.support.dump_world import World, project, removed
from tests.support.each_point import killed_at_each_point
from tests.support.faulty_disk import Disk, killed

POINTS_MAX = 1_000  # a run that asks more of the disk than this is not a small one


def first(world: World) -> None:
    """What the template was published with."""
    world.apply([change for i in range(60) for change in project(f"p{i}", "old", 300)])


def second(world: World) -> None:
    """What comes, in two batches of which the first fills the memory, when the kill comes."""
    world.apply([change for i in range(40, 80) for change in project(f"p{i}", "new", 300)])
    world.apply([change for i in range(5) for change in removed(f"p{i}")])


def main(template: Path, folder: Path) -> int:
    """One child per point; the exit code."""
    return killed_at_each_point(
        POINTS_MAX, lambda point: _publish(template, folder / str(point), point)
    )


def _publish(template: Path, root: Path, point: int) -> None:
    shutil.copytree(template, root, copy_function=os.link)
    with Disk(point, killed).watched(), patch.object(dump, "BUFFER_BYTES_MAX", 1_000):
        world = World(root)
        world.sink.standing()
        world.offset = 60 * 3
        second(world)
        world.publish()


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2])))
