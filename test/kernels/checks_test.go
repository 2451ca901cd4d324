package kernels

// check is a script that a guest runs under the tracer. testdata/init tells how.
type check struct {
	name string
	// as and rules say for whom and under which policies it is run, each with each;
	// the defaults are everyone and anyRules.
	as, rules string
	// before is run natively first, in the script's directory, and must succeed:
	// it makes what the script needs, or shows that an attack works.
	before string
	script string
	// want is what the script prints, and its exit status. Where it is empty, the
	// script must print what it prints without the tracer.
	want string
	// long checks are not in the short form.
	long bool
}

const (
	everyone = "root container user"
	anyRules = "observe files"
)

// Programs of testdata, and lib.sh, are at the scripts' disposal. TRIES says how
// often something is to be tried that goes wrong only sometimes.
var checks = []check{
	// What the workload does not notice.
	{name: "exit-status", script: `exit 7`},
	{name: "signal", script: `kill -TERM $$`, want: "exit 143\n"},
	{name: "killed", script: `kill -KILL $$`, want: "exit 137\n", long: true},
	{name: "children", script: `
for i in 1 2 3; do (sh -c "exit $i"); echo $?; done
(sleep 0.1; echo late) & echo early; wait
seq 1 2000 | sort -rn | head -n 3
printf '[%s]' "a b" "" '*'; cat; cat /missing; umask; pwd; ulimit -n`},
	{name: "files", long: true, script: `
find /checks /rules -type f | sort | xargs cat | cksum
tar c /checks /rules | tar t | sort; cp -r /rules copy; diff -r /rules copy && echo same; rm -r copy; ls`},
	{name: "opens-overlay", script: `opens here`},
	{name: "opens-tmpfs", script: `opens /tmp/here`, long: true},
	{name: "opens-other-user", as: "root container", long: true, script: `as user opens /tmp/here; cat /tmp/here/private`},
	{name: "protected", as: "root container", rules: "files", script: `
chmod 755 .
for dir in sticky shared open; do
	mkdir $dir $dir/in
	for who in root user; do
		echo text >$dir/$who; mkfifo $dir/$who.fifo; ln -s $who $dir/$who.link; ln -s ../$dir/$who.link $dir/$who.links; ln -s in $dir/$who.dir
		chmod 666 $dir/$who $dir/$who.fifo
		[ $who = root ] || chown -h 1000:1000 $dir/$who $dir/$who.*
	done
	echo text >$dir/in/root; chmod 666 $dir/in/root
done
chmod 1777 sticky; chmod 1775 shared; chgrp 1000 shared; chmod 777 open; ln -s sticky/user.link way; ln -s sticky/root.link other
for who in "sh -c" "as user sh -c"; do
	for dir in sticky shared open; do
		for f in user root.link user.link user.links user.dir/root user.dir/; do
			for way in "read x <$dir/$f" ": >>$dir/$f" "rm -f $dir/new; ln $dir/$f $dir/new"; do echo "$who $way" $(try $who "$way"); done
		done
		for f in root user; do echo "$who $dir $f.fifo" $(try $who "exec 3<>$dir/$f.fifo"); done
	done
	for f in way other way/ sticky/user.dir; do echo "$who $f" $(try $who "read x <$f") $(try $who "ls $f") $(try $who "chmod 666 $f"); done
done`},
	{name: "fifos", long: true, script: `
exec 2>/dev/null
mkfifo p; (sleep 0.1; echo one > p) & cat p; wait
(sleep 0.1; cat p) & echo two > p; wait
(exec 3<>p; echo three >&3; read x <&3; echo $x)
cat p & c=$!; sleep 0.2; kill -KILL $c; wait $c; echo $?; sleep 1
sh -c 'echo x > p' & c=$!; sleep 0.2; kill -TERM $c; wait $c; echo $?; sleep 1
(sleep 0.1; : > p) & cat p; wait; echo four`},
	{name: "fifo", script: `
exec 2>/dev/null # the shell may say who was killed, or not
mkfifo p; (sleep 0.1; echo one > p) & cat p; wait
cat p & c=$!; sleep 0.1; kill -KILL $c; wait $c; echo $?`},
	{name: "forks", script: `forks 40`},
	{name: "connections", script: `
try nc 127.0.0.1 9; mkfifo open; exec 3<>open 2>/dev/null
echo hello | nc -l -p 7000 & until nc 127.0.0.1 7000 <&3; do sleep 0.1; done; wait`},
	{name: "chroot", as: "root container", long: true, script: `
mkdir -p root/bin root/srv; cp /bin/busybox root/bin/sh; echo own > root/srv/secret
chroot root /bin/sh -c 'read x </srv/secret; echo $x; : >/made; : </missing'; ls root`},
	{name: "capabilities", as: "container user", script: `grep -e ^Cap -e ^Uid -e ^Gid -e ^Groups /proc/self/status`},
	{name: "landlock", before: `mkdir -p inside; echo x >inside/file`, script: `landlock inside`},
	{name: "signals-that-restart", script: `signals restart $TRIES`},
	{name: "signals-that-interrupt", long: true, script: `signals interrupt $TRIES`},

	// What is denied.
	{
		name: "block-file", rules: "files", before: `cat /srv/secret /srv/public`,
		script: `
ln -s /srv/secret link
for f in /srv/secret ../../srv/secret /srv/../srv//secret /proc/self/root/srv/secret link; do try cat $f; done
try sh -c ': </srv/secret'; try sh -c ': >/srv/secret'; try sh -c ': >>/srv/secret'; try sh -c ': <>/srv/secret'
(cd /srv; try cat secret; try cat public)
try cp /srv/public new; try cat /missing; try cat /checks`,
		want: "Permission denied\nPermission denied\nPermission denied\nPermission denied\nPermission denied\n" +
			"Permission denied\nPermission denied\nPermission denied\nPermission denied\n" +
			"Permission denied\nok\nok\nNo such file or directory\nIs a directory\nexit 0\n",
	},
	{
		name: "block-process", rules: "files", before: `/srv/denied`,
		script: `
rm -f marker; ln -s /srv/denied link; printf '#!/srv/denied\n' >script; chmod 755 script
for p in /srv/allowed /srv/denied ./link ./script /proc/self/root/srv/denied; do try $p; done
(cd /srv; try ./denied); [ ! -e marker ] || echo ran; (exec /srv/denied) 2>/dev/null; echo $?`,
		want: "ok\nPermission denied\nPermission denied\nPermission denied\nPermission denied\nPermission denied\n" +
			"126\nexit 0\n",
	},
	{
		name: "block-connection", rules: "network", before: `nc 127.0.0.1 9 2>&1 | grep refused`,
		script: `try nc 127.0.0.1 9; try nc ::1 9; try cat /srv/secret; try /srv/denied`,
		want:   "Permission denied\nPermission denied\nok\nok\nexit 0\n",
	},
	{
		name: "block-other-user", as: "root container", rules: "files", before: `as user cat /srv/secret`,
		script: `try as user cat /srv/secret; try as user cat /srv/public; try as user /srv/denied; try as user cat /srv/private`,
		want:   "Permission denied\nok\nPermission denied\nPermission denied\nexit 0\n",
	},
	{
		name: "daemon", rules: "files", script: `setsid sh -c 'sleep 0.5; cat /srv/secret' & exit 4`,
		want: "cat: can't open '/srv/secret': Permission denied\nexit 4\n",
	},
	{
		name: "debugging", as: "root", script: `[ $((0x$(sed -n 's/CapEff:.//p' /proc/self/status) >> 19 & 1)) = 0 ] && echo "no SYS_PTRACE"`,
		want: "no SYS_PTRACE\nexit 0\n",
	},

	// Attacks.
	{
		name: "race-open", rules: "files", before: `
for attempt in $(seq 50); do race /srv/public /srv/secret 20000 | grep -v '^0 ' && exit; done; exit 1`,
		script: `
mkfifo fifo; exec 3<>fifo # so that readers need not wait
for from in /srv/public $PWD/fifo /dev/null /dev/ptmx /proc/self/status /srv /srv/missing; do race $from /srv/secret $TRIES; done`,
		want: "0 1\n0 1\n0 1\n0 1\n0 1\n0 1\n0 0\nexit 0\n",
	},
	{
		name: "race-exec", rules: "files", before: `
for attempt in $(seq 50); do execrace /srv/allowed /srv/denied 100; [ -e marker ] && rm marker && exit; done; exit 1`,
		script: `execrace /srv/allowed /srv/denied $((TRIES / 10)); ls`,
		want:   "exit 0\n",
	},

	// The script starts the tracer by itself.
	{
		name: "process-1", as: "root", rules: "own", script: `
unshare -p -f sh -c 'mount -t proc proc /proc; exec tracer run --sidekick-url= -- sh -c "$0"' '
	echo $PPID
	for i in 1 2 3 4 5; do (sh -c "sleep 0.1" &); done; sleep 1; grep -h ^State /proc/[0-9]*/status | grep -c Z
	(trap "" TERM; sleep 1000) & exit 6'
status=$?; mount -t proc proc /proc; exit $status`,
		want: "1\n0\nexit 6\n",
	},
	{
		name: "forwarded-signals", as: "container user", rules: "own", script: `
mkfifo ready; tracer run --sidekick-url= -- sh -c 'trap "echo got" USR1; trap "exit 5" TERM; : >ready; while :; do sleep 0.1; done' &
: <ready; kill -USR1 $!; sleep 1; kill -TERM $!; wait $!`,
		want: "got\nexit 5\n",
	},
	{
		name: "events", as: "container user", rules: "own", before: `
mkdir -p www/cgi-bin
printf '#!/bin/sh\ncat >>%s/taken; printf "Content-Length: 0\\r\\n\\r\\n"\n' $PWD >www/cgi-bin/take; chmod 755 www/cgi-bin/take`,
		script: `
httpd -f -p 127.0.0.1:2801 -h www & receiver=$!
tracer run --sidekick-url=http://127.0.0.1:2801/cgi-bin/take --flush-timeout 1m --visibility all --policies /rules/files.yaml -- \
	sh -c 'cat /srv/public /srv/secret; /srv/denied' 2>/dev/null
kill $receiver; wait 2>/dev/null
grep '"Action":"Block"' taken | grep -o '"Resource":"[^"]*","Data'; grep -c '"Resource":"/srv/public".*"Result":"Passed"' taken`,
		want: "public\n\"Resource\":\"/srv/secret\",\"Data\n\"Resource\":\"/srv/denied\",\"Data\n1\nexit 0\n",
	},
}
