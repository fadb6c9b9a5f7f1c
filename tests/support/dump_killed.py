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

from sinks import dump
from tests.support.dump_world import World, project, removed
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
    """One child per point; it is a fork, so that a thousand take seconds."""
    for point in range(1, POINTS_MAX):
        root = folder / str(point)
        shutil.copytree(template, root, copy_function=os.link)
        child = os.fork()
        if child == 0:
            _publish(root, point)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        if status == 0:
            sys.stdout.write(str(point))
            return 0
        if not os.WIFSIGNALED(status):
            return 1
    return 1


def _publish(root: Path, point: int) -> None:
    with Disk(point, killed).watched(), patch.object(dump, "BUFFER_BYTES_MAX", 1_000):
        world = World(root)
        world.sink.standing()
        world.offset = 60 * 3
        second(world)
        world.publish()


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2])))
