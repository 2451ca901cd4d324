#!/bin/sh
# One blocked exec, one blocked file, one audited connection, between things that
# are nobody's business. Its output does not depend on the user it runs as.
echo "start"
/usr/local/bin/wget --help
echo "exec: $?"
/bin/cat /data/secret/token
echo "read: $?"
/bin/cat /data/public
/bin/wget -q -O - http://127.0.0.1:9000/ping
echo "connect: $?"
exit 42
