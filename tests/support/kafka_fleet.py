"""Roles as processes on one log, and who starts them again: as service managers do."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.process import Program, command, started

RESTART_SECONDS = 0.5  # as a service manager waits before it starts something again
LOOK_SECONDS = 0.1
PRODUCE = "produce"


@dataclass
class Fleet:
    """`produce` and some `process`, each started again when it ends, whoever ended it."""

    bootstrap: str
    prefix: str
    upstream: str
    folder: Path
    processors: int = 3
    more: Sequence[str] = ()  # for each `process`
    poll_seconds: float = 1.0
    programs: dict[str, Program] = field(default_factory=dict)
    stopped: set[str] = field(default_factory=set)  # those that are SIGSTOPped
    fallen: list[str] = field(default_factory=list)  # ended by themselves: name, code, last words
    _killed: set[str] = field(default_factory=set)
    _stack: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)

    @property
    def place(self) -> tuple[str, ...]:
        """Arguments of any command on this log."""
        return ("--kafka", self.bootstrap, "--kafka-prefix", self.prefix)

    def names(self) -> list[str]:
        """Of all programs."""
        return [PRODUCE, *(f"process-{number}" for number in range(self.processors))]

    def running(self) -> list[str]:
        """Those that could be killed or stopped now."""
        return [
            name
            for name, program in self.programs.items()
            if program.alive and name not in self.stopped
        ]

    @contextlib.asynccontextmanager
    async def supervised(self) -> AsyncIterator[Fleet]:
        """All are started; at the end whatever is left is killed."""
        with self._stack:
            for name in self.names():
                self.start(name)
            supervisor = asyncio.create_task(self._supervise())
            try:
                yield self
            finally:
                supervisor.cancel()
                await asyncio.wait([supervisor])
                for program in self.programs.values():
                    program.process.send_signal(signal.SIGCONT)

    def start(self, name: str) -> Program:
        """Start one of them (again)."""
        role, *arguments = self._arguments(name)
        program = self._stack.enter_context(
            started(role, *self.place, *arguments, cwd=self.folder, name=name)
        )
        self.programs[name] = program
        return program

    def _arguments(self, name: str) -> tuple[str, ...]:
        common = ("--upstream", self.upstream, "--poll", str(self.poll_seconds))
        if name == PRODUCE:
            return (PRODUCE, *common)
        return ("process", *common, "--settle", "0.3", *self.more)

    def said(self) -> str:
        """The last words of each so far."""
        return "\n".join(f"{name}: {one.text()[-1_000:]}" for name, one in self.programs.items())

    async def backfill(self) -> None:
        """Leave asks for everything upstream has."""
        arguments = ("backfill", *self.place, "--upstream", self.upstream, "--yes")
        ended = await asyncio.to_thread(command, *arguments, cwd=self.folder)
        assert ended.returncode == 0, ended.stderr

    def kill(self, name: str) -> float:
        """SIGKILL, also to one that is stopped; Unix seconds. The supervisor starts it again."""
        self._killed.add(name)
        self.stopped.discard(name)
        self.programs[name].process.kill()
        moment = time.time()
        self.programs[name].process.wait()
        return moment

    async def stop_for(self, name: str, seconds: float) -> None:
        """SIGSTOP, and SIGCONT later."""
        self.pause(name)
        await asyncio.sleep(seconds)
        self.resume(name)

    def pause(self, name: str) -> None:
        """SIGSTOP."""
        self.stopped.add(name)
        self.programs[name].process.send_signal(signal.SIGSTOP)

    def resume(self, name: str) -> None:
        """SIGCONT."""
        self.programs[name].process.send_signal(signal.SIGCONT)
        self.stopped.discard(name)

    async def _supervise(self) -> None:
        while True:
            for name, program in list(self.programs.items()):
                if program.alive:
                    continue
                if name in self._killed:
                    self._killed.discard(name)
                else:
                    said = program.text()[-2_000:]
                    self.fallen.append(f"{name} ended with {program.process.returncode}:\n{said}")
                await asyncio.sleep(RESTART_SECONDS)
                self.start(name)
            await asyncio.sleep(LOOK_SECONDS)
