package main

import (
	"os"
	"os/exec"
	"strings"
	"testing"
)

// What a process lays down, keeps or takes on of rights counts for the files that
// the tracer opens in its place as it does for the kernel: ids of all kinds, each
// capability, groups, one thread's own.
func TestOpensGoByTheCallersRights(t *testing.T) {
	for _, who := range roots {
		s := scene{argv: victimOf(t, "rights.py"), lines: []string{"== raw"}, as: []caller{who}}
		if who.name != asItself.name {
			// A program whose effective user is not its real one cannot be looked into.
			s.known = `, execute: (0|127)$|^true: error while loading shared libraries`
		}
		s.test(t)
	}
	scene{argv: victimOf(t, "rights.py"), lines: []string{"as it is, read shut: EACCES"}, as: []caller{asUser}}.test(t)
}

// userNamespaces are lines that differ: files of procfs show the ids of, and ask for
// capabilities in, the namespace of whoever opens them.
const userNamespaces = `status: Uid|groups: Gid|^[UG]id:|^open (to write )?shut|^nested |^user limits|^x?$|^cat: [fg]:`

// A process in a user namespace has all capabilities in it and none outside.
func TestUserNamespaces(t *testing.T) {
	if err := exec.Command("unshare", "-Ur", "true").Run(); err != nil {
		skip(t, err) // the machine allows none
	}
	for _, section := range []string{"mapped", "unmapped", "limits"} {
		t.Run(section, func(t *testing.T) {
			scene{argv: victimOf(t, "namespaces.py", section), lines: []string{"user namespace: done"}, known: userNamespaces}.test(t)
		})
	}
	for name, script := range map[string]string{
		"unshare -r": "unshare -U id -u; unshare -Ur id -u; unshare -r sh -c 'cat /proc/self/uid_map /proc/self/gid_map'; unshare -Ur grep ^[UG]id /proc/self/status",
		"modes":      "unshare -U grep ^[UG]id /proc/self/status; umask 777; echo > f; unshare -Ur cat f; unshare -Ur sh -c 'echo x > g; cat g; ls -ln g' | sed 's/ [A-Z].*//'",
		"mounts":     "unshare -Urm sh -c 'mount -t tmpfs none /mnt && echo inside > /mnt/f && cat /mnt/f; umount /mnt; cat /mnt/f'",
	} {
		t.Run(name, func(t *testing.T) { scene{argv: []string{"sh", "-c", script}, known: userNamespaces}.test(t) })
	}
}

// ownProc looks into a /proc of a pid namespace of its own.
const ownProc = `echo $$; cat /proc/1/comm; read pid rest </proc/self/stat; [ $pid = $$ ] && echo itself
for f in self/status thread-self/stat self/fd/0 self/cwd self/environ self/fd mounts self/mem self/task/1/stat 2/stat; do (exec 3</proc/$f) && echo $f; done
grep -c . /proc/mounts /proc/self/mountinfo | grep -c :0; grep ^NSpid /proc/self/status`

// A process in a pid namespace of its own finds itself in its own /proc.
func TestPIDNamespaces(t *testing.T) {
	if os.Getuid() != 0 {
		skip(t, "needs root, for a pid namespace")
	}
	argv := []string{"unshare", "-pf", "--mount-proc", "sh", "-c", ownProc}
	scene{argv: argv, as: []caller{asItself, asNotTracer}, lines: []string{"itself", "self/mem"}}.test(t)
}

// settings are of namespaces that the tracer is not in: opens of theirs are denied.
const settings = `^(ttl|shmmni|msgmax|segments|queues|hostname|is): `

// Some files of procfs tell of namespaces, and set what is theirs: of those of
// whoever opens them. The tracer is in others.
func TestFilesThatBelongToANamespace(t *testing.T) {
	if os.Getuid() != 0 {
		skip(t, "needs root, for namespaces")
	}
	// In namespaces of the test's own, in case that what is written to goes to them.
	argv := append([]string{"unshare", "-n", "-i", "-u"}, victimOf(t, "namespaces.py", "net", "ipc", "uts")...)
	for _, who := range []caller{asItself, asNotTracer} {
		who.around = argv[:4]
		scene{argv: argv[4:], as: []caller{who}, lines: []string{"ttl: 77", "shmmni: 1234", "hostname: other"}, known: settings}.test(t)
	}
}

// What a process forbids itself by Landlock, it and its children cannot do any
// more.
func TestLandlock(t *testing.T) {
	// A second ruleset is refused, and the first is every thread's.
	scene{argv: victimOf(t, "landlock.py"), known: "^the process: "}.test(t)
}

// Programs that start as one user and go on as another, as servers do.
func TestChangeOfUserWithoutExec(t *testing.T) {
	said := []string{"connect: connected", "exec: 0"}
	scene{argv: victimOf(t, "worker.py"), as: []caller{asItself}, lines: said}.test(t)
	scene{argv: victimOf(t, "worker.py", "plain", "workers", "shown"), as: []caller{asContainer, asNotTracer}, lines: said}.test(t)
}

// Capabilities that come by an exec: ambient and inheritable ones.
func TestCapabilitiesAcrossAnExec(t *testing.T) {
	const script = `umask 077; echo s > f; chmod 711 .
u="setpriv --reuid=1001 --regid=1001 --clear-groups"
for c in "" "--inh-caps=+dac_override --ambient-caps=+dac_override" "--inh-caps=+dac_override" "--inh-caps=+chown --ambient-caps=+chown" "--bounding-set=-dac_override"; do $u $c cat f; done
for c in "--bounding-set=-all --inh-caps=-all" "--bounding-set=-dac_override --inh-caps=-dac_override" "--securebits=+noroot" "--securebits=+noroot,+no_setuid_fixup --inh-caps=+dac_override"; do
setpriv $c cat f; setpriv $c --reuid=1000 --clear-groups cat f; setpriv $c sh -c 'cat f; echo made > g; cat g; rm g'; done
cat f; echo > g; cat f`
	scene{argv: []string{"sh", "-c", script}, as: roots}.test(t)
}

// An Allow rule that this version does not enforce takes no allow list away: what
// the list does not name is denied, or the workload is not started.
func TestAllowRulesThatAreNotEnforcedAllowNothingElse(t *testing.T) {
	dir := sharedDir(t, asItself)
	secret := dir + "/secret"
	if err := os.WriteFile(secret, []byte("secret\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, spec := range []string{
		"file: {matchPatterns: [{pattern: /usr/bin/*}]}", "process: {matchPatterns: [{pattern: /usr/bin/no*}]}", "process: {matchPaths: [{path: /x, allowedArgs: ['-n']}]}",
		"file: {matchPatterns: [{pattern: /usr/bin/*}], matchPaths: [{path: /x}]}", "network: {matchProtocols: [{protocol: tcp}]}\n  file: {matchPatterns: [{pattern: /x*}]}",
	} {
		policies := sharedPolicies(t, strings.Replace(block(spec), "Block", "Allow", 1))
		for _, who := range everybody {
			got := outcomeOf(t, who.command(t, []string{"--default-file-posture=block", "--policies", policies}, []string{"cat", secret}))
			if got.stdout != "" || got.code == 0 {
				t.Errorf("%s, %s: %+v", who.name, spec, got)
			}
		}
	}
}
