# Before every script: try COMMAND... says "ok", or why the command failed.
try() {
	if said=$( ("$@") 2>&1 >/dev/null); then
		echo ok
	else
		echo "${said##*: }"
	fi
}
