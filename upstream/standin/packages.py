"""Files behind the index: PEP 658 metadata for every wheel, real tiny wheels for a few projects.

Metadata is a function of (normalised name, version, requires_python) alone, so that its SHA-256 can
be written into documents without keeping any file.
"""

from __future__ import annotations

import base64
import hashlib
import io
import zipfile
from functools import lru_cache

# Projects whose wheels exist and can be installed: (display name, versions, requirements).
INSTALLABLE: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "loopback-hello": (("0.9.0", "1.0.0"), ("loopback-greeting>=1.0",)),
    "loopback-greeting": (("0.9", "1.0", "1.1", "2.0b1"), ()),
    "Loopback_Wrapper": (("1.0",), ("loopback-hello",)),
}
INSTALLABLE_NAMES = {
    name.replace("_", "-").lower(): requires for name, (_, requires) in INSTALLABLE.items()
}
WHEELS_KEPT = 64  # a few projects with a few versions each
_ZIP_TIME = (2024, 1, 1, 0, 0, 0)  # a fixed time makes equal wheels equal bytes


def core_metadata(name: str, version: str, requires_python: str | None) -> bytes:
    """The METADATA file of a wheel; `name` is the normalised name."""
    lines = ["Metadata-Version: 2.1", f"Name: {name}", "Version: " + " ".join(version.split())]
    lines.append("Summary: made-up package of the loopback index")
    if requires_python:
        lines.append(f"Requires-Python: {requires_python}")
    lines.extend(f"Requires-Dist: {text}" for text in INSTALLABLE_NAMES.get(name, ()))
    return ("\n".join(lines) + "\n\n").encode()


def metadata_sha256(name: str, version: str, requires_python: str | None) -> str:
    """Hexadecimal digest for `core-metadata`."""
    return hashlib.sha256(core_metadata(name, version, requires_python)).hexdigest()


@lru_cache(maxsize=WHEELS_KEPT)
def wheel_bytes(name: str, version: str, requires_python: str | None) -> bytes:
    """A wheel that pip installs: one module that returns its own version."""
    module = name.replace("-", "_")
    info = f"{module}-{version}.dist-info"
    files = {
        f"{module}/__init__.py": f'"""Made-up package."""\n\nversion = "{version}"\n'.encode(),
        f"{info}/METADATA": core_metadata(name, version, requires_python),
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nGenerator: standin\nRoot-Is-Purelib: true\n"
        b"Tag: py3-none-any\n",
    }
    record = []
    for path, content in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
        record.append(f"{path},sha256={digest},{len(content)}")
    record.append(f"{info}/RECORD,,")
    files[f"{info}/RECORD"] = ("\n".join(record) + "\n").encode()
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for path, content in files.items():
            archive.writestr(zipfile.ZipInfo(path, _ZIP_TIME), content)
    return target.getvalue()
