"""Environments: tags are those of pip and of this interpreter, markers those of packaging."""

from __future__ import annotations

import platform
import re
import sys
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.markers import Marker, default_environment
from packaging.tags import sys_tags

from schemas.errors import UsageError
from sinks.http.resolver.environment import (
    ENVIRONMENT_TAGS_MAX,
    Asked,
    environment_of,
    expand,
    supported,
)
from sinks.http.resolver.markers import holds
from tests.support.resolver_world import MACHINES, Machine, target_of

COMPARISONS = (
    *('python_version < "3.10"', "python_version >= '3.8'", 'python_full_version == "3.11.4"'),
    *('sys_platform == "win32"', "os_name != 'nt'", 'platform_machine in "x86_64 AMD64"'),
    *('"linux" in sys_platform', 'platform_system == "Darwin"', 'extra == "Some_Extra"'),
    *('implementation_name == "cpython"', 'platform_python_implementation != "PyPy"'),
    *('platform_release >= "5"', 'python_version ~= "3.8"', "extra not in 'docs'"),
)
_joined = st.recursive(
    st.sampled_from(COMPARISONS),
    lambda inner: st.one_of(
        st.builds("{} and {}".format, inner, inner),
        st.builds("({} or {})".format, inner, inner),
    ),
    max_leaves=6,
)
extras = st.lists(st.sampled_from(("some-extra", "docs")), max_size=2)


@pytest.mark.parametrize("machine", MACHINES, ids=lambda machine: machine.platform)
def test_tags_are_those_of_pip(machine: Machine) -> None:
    """The same tags in the same order as pip makes of the same options.

    But for the old aliases: a pip told of manylinux2014 puts the other two right behind it, a pip
    that looks at its own machine puts each behind its glibc, and that is the next test's subject.
    """
    major, minor = (int(part) for part in machine.python.split(".")[:2])
    ours = supported((major, minor), machine.implementation, machine.abis, expand(machine.platform))

    assert without_aliases(target_of(machine).get_sorted_tags()) == without_aliases(ours)


def without_aliases(tags: Iterable[object]) -> list[str]:
    """Each tag once, as text."""
    found = dict.fromkeys(map(str, tags))
    return [tag for tag in found if not re.search("manylinux(1|2010|2014)_", tag)]


@pytest.mark.skipif(sys.platform != "linux", reason="the name of the platform is Linux's")
def test_one_platform_stands_for_this_machine() -> None:
    """Told by its best tag alone, this interpreter takes the tags that it says it takes."""
    theirs = [str(tag) for tag in sys_tags()]
    best = next(tag.platform for tag in sys_tags() if not tag.platform.startswith("linux_"))
    asked = Asked(f"{sys.version_info[0]}.{sys.version_info[1]}", (best,))
    environment = environment_of(asked)

    assert [environment.place(tag) for tag in theirs] == list(range(len(theirs)))


def test_what_is_not_said_is_not_looked_at() -> None:
    """Without a platform all of them, without a Python all of those, without both every wheel."""
    linux, windows = "cp311-cp311-manylinux_2_17_x86_64", "cp312-cp312-win_amd64"
    python_only = environment_of(Asked("3.11"))
    assert python_only.place(linux) is not None
    assert python_only.place("cp311-cp311-win_amd64") == python_only.place(linux)
    assert python_only.place(windows) is None
    platform_only = environment_of(Asked(None, ("win_amd64",)))
    assert (None, 0, 1) == tuple(map(platform_only.place, (linux, windows, "py3-none-any")))
    neither = environment_of(Asked())
    assert (0, 0, None) == tuple(map(neither.place, (linux, windows, "no tags")))
    assert neither.takes("<3")


def test_older_systems_are_included() -> None:
    """The C library down to what there are wheels for, musl, macOS; anything else is itself."""
    assert [
        *("linux_aarch64", "manylinux_2_18_aarch64", "manylinux_2_17_aarch64"),
        "manylinux2014_aarch64",
    ] == expand("manylinux_2_18_aarch64")
    assert [
        *("linux_i686", "manylinux_2_5_i686", "manylinux1_i686"),
    ] == expand("manylinux1_i686")
    assert ["linux_x86_64", "musllinux_1_1_x86_64", "musllinux_1_0_x86_64"] == expand(
        "musllinux_1_1_x86_64"
    )
    assert {"macosx_12_0_arm64", "macosx_11_0_universal2"} <= set(expand("macosx_14_0_arm64"))
    assert ["win_amd64"] == expand("win_amd64")
    assert ["freebsd_13_amd64"] == expand("freebsd_13_amd64")


@pytest.mark.parametrize(
    ("word", "variables"),
    [
        ("manylinux2014_aarch64", ("posix", "linux", "Linux", "aarch64")),
        ("linux_x86_64", ("posix", "linux", "Linux", "x86_64")),
        ("musllinux_1_2_x86_64", ("posix", "linux", "Linux", "x86_64")),
        ("macosx_14_0_arm64", ("posix", "darwin", "Darwin", "arm64")),
        ("win32", ("nt", "win32", "Windows", "x86")),
        ("ios_13_0_arm64_iphoneos", ("posix", "ios", "iOS", "arm64")),
        ("android_24_arm64_v8a", ("posix", "android", "Android", None)),
        ("plan9_mips", (None, None, None, None)),
    ],
)
def test_platforms_as_markers_have_them(word: str, variables: tuple[str | None, ...]) -> None:
    found = environment_of(Asked(None, (word,))).variables

    names = ("os_name", "sys_platform", "platform_system", "platform_machine")
    assert variables == tuple(found.get(name) for name in names)


@pytest.mark.skipif(sys.platform != "linux", reason="the name of the platform is Linux's")
def test_markers_know_this_machine_as_it_knows_itself() -> None:
    """All variables but the system's release and version."""
    theirs = default_environment()
    asked = Asked(platform.python_version(), (f"manylinux_2_17_{platform.machine()}",))
    ours = environment_of(asked).variables

    assert {"platform_release", "platform_version"} == set(theirs) - set(ours)
    assert ours == {name: theirs[name] for name in ours}  # type: ignore[literal-required]  # a TypedDict


@given(_joined, extras)
def test_whole_environments_decide_as_packaging_does(text: str, chosen: list[str]) -> None:
    """Where all variables are known; with several extras it holds if it does for one."""
    marker = Marker(text)
    known = {name: str(value) for name, value in default_environment().items()}

    expected = any(marker.evaluate({"extra": extra}) for extra in chosen or ("",))
    assert expected is holds(str(marker), known, chosen)


@given(_joined, st.sets(st.sampled_from(sorted(default_environment()))))
def test_what_is_unknown_may_be_anything(text: str, unknown: set[str]) -> None:
    """Decided without some variables, it is decided the same whatever they are."""
    everywhere = [
        dict.fromkeys(default_environment(), "3.9"),
        dict.fromkeys(default_environment(), "3.11.4"),
        {name: str(value) for name, value in default_environment().items()},
    ]
    base = everywhere[-1]
    known = {name: value for name, value in base.items() if name not in unknown}
    found = holds(str(Marker(text)), known)

    if found is not None:
        for other in everywhere:
            assert found is Marker(text).evaluate({**other, **known})


def test_false_wins_over_unknown() -> None:
    """An extra that was not asked for needs no Python to be left out."""
    assert False is holds('extra == "docs" and python_version < "3"', {})
    assert None is holds('extra == "docs" and python_version < "3"', {}, ["docs"])
    assert True is holds('extra == "docs" or python_version < "3"', {}, ["docs"])
    assert True is holds(None, {})


@pytest.mark.parametrize(
    "text",
    [
        "",
        "(",
        "python_version",
        'nothing == "1"',
        '"a" == "b"',
        "extra ==",
        'extra == "a" or',
        "; ;",
    ],
)
def test_a_marker_that_cannot_be_read_decides_nothing(text: str) -> None:
    assert None is holds(text, {"python_version": "3.11"})


@pytest.mark.parametrize(
    "asked",
    [
        Asked("3"),
        Asked("4.1"),
        Asked("3.11.0rc1"),
        Asked("3.\u0661\u0661"),
        Asked("311"),
        Asked(implementation="cp"),
        Asked(abis=("cp311",)),
        Asked("3.11", implementation="jython"),
        Asked("3.11", ("linux x",)),
        Asked("3.11", ("x" * 65,)),
        Asked("3.11", ("win32",) * 9),
        Asked("3.11", abis=("é",)),
        Asked("3.99", tuple(f"manylinux_2_99_x{n}" for n in range(8))),
    ],
)
def test_environments_that_are_none(asked: Asked) -> None:
    """Refused with a hint."""
    with pytest.raises(UsageError) as caught:
        environment_of(asked)
    assert caught.value.hint


def test_an_environment_has_no_more_tags_than_it_may() -> None:
    """What is counted beforehand is not less than what comes out."""
    words = tuple(f"manylinux_2_40_x{n}" for n in range(6))
    for asked in (
        Asked("3.14", words[:5], abis=tuple(f"cp{n}" for n in range(8))),
        Asked("3.17", words[:5], "py"),
        Asked("3.17", words[:5], "pp"),
        Asked("2.7", words),
    ):
        assert environment_of(asked).source_place <= ENVIRONMENT_TAGS_MAX


def test_hostile_names_cost_little() -> None:
    """A tag set of a million combinations, and a requires-python of a megabyte."""
    environment = environment_of(Asked("3.11", ("win_amd64",)))
    wide = ".".join(f"py{n}" for n in range(100))

    assert environment.place(f"{wide}-{wide}-{wide}") is None
    assert environment.takes(">=3," * 300_000)
