#!/bin/sh
# The suite in one run under one seed: `test.sh [kafka] [pytest's arguments]`. Faults mostly wait, and
# so do tests on a disk or a broker: there is one worker more than the two cores that this is made
# for. A file is the work of one worker; folders are begun in the order that tests/conftest.py says,
# files in that of their names, so that the long ones do not come last. What was skipped, and why, is
# listed at the end.
#
# Three runs, each under ten minutes: without more words everything but the whole program on Kafka;
# `kafka` is that; compose.yaml's ten containers take both cores and have theirs (`make compose`).
case "$1" in
kafka) shift; which=whole_on_kafka ;;
*) which="not whole_on_kafka" ;;
esac
case " $*" in
*" tests/"* | *" -m "* | *" -k "*) ;;  # whoever picks gets what is picked
*) set -- -m "$which" --ignore=tests/e2e/test_compose.py "$@" ;;
esac
exec .venv/bin/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder "$@"
