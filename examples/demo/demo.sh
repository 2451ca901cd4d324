#!/usr/bin/env bash
# Usage: demo.sh [BIN]    BIN holds tracer and sidekick; "make demo" builds them.
#
# Runs the sample workload under the tracer and shows what becomes of it: what the
# sidekick takes and what it would post to Slack. Where SLACK_WEBHOOKURL,
# DISCORD_WEBHOOKURL or AWS_CLOUDWATCHLOGS_LOGGROUP is set, it sends for real.
# Nothing is left behind, however it ends.
set -euo pipefail

bin=$(realpath "${1:-bin}")
cd "$(dirname "$0")/../.."

red='' yellow='' dim='' bold='' plain=''
if [ -t 1 ] && [ -z "${NO_COLOR-}" ]; then
	red=$'\e[1;31m' yellow=$'\e[33m' dim=$'\e[2m' bold=$'\e[1m' plain=$'\e[0m'
fi

fail() {
	echo "demo: $*" >&2
	exit 1
}

title() { printf '\n%s%s%s\n' "$bold" "$*" "$plain"; }

# Cleaning up: what was started ends, the newest first, and the directory goes.
tmp=
started=()
cleanup() {
	trap - EXIT
	trap '' INT TERM HUP
	local i
	for ((i = ${#started[@]} - 1; i >= 0; i--)); do
		stop "${started[i]}"
	done
	[ -z "$tmp" ] || rm -rf "$tmp"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
trap 'exit 129' HUP

# stop ends a process that was started here and waits for it.
stop() {
	local pid=$1 i
	kill "$pid" 2>/dev/null || return 0
	for ((i = 0; i < 50; i++)); do
		kill -0 "$pid" 2>/dev/null || return 0
		sleep 0.1
	done
	kill -KILL "$pid" 2>/dev/null || true
	wait "$pid" 2>/dev/null || true
}

# eventually tries a command again until it succeeds, at most for so many seconds.
eventually() {
	local end=$((SECONDS + $1))
	shift
	until "$@"; do
		[ "$SECONDS" -lt "$end" ] || return 1
		sleep 0.1
	done
}

# show_events reads what the sidekick writes with STDOUT_FORMAT=text,slack: for each
# event a line, and indented the Slack message. Programs and connections are shown as
# they come, files are only counted, alerts are shown whole. In the end the counts go
# to the file $1, with the headline of each block.
show_events() {
	local line clock outcome headline color=''
	local programs=0 files=0 connections=0 audited=0 blocks=()
	while IFS= read -r line; do
		case $line in
		' '*) # the message of the event before
			case $outcome:$line in
			SEEN:*'│ File '*) files=$((files + 1)) ;;
			SEEN:*'│ Command '*) programs=$((programs + 1)) && show_log ;;
			SEEN:*'│ Network '*) connections=$((connections + 1)) && show_log ;;
			SEEN:*) ;;
			*) printf '%s┃%s    %s\n' "$color" "$plain" "$line" ;;
			esac
			continue
			;;
		esac
		# 2006-01-02 15:04:05.000 UTC  OUTCOME  headline  name=value  …
		clock=${line#* } && clock=${clock%% *}
		outcome=${line#* UTC  } && headline=${outcome#*  }
		outcome=${outcome%%  *} headline=${headline%%  *}
		case $outcome in
		SEEN) continue ;;
		BLOCKED) color=$red && blocks+=("$headline") ;;
		AUDITED) color=$yellow && audited=$((audited + 1)) ;;
		*) color=$yellow ;;
		esac
		printf '%s┃ %s  %-8s %s%s\n' "$color" "$clock" "$outcome" "$headline" "$plain"
	done
	printf '%s\n' "$programs $files $connections $audited ${#blocks[@]}" "${blocks[@]}" >"$1"
}

show_log() { printf '%s  %s  log      %s%s\n' "$dim" "$clock" "$headline" "$plain"; }

show_output() {
	local line
	while IFS= read -r line; do
		printf '  shop says:    %s\n' "$line"
	done
}

listening() { address=$(sed -n 's/.*"msg":"listening","address":"\([^"]*\)".*}$/\1/p' "$tmp/sidekick.log") && [ -n "$address" ]; }
listening_or_dead() { listening || ! kill -0 "$sidekick" 2>/dev/null; }
serving() { read -r port <"$tmp/port" 2>/dev/null; }

# metric sums the samples of a metric whose labels have the text $2.
metric() {
	curl --silent --fail --noproxy '*' --max-time 5 "http://$address/metrics" |
		awk -v name="$1" -v label="${2-}" 'index($1, name "{") == 1 && index($1, label) { sum += $2 } END { printf "%d\n", sum }'
}
delivered() { [ "$(metric sidearmor_queue_pending_events)" = 0 ]; }

for program in "$bin/tracer" "$bin/sidekick" cc curl awk /usr/bin/python3; do
	command -v "$program" >/dev/null || fail "$program is missing; \"make demo\" installs and builds what is needed"
done
tmp=$(mktemp -d "${TMPDIR:-/tmp}/sidearmor-demo.XXXXXX")
mkfifo "$tmp/events" "$tmp/output" "$tmp/shop"
: >"$tmp/sidekick.log"
cc -O2 -o "$tmp/client" examples/workload/client.c

title "Starting a sidekick, on its built-in defaults"
show_events "$tmp/counts" <"$tmp/events" &
started+=($!) events=$!
QUEUE_DIR=$tmp/queue LISTENADDRESS=127.0.0.1 LISTENPORT=0 DIGEST_WINDOW=0 \
	STDOUT_ENABLED=true STDOUT_FORMAT=text,slack STDOUT_LOGS=true STDOUT_MINIMUMPRIORITY='' \
	"$bin/sidekick" >"$tmp/events" 2>"$tmp/sidekick.log" &
started+=($!) sidekick=$!
eventually 20 listening_or_dead || true
listening || fail "the sidekick does not start:"$'\n'"$(cat "$tmp/sidekick.log")"
outputs=$(sed -n 's/.*"msg":"listening".*"outputs":"\([^"]*\)".*/\1/p' "$tmp/sidekick.log")
real=${outputs//stdout/} && real=${real%,} && real=${real//,/ }
echo "  it listens on http://$address/"
if [ -n "$real" ]; then
	echo "  SENDING FOR REAL to: $real"
else
	echo "  nothing is sent anywhere: no SLACK_WEBHOOKURL, DISCORD_WEBHOOKURL or AWS_CLOUDWATCHLOGS_LOGGROUP is set"
fi

# From here on nobody needs the credentials, the workload least of all.
unset "${!SLACK_@}" "${!DISCORD_@}" "${!AWS_@}" "${!WEBHOOK_@}" "${!TRACER_@}"

title "Running examples/workload/run.sh under the tracer, with the policies in examples/policies"
: >"$tmp/port"
/usr/bin/python3 examples/workload/server.py <"$tmp/shop" >"$tmp/port" &
started+=($!)
exec 9>"$tmp/shop" # its standard input: it ends when this script does
eventually 20 serving || fail "the workload's server does not start"
show_output <"$tmp/output" 9>&- &
started+=($!) output=$!
"$bin/tracer" run --sidekick-url "http://$address/" --policies examples/policies \
	--visibility process,file,network --format kubearmor --container shop --pod shop-1 --namespace demo \
	-- examples/workload/run.sh "$tmp/client" "$port" </dev/null >"$tmp/output" 2>&1 9>&- &
started+=($!) status=0
wait $! || status=$?
wait "$output"

late=
eventually 30 delivered || late=$(metric sidearmor_queue_pending_events || true)
dead=$(metric sidearmor_dead_letters_total || true)
sent=
for name in $real; do
	sent+="  $name took $(metric falcosecurity_falcosidekick_outputs_total "destination=\"$name\",status=\"ok\"" || true) events"$'\n'
done
stop "$sidekick"
wait "$events" # it has shown everything by now

{
	read -r programs files connections audited blocked
	mapfile -t blocks
} <"$tmp/counts"
title "What happened"
echo "  $((programs + files + connections)) logs: $programs programs run, $files files opened (not shown above), $connections connections"
echo "  $((audited + blocked)) alerts: $audited audited, $blocked blocked"
for headline in "${blocks[@]}"; do
	echo "    ${red}blocked${plain}: $headline"
done
echo "  the workload's exit status: $status, as without the tracer"
printf '%s' "$sent"
title "Where to go next"
cat <<-END
	  bin/sidekick &                                         take events on 127.0.0.1:2801
	  bin/tracer run --policies examples/policies -- CMD     run your own command
	  docs/policies.md    write policies        docs/outputs.md    Slack, Discord, CloudWatch Logs, webhooks
	  deploy/ecs, deploy/eks                    on AWS Fargate
END

if [ -n "$late" ] || [ "${dead:-0}" != 0 ]; then
	grep -E '"level":"(WARN|ERROR)"' "$tmp/sidekick.log" | tail -n 5 >&2 || true
	fail "${late:-0} events were not delivered in time, ${dead:-0} were refused"
fi
[ "$status" = 7 ] || fail "the workload ended with $status; it ends with 7 by itself"
[ "$blocked" -gt 0 ] && [ "$audited" -gt 0 ] || fail "no alert for something blocked, or none for something audited"
