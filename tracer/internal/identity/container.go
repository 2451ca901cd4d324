package identity

import (
	"strings"
)

// container finds the id of this container in /proc/self/cgroup or, inside a
// cgroup namespace, where that says no more than "/", in the mounts of
// /proc/self/mountinfo. The kubelet's mounts also tell the container's name.
func container(cgroup, mountinfo string) (id, name string) {
	for line := range strings.Lines(cgroup) {
		if _, path, ok := cutTwice(strings.TrimSpace(line)); ok {
			if id = lastID(path); id != "" {
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
			id = lastID(source)
		}
	}
	return id, kubeletName(mounts["/dev/termination-log"])
}

// cutTwice splits "hierarchy:controllers:path".
func cutTwice(line string) (controllers, path string, ok bool) {
	_, rest, ok := strings.Cut(line, ":")
	if !ok {
		return "", "", false
	}
	return strings.Cut(rest, ":")
}

// lastID is the last part of a path that ends with the id of a container.
// (Regular expressions would do, and take a tenth of a millisecond of each start.)
func lastID(path string) (last string) {
	for part := range strings.SplitSeq(path, "/") {
		if id := idAtEnd(strings.TrimSuffix(part, ".scope")); id != "" {
			last = id
		}
	}
	return last
}

// idAtEnd is the id that s is or, behind "-" or ":", ends with: 64 hex digits are
// one of docker, containerd, CRI-O and podman; on Fargate it is the task's, of 32,
// and a number.
func idAtEnd(s string) string {
	const long, task, number = 64, 32, 20
	begin := len(s) - long
	if dash := strings.LastIndexByte(s, '-'); dash >= task && consists(s[dash+1:], "0123456789") && len(s)-dash-1 <= number {
		begin = dash - task
		if !consists(s[begin:dash], hexDigits) {
			return ""
		}
	} else if begin < 0 || !consists(s[begin:], hexDigits) {
		return ""
	}
	if begin > 0 && s[begin-1] != '-' && s[begin-1] != ':' {
		return ""
	}
	return s[begin:]
}

const hexDigits = "0123456789abcdef"

// kubeletName is the name in ".../pods/<uid>/containers/<name>/<hash>".
func kubeletName(path string) string {
	parts := strings.Split(path, "/")
	n := len(parts)
	if n < 4 || parts[n-3] != "containers" || !consists(parts[n-1], hexDigits) {
		return ""
	}
	name := parts[n-2]
	if !consists(name, "abcdefghijklmnopqrstuvwxyz0123456789-.") || name[0] == '-' || name[0] == '.' {
		return ""
	}
	return name
}

// consists says whether s is not empty and has no other characters than these.
func consists(s, characters string) bool {
	return s != "" && strings.Trim(s, characters) == ""
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
