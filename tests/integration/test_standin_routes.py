"""The stand-in answers as the index does, to Python's own clients and to pip."""

from __future__ import annotations

import email
import gzip
import hashlib
import json
import re
import subprocess
import sys
import time
import xmlrpc.client
from collections.abc import Iterator
from importlib import resources
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from packaging.utils import canonicalize_name

from tests.support.standin import Running, standin

JSON_INDEX = "application/vnd.pypi.simple.v1+json"
HELLO = "/pypi/loopback-hello/json"


@pytest.fixture(scope="module")
def site() -> Iterator[Running]:
    with standin(projects=400) as running:
        yield running


def proxy_of(site: Running) -> Any:
    return xmlrpc.client.ServerProxy(f"{site.url}/pypi", allow_none=True)


@pytest.fixture
def rpc(site: Running) -> Iterator[Any]:
    with proxy_of(site) as proxy:
        yield proxy


def test_last_serial_and_rows_by_pythons_own_client(site: Running, rpc: Any) -> None:
    """Rows are five values, strictly above `since`, rising; a null version is nil."""
    last = rpc.changelog_last_serial()
    rows = rpc.changelog_since_serial(0)
    assert isinstance(rows, list)
    some = rows[100][4]
    later = rpc.changelog_since_serial(some)

    assert last == site.control("serial")["serial"] == rows[-1][4]
    assert all(
        [type(cell) for cell in row]
        in ([str, str, int, str, int], [str, type(None), int, str, int])
        for row in rows
    )
    assert sorted(row[4] for row in rows) == [row[4] for row in rows]
    assert rows[101:] == later
    assert [] == rpc.changelog_since_serial(last)
    assert any(row[1] is None for row in rows)
    assert any(b[4] - a[4] > 1 for a, b in pairwise(rows))
    assert any(b[2] < a[2] for a, b in pairwise(rows)) or len(rows) < 5000


def test_map_of_serials(site: Running, rpc: Any) -> None:
    """`list_packages_with_serial` has every name that exists, quarantined and empty ones too."""
    found = rpc.list_packages_with_serial()
    assert isinstance(found, dict)
    lines = site.ask("/_control/truth?documents=0").body.splitlines()
    known = [json.loads(line) for line in lines]

    assert {
        line["display_name"]: line["serial"] for line in known if line["status"] != "removed"
    } == found


def test_roles_users_and_browse(site: Running, rpc: Any) -> None:
    """The three other living methods agree with each other and with the documents."""
    roles = rpc.package_roles("Loopback.Hello")
    assert isinstance(roles, list)
    document = site.truth("loopback-hello")["document"]
    browsed = rpc.browse(["Typing :: Typed", "Topic :: Utilities"])
    assert isinstance(browsed, list)

    assert [{"role": role, "user": user} for role, user in roles] == document["ownership"]["roles"]
    assert ["Owner", "loopback-hello"] in rpc.user_packages(roles[0][1])
    assert [] == rpc.package_roles("no-such-name")
    assert [] == rpc.browse(["No :: Such Classifier"])
    for name, version in browsed:
        info = site.truth(name.lower().replace("_", "-").replace(".", "-").replace("--", "-"))
        assert {"Typing :: Typed", "Topic :: Utilities"} <= set(
            info["document"]["info"]["classifiers"]
        )
        assert version == info["document"]["info"]["version"]


@pytest.mark.parametrize(
    "method",
    [
        "changelog",
        "list_packages",
        "package_releases",
        "release_urls",
        "release_data",
        "package_data",
        "package_urls",
        "top_packages",
        "search",
        "updated_releases",
        "changed_packages",
    ],
)
def test_dead_methods_say_so(rpc: Any, method: str) -> None:
    """Each answers a fault that names the method."""
    with pytest.raises(xmlrpc.client.Fault, match=f"no longer supports the XMLRPC {method}"):
        getattr(rpc, method)()


def test_rpc_errors_are_faults(site: Running, rpc: Any) -> None:
    """An unknown method, wrong arguments, broken XML and entities: a fault each, never a 500."""
    with pytest.raises(xmlrpc.client.Fault, match="not found"):
        rpc.no_such_method()
    with pytest.raises(xmlrpc.client.Fault, match="invalid method parameters"):
        rpc.changelog_since_serial()
    with pytest.raises(xmlrpc.client.Fault, match="invalid method parameters"):
        rpc.changelog_since_serial("a", "b")
    for body in (b"<methodCall>", b"", b"\xff\xfe", b'<!DOCTYPE x [<!ENTITY a "b">]><methodCall/>'):
        reply = site.ask("/pypi", "POST", body)
        assert (200, True) == (reply.status, b"<fault>" in reply.body)
    assert 405 == site.ask("/pypi").status
    assert 413 == site.ask("/pypi", "POST", b"x" * (1 << 20) + b"x").status


@pytest.mark.timeout(600)
def test_fifty_thousand_rows_a_call() -> None:
    """A call answers at most 50 000 rows; asking on from the last one gets the rest."""
    with standin(projects=17_000, seed=5) as site:
        with proxy_of(site) as rpc:
            first = rpc.changelog_since_serial(0)
            assert isinstance(first, list)
            second = rpc.changelog_since_serial(first[-1][4])
            assert isinstance(second, list)
        every = site.control("journal")

        assert 50_000 == len(first)
        assert 1_000 == len(second)
        assert every == [*first, *second]


def test_document_headers_and_304(site: Running) -> None:
    """ETag, serial in header and body, cache time; 304 without a body to one who has it."""
    reply = site.ask(HELLO)
    again = site.ask(HELLO, if_none_match=reply.headers["etag"])
    other = site.ask(HELLO, if_none_match='"another"')

    assert 200 == reply.status == other.status
    assert "application/json" == reply.headers["content-type"]
    assert "max-age=900, public" == reply.headers["cache-control"]
    assert str(reply.json()["last_serial"]) == reply.headers["x-pypi-last-serial"]
    assert site.truth("loopback-hello")["document"] == reply.json()
    assert (304, b"") == (again.status, again.body)
    assert reply.headers["etag"] == again.headers["etag"]
    assert again.headers["x-pypi-last-serial"] == reply.headers["x-pypi-last-serial"]


def test_gzip_only_if_accepted(site: Running) -> None:
    """The same body either way."""
    packed = site.ask(HELLO, accept_encoding="gzip, deflate")
    plain = site.ask(HELLO, accept_encoding="identity")

    assert "gzip" == packed.headers["content-encoding"]
    assert "content-encoding" not in plain.headers
    assert gzip.decompress(packed.body) == plain.body
    assert packed.headers["etag"] == plain.headers["etag"]
    assert int(packed.headers["content-length"]) == len(packed.body)


def test_every_document_is_the_truth(site: Running) -> None:
    """What JSON serves is what the truth says, for every name; without a document it is 404."""
    for line in site.ask("/_control/truth").body.splitlines():
        truth = json.loads(line)
        reply = site.ask(f"/pypi/{truth['name']}/json")
        if truth["document"] is None:
            assert truth["status"] in {"no-releases", "quarantined", "removed"}
            assert (404, {"message": "Not Found"}) == (reply.status, reply.json())
        else:
            assert (200, truth["document"]) == (reply.status, reply.json())
            assert str(truth["serial"]) == reply.headers["x-pypi-last-serial"]


def test_odd_names(site: Running) -> None:
    """301 to the normalised name, 404 for unknown ones, 400 for what is not ASCII."""
    moved = site.ask("/pypi/Loopback_Wrapper/json")
    version = site.ask("/pypi/Loopback_Wrapper/1.0/json")

    assert (301, "/pypi/loopback-wrapper/json") == (moved.status, moved.headers["location"])
    assert "/pypi/loopback-wrapper/1.0/json" == version.headers["location"]
    assert "etag" not in moved.headers
    assert "x-pypi-last-serial" not in moved.headers
    assert (404, {"message": "Not Found"}) == (
        (reply := site.ask("/pypi/never-heard-of/json")).status,
        reply.json(),
    )
    assert 400 == site.ask("/pypi/%C3%A4/json").status
    assert site.raw("/pypi/\u00e4/json").startswith(b"HTTP/1.1 400")
    assert 404 == site.ask("/nothing/here").status
    assert 200 == site.ask(HELLO, "HEAD").status


def test_version_documents(site: Running) -> None:
    """Without `releases`; `urls` and `info` are the version's, the serial is the project's."""
    whole = site.ask("/pypi/loopback-greeting/json").json()
    for version, files in whole["releases"].items():
        reply = site.ask(f"/pypi/loopback-greeting/{version}/json")
        document = reply.json()
        assert "releases" not in document
        assert files == document["urls"]
        assert version == document["info"]["version"]
        assert whole["last_serial"] == document["last_serial"]
        assert (
            304
            == site.ask(
                f"/pypi/loopback-greeting/{version}/json", if_none_match=reply.headers["etag"]
            ).status
        )
    assert 200 == site.ask("/pypi/loopback-greeting/1.0.0/json").status
    assert 404 == site.ask("/pypi/loopback-greeting/9.9/json").status


def test_index_as_json(site: Running) -> None:
    """Display names with serials, ETag; quarantined ones are left out, empty ones are not."""
    reply = site.ask("/simple/", accept=JSON_INDEX)
    page = reply.json()
    lines = [json.loads(line) for line in site.ask("/_control/truth?documents=0").body.splitlines()]

    assert JSON_INDEX == reply.headers["content-type"]
    assert site.control("serial")["serial"] == page["meta"]["_last-serial"]
    assert {
        line["display_name"]: line["serial"]
        for line in lines
        if line["status"] in {"ok", "no-releases"}
    } == {entry["name"]: entry["_last-serial"] for entry in page["projects"]}
    assert any(line["status"] == "quarantined" for line in lines)
    assert (
        304 == site.ask("/simple/", accept=JSON_INDEX, if_none_match=reply.headers["etag"]).status
    )
    assert (
        gzip.decompress(site.ask("/simple/", accept=JSON_INDEX, accept_encoding="gzip").body)
        == reply.body
    )


def test_index_as_html(site: Running) -> None:
    """For those who do not ask for JSON; the serial stands in a comment at the end."""
    index = site.ask("/simple/")
    page = site.ask("/simple/loopback-greeting/", accept="text/html")

    assert index.headers["content-type"].startswith("text/html")
    assert re.search(rb"<!--SERIAL \d+-->$", index.body)
    assert b'href="/simple/loopback-hello/"' in index.body
    assert 4 == page.body.count(b"<a href=")
    assert 4 == page.body.count(b"data-core-metadata=")
    assert 406 == site.ask("/simple/", accept="image/png").status


def test_project_page_and_its_metadata(site: Running) -> None:
    """Files on the stand-in itself; each `<url>.metadata` has the hash that the page says."""
    names = site.served_names()[:150]
    checked = said = 0
    for name in names:
        reply = site.ask(f"/simple/{name}/", accept=JSON_INDEX)
        page = reply.json()
        document = site.truth(name)["document"]
        assert (name, "1.4") == (page["name"], page["meta"]["api-version"])
        with_files = {version for version, files in document["releases"].items() if files}
        assert with_files == set(page["versions"])
        assert {"status": "active"} == page["project-status"]
        for file in page["files"][:4]:
            assert file["url"].startswith(f"{site.url}/files/{name}/")
            if file["core-metadata"]:
                metadata = site.ask(file["url"].removeprefix(site.url) + ".metadata").body
                assert file["core-metadata"]["sha256"] == hashlib.sha256(metadata).hexdigest()
                fields = email.message_from_bytes(metadata)
                assert name == canonicalize_name(fields["Name"])
                said += fields["Summary"] == document["info"].get("summary")
                checked += 1
    assert checked > 30
    assert said > 10  # the latest release's says what the document says


def test_installable_wheels_have_their_hash(site: Running) -> None:
    """The few wheels that exist are what page and document promise; made-up ones are 404."""
    for name in ("loopback-hello", "loopback-greeting", "loopback-wrapper"):
        page = site.ask(f"/simple/{name}/", accept=JSON_INDEX).json()
        files = [f for r in site.truth(name)["document"]["releases"].values() for f in r]
        assert {f["filename"]: f["digests"]["sha256"] for f in files} == {
            f["filename"]: f["hashes"]["sha256"] for f in page["files"]
        }
        for file in page["files"]:
            content = site.ask(file["url"].removeprefix(site.url)).body
            assert file["hashes"]["sha256"] == hashlib.sha256(content).hexdigest()
            assert file["size"] == len(content)
    assert 404 == site.ask("/files/loopback-hello/loopback_hello-7-py3-none-any.whl").status


def _pip(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the pip that virtualenv carries (the environment itself may have none)."""
    wheels = resources.files("virtualenv.seed.wheels") / "embed"
    pip = max(str(path) for path in wheels.iterdir() if path.name.startswith("pip-"))
    common = ["--isolated", "--disable-pip-version-check", "--no-cache-dir", "--no-input"]
    return subprocess.run(
        [sys.executable, f"{pip}/pip", *arguments, *common],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.timeout(600)
def test_pip_downloads_and_resolves(site: Running, tmp_path: Path) -> None:
    """It reads the JSON index, resolves through PEP 658 metadata and checks hashes."""
    index = ["--index-url", f"{site.url}/simple/"]
    report = tmp_path / "report.json"
    downloaded = _pip("download", "loopback-wrapper", "--dest", str(tmp_path), *index)
    resolved = _pip(
        "install", "loopback-hello", "--dry-run", "--ignore-installed", "--report", str(report),
        *index,
    )  # fmt: skip
    unknown = _pip("download", "never-heard-of", "--dest", str(tmp_path), *index)

    assert 0 == downloaded.returncode, downloaded.stderr
    assert 0 == resolved.returncode, resolved.stderr
    assert {
        "loopback_wrapper-1.0-py3-none-any.whl",
        "loopback_hello-1.0.0-py3-none-any.whl",
        "loopback_greeting-1.1-py3-none-any.whl",
    } <= {path.name for path in tmp_path.iterdir()}
    chosen = {
        (item["metadata"]["name"], item["metadata"]["version"])
        for item in json.loads(report.read_text())["install"]
    }
    assert {("loopback-hello", "1.0.0"), ("loopback-greeting", "1.1")} == chosen
    assert 0 != unknown.returncode


def test_the_index_lags_if_told_to() -> None:
    """With a lag the page is as it was; JSON and journal are not."""
    with standin(index_lag_seconds=30.0, map_lag_seconds=30.0) as site:
        before = site.ask("/simple/", accept=JSON_INDEX).json()
        made = site.change("create")
        after = site.ask("/simple/", accept=JSON_INDEX).json()
        with proxy_of(site) as rpc:
            assert made["display_name"] not in rpc.list_packages_with_serial()
            assert made["serial"] == rpc.changelog_last_serial()

        assert before["projects"] == after["projects"]
        assert 200 == site.ask(f"/pypi/{made['project']}/json").status


def test_latency_is_added() -> None:
    """Every answer takes that long, but those of the control routes."""
    with standin(latency_ms=60.0) as site:
        began = time.monotonic()
        site.ask(HELLO)
        served = time.monotonic()
        for _ in range(10):
            site.control("serial")
        controlled = time.monotonic()

        assert served - began >= 0.06
        assert controlled - served < 10 * 0.06
