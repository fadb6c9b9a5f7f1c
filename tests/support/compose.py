"""The checkout's compose.yaml, brought up under a name and on ports of its own, and thrown away."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support.published import Truth, read_dump, truths
from tests.support.standin import Site
from tests.support.tools import missing, needs
from tests.support.truth import Judge, Wrong

ROOT = Path(__file__).parents[2]
UP_SECONDS_MAX = 360.0  # with the build, on a machine without its layers
COMMAND_SECONDS_MAX = 90.0  # three brokers that stop one after the other take a minute
LOOK_SECONDS = 1.0
LOG_LINES = 15  # of each service, when something fails
DATA = "sink-dump"  # a service that has the data directory with dump and DuckDB file
QUICK = {
    "PYPISTREAM_IMAGE": "pypistream-test",
    "PYPISTREAM_STANDIN_CHANGES": "0",
    "PYPISTREAM_RATE": "0",
    "PYPISTREAM_POLL": "1",
    "PYPISTREAM_SETTLE": "0",
    "PYPISTREAM_SNAPSHOT_EVERY": "2",
    "PYPISTREAM_DUMP_EVERY": "2",
}


@dataclass(frozen=True)
class Stack:
    """A Compose project that is up. `up_seconds`: how long that took, with the build."""

    docker: str
    project: str
    profile: str
    environment: dict[str, str]
    scratch: Path
    times: dict[str, float] = field(default_factory=dict)

    @property
    def site(self) -> Site:
        """Its stand-in, as seen from this machine."""
        return Site(f"http://127.0.0.1:{self.environment['PYPISTREAM_STANDIN_PORT']}")

    @property
    def service(self) -> Site:
        """Its HTTP service, likewise."""
        return Site(f"http://127.0.0.1:{self.environment['PYPISTREAM_HTTP_PORT']}")

    def compose(self, *arguments: str, seconds_max: float = COMMAND_SECONDS_MAX) -> str:
        """What `docker compose …` prints; fails with what it says if it fails."""
        done = self.attempt(*arguments, seconds_max=seconds_max)
        assert done.returncode == 0, f"{arguments}: {done.stderr[-2000:]}"
        return done.stdout

    def attempt(
        self, *arguments: str, seconds_max: float = COMMAND_SECONDS_MAX
    ) -> subprocess.CompletedProcess[str]:
        """The same, whatever its end."""
        profile = ("--profile", self.profile) if self.profile else ()
        return subprocess.run(
            [self.docker, "compose", "-p", self.project, *profile, *arguments],
            cwd=ROOT,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=seconds_max,
            check=False,
        )

    def pypistream(self, service: str, *arguments: str) -> str:
        """Output of a command typed into a container that runs already."""
        return self.compose("exec", "-T", service, "pypistream", *arguments)

    def containers(self) -> list[dict[str, Any]]:
        """Every container of the project, ended ones too, as Compose describes them."""
        lines = self.compose("ps", "--all", "--format", "json").splitlines()
        return [json.loads(line) for line in lines]

    def truth(self) -> dict[str, Truth]:
        """What is true of every name upstream now."""
        return truths(self.site.ask("/_control/truth").body)

    def wrong(self, judge: Judge) -> Wrong:
        """By name, what dump or DuckDB file do not show as it is; {} = all is published."""
        data = self.scratch / "data"
        shutil.rmtree(data, ignore_errors=True)
        data.mkdir()
        for name in ("dumps", "pypi.duckdb"):
            copied = self.attempt("cp", f"{DATA}:/data/{name}", str(data / name))
            if copied.returncode != 0:
                return {name: f"not published: {copied.stderr}"}
        try:
            dump = read_dump(data)
        except (AssertionError, FileNotFoundError) as error:
            return {"dump": f"replaced while it was copied: {error}"}
        return {**judge.dump(dump), **judge.snapshot(data / "pypi.duckdb")}

    def until_published(self, what: str, seconds_max: float) -> None:
        """Wait until all that is true upstream now is in dump and DuckDB file, and nothing else."""
        judge = Judge(self.truth())
        self.until(lambda: self.wrong(judge), what, seconds_max)

    def until(self, lacking: Callable[[], object], what: str, seconds_max: float) -> None:
        """Wait until nothing is lacking; fails with what is, and with what the services say."""
        begun = time.monotonic()
        while found := lacking():
            passed = time.monotonic() - begun
            assert passed < seconds_max, f"{what}: {str(found)[:2000]}\n{self.said()}"
            time.sleep(LOOK_SECONDS)
        self.times[what] = time.monotonic() - begun

    def said(self) -> str:
        """The last lines of every service, and how it is."""
        states = self.attempt("ps", "--all").stdout
        ours = [each["Service"] for each in self.containers() if "kafka" not in each["Service"]]
        return states + self.attempt("logs", "--tail", str(LOG_LINES), *ours).stdout

    def left(self) -> str:
        """Names of what the project still has: containers, volumes, networks; "" for nothing."""
        mine = ("--filter", f"label=com.docker.compose.project={self.project}", "--format")
        kinds = (("ps", "--all", *mine, "{{.Names}}"), ("volume", "ls", *mine, "{{.Name}}"),
                 ("network", "ls", *mine, "{{.Name}}"))  # fmt: skip
        return "".join(
            subprocess.run([self.docker, *kind], capture_output=True, text=True, check=True).stdout
            for kind in kinds
        )


@contextlib.contextmanager
def stack(scratch: Path, *, projects: int, profile: str = "") -> Iterator[Stack]:
    """`docker compose up` of the checkout as it is; afterwards only the image is left."""
    docker = needs("docker")
    if subprocess.run([docker, "compose", "version"], capture_output=True, check=False).returncode:
        missing("docker compose")
    it = Stack(
        docker,
        f"pypistream-test-{secrets.token_hex(4)}",
        profile,
        {
            # Nothing of what a developer has set for a stack of their own.
            **{
                k: v for k, v in os.environ.items() if not k.startswith(("PYPISTREAM_", "COMPOSE_"))
            },
            **QUICK,
            "PYPISTREAM_STANDIN_PROJECTS": str(projects),
            "PYPISTREAM_STANDIN_PORT": str(_free_port()),
            "PYPISTREAM_HTTP_PORT": str(_free_port()),
            "PYPISTREAM_KAFKA_PORTS": _free_ports(),
        },
        scratch,
    )
    begun = time.monotonic()
    try:
        done = it.attempt("up", "--detach", "--build", seconds_max=UP_SECONDS_MAX)
        assert done.returncode == 0, f"{done.stderr[-4000:]}\n{it.said()}"
        it.times["up, with the build"] = time.monotonic() - begun
        yield it
    finally:
        it.attempt("down", "--volumes", "--timeout", "5")


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def _free_ports() -> str:
    """Four digits after which 1, 2 and 3 give free ports."""
    while True:
        digits = str(secrets.randbelow(2_000) + 1_100)  # below the ports that are handed out
        with contextlib.ExitStack() as held:
            try:
                for last in "123":
                    listener = held.enter_context(socket.socket())
                    listener.bind(("127.0.0.1", int(digits + last)))
            except OSError:
                continue
            return digits
