#!/bin/sh
exec node "$TESTDATA/node.js"
