#!/bin/sh
# An ordinary workload that is attacked half-way. Usage: run.sh CLIENT PORT
# CLIENT is the compiled client.c; server.py listens on 127.0.0.1:PORT.
#
# stdout is what the workload is for, the same whether it is watched or not; what
# becomes of the attacks goes to stderr. It exits 7, so that a run shows that the
# exit status is passed on.
set -u
client=$1
port=$2
here=$(dirname "$0")

echo "orders: opening the shop"
"$client" "$port" /orders
curl --silent --show-error --noproxy '*' "http://127.0.0.1:$port/stock"
"${PYTHON:-/usr/bin/python3}" "$here/report.py" "$port"

# What an intruder tries: install tools, read the password hashes. The full path,
# because a shell that is refused goes on along PATH, where /bin is /usr/bin again.
/usr/bin/apt-get --version >/dev/null
cat /etc/shadow >/dev/null

echo "orders: closing the shop"
exit 7
