"""The quick way of taking a requirement apart gives what packaging gives."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st
from packaging.requirements import InvalidRequirement

from sinks.dependencies import Dependency, _as_packaging_does, parse

names = st.from_regex(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,5}[A-Za-z0-9])?", fullmatch=True)
blank = st.sampled_from(["", " ", "  "])
operators = st.sampled_from(["==", ">=", "<", "~=", "!=", "===", "="])
versions = st.sampled_from(["1", "1.*", "2.0.dev1", "1!2", "1.0+local", "dev", "v1", "1.0-1", ""])
clauses = st.builds("".join, st.tuples(operators, blank, versions))
joined = st.lists(clauses, max_size=3).map(",".join)
bracketed = st.builds("({})".format, joined)
extras = st.lists(names, max_size=3).map(lambda each: f"[{', '.join(each)}]")
markers = st.sampled_from(
    [
        ";extra=='A_b'",
        '; python_version<"3"',
        " ; os_name == 'a' or (extra == \"x\" and extra == 'y')",
        ";",
        "; 'x' == extra",
        "; extra in 'a;b'",
    ]
)
requirements = st.builds(
    "".join,
    st.tuples(
        blank,
        names,
        blank,
        st.one_of(st.just(""), extras),
        blank,
        st.one_of(st.just(""), joined, bracketed),
        blank,
        st.one_of(st.just(""), markers),
    ),
)


@given(st.one_of(requirements, st.text(max_size=30)))
@example("a[]")
@example("a[b,]")
@example("a ()")
@example("a (>=1) ; extra == 'b'")
@example("a>=1,")
@example("a ==1.*")
@example("a >=1 <2")
def test_it_agrees_with_packaging(text: str) -> None:
    """For every text: the same parts, or none where packaging refuses it."""
    try:
        expected = _as_packaging_does(text)
    except (InvalidRequirement, ValueError):
        parsed = parse(text)
        expected = Dependency(text, parse_error=parsed.parse_error)
        assert parsed.parse_error

    assert expected == parse(text)
