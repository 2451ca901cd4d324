#!/usr/bin/env bash
# Usage: quarter.sh [BIN]    As root, where the cgroup controller cpu is (version 1 or 2).
#
# What a task of 0.25 vCPU pays for its start: the copy of the tracer, a sidekick that
# answers, and the first output of a program under the tracer, beside the same program
# alone. All is in one cgroup, as the containers of a task are. And the sidekick's memory.
set -euo pipefail

bin=$(realpath "${1:-bin}")
tmp=$(mktemp -d)
if [ -d /sys/fs/cgroup/cpu ]; then
	group=/sys/fs/cgroup/cpu/sidearmor-quarter.$$
	mkdir "$group"
	echo 100000 >"$group/cpu.cfs_period_us"
	echo 25000 >"$group/cpu.cfs_quota_us"
else
	group=/sys/fs/cgroup/sidearmor-quarter.$$
	mkdir "$group"
	echo '25000 100000' >"$group/cpu.max"
fi
sidekick=
cleanup() {
	[ -z "$sidekick" ] || { kill "$sidekick" 2>/dev/null && wait "$sidekick" 2>/dev/null || true; }
	echo $$ >"$(dirname "$group")/cgroup.procs"
	rmdir "$group"
	rm -rf "$tmp"
}
trap cleanup EXIT

now() { date +%s%N; }
ms() { echo $((($2 - $1) / 1000000)); }
within() { (echo "$BASHPID" >"$group/cgroup.procs" && exec "$@"); }

for _ in 1 2 3 4 5; do
	a=$(now)
	within "$bin/tracer" install "$tmp/sidearmor" >/dev/null
	b=$(now)
	(echo "$BASHPID" >"$group/cgroup.procs" && QUEUE_DIR=$tmp/queue LISTENADDRESS=127.0.0.1 LISTENPORT=28010 exec "$bin/sidekick") >/dev/null 2>"$tmp/log" &
	sidekick=$!
	until grep -q '"msg":"listening"' "$tmp/log"; do sleep 0.01; done
	c=$(now)
	within echo hello >/dev/null
	d=$(now)
	SIDEKICK_URL=http://127.0.0.1:28010/ within "$tmp/sidearmor/tracer" run --policies examples/policies -- sh -c 'echo hello >&3; exec sleep 0' 3>&1 >/dev/null | { read -r _; now >"$tmp/first"; cat >/dev/null; }
	e=$(cat "$tmp/first")
	memory=$(awk '/VmHWM/ { print int($2 / 1024) }' "/proc/$sidekick/status")
	echo "install $(ms "$a" "$b") ms, sidekick $(ms "$b" "$c") ms, native $(ms "$c" "$d") ms, under the tracer $(ms "$d" "$e") ms, together $(ms "$a" "$e") ms; sidekick at most $memory MB"
	kill "$sidekick" && wait "$sidekick" || true
	sidekick=
	rm -rf "$tmp/queue" "$tmp/sidearmor"
done
