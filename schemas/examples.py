"""One made-up example of each published value, of each alternative where there are several."""

from __future__ import annotations

import msgspec

from schemas.documents import File, Info, Metadata, Ownership, Role
from schemas.lines import (
    DeltaDeleted,
    DeltaPackageLine,
    DeltaReleasesLine,
    DeltaStateLine,
    PackageLine,
    ReleasesLine,
    StateLine,
)
from schemas.manifest import (
    Delta,
    DeltaManifest,
    DumpFile,
    ExceptionName,
    Exceptions,
    FullManifest,
    Manifest,
    Tables,
    hashed_name,
    places,
)
from schemas.records import (
    Alive,
    Ask,
    BackfillMarker,
    BackfillProgress,
    Bootstrap,
    ChangelogEntry,
    Config,
    Cut,
    DeadLetter,
    Filter,
    Head,
    History,
    HistoryAsked,
    Hold,
    Kind,
    Marker,
    RateHanded,
    RateSign,
    Reason,
    Rule,
    State,
    Status,
    Sweep,
)
from schemas.releases import SlimFile, SlimReleases

_SERIAL = 36_584_184
_TIME = 1_777_532_160  # 2026-04-30 06:56 UTC
_SHA256 = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
_WHEEL = "sample_project-1.2.0-py3-none-any.whl"
_URL = f"https://files.example.org/{_WHEEL}"

ENTRY = ChangelogEntry(_SERIAL, "Sample.Project", "1.2.0", _TIME, "new release", Kind.NEW_RELEASE)
MARKER = Marker(base=36_000_000, serial=_SERIAL, time=_TIME)
ASK = Ask("sample-project", Reason.RECONCILE, serial=_SERIAL, map_serial=_SERIAL + 9)
BACKFILL = BackfillMarker(
    run="2026-04-30T06:56:00Z", low=_SERIAL, names=740_000, closing=True, filter=Filter(("a*",))
)
METADATA = Metadata(
    info=Info(
        name="Sample.Project",
        version="1.2.0",
        author_email="Ana Oru <ana@example.org>",
        classifiers=["Programming Language :: Python :: 3"],
        home_page=None,
        project_url="https://index.example.org/project/Sample.Project/",
        project_urls={"Source": "https://example.org/sample"},
        requires_dist=["packaging>=24"],
        requires_python=">=3.11",
        summary="An example",
        yanked=False,
        yanked_reason=None,
    ),
    last_serial=_SERIAL,
    ownership=Ownership(roles=[Role(role="Owner", user="ana")], organization=None),
    releases={
        "1.2.0": [
            File(
                filename=_WHEEL,
                core_metadata={"sha256": _SHA256},
                digests={"sha256": _SHA256},
                packagetype="bdist_wheel",
                requires_python=">=3.11",
                size=4_096,
                upload_time_iso_8601="2026-04-30T06:55:58.000000Z",
                url=_URL,
                yanked=False,
                yanked_reason=None,
            )
        ],
        "2.0.0a1": [],
    },
    urls=[],
    vulnerabilities=[],
)
RELEASES = SlimReleases(
    name="sample-project",
    display_name="Sample.Project",
    serial=_SERIAL,
    latest="1.2.0",
    releases={
        "1.1.0": [],
        "1.2.0": [
            SlimFile(
                filename=_WHEEL,
                core_metadata={"sha256": _SHA256},
                digests={"sha256": _SHA256},
                packagetype="bdist_wheel",
                requires_python=">=3.11",
                size=4_096,
                upload_time_iso_8601="2026-04-30T06:55:58.000000Z",
                url=_URL,
                yanked=False,
            )
        ],
    },
)
STATE = State(
    Status.OK, event=_SERIAL, body=_SERIAL, name="Sample.Project", etag='"abc"', hash=_SHA256
)
PARKED = State(
    Status.PARKED,
    event=_SERIAL,
    body=_SERIAL - 1_000,
    name="Sample.Project",
    event_kind=Kind.NEW_RELEASE,
    event_time=_TIME,
    attempts=2,
    first_ms=_TIME * 1_000,
    next_ms=_TIME * 1_000 + 4_000,
    reason="stale",
)
CUT = Cut(
    changelog=120, refetch=40, metadata=110, releases=110, state=260, base=36_000_000,
    serial=_SERIAL, time=_TIME, backfill=BackfillProgress("2026-04-30T06:56:00Z", 740_000, 39),
)  # fmt: skip
CONFIG = Config("0d9c7c1e-6f0e-4b61-9c8e-6c1f3f0f6f35", partitions=1, schema_version=1)
HEAD = Head(
    _SERIAL, base=36_000_000, time=_TIME, changelog=(120,), history=History(17_000_000, (95,))
)
HISTORY_ASKED = HistoryAsked(_TIME)
HOLD = Hold(_TIME * 1_000 + 30_000, "429 on the XML-RPC route")
RATE_SIGN = RateSign(
    "9f86d081884c4d659a2feaa0c55ad015",
    4_711,
    (0, 3, 6),
    (RateHanded(9, "b94d27b9934d3e08a52e52d7da7dabfa", 12),),
)
RULE = Rule("sample-project", ("author", "author_email"), _TIME)
SWEEP = Sweep(
    3, every=604_800, started=_TIME, time=_TIME + 86_400, names=740_000, asked=106_000, name="cmake"
)
ALIVE = Alive("process 12 on host-a, 9f86d081", _TIME, machine="host-a", pid=12, begun=4_711)
BOOTSTRAP = Bootstrap(
    log="5b1c8f0e2a7d4c55a9d1", places=places((CUT,)), source="https://dumps.example.org/dumps/",
    time=_TIME, cuts=(CUT,),
)  # fmt: skip
DEAD_LETTER = DeadLetter(
    "Sample.Project", "not-json", _SERIAL, attempts=10, time_ms=_TIME * 1_000, excerpt="<html>"
)
PACKAGE_LINE = PackageLine(
    "sample-project", _SERIAL, _SERIAL, "2026-04-30T06:56:00Z", stale=False, source="json",
    fetched_at="2026-04-30T06:56:03Z", document=METADATA,
)  # fmt: skip
RELEASES_LINE = ReleasesLine("sample-project", _SERIAL, releases_omitted=0, document=RELEASES)
STATE_LINE = StateLine("sample-project", status=Status.OK, event=_SERIAL, body=_SERIAL)
_TABLES = Tables(
    created="2026-04-30T06:58:00Z", vector=(CUT,), watermark=_SERIAL, base=0, reached=_SERIAL,
    files=("projects.parquet",),
)  # fmt: skip
MANIFEST = Manifest(
    created="2026-04-30T07:00:00Z",
    log=CONFIG.log_id,
    vector=(CUT,),
    watermark=_SERIAL,
    exceptions=Exceptions({"parked": 1}, (ExceptionName("sample-project", "parked"),)),
    names=1_000,
    coverage=99.9,
    files={
        name: DumpFile(
            1_000, _SHA256, rows=1, uncompressed_bytes=size, file=hashed_name(name, _SHA256)
        )
        for name, size in (("packages.jsonl.zst", 3_000), ("projects.parquet", 1_000))
    },
    filter=CONFIG.filter,
    tables=_TABLES,
)
_KEPT = msgspec.structs.replace(MANIFEST, exceptions=Exceptions({"parked": 1}, omitted=1))
FULL_MANIFEST = FullManifest(created="2026-04-30T07:00:00Z", dumps=(_KEPT,))
DELTA_PACKAGE = DeltaPackageLine(topic="metadata", **msgspec.structs.asdict(PACKAGE_LINE))
DELTA_RELEASES = DeltaReleasesLine(topic="releases", **msgspec.structs.asdict(RELEASES_LINE))
DELTA_STATE = DeltaStateLine(topic="state", **msgspec.structs.asdict(STATE_LINE))
DELTA_DELETED = DeltaDeleted(name="removed-project", topic="metadata", deleted=True)
DELTA_MANIFEST = DeltaManifest(
    created="2026-04-30T07:00:00Z",
    log=CONFIG.log_id,
    filter=CONFIG.filter,
    deltas=(
        Delta(
            file="000000004-9f86d081884c7d65.jsonl.zst",
            bytes=1_000,
            sha256=_SHA256,
            rows=3,
            uncompressed_bytes=3_000,
            created="2026-04-30T07:00:00Z",
            start=places((msgspec.structs.replace(CUT, changelog=117, metadata=109),)),
            end=places((CUT,)),
            watermark=_SERIAL,
            reached=_SERIAL,
        ),
    ),
)
