"""The journal lives: by itself, and when told to."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator

import pytest

from tests.support.standin import Running, standin
from upstream.standin.changes import KINDS
from upstream.standin.living import Living

SILENT = {"vulnerability", "withdraw-vulnerability", "organization", "archive", "new-shape"}


@pytest.fixture(scope="module")
def site() -> Iterator[Running]:
    with standin(projects=300) as running:
        for kind in ("quarantine", "release-quarantine"):  # so that their opposites have a subject
            running.change(kind, "loopback-greeting" if kind.startswith("release") else None)
        yield running


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_each_kind_of_change(site: Running, kind: str) -> None:
    """It writes the rows it should, and the document has the serial of its newest own row."""
    before = site.control("serial")["serial"]
    made = site.change(kind)
    rows = site.control(f"journal?since={before}")
    truth = site.truth(made["project"])

    assert made["rows"] == rows
    assert (kind in SILENT) == (rows == [])
    assert made["serial"] == (rows[-1][4] if rows else truth["serial"])
    own = [row[4] for row in site.control("journal") if row[0] == truth["display_name"]]
    assert truth["serial"] == own[-1]
    if truth["document"] is not None and "last_serial" in truth["document"]:
        assert truth["serial"] == truth["document"]["last_serial"]
    reply = site.ask(f"/pypi/{made['project']}/json")
    assert reply.status == (200 if truth["document"] is not None else 404)


def test_a_release_is_several_rows_over_two_seconds() -> None:
    """`new release`, then a row per file; the document grows with each row."""
    with standin() as site:
        name = next(n for n in site.served_names() if not n.startswith("loopback"))
        before = site.control("serial")["serial"]
        began = time.monotonic()
        first = site.change("release", name, spread=1.0)
        serials = {first["last_serial"]}
        while len(site.control(f"journal?since={before}")) < 3:
            serials.add(site.truth(name)["serial"])
            time.sleep(0.02)
        took = time.monotonic() - began
        rows = site.control(f"journal?since={before}")
        serials.add(site.truth(name)["serial"])

        assert 1 == len(first["rows"])
        assert ["new release", "add source file", "add py3 file"] == [
            " ".join(row[3].split()[:3] if row[3].startswith("add") else row[3].split())
            for row in rows
        ]
        assert took > 1.2
        assert {rows[0][4], rows[-1][4]} <= serials <= {row[4] for row in rows}
        document = site.truth(name)["document"]
        assert rows[0][1] == document["info"]["version"]
        assert 2 == len(document["urls"])


def test_what_changes_write(site: Running) -> None:
    """The texts of the rows are the index's own."""
    texts = {
        kind: [row[3] for row in site.change(kind)["rows"]]
        for kind in ("yank", "unyank", "remove-project", "docdestroy", "non-ascii", "quarantine")
    }

    assert ["yank release"] == texts["yank"]
    assert ["unyank release"] == texts["unyank"]
    assert ["remove project"] == texts["remove-project"]
    assert ["docdestroy"] == texts["docdestroy"]
    assert ["project quarantined"] == texts["quarantine"]
    assert ["add Maintainer j&#252;rgen-&#26446;"] == texts["non-ascii"]


def test_recreated_under_another_spelling(site: Running) -> None:
    """The old display name's rows do not count any more; the normalised name is the same."""
    before = site.truth("loopback-wrapper")
    made = site.change("recreate", "loopback-wrapper")
    after = site.truth("loopback-wrapper")

    assert "loopback-wrapper" == made["project"]
    assert before["display_name"] != after["display_name"]
    assert "remove project" == made["rows"][0][3]
    assert before["display_name"] == made["rows"][0][0]
    assert "create" == made["rows"][1][3]
    assert {after["display_name"]} == {row[0] for row in made["rows"][1:]}
    assert after["display_name"] == after["document"]["info"]["name"]


def test_a_row_under_another_spelling_is_never_reached(site: Running) -> None:
    """`last_serial` stays below the row's serial."""
    made = site.change("other-spelling")

    assert made["last_serial"] < made["serial"]
    assert made["rows"][0][0] != made["display_name"]


def test_quarantine_hides_and_clearing_shows(site: Running) -> None:
    """404 and out of the index, then the same document with a newer serial."""
    accept = "application/vnd.pypi.simple.v1+json"
    before = site.truth("loopback-hello")["document"]
    site.change("quarantine", "loopback-hello")
    hidden = site.ask("/pypi/loopback-hello/json").status
    listed = {p["name"] for p in site.ask("/simple/", accept=accept).json()["projects"]}
    page = site.ask("/simple/loopback-hello/", accept=accept).json()
    site.change("unquarantine", "loopback-hello")
    after = site.truth("loopback-hello")["document"]

    assert 404 == hidden
    assert "loopback-hello" not in listed
    assert ("quarantined", []) == (page["project-status"]["status"], page["files"])
    assert before["releases"] == after["releases"]
    assert before["last_serial"] < after["last_serial"]


def test_archiving_shows_only_in_the_index(site: Running) -> None:
    """No row, the same document; the page's `project-status` says it."""
    name = site.change("archive")["project"]
    page = site.ask(f"/simple/{name}/", accept="application/vnd.pypi.simple.v1+json").json()

    assert "archived" == page["project-status"]["status"]


def test_unsuitable_changes_are_refused(site: Running) -> None:
    """An unknown kind or a project in the wrong state: 409 and a reason, no row."""
    before = site.control("serial")
    for body in (
        {"kind": "no-such-kind"},
        {"kind": "yank", "project": "never-heard-of"},
        {"kind": "create", "project": "loopback-greeting"},
    ):
        reply = site.ask("/_control/change", "POST", json.dumps(body).encode())
        assert 409 == reply.status
        assert reply.json()["error"]
    assert 400 == site.ask("/_control/change", "POST", b"[]").status
    assert 400 == site.ask("/_control/change", "POST", b"{").status
    assert before == site.control("serial")


def test_it_goes_on_by_itself_and_stops() -> None:
    """At about the rate that was set, changed while it runs."""
    with standin() as site:
        quiet = site.control("serial")["serial"]
        began = time.monotonic()
        site.control("rate", {"changes_per_second": 60})
        time.sleep(2.0)
        site.control("rate", {"changes_per_second": 0})
        took = time.monotonic() - began
        made = site.app.living.made
        rows = site.control(f"journal?since={quiet}")
        settled = None  # what was begun ends within 2 s, or a little later on a busy machine
        while settled != (settled := site.control("serial")):
            time.sleep(1.0)

        assert 20 <= made <= 100 * took
        assert len(rows) > 10
        assert made == site.app.living.made


def test_the_same_seed_makes_the_same_changes() -> None:
    """Kinds, projects, rows and documents, whatever the clock says."""
    histories = []
    for _ in range(2):
        with standin(projects=150, seed=11) as site:
            site.control("change", {"kind": None, "count": 400})
            rows = [[row[0], row[1], row[3], row[4]] for row in site.control("journal")]
            names = site.ask("/_control/truth?documents=0").body.splitlines()
            statuses = [(d["name"], d["serial"], d["status"]) for d in map(json.loads, names)]
            histories.append((rows, statuses))

    assert histories[0] == histories[1]
    assert len(histories[0][0]) > 450 + 400


def test_truth_holds_after_many_changes() -> None:
    """After 1 500 changes every document is settled, unique by name, and has its own serial."""
    with standin(projects=150, seed=2) as site:
        site.control("change", {"kind": None, "count": 1500})
        newest = {row[0]: row[4] for row in site.control("journal")}
        statuses = set()
        for line in site.ask("/_control/truth").body.splitlines():
            truth = json.loads(line)
            statuses.add(truth["status"])
            document = truth["document"]
            assert truth["serial"] == newest[truth["display_name"]]
            if document is not None:
                assert document["urls"] == document["releases"][document["info"]["version"]]
                assert document.get("last_serial", truth["serial"]) == truth["serial"]
                assert document["info"]["name"] == truth["display_name"]
        assert {"ok", "no-releases", "removed", "quarantined"} <= statuses
        assert "none" == site.truth("never-heard-of")["status"]


def test_kinds_can_be_listed(site: Running) -> None:
    """A harness can go through all of them."""
    listed = site.control("change/kinds")

    assert set(KINDS) == {kind["kind"] for kind in listed}
    assert all(kind["description"] for kind in listed)


def test_pending_rows_wait_for_the_clock() -> None:
    """The rest of an upload is made when the clock has come that far, not before."""
    from upstream.standin.app import build_app
    from upstream.standin.settings import StandinSettings

    now = [1_800_000_000.0]
    app = build_app(StandinSettings(projects=50, sizes="small"), clock=lambda: now[0])
    living = Living(app.world, 0.0)
    change = living.change("release", None, spread=1.0)
    counts = []
    for _ in range(4):
        living.catch_up()
        counts.append(len(change.rows))
        now[0] += 0.9
    app.close()

    assert [1, 2, 3, 3] == counts


@pytest.mark.timeout(600)
def test_as_a_process_of_its_own() -> None:
    """It says where it listens, answers at once, and ends cleanly on SIGTERM."""
    command = [sys.executable, "-m", "upstream.standin", "--projects", "300", "--sizes", "small"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        url = line.split()[-1]
        with urllib.request.urlopen(f"{url}/pypi/loopback-hello/json") as reply:
            status = reply.status
        process.terminate()

        assert line.startswith("listening on http://127.0.0.1:")
        assert 200 == status
        assert 0 == process.wait(60)
        taken = subprocess.run(
            [*command, "--host", "203.0.113.1"], capture_output=True, text=True, check=False
        )
        assert 1 == taken.returncode
        assert "cannot start" in taken.stderr
