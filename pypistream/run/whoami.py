"""The identity of this process, by which others on the same machine can tell if it still runs.

A sign of life in the log names the machine, the process id and when the process began. Whether a
process on another machine, or in another container, still runs cannot be seen: others wait until
its signs stop.
"""

from __future__ import annotations

import contextlib
import os
import socket
import uuid
from pathlib import Path
from typing import NamedTuple

from schemas.records import Alive

_PROC = Path("/proc")
_STATE, _BEGUN = 0, 19  # fields of /proc/PID/stat after the name in parentheses, see proc(5)
_ENDED = ("Z", "X")  # ended, but not yet waited for by its parent


class _Process(NamedTuple):
    state: str
    begun: int  # clock ticks since the machine started


def sign(now_ms: int, name: str, *, ended: bool = False) -> Alive:
    """A sign of this process's life."""
    pid = os.getpid()
    process = _look(pid)
    begun = process.begun if process else 0
    return Alive(name, now_ms // 1000, ended, machine(), pid, begun)


def own_name() -> str:
    """Our name for people, which also distinguishes two roles of one process."""
    return f"process {os.getpid()} on {socket.gethostname()}, {uuid.uuid4().hex[:8]}"


def machine() -> str:
    """The scope in which process ids are unique: host, boot, and pid namespace."""
    parts = [socket.gethostname()]
    with contextlib.suppress(OSError):
        parts.append((_PROC / "sys/kernel/random/boot_id").read_text().strip())
        parts.append(str((_PROC / "self/ns/pid").readlink()))
    return " ".join(parts)


def has_ended(sign: Alive) -> bool:
    """Whether the process that gave this sign is known to have ended."""
    if not sign.pid or sign.machine != machine():
        return False
    try:
        os.kill(sign.pid, 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False  # it runs, as another user
    process = _look(sign.pid)
    if process is None:
        return False
    return process.state in _ENDED or process.begun != sign.begun


def _look(pid: int) -> _Process | None:
    """What the kernel says about a process; None on systems without /proc."""
    try:
        text = (_PROC / str(pid) / "stat").read_text()
    except OSError:
        return None
    fields = text.rpartition(")")[2].split()
    return _Process(fields[_STATE], int(fields[_BEGUN]))
