"""The demo: a stand-in for PyPI in a process of its own, and a `run` on it with short periods."""

from __future__ import annotations

import asyncio
import shlex
import shutil
import socket
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from pypistream.children.listening import DEFAULT_HTTP, address_now, address_of, bound
from pypistream.data_dir import DataDir
from pypistream.run.running import Plan, run_plan
from pypistream.settings import Settings
from pypistream.stopping import end_child, run_until_stopped
from schemas.errors import Fatal, UsageError

START_SECONDS = 30.0  # for the stand-in's corpus on a slow machine; 1 s is usual
STOP_SECONDS = 5.0
QUERY = "select name, version, summary from projects order by serial desc limit 5"


def demo(given: Mapping[str, object]) -> int:
    """Run until Ctrl-C; the exit code. A data directory of its own is removed at the end.

    Raises UsageError for a directory with a log: synthetic changes have no business in a real one,
    and the stand-in of another demo would begin at an earlier serial.
    """
    named = given.get("data")
    if named and _has_log(DataDir(Path(str(named)))):
        raise UsageError(
            f"{named} holds a log already, and a demo starts a new one",
            hint="name another --data, or none for a temporary directory",
        )
    data = (
        Path(str(named)).absolute() if named else Path(tempfile.mkdtemp(prefix="pypistream-demo-"))
    )
    try:
        return run_until_stopped(_demo(data, given))  # later `run` handles signals
    finally:
        if not named:
            shutil.rmtree(data, ignore_errors=True)
            with suppress(OSError):  # the terminal may have been closed
                sys.stderr.write(f"removed {data}\n")


def _has_log(data: DataDir) -> bool:
    return data.log.exists() or bool(data.stored().get("kafka"))


async def _demo(data: Path, given: Mapping[str, object]) -> int:
    listener = _listener(given)
    host, port = address_now(listener)
    http = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    sys.stderr.write("starting a stand-in for PyPI: nothing leaves this machine\n")
    with listener:
        return await _on_a_standin(data, given, http, listener)


async def _on_a_standin(
    data: Path, given: Mapping[str, object], http: str, listener: socket.socket
) -> int:
    async with _standin(given) as url:
        settings = Settings(
            data=data,
            upstream=url,
            rate=0,
            poll=1,
            settle=1,
            snapshot_every=5,
            dump_every=5,
            tables_every=30,
            http=http,
            sql=True,  # the data is made up, and the page can show everything
        )
        notes, kept = _notes(data, http), bool(given.get("data"))
        return await run_plan(
            Plan(settings, backfill=True, notes=notes, kept=kept, listener=listener)
        )


def _listener(given: Mapping[str, object]) -> socket.socket:
    """A bound socket: at the address given, else at the usual port or, if taken, at any free one.

    Raises UsageError.
    """
    if given.get("http") is not None:
        return bound(address_of(str(given["http"])))
    usual = address_of(DEFAULT_HTTP)
    try:
        return bound(usual)
    except UsageError:
        return bound(usual._replace(port=0))


def _notes(data: Path, http: str) -> list[str]:
    place, program = shlex.quote(str(data)), _program()
    return [
        "paste into another terminal while this runs; Ctrl-C ends it:",
        f"  {program} follow --data {place} -c 3",
        f"  {program} query --data {place} '{QUERY}'",
        f"  zstd -dc {place}/dumps/packages.jsonl.zst | head -n 1",
        *_web_notes(http),
        "",
    ]


def _web_notes(http: str) -> list[str]:
    address = address_of(http) if http else None
    if address is None or not address.port:
        return []
    return [
        f"in a browser: {address.url()}/",
        f"over HTTP, what changes, live: curl -N {address.url()}/v1/stream/changes",
    ]


def _program() -> str:
    """How to start this very program from another shell, in any directory."""
    started = Path(sys.argv[0]).absolute()
    if started.name != "pypistream":
        return f"{shlex.quote(sys.executable)} -m pypistream"
    found = shutil.which("pypistream")
    same = found is not None and Path(found).resolve() == started.resolve()
    return "pypistream" if same else shlex.quote(str(started))


@asynccontextmanager
async def _standin(given: Mapping[str, object]) -> AsyncIterator[str]:
    """URL of a stand-in that lives as long as the block."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "upstream.standin",
        "--port",
        "0",
        "--sizes",
        "small",
        "--projects",
        str(given["projects"]),
        "--changes-per-second",
        str(given["changes_per_second"]),
        "--attached",  # a second Ctrl-C or kill -9 of this process must not leave it behind
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        start_new_session=True,  # Ctrl-C is ours; the stand-in ends after the pipeline
    )
    try:
        yield await _listening(process)
    finally:
        if process.returncode is None:
            process.terminate()
            await end_child(process, STOP_SECONDS)


async def _listening(process: asyncio.subprocess.Process) -> str:
    if process.stdout is None:
        raise AssertionError("stdout is a pipe")
    try:
        async with asyncio.timeout(START_SECONDS):
            line = (await process.stdout.readline()).decode()
    except TimeoutError:
        line = ""
    prefix = "listening on "
    if not line.startswith(prefix):
        raise Fatal("the stand-in for PyPI did not start", hint="`pypistream upstream` shows why")
    return line.removeprefix(prefix).strip()
