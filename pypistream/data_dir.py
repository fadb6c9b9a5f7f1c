"""The data directory: where files lie, who holds which role, which settings are in force."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO

from schemas.errors import DataDirectoryInUse, DataDirectoryVersion, UsageError
from sinks.durable import storage

FORMAT = 1  # of the directory's layout; a breaking change raises it and brings a migration
PROBES_MAX, PROBE_SECONDS = 5, 0.02  # `status` takes the lock for a moment to see who has it
SETTINGS_NAME = "settings.json"


@dataclass(frozen=True)
class DataDir:
    """Paths under one directory; see docs/data-directory.md for what each is.

    `seen`: the stored settings, with their defaults, from which this process derived its own. If it
    is None, `store` overwrites every setting.
    """

    root: Path
    seen: Mapping[str, object] = field(default_factory=dict, compare=False, repr=False)

    def absolute(self) -> DataDir:
        """The same directory by its absolute path."""
        return replace(self, root=self.root.absolute())

    @property
    def log(self) -> Path:
        """The embedded log."""
        return self.root / "log.sqlite"

    @property
    def snapshot(self) -> Path:
        """The published DuckDB file."""
        return self.root / "pypi.duckdb"

    @property
    def dumps(self) -> Path:
        """Published dumps and their manifest."""
        return self.root / "dumps"

    @property
    def state(self) -> Path:
        """What belongs to sinks and roles: the live DuckDB file, frames, locks."""
        return self.root / "state"

    @property
    def rows(self) -> Path:
        """Short-lived files, made by the processes that help a rebuild."""
        return self.state / "rows"

    def create(self) -> None:
        """Make it if it is not there; raises DataDirectoryVersion or UsageError."""
        try:
            for folder in (self.root, self.state, self.dumps):
                folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UsageError(
                f"the data directory {self.root} cannot be made: {error.strerror}",
                hint="choose another one with --data",
            ) from error
        self.check()

    def require_log(self) -> None:
        """Raises UsageError if there is no log here yet."""
        self.check()
        if not self.log.exists():
            raise UsageError(
                f"no log in {self.root}", hint=f"start with `pypistream run --data {self.root}`"
            )

    def check(self) -> None:
        """Raises DataDirectoryVersion if another version made this directory."""
        made_by = self.stored().get("format", FORMAT)
        if made_by != FORMAT:
            raise DataDirectoryVersion(
                f"{self.root} has layout {made_by}, this version reads layout {FORMAT}",
                hint="use the pypistream that made it, or a new --data directory",
            )

    def stored(self) -> dict[str, object]:
        """The settings in force, as the last `run` on this directory left them; {} if none."""
        try:
            found = json.loads((self.root / SETTINGS_NAME).read_bytes())
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise UsageError(
                f"{self.root / SETTINGS_NAME} cannot be read: {error.strerror}",
                hint="check its owner and permissions",
            ) from error
        except ValueError as error:
            raise UsageError(
                f"{self.root / SETTINGS_NAME} cannot be read: {error}",
                hint="remove the file; the next `pypistream run` writes it anew",
            ) from error
        if not isinstance(found, dict):
            raise UsageError(f"{self.root / SETTINGS_NAME} is no JSON object", hint="remove it")
        return found

    def store(self, settings: Mapping[str, object]) -> None:
        """Remember the settings in force, whole or not at all. Raises DiskFull, StorageFailed.

        Roles of one directory may start at the same time: a setting that this process left as it
        was in `seen` is not overwritten, since another role may have stored a newer value.
        """
        path = self.root / SETTINGS_NAME
        aside = self.root / f".{SETTINGS_NAME}.{os.getpid()}"
        ours = json.loads(json.dumps({"format": FORMAT, **settings}))
        with storage(path), _one_at_a_time(self.state / "settings.lock"):
            if self.seen:
                now = self.stored()
                taken_over = {n for n in now if n in self.seen and ours.get(n) == self.seen[n]}
                ours |= {name: now[name] for name in taken_over}
            aside.write_text(json.dumps(ours, indent=2, sort_keys=True) + "\n")
            aside.replace(path)

    def hold(self, role: str) -> RoleLock:
        """Hold a role until closed or until this process ends, however it ends.

        Raises DataDirectoryInUse naming the process that has it, DiskFull, StorageFailed.
        """
        path = self.state / f"{role}.lock"
        with storage(path):
            self.state.mkdir(parents=True, exist_ok=True)
            handle = path.open("a+")
        try:
            _lock(handle)
        except OSError as error:
            handle.seek(0)
            owner = handle.read().strip() or "another process"
            handle.close()
            raise DataDirectoryInUse(
                f"{self.root} is in use: {owner} holds the role {role!r}",
                hint="stop that process, or give this one another --data directory",
            ) from error
        with contextlib.suppress(OSError):  # a full disk: held, but without a name
            handle.seek(0)
            handle.truncate()
            handle.write(f"process {os.getpid()}")
            handle.flush()
        return RoleLock(handle)


@contextlib.contextmanager
def _one_at_a_time(path: Path) -> Iterator[None]:
    """A critical section per lock file: a second process waits until the first has left."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _lock(handle: IO[str]) -> None:
    """Take the lock. Raises OSError if another process holds it, and for more than a look."""
    for _ in range(PROBES_MAX):
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(PROBE_SECONDS)
        else:
            return
    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)


class RoleLock:
    """A held role. The kernel releases it when the process ends, also after kill -9."""

    def __init__(self, handle: IO[str]) -> None:
        self._handle = handle

    def release(self) -> None:
        """Give the role up."""
        self._handle.close()
