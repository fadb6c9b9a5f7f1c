"""The files a query gets are those that pip would try, in its order; `packaging` says the same."""

from __future__ import annotations

from datetime import datetime
from functools import cache

from hypothesis import given
from hypothesis import strategies as st
from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.tags import Tag
from packaging.utils import InvalidWheelFilename, parse_wheel_filename
from packaging.version import Version

from schemas.releases import SlimFile
from sinks.http.resolver.decide import fitting
from sinks.http.resolver.environment import Asked, environment_of, expand, supported
from sinks.http.resolver.files import FileNames, split_wheel, version_of
from sinks.http.resolver.query import given_of_object, query_of
from tests.support.resolver_world import (
    MACHINES,
    PROJECT,
    SPECIFIERS,
    TIMES,
    Machine,
    filenames,
    files,
    parameters,
    pip_chooses,
    slim_of,
)

machines = st.sampled_from(MACHINES)
specifiers = st.sampled_from(SPECIFIERS)
times = st.sampled_from(TIMES)
projects = st.lists(files, max_size=25)


@given(projects, machines, specifiers, times)
def test_as_pip_chooses(
    found: list[SlimFile], machine: Machine, specifier: str, before: str | None
) -> None:
    """The same files in the same order as pip's own finder, evaluator and rule for yanked files."""
    slim = slim_of(found)
    query = query_of(given_of_object(parameters(machine, specifier, before)))

    ours = [fit.file.filename for fit in fitting(slim, query)]
    assert pip_chooses(slim, machine, specifier, before) == ours


@given(
    projects,
    machines,
    specifiers,
    st.sampled_from(("auto", "true", "false")),
    st.sampled_from(("include", "exclude")),
)
def test_as_packaging_says(
    found: list[SlimFile], machine: Machine, specifier: str, prerelease: str, yanked: str
) -> None:
    """Of wheels alone: names, tags, versions and pre-releases are `packaging`'s, all of them."""
    wheels = [file for file in found if file.filename.endswith(".whl")]
    given_ = {**parameters(machine, specifier), "prerelease": prerelease, "yanked": yanked}
    ours = fitting(slim_of(wheels), query_of(given_of_object(given_)))

    pre = {"auto": None, "true": True, "false": False}[prerelease]
    assert expected(wheels, machine, specifier, pre, yanked) == [f.file.filename for f in ours]


def expected(
    wheels: list[SlimFile], machine: Machine, specifier: str, pre: bool | None, yanked: str
) -> list[str]:
    """The plain way, a few words each."""
    order = order_of(machine)
    python = machine.python if machine.python.count(".") > 1 else f"{machine.python}.0"
    rows: list[tuple[Version, int, tuple[object, ...], str, bool]] = []
    for file in {each.filename: each for each in wheels}.values():
        try:
            name, version, build, tags = parse_wheel_filename(file.filename)
        except InvalidWheelFilename:
            continue
        places = [order[tag] for tag in tags if tag in order]
        if str(name) == PROJECT and places and takes(file, python):
            rows.append((version, -min(places), build, file.filename, file.yanked is True))
    kept = list(SpecifierSet(specifier).filter(rows, pre, key=lambda row: row[0]))
    kept = [row for row in kept if yanked == "include" or not row[4]]
    kept.sort(key=lambda row: (not row[4], *row[:4]), reverse=True)
    return [row[3] for row in kept]


@cache
def order_of(machine: Machine) -> dict[Tag, int]:
    """Its tags and their places; that the tags are pip's is another test's subject."""
    major, minor = (int(part) for part in machine.python.split(".")[:2])
    platforms = expand(machine.platform)
    order = supported((major, minor), machine.implementation, machine.abis, platforms)
    return {tag: place for place, tag in enumerate(order)}


def takes(file: SlimFile, python: str) -> bool:
    """Whether requires-python has this version; text that is no specifier asks for nothing."""
    try:
        return python in SpecifierSet(file.requires_python or "")
    except InvalidSpecifier:
        return True


@given(filenames)
def test_names_of_wheels(filename: str) -> None:
    """A wheel's name is read as `packaging` reads it, whatever is wrong with it."""
    if not filename.endswith(".whl"):
        return
    head, tags = split_wheel(filename)
    ours = FileNames(PROJECT).wheel(head)
    if environment_of(Asked()).place(tags) is None:
        ours = None
    try:
        name, version, build, _tags = parse_wheel_filename(filename)
    except InvalidWheelFilename:
        assert ours is None
        return
    assert ours == (None if str(name) != PROJECT else (version, build))


numbers = st.integers(0, 11).map(str)
version_texts = st.builds(
    "{}{}{}{}{}{}".format,
    st.sampled_from(("", "0!", "1!")),
    st.lists(numbers, min_size=1, max_size=4).map(".".join),
    st.sampled_from(("", "a0", "a2", "b1", "rc1", "c10", "-alpha.2")),
    st.sampled_from(("", ".post0", "-1", ".post2", "r10")),
    st.sampled_from(("", ".dev0", ".dev3", "dev10")),
    st.sampled_from(("", "+a", "+1", "+10", "+a.1", "+1.a", "+ubuntu-2", "+1.2.3")),
)


@given(version_texts, version_texts)
def test_versions_are_ordered_as_packaging_has_it(one: str, other: str) -> None:
    """What is compared in place of a version says the same of any two."""
    first, second = version_of(one), version_of(other)
    assert first is not None
    assert second is not None

    assert (first.order < second.order) == (Version(one) < Version(other))
    assert (first.order == second.order) == (Version(one) == Version(other))
    assert first.early == Version(one).is_prerelease


@given(projects, st.datetimes(datetime(2023, 1, 1), datetime(2026, 1, 1)))  # noqa: DTZ001  no zone
def test_without_an_environment_every_file_fits(found: list[SlimFile], before: datetime) -> None:
    """Nothing but the version is looked at; a moment without a zone is UTC."""
    slim = slim_of(found)
    text = before.isoformat()
    query = query_of(given_of_object({"project": PROJECT, "before": text, "yanked": "include"}))
    shown = fitting(slim, query)

    assert {fit.file.filename for fit in shown} <= {file.filename for file in found}
    for fit in shown:
        assert (fit.file.upload_time_iso_8601 or "~") < f"{text}Z"
