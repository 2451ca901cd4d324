#!/bin/sh
cc -O2 -pthread -o threads "$TESTDATA/threads.c" && ./threads
echo $?
rm threads
