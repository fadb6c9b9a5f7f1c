"""Projects made up to be hard to choose from, and what pip's own code would choose from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from typing import Any, NamedTuple

from hypothesis import strategies as st
from pip._internal.index.package_finder import CandidateEvaluator, LinkEvaluator, LinkType
from pip._internal.models.candidate import InstallationCandidate
from pip._internal.models.link import Link
from pip._internal.models.target_python import TargetPython
from pip._vendor.packaging.specifiers import SpecifierSet as PipSpecifiers
from pip._vendor.packaging.utils import NormalizedName as PipName
from pip._vendor.packaging.version import InvalidVersion

from schemas.names import NormalizedName
from schemas.releases import SlimFile, SlimReleases

PROJECT = NormalizedName("foo-bar")
SPELLINGS = ("foo_bar", "foo-bar", "Foo.Bar", "foo__bar", "foobar", "foo_bar_baz")
VERSIONS = (
    *("1.0", "1.0.0", "1.1", "2.0", "10.0", "1.0.post1", "1!0.5", "1.1+local.1", "0.9"),
    *("1.1a1", "2.0rc1", "2.0.dev3", "3.0b2", "3.0.dev1", "2004d", "", "v1.2", "1.0-2"),
)
TAGS = (
    *("py3-none-any", "py2.py3-none-any", "py2-none-any", "py311-none-any", "cp311-none-any"),
    *("cp311-cp311-manylinux_2_17_x86_64.manylinux2014_x86_64", "cp311-abi3-manylinux1_x86_64"),
    *("cp38-abi3-manylinux_2_28_x86_64", "cp312-abi3-manylinux_2_17_x86_64", "PY3-none-any"),
    *("cp311-cp311-win_amd64", "cp311-cp311-macosx_11_0_arm64", "cp313-cp313t-win_amd64"),
    *("cp311-cp311-macosx_10_9_universal2", "pp310-pypy310_pp73-manylinux_2_17_x86_64"),
    *("cp311-cp311-linux_x86_64", "cp313-cp313-musllinux_1_2_x86_64", "py3-none-win_amd64"),
    *("none-any", "py3-none-", "cp311-cp311m-linux_x86_64", "py3.py4-none-any.win32"),
)
ENDINGS = (".tar.gz", ".zip", ".tar.bz2", ".tgz", ".egg", ".exe", ".tar.xz", ".TAR.GZ", ".rpm", "")
BUILDS = ("", "1", "2", "10", "1a", "a1")
PYTHONS = (
    None,
    "",
    ">=3.8",
    ">=3.11.1",
    "<3.11",
    "!=3.11.*",
    "~=3.9",
    ">=2.7,<3",
    "nonsense",
    ">3",
)
SPECIFIERS = (
    *("", ">=1.0", "<2", "==1.0", "===1.0", "==1.*", "!=1.1", "~=1.0", ">=2.0rc1", "==2.0rc1"),
    *("<2.0.dev0", ">1.0", "==1.1+local.1", ">=1,<3,!=2.0", "==9", "===2004d", ">=0.9.dev0"),
)
TIMES = ("2024-01-01T00:00:00Z", "2024-06-01T12:00:00.123456Z", "2025-01-01T00:00:00Z", None)


class Machine(NamedTuple):
    """An environment as pip's options have it, and the one word our query has for its platforms."""

    python: str
    platform: str
    pip_platforms: tuple[str, ...]
    implementation: str = "cp"
    abis: tuple[str, ...] = ()


def _glibc(minor: int, arch: str) -> tuple[str, ...]:
    """The platforms by hand that such a machine takes (PEP 600), as pip wants to be told."""
    names = [f"linux_{arch}"]
    for each in range(minor, 4, -1):
        names.append(f"manylinux_2_{each}_{arch}")
        alias = {17: "manylinux2014", 12: "manylinux2010", 5: "manylinux1"}.get(each)
        names += [f"{alias}_{arch}"] if alias else []
    return tuple(names)


MACHINES = (
    Machine("3.11", "manylinux_2_28_x86_64", _glibc(28, "x86_64")),
    Machine("3.8", "manylinux2014_x86_64", _glibc(17, "x86_64")),
    Machine("3.11.4", "win_amd64", ("win_amd64",)),
    Machine("3.11", "macosx_14_0_arm64", ("macosx_14_0_arm64",)),
    Machine("3.11", "macosx_10_15_x86_64", ("macosx_10_15_x86_64",)),
    Machine("3.13", "win_amd64", ("win_amd64",), abis=("cp313t",)),
    Machine("3.10", "manylinux_2_17_x86_64", _glibc(17, "x86_64"), "pp", ("pypy310_pp73",)),
    Machine("3.11", "win_amd64", ("win_amd64",), "py", ("none",)),
)

_wheels = st.builds(
    lambda name, version, build, tags: (
        "-".join(part for part in (name, version, build, tags) if part) + ".whl"
    ),
    st.sampled_from(SPELLINGS),
    st.sampled_from(VERSIONS),
    st.sampled_from(BUILDS),
    st.sampled_from(TAGS),
)
_archives = st.builds(
    lambda name, version, python, ending: f"{name}-{version}{python}{ending}",
    st.sampled_from(SPELLINGS),
    st.sampled_from(VERSIONS),
    st.sampled_from(("", "", "", "-py3.11", "-py2.7")),
    st.sampled_from(ENDINGS),
)
filenames = st.one_of(_wheels, _archives)
_yanks = st.sampled_from(((False, None), (False, None), (True, None), (True, "broken")))


def _file(
    filename: str, python: str | None, yank: tuple[bool, str | None], time: str | None
) -> SlimFile:
    return SlimFile(
        filename=filename,
        requires_python=python,
        yanked=yank[0],
        yanked_reason=yank[1],
        upload_time_iso_8601=time,
        url=f"https://files.example.org/{filename}",
    )


files = st.builds(_file, filenames, st.sampled_from(PYTHONS), _yanks, st.sampled_from(TIMES))


def slim_of(found: Sequence[SlimFile]) -> SlimReleases:
    """The files by the version that their names say (the first that fits), as upstream has them."""
    releases: dict[str, list[SlimFile]] = {}
    for file in {each.filename: each for each in found}.values():
        releases.setdefault(release_of(file.filename), []).append(file)
    return SlimReleases(
        name=PROJECT, display_name="Foo.Bar", serial=1, latest=None, releases=releases
    )


def release_of(filename: str) -> str:
    """The version text in a name made here, "" if there is none."""
    for name in sorted(SPELLINGS, key=len, reverse=True):
        rest = filename.removeprefix(f"{name}-")
        if rest != filename and rest.endswith(".whl"):
            return rest.partition("-")[0]
        if rest != filename:
            return max((text for text in VERSIONS if rest.startswith(text)), key=len)
    return ""


@cache
def target_of(machine: Machine) -> TargetPython:
    """The machine as pip's options describe it; its tags are made once."""
    return TargetPython(
        platforms=list(machine.pip_platforms),
        py_version_info=tuple(int(part) for part in machine.python.split(".")),
        abis=list(machine.abis) or None,
        implementation=machine.implementation,
    )


def pip_chooses(
    slim: SlimReleases, machine: Machine, specifier: str, before: str | None
) -> list[str]:
    """File names, best first, as pip's finder and resolver would try them.

    The links come as an index sorted by file name has them. What pip does after the finder (yanked
    files count only where a pinned version has no others) is said again here: it is a function
    inside `Factory._iter_found_candidates`.
    """
    target = target_of(machine)
    evaluator = LinkEvaluator(
        project_name="Foo.Bar",
        canonical_name=PipName(PROJECT),
        formats=frozenset({"binary", "source"}),
        target_python=target,
        allow_yanked=True,
        uploaded_prior_to=None if before is None else datetime.fromisoformat(before),
    )
    every = sorted((f for each in slim.releases.values() for f in each), key=lambda f: f.filename)
    candidates = []
    for link in map(_link, every):
        kind, detail = evaluator.evaluate_link(link)
        if kind is not LinkType.candidate:
            continue
        try:
            candidates.append(InstallationCandidate("Foo.Bar", detail, link))
        except InvalidVersion:
            continue
    wanted = PipSpecifiers(specifier)
    chosen = CandidateEvaluator.create("Foo.Bar", target, specifier=wanted)
    applicable = chosen.get_applicable_candidates(candidates)
    pinned = any(
        each.operator == "===" or (each.operator == "==" and not each.version.endswith(".*"))
        for each in wanted
    )
    keep = pinned and all(each.link.is_yanked for each in applicable)
    return [each.link.filename for each in reversed(applicable) if keep or not each.link.is_yanked]


def _link(file: SlimFile) -> Link:
    time = file.upload_time_iso_8601
    return Link(
        f"https://files.example.org/{file.filename}",
        requires_python=file.requires_python or None,
        yanked_reason=(file.yanked_reason or "") if file.yanked else None,
        upload_time=datetime.fromisoformat(time).astimezone(UTC) if time else None,
    )


def parameters(machine: Machine, specifier: str, before: str | None = None) -> dict[str, Any]:
    """The same as a query of ours."""
    found: Mapping[str, Any] = {
        "project": PROJECT,
        "version": specifier,
        "python": machine.python,
        "platform": [machine.platform],
        "implementation": machine.implementation,
        "abi": list(machine.abis),
        "before": before,
        "limit": 1000,
    }
    return {name: value for name, value in found.items() if value}
