package containers

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/moby/profiles/seccomp"
	"github.com/opencontainers/runtime-spec/specs-go"
)

// fargateCapabilities are what a container gets on ECS Fargate when its task
// definition says nothing: Docker's default.
var fargateCapabilities = []string{
	"CAP_AUDIT_WRITE", "CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_FSETID", "CAP_KILL", "CAP_MKNOD",
	"CAP_NET_BIND_SERVICE", "CAP_NET_RAW", "CAP_SETFCAP", "CAP_SETGID", "CAP_SETPCAP", "CAP_SETUID", "CAP_SYS_CHROOT",
}

// container says how one container of a task differs from the others.
type container struct {
	name            string
	rootfs          string // writable on the host, so that runc can make mount points
	readonly        bool
	args            []string
	env             []string
	uid             uint32
	capabilities    []string
	noNewPrivileges bool
	binds           []bind
	netns           string // of another container; "" makes one
}

// bind makes a file or directory of the host visible in a container.
type bind struct{ from, to, mode string } // mode is ro or rw

// writeBundle makes an OCI bundle with the defaults that Docker, and Fargate with
// it, gives: moby's own seccomp profile, masked paths, own namespaces.
func (c *container) writeBundle(t *testing.T, dir, cgroup string) {
	t.Helper()
	// A process that is not root gets its capabilities in the bounding set only:
	// runc would hand them over as Podman does, Docker and Fargate do not.
	capabilities := &specs.LinuxCapabilities{Bounding: c.capabilities}
	if c.uid == 0 {
		capabilities.Effective, capabilities.Permitted = c.capabilities, c.capabilities
	}
	spec := &specs.Spec{
		Version:  "1.0.2",
		Hostname: c.name,
		Root:     &specs.Root{Path: c.rootfs, Readonly: c.readonly},
		Process: &specs.Process{
			User:            specs.User{UID: c.uid, GID: c.uid},
			Args:            c.args,
			Env:             append([]string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOSTNAME=" + c.name}, c.env...),
			Cwd:             "/",
			Capabilities:    capabilities,
			NoNewPrivileges: c.noNewPrivileges,
		},
		Mounts: c.mounts(),
		Linux: &specs.Linux{
			CgroupsPath: cgroup,
			Namespaces: []specs.LinuxNamespace{
				{Type: specs.PIDNamespace},
				{Type: specs.MountNamespace},
				{Type: specs.IPCNamespace},
				{Type: specs.UTSNamespace},
				{Type: specs.NetworkNamespace, Path: c.netns},
			},
			MaskedPaths: []string{
				"/proc/acpi", "/proc/asound", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
				"/proc/sched_debug", "/proc/scsi", "/proc/timer_list", "/proc/timer_stats", "/sys/firmware",
			},
			ReadonlyPaths: []string{"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"},
			Resources:     &specs.LinuxResources{Devices: []specs.LinuxDeviceCgroup{{Allow: false, Access: "rwm"}}},
		},
	}
	profile, err := seccomp.GetDefaultProfile(spec)
	if err != nil {
		t.Fatalf("seccomp profile: %v", err)
	}
	spec.Linux.Seccomp = profile
	body, err := json.Marshal(spec)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "config.json"), body, 0o644); err != nil {
		t.Fatal(err)
	}
}

func (c *container) mounts() []specs.Mount {
	mounts := []specs.Mount{
		{Destination: "/proc", Type: "proc", Source: "proc", Options: []string{"nosuid", "noexec", "nodev"}},
		{Destination: "/dev", Type: "tmpfs", Source: "tmpfs", Options: []string{"nosuid", "strictatime", "mode=755", "size=65536k"}},
		{Destination: "/dev/pts", Type: "devpts", Source: "devpts", Options: []string{"nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"}},
		{Destination: "/dev/shm", Type: "tmpfs", Source: "shm", Options: []string{"nosuid", "noexec", "nodev", "mode=1777", "size=65536k"}},
		{Destination: "/sys", Type: "sysfs", Source: "sysfs", Options: []string{"nosuid", "noexec", "nodev", "ro"}},
	}
	for _, bind := range c.binds {
		mounts = append(mounts, specs.Mount{
			Source: bind.from, Destination: bind.to, Type: "bind", Options: []string{"rbind", "rprivate", bind.mode},
		})
	}
	return mounts
}
