"""Calls of each macro of the DuckDB file, on a file with the project foo-bar of version 2.0."""

CALLS_THAT_ANSWER = (
    "list_packages()",
    "list_packages_with_serial()",
    "package_releases('Foo.Bar')",
    "package_releases('foo_bar', show_hidden := true)",
    "release_urls('foo.bar', '2.0')",
    "release_data('foo.bar', '2.0')",
    "package_roles('foo.bar')",
    "user_packages('u')",
    "browse(['Topic :: X'])",
    "search('Bar SUMMARY')",
    "changelog_last_serial()",
    "changelog_since_serial(4)",
    "changelog('2020-01-01')",
    "updated_releases('2020-01-01')",
    "changed_packages('2020-01-01')",
    "package_hosting_mode('foo.bar')",
)
CALLS_THAT_FAIL = {
    "package_releases('other')": "no project other is held here",
    "package_roles('other')": "no project other is held here",
    "package_hosting_mode('other')": "no project other is held here",
    "release_urls('foo.bar', '3.0')": "foo.bar has no version 3.0",
    "release_data('foo.bar', '1.0rc1')": "the metadata of foo.bar 1.0rc1 is not held here",
    "release_data('foo.bar', '3.0')": "foo.bar has no version 3.0",
    "release_data('other', '1')": "no project other is held here",
    "top_packages()": "download counts are not held here",
    "release_downloads('foo-bar', '2.0')": "download counts are not held here",
}
