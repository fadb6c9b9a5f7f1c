"""Whether a process that signed is known to have ended."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from pypistream.run import whoami
from schemas.records import Alive

SLEEPS = (sys.executable, "-c", "import time; time.sleep(60)")
needs_proc = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="no /proc")


def sign_of(pid: int) -> Alive:
    """As that process itself would have signed."""
    seen = whoami._look(pid)
    mine = whoami.sign(1_700_000_000_000, "somebody")
    return msgspec.structs.replace(mine, pid=pid, begun=seen.begun if seen else 0)


def test_our_own_sign_is_that_of_a_live_process() -> None:
    """It names the process for people, too."""
    sign = whoami.sign(1_700_000_000_000, whoami.own_name())

    assert (sign.pid, sign.time, sign.ended) == (os.getpid(), 1_700_000_000, False)
    assert sign.holder.startswith(f"process {os.getpid()} on ")
    assert not whoami.has_ended(sign)
    assert whoami.own_name() != whoami.own_name()


def test_a_killed_process_has_ended() -> None:
    """At once, not after some seconds of silence."""
    with subprocess.Popen(SLEEPS) as process:
        sign = sign_of(process.pid)
        assert not whoami.has_ended(sign)
        process.kill()
    assert whoami.has_ended(sign)


@needs_proc
def test_one_that_nobody_has_fetched_yet_has_ended() -> None:
    """A zombie answers to kill(2), and does nothing any more."""
    process = subprocess.Popen(SLEEPS)
    try:
        sign = sign_of(process.pid)
        process.kill()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        assert whoami.has_ended(sign)
    finally:
        process.wait()


@needs_proc
def test_a_number_that_was_given_to_another_process_is_no_sign_of_life() -> None:
    """Process ids are used again: what counts is when it began."""
    sign = whoami.sign(0, "somebody")

    assert whoami.has_ended(msgspec.structs.replace(sign, begun=sign.begun - 1))


@pytest.mark.parametrize("machine", ["", "another host"])
def test_of_another_machine_nothing_is_known(machine: str) -> None:
    """The same process id means somebody else there."""
    sign = msgspec.structs.replace(whoami.sign(0, "somebody"), machine=machine, begun=1)

    assert not whoami.has_ended(sign)
    assert not whoami.has_ended(Alive("signed without saying where", 0))
