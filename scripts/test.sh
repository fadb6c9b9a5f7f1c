#!/bin/sh
# The suite in one run under one seed: `test.sh [kafka] [pytest's arguments]`. Faults come first, then
# end-to-end tests, and mostly wait: so there is one worker more than the two cores that this is made
# for. A file is the work of one worker; files are begun in the order of their names, but for the
# faults, so that the long ones do not come last. What was skipped, and why, is listed at the end.
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
