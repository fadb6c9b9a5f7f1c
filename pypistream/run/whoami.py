"""Which process this is, so that another one on the same machine can tell whether it still runs.

A sign of life in the log names machine, process id and when the process began. For a sign of
another machine, or of another container on this one, nothing can be told: it has to fall silent.
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
_ENDED = ("Z", "X")  # killed, and only not yet fetched by its parent


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
    """Who we are, for people, and for telling apart what one process begins twice."""
    return f"process {os.getpid()} on {socket.gethostname()}, {uuid.uuid4().hex[:8]}"


def machine() -> str:
    """Where process ids mean what they mean here: host, its start, and the pid namespace."""
    parts = [socket.gethostname()]
    with contextlib.suppress(OSError):
        parts.append((_PROC / "sys/kernel/random/boot_id").read_text().strip())
        parts.append(str((_PROC / "self/ns/pid").readlink()))
    return " ".join(parts)


def has_ended(sign: Alive) -> bool:
    """Whether who gave this sign is known not to run any more."""
    if not sign.pid or sign.machine != machine():
        return False
    try:
        os.kill(sign.pid, 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False  # somebody else's, and there
    process = _look(sign.pid)
    if process is None:
        return False
    return process.state in _ENDED or process.begun != sign.begun


def _look(pid: int) -> _Process | None:
    """What the kernel says of a process; None where it does not say such things."""
    try:
        text = (_PROC / str(pid) / "stat").read_text()
    except OSError:
        return None
    fields = text.rpartition(")")[2].split()
    return _Process(fields[_STATE], int(fields[_BEGUN]))
