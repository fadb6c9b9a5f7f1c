"""A stand-in for the index, in a thread of the test or beside it, and plain ways to talk to it."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from upstream.standin.app import Standin, build_app
from upstream.standin.server import serve_app
from upstream.standin.settings import StandinSettings

SECONDS_MAX = 60.0  # nothing takes as long on a busy machine; a hang is a failure, no stuck run


@dataclass
class Hand:
    """A clock that all but stands still until a test moves it."""

    seconds: float = 0.0

    def __call__(self) -> float:
        self.seconds += 1e-5  # nothing happens at the very same moment
        return self.seconds

    def on(self, seconds: float) -> None:
        """Let so much time pass."""
        self.seconds += seconds


@dataclass(frozen=True)
class Reply:
    """A whole answer. `headers` by lower-case name."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True)
class Site:
    """A stand-in that answers at `url`, wherever it runs."""

    url: str

    @property
    def address(self) -> tuple[str, int]:
        parts = urlsplit(self.url)
        return parts.hostname or "", parts.port or 0

    def ask(
        self, path: str, method: str = "GET", body: bytes | None = None, **headers: str
    ) -> Reply:
        """One request on a connection of its own, nothing decoded. `_` in header names is `-`."""
        connection = http.client.HTTPConnection(*self.address, timeout=SECONDS_MAX)
        with contextlib.closing(connection):
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request(method, path, body, named)
            answer = connection.getresponse()
            found = {name.lower(): value for name, value in answer.getheaders()}
            return Reply(answer.status, found, answer.read())

    def control(self, path: str, body: Any = None, method: str | None = None) -> Any:
        """JSON of a control route; POST if there is a body."""
        reply = self.ask_control(path, body, method)
        assert reply.status == 200, reply.body
        return reply.json()

    def ask_control(self, path: str, body: Any = None, method: str | None = None) -> Reply:
        """The same, whatever its status: 409 for a change that suits no project."""
        data = None if body is None else json.dumps(body).encode()
        return self.ask(f"/_control/{path}", method or ("GET" if data is None else "POST"), data)

    def fault(self, kind: str, **parameters: Any) -> int:
        """Switch a fault on; its id."""
        number: int = self.control("faults", {"kind": kind, **parameters})["id"]
        return number

    def heal(self) -> None:
        """Switch all faults off."""
        self.control("faults", method="DELETE")

    def change(self, kind: str, project: str | None = None, **parameters: Any) -> dict[str, Any]:
        """Make a change now."""
        made: dict[str, Any] = self.control(
            "change", {"kind": kind, "project": project, **parameters}
        )
        return made

    def truth(self, name: str) -> dict[str, Any]:
        """What is true of a name."""
        found: dict[str, Any] = json.loads(self.ask(f"/_control/truth?name={name}").body)
        return found

    def served_names(self) -> list[str]:
        """Normalised names of all projects that have a document now."""
        lines = self.ask("/_control/truth?documents=0").body.splitlines()
        known = (json.loads(line) for line in lines)
        return [line["name"] for line in known if line["status"] == "ok"]

    def raw(self, path: str, **headers: str) -> bytes:
        """Everything that comes back until the connection ends, as bytes; b"" for a reset."""
        lines = [f"GET {path} HTTP/1.1", "host: x", "connection: close"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        with socket.create_connection(self.address, timeout=SECONDS_MAX) as connection:
            connection.sendall("\r\n".join([*lines, "", ""]).encode())
            parts: list[bytes] = []
            while True:
                try:
                    part = connection.recv(1 << 16)
                except ConnectionResetError:
                    return b"RESET" + b"".join(parts)
                if not part:
                    return b"".join(parts)
                parts.append(part)


@dataclass(frozen=True)
class Running(Site):
    """A stand-in in a thread of the test. `hand`: its time, if that is the test's to move."""

    app: Standin
    hand: Hand


@contextlib.contextmanager
def standin(
    settings: StandinSettings | None = None, *, by_hand: bool = False, **changed: Any
) -> Iterator[Running]:
    """Run a stand-in of 200 small projects (or of these settings) on a free port.

    `by_hand`: time passes for it as the test says, and only so.
    """
    wanted = settings or StandinSettings(**{"projects": 200, "sizes": "small", **changed})
    hand = Hand(time.time())
    app = build_app(wanted, clock=hand, monotonic=hand) if by_hand else build_app(wanted)
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.bind(("127.0.0.1", 0))
    ready = threading.Event()
    address: list[str] = []
    loop = asyncio.new_event_loop()

    def say(url: str) -> None:
        address.append(url)
        ready.set()

    task = loop.create_task(serve_app(app, listener, ready=say))

    def run() -> None:
        with contextlib.suppress(asyncio.CancelledError):
            loop.run_until_complete(task)

    thread = threading.Thread(target=run, name="standin")
    thread.start()
    try:
        assert ready.wait(SECONDS_MAX), "the stand-in did not start"
        yield Running(address[0], app, hand)
    finally:
        loop.call_soon_threadsafe(task.cancel)
        thread.join(SECONDS_MAX)
        loop.close()
        listener.close()
        app.close()


@contextlib.contextmanager
def standin_process(projects: int, seed: int) -> Iterator[Site]:
    """Run a stand-in with small documents in a process of its own: it keeps time by itself."""
    options = (f"--projects={projects}", f"--seed={seed}", "--sizes=small", "--port=0")
    with subprocess.Popen(
        [sys.executable, "-m", "upstream.standin", *options], stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            line = process.stdout.readline() if process.stdout is not None else ""
            assert line.startswith("listening on "), "the stand-in did not start"
            yield Site(line.split()[-1])
        finally:
            process.kill()  # hanging answers are its work: nobody waits for them
