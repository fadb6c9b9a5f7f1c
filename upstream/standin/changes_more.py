"""The smaller kinds of change: yanks, removals, roles, quarantines, and those that write no row."""

from __future__ import annotations

from upstream.standin.changes import Change, Steps, alive, kind, served
from upstream.standin.vocabulary import respelled
from upstream.standin.world import Project, Status

YANK_REASONS = ("broken build", "see 2.0", "", None)
OLD_ACTIONS = (
    "update summary, description, classifiers",
    "update home_page, maintainer",
    "update _pypi_hidden",
    "rename from former-name",
)


def _mark(change: Change, *, yanked: bool) -> None:
    document = change.document()
    version = document["info"]["version"]
    if not yanked:
        marked = [
            release
            for release, files in document["releases"].items()
            if any(file.get("yanked") for file in files)
        ]
        version = change.random.choice(marked) if marked else version
    reason = change.random.choice(YANK_REASONS) if yanked else None
    for file in document["releases"][version]:
        file["yanked"], file["yanked_reason"] = yanked, reason
    change.save(document, change.row(version, f"{'' if yanked else 'un'}yank release"))


@kind("yank", 6, served)
def yank(change: Change) -> Steps:
    """The latest release is yanked."""
    _mark(change, yanked=True)
    yield 0.0


@kind("unyank", 4, served)
def unyank(change: Change) -> Steps:
    """A yank is taken back (where there is one)."""
    _mark(change, yanked=False)
    yield 0.0


@kind("remove-file", 4, served)
def remove_file(change: Change) -> Steps:
    """A file of the latest release is deleted."""
    document = change.document()
    version = document["info"]["version"]
    files = document["releases"][version]
    name = files.pop()["filename"] if files else "never-there.tar.gz"
    change.save(document, change.row(version, f"remove file {name}"))
    yield 0.0


@kind("remove-release", 4, served)
def remove_release(change: Change) -> Steps:
    """The latest release is deleted; with the last one the document goes."""
    document = change.document()
    version = document["info"]["version"]
    del document["releases"][version]
    change.save(document, change.row(version, "remove release"))
    yield 0.0


@kind("quarantine", 2, alive)
def quarantine(change: Change) -> Steps:
    """The project is quarantined: JSON answers 404, the index leaves it out."""
    serial = change.row(None, "project quarantined")
    document = change.world.document(change.it.edition)
    change.world.commit(change.it, document, status=Status.QUARANTINED, serial=serial)
    yield 0.0


def _quarantined(project: Project | None) -> bool:
    return project is not None and project.edition.status is Status.QUARANTINED


@kind("unquarantine", 2, _quarantined)
def unquarantine(change: Change) -> Steps:
    """The quarantine is cleared: the document is back."""
    serial = change.row(None, "project quarantine cleared")
    document = change.world.document(change.it.edition)
    status = Status.NO_RELEASES if document is None else Status.OK
    change.world.commit(change.it, document, status=status, serial=serial)
    yield 0.0


@kind("release-quarantine", 2, served)
def release_quarantine(change: Change) -> Steps:
    """The latest release is quarantined and not shown."""
    document = change.document()
    version = document["info"]["version"]
    files = document["releases"].pop(version)
    change.it.hidden = {**(change.it.hidden or {}), version: files}
    change.save(document, change.row(version, "release quarantined"))
    yield 0.0


@kind(
    "release-unquarantine", 2, lambda project: alive(project) and bool(project and project.hidden)
)
def release_unquarantine(change: Change) -> Steps:
    """A quarantined release is shown again."""
    hidden = change.it.hidden or {}
    version = next(iter(hidden))
    document = change.document()
    document["releases"][version] = hidden.pop(version)
    change.save(document, change.row(version, "release quarantine cleared"))
    yield 0.0


@kind("role", 8, alive)
def role(change: Change) -> Steps:
    """A role is given; nothing that a reader of metadata sees changes but ownership."""
    user = f"user{change.random.randrange(100_000)}"
    yield from _with_role(change, user, user)


@kind("non-ascii", 2, alive)
def non_ascii(change: Change) -> Steps:
    """A role for a user with a non-ASCII name, which the journal writes as `&#NNN;`."""
    yield from _with_role(change, "jürgen-李", "j&#252;rgen-&#26446;")


def _with_role(change: Change, user: str, written: str) -> Steps:
    project = change.it
    if ("Maintainer", user) not in project.roles:
        project.roles = (*project.roles, ("Maintainer", user))
    serial = change.row(None, f"add Maintainer {written}")
    document = change.world.document(project.edition)
    if document is None:
        change.touch(serial)
    else:
        if "ownership" in document:
            document["ownership"]["roles"] = [
                {"role": role, "user": holder} for role, holder in project.roles
            ]
        change.save(document, serial)
    yield 0.0


@kind("free-text", 3, alive)
def free_text(change: Change) -> Steps:
    """An action of older years: nothing known starts with it."""
    change.touch(change.row(None, change.random.choice(OLD_ACTIONS)))
    yield 0.0


@kind("docdestroy", 2, alive)
def docdestroy(change: Change) -> Steps:
    """Hosted documentation is deleted."""
    change.touch(change.row(None, "docdestroy"))
    yield 0.0


@kind("invite", 2, alive)
def invite(change: Change) -> Steps:
    """An invitation is sent and declined: two rows, no visible change."""
    change.touch(change.row(None, "invite Maintainer user7"))
    yield 0.2
    if alive(change.project):
        change.touch(change.row(None, "decline invite Maintainer user7"))


@kind("nuke-user", 1, served)
def nuke_user(change: Change) -> Steps:
    """The owner's account is deleted."""
    change.touch(change.row(None, "nuke user"))
    yield 0.0


@kind("other-spelling", 2, alive)
def other_spelling(change: Change) -> Steps:
    """A row under an earlier spelling: `last_serial` never reaches its serial."""
    spelled = respelled(change.it.edition.display_name, change.random)
    change.row(None, "remove Maintainer user3", spelled=spelled)
    yield 0.0


@kind("withdraw-vulnerability", 1, served)
def withdraw_vulnerability(change: Change) -> Steps:
    """No row: all advisories are withdrawn."""
    document = change.document()
    document["vulnerabilities"] = []
    change.serial = change.it.edition.serial
    change.save(document, change.serial)
    yield 0.0


@kind("organization", 2, served)
def organization(change: Change) -> Steps:
    """No row: the project goes to an organisation."""
    document = change.document()
    owners = document.setdefault("ownership", {"organization": None, "roles": []})
    owners["organization"] = f"made-up-org-{change.random.randrange(100)}"
    change.serial = change.it.edition.serial
    change.save(document, change.serial)
    yield 0.0


@kind("archive", 1, alive)
def archive(change: Change) -> Steps:
    """No row, and nothing in the document: only `project-status` of the index page says it."""
    change.it.archived = not change.it.archived
    change.serial = change.it.edition.serial
    change.world.revision += 1
    yield 0.0


@kind("new-shape", 2, served)
def new_shape(change: Change) -> Steps:
    """No row: a new field reaches the document, its serial stays."""
    document = change.document()
    document["info"]["import_names"] = [change.it.name.replace("-", "_")]
    document["info"]["import_namespaces"] = [str(change.random.randrange(1_000_000))]
    change.serial = change.it.edition.serial
    change.save(document, change.serial)
    yield 0.0
