"""How much is kept of what was last held of a project that is gone: `--keep-removed`.

The log itself forgets it: a tombstone replaces the document. So a sink keeps it, and one that
begins with nothing has it only of what the log still holds.
"""

from __future__ import annotations

NONE = "none"
HASHES = "hashes"  # last version, and every file's version, name and hashes
ALL = "all"  # everything that was held, persons' names and addresses too
KEEP_REMOVED = (NONE, HASHES, ALL)
