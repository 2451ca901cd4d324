package identity

import (
	"regexp"
	"strings"
)

// container finds the id of this container in /proc/self/cgroup or, inside a
// cgroup namespace, where that says no more than "/", in the mounts of
// /proc/self/mountinfo. The kubelet's mounts also tell the container's name.
func container(cgroup, mountinfo string) (id, name string) {
	// 64 hex digits are the id of docker, containerd, CRI-O and podman; on Fargate
	// it is the task id and a number.
	ids := regexp.MustCompile(`(?:^|[/:-])([0-9a-f]{64}|[0-9a-f]{32}-[0-9]{1,20})(?:\.scope)?(?:$|/)`)
	for line := range strings.Lines(cgroup) {
		if _, path, ok := cutTwice(strings.TrimSpace(line)); ok {
			if m := lastMatch(ids, path); m != "" {
				id = m
				break
			}
		}
	}
	mounts := parseMounts(mountinfo)
	for _, target := range []string{"/etc/hostname", "/etc/hosts", "/etc/resolv.conf"} {
		source := mounts[target]
		// A pod's sandbox owns these files under containerd and CRI-O, and its id is
		// not the container's.
		if id == "" && !strings.Contains(source, "/sandboxes/") && !strings.Contains(source, "/kubelet/") {
			id = lastMatch(ids, source)
		}
	}
	// …/pods/<uid>/containers/<name>/<hash>
	if m := regexp.MustCompile(`/containers/([a-z0-9][-a-z0-9.]*)/[0-9a-f]+$`).FindStringSubmatch(mounts["/dev/termination-log"]); m != nil {
		name = m[1]
	}
	return id, name
}

// cutTwice splits "hierarchy:controllers:path".
func cutTwice(line string) (controllers, path string, ok bool) {
	_, rest, ok := strings.Cut(line, ":")
	if !ok {
		return "", "", false
	}
	return strings.Cut(rest, ":")
}

func lastMatch(re *regexp.Regexp, s string) string {
	last := ""
	for s != "" {
		m := re.FindStringSubmatchIndex(s)
		if m == nil {
			break
		}
		last = s[m[2]:m[3]]
		s = s[m[3]:] // the separator may begin the next match too
	}
	return last
}

// parseMounts gives for each mount point the path of what is mounted there,
// within its file system (proc(5): fields 5 and 4). Of several the last, which
// covers the others, counts.
func parseMounts(mountinfo string) map[string]string {
	mounts := map[string]string{}
	for line := range strings.Lines(mountinfo) {
		if f := strings.Fields(line); len(f) > 5 {
			mounts[f[4]] = f[3]
		}
	}
	return mounts
}
