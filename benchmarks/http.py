"""The HTTP service under load: `python -m benchmarks.http [--projects N] [--seconds S] [--json]`.

A log is filled with documents of the stand-in, which have the sizes of real ones; `pypistream
serve` reads it into its view; wrk asks for names drawn at random over 64 connections, on the same
machine. In turns with it nginx serves the same bytes as files. All has been read once before, for
both: at PyPI's size 17 GB of page cache, with less the disk is measured. Needs wrk and nginx
(Debian: wrk, nginx-light). What is served: `benchmarks.http_world`.

view       reading the log into an empty view; not measured where it was there
documents  `/pypi/<name>/json`, ours and nginx's, and their share
resolver   `/v1/query` for one environment
memory     of the serving process: resident, and what of that is no file's

PROJECTS=n sets the number of projects; 886000 is PyPI. WORLD=FOLDER (or --world) keeps what is
served for the next time: filling and reading it is most of the time. --fill does only that.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import os
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil

from benchmarks.http_world import filled

PROJECTS = int(os.environ.get("PROJECTS", "886000"))
SECONDS, WARM_SECONDS, TURNS = 10, 3, 3
CONNECTIONS = 64
GOALS = {"documents": 15_000, "share": 0.4, "p99_ms": 20, "resolver": 2_000, "resident_mib": 600}
START_SECONDS_MAX = 7_200.0
MIB = 2**20
Server = tuple[psutil.Process, int]
"""A server and its port."""
DOCUMENT, QUERY = "/pypi/%s/json", "/v1/query?project=%s&python=3.12&platform=manylinux_2_28_x86_64"

LUA = """
local requests, count = {}, 0
function init(args)  -- wrk knows the Host by now
  for name in io.lines("%s") do
    count = count + 1
    requests[count] = wrk.format("GET", string.format("%s", name))
  end
  math.randomseed(7)
end
function request() return requests[math.random(count)] end
function done(summary, latency)
  local errors = summary.errors
  local bad = errors.status + errors.connect + errors.read + errors.timeout
  local p50, p99 = latency:percentile(50), latency:percentile(99)
  io.write(string.format("RESULT [%%d, %%d, %%d, %%d, %%d]\\n",
    summary.requests, summary.duration, p50, p99, bad))
end
"""
NGINX = """
daemon off; pid %(folder)s/nginx.pid; error_log stderr error; worker_processes auto;
events { worker_connections 1024; }
http {
  access_log off; sendfile on; tcp_nopush on; keepalive_requests 1000000000; keepalive_timeout 60;
  default_type application/json;
  client_body_temp_path %(folder)s/t1; proxy_temp_path %(folder)s/t2;
  fastcgi_temp_path %(folder)s/t3; uwsgi_temp_path %(folder)s/t4; scgi_temp_path %(folder)s/t5;
  server {
    listen 127.0.0.1:%(port)d;
    location ~ ^/pypi/(...)([^/]*)/json$ { alias %(folder)s/files/$1/$2; }
  }
}
"""


def free_port() -> int:
    """One that nobody has just now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def told(port: int) -> dict[str, Any]:
    """`/v1/status`; {} if nobody answers."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    with contextlib.closing(connection):
        try:
            connection.request("GET", "/v1/status")
            found: dict[str, Any] = json.loads(connection.getresponse().read())
        except OSError:
            return {}
    return found


@contextlib.contextmanager
def running(*command: str) -> Iterator[psutil.Process]:
    """A program for as long as the block."""
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        try:
            yield psutil.Process(process.pid)
        finally:
            process.terminate()


def until_served(process: psutil.Process, port: int, projects: int) -> float:
    """Seconds until that many are served, from now."""
    begun = time.monotonic()
    while told(port).get("projects") != projects:
        assert process.status() != psutil.STATUS_ZOMBIE, "the service has ended"
        assert time.monotonic() - begun < START_SECONDS_MAX
        time.sleep(0.2)
    return time.monotonic() - begun


def load(
    folder: Path, server: psutil.Process, port: int, path: str, seconds: int
) -> dict[str, float]:
    """One run of wrk, and what of the CPU the server took for it."""
    script = folder / "load.lua"
    script.write_text(LUA % (folder / "names", path))
    program = ("wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "--latency", "-s", str(script))
    before = cpu_seconds(server)
    found = subprocess.run(
        [*program, f"http://127.0.0.1:{port}"], capture_output=True, text=True, check=True
    ).stdout
    [line] = re.findall(r"^RESULT (.*)$", found, re.MULTILINE)
    requests, duration_us, p50_us, p99_us, bad = json.loads(line)
    assert not bad, found
    return {
        "per_second": round(requests / duration_us * 1e6),
        "p50_ms": p50_us / 1000,
        "p99_ms": p99_us / 1000,
        "cpu_us": round((cpu_seconds(server) - before) / requests * 1e6, 1),
    }


def cpu_seconds(server: psutil.Process) -> float:
    """Of it and of what it has started."""
    times = [one.cpu_times() for one in (server, *server.children(recursive=True))]
    return float(sum(each.user + each.system for each in times))


def middle(runs: list[dict[str, float]]) -> dict[str, float]:
    """The run with the median rate."""
    return sorted(runs, key=lambda run: run["per_second"])[len(runs) // 2]


def memory(process: psutil.Process) -> dict[str, float]:
    """Resident memory, and what of it is this process's alone."""
    full = process.memory_full_info()
    return {"resident_mib": round(full.rss / MIB), "unique_mib": round(full.uss / MIB)}


@contextlib.contextmanager
def place_of(world: str) -> Iterator[Path]:
    """The folder that is kept, or one that is gone afterwards."""
    if world:
        yield Path(world).absolute()
        return
    with tempfile.TemporaryDirectory(prefix="pypistream-http-") as place:
        yield Path(place)


@contextlib.contextmanager
def serving(folder: Path, published: int) -> Iterator[tuple[Server, float | None]]:
    """The service once it serves all; seconds that it read for, None if its view was there."""
    view, port = folder / "data" / "state" / "serving.sqlite", free_port()
    fresh = not view.exists()
    serve = ("serve", "--data", str(folder / "data"), "--http", f"127.0.0.1:{port}")
    with running(sys.executable, "-m", "pypistream", *serve) as service:
        took = until_served(service, port, published)
        yield (service, port), took if fresh else None


def measure(folder: Path, projects: int, seconds: int, *, fill: bool = False) -> dict[str, Any]:
    """All of it; with `fill` only what is served, and its view."""
    begun = time.monotonic()
    published = filled(folder, projects)
    result: dict[str, Any] = {
        "projects": published,
        "fill_seconds": round(time.monotonic() - begun, 1),
    }
    theirs = free_port()
    (folder / "nginx.conf").write_text(NGINX % {"folder": folder, "port": theirs})
    with serving(folder, published) as (ours, took):
        result["view"] = {
            "projects_per_second": took and round(published / took),
            "bytes_per_project": round(_view_bytes(folder) / published),
        }
        if fill:
            return result
        with running(shutil.which("nginx") or "nginx", "-c", str(folder / "nginx.conf")) as nginx:
            result["warm_seconds"] = round(warm(folder), 1)
            result["memory_before"] = memory(ours[0])
            result |= _loads(folder, ours, (nginx, theirs), seconds)
            result["memory"] = memory(ours[0])
    return result


def warm(folder: Path) -> float:
    """Read once all that is served, both ways; seconds. Else it is the disk that is measured."""
    begun = time.monotonic()
    view = (folder / "data" / "state").glob("serving.sqlite*")
    for path in (*view, *(folder / "files").glob("*/*")):
        with path.open("rb", buffering=0) as file:
            while file.read(MIB):
                pass
    return time.monotonic() - begun


def _view_bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in (folder / "data/state").glob("serving.sqlite*"))


def _loads(folder: Path, ours: Server, theirs: Server, seconds: int) -> dict[str, Any]:
    for server in (ours, theirs):
        load(folder, *server, DOCUMENT, WARM_SECONDS)
    runs: dict[str, list[dict[str, float]]] = {"ours": [], "nginx": []}
    for _ in range(TURNS):
        runs["nginx"].append(load(folder, *theirs, DOCUMENT, seconds))
        runs["ours"].append(load(folder, *ours, DOCUMENT, seconds))
    shares = [
        mine["per_second"] / other["per_second"]
        for mine, other in zip(runs["ours"], runs["nginx"], strict=True)
    ]
    load(folder, *ours, QUERY, WARM_SECONDS)
    return {
        "documents": middle(runs["ours"]),
        "nginx": middle(runs["nginx"]),
        "share": round(statistics.median(shares), 3),
        "resolver": middle([load(folder, *ours, QUERY, seconds) for _ in range(TURNS)]),
    }


def missed(result: dict[str, Any]) -> list[str]:
    """Goals that were not reached."""
    found = {
        "documents": result["documents"]["per_second"] >= GOALS["documents"],
        "share": result["share"] >= GOALS["share"],
        "p99_ms": result["documents"]["p99_ms"] < GOALS["p99_ms"],
        "resolver": result["resolver"]["per_second"] >= GOALS["resolver"],
        "resident_mib": result["memory"]["resident_mib"] < GOALS["resident_mib"],
    }
    return [f"{name}: the goal is {GOALS[name]}" for name, reached in found.items() if not reached]


def main() -> int:
    """Measure; exit 1 if a goal is missed."""
    parser = argparse.ArgumentParser(prog="benchmarks.http", description=__doc__)
    parser.add_argument("--projects", type=int, default=PROJECTS)
    parser.add_argument("--seconds", type=int, default=SECONDS)
    parser.add_argument("--world", default=os.environ.get("WORLD", ""), help="a folder to keep")
    parser.add_argument("--fill", action="store_true", help="only make what is served")
    parser.add_argument("--json", action="store_true", help="one object, whatever it says")
    given = parser.parse_args()
    for tool in ("wrk", "nginx"):
        if shutil.which(tool) is None:
            sys.exit(f"benchmarks.http needs {tool} (Debian: apt-get install wrk nginx-light)")
    with place_of(given.world) as folder:
        result = measure(folder, given.projects, given.seconds, fill=given.fill)
    print(json.dumps(result) if given.json else json.dumps(result, indent=1))
    lacks = [] if given.fill else missed(result)
    for text in lacks:
        print(text, file=sys.stderr)
    return 0 if given.json or not lacks else 1


if __name__ == "__main__":
    sys.exit(main())
