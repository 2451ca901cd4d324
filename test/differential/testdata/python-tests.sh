#!/bin/sh
# Runs test files of CPython's own suite; says of each test how it ended.
/usr/bin/python3.11 -m test --tempdir "$PWD" --junit-xml results.xml "$@" >log 2>&1
status=$?
/usr/bin/python3.11 "$TESTDATA/outcomes.py" results.xml | sort
tail -n 15 log >&2
rm -rf -- *
# 2: a test failed, which is said above.
[ $status = 2 ] || exit $status
