package identity

import (
	"bytes"
	"errors"
	"io/fs"
	"log/slog"
	"regexp"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"github.com/sidearmor/sidearmor/schema"
	spolicy "github.com/sidearmor/sidearmor/schema/policy"
)

var (
	hexA    = strings.Repeat("0a1b2c3d", 8)
	hexB    = strings.Repeat("f0e1d2c3", 8)
	ecsTask = strings.Repeat("9f8e7d6c", 4)
)

func TestContainerID(t *testing.T) {
	mount := func(source, target string) string {
		return "612 600 254:1 " + source + " " + target + " rw,relatime - ext4 /dev/vda1 rw\n"
	}
	for _, c := range []struct{ name, cgroup, mounts, id, container string }{
		{name: "nothing"},
		{name: "not in a container", cgroup: "0::/init.scope\n"},
		{name: "a user session", cgroup: "0::/user.slice/user-1000.slice/session-2.scope\n"},
		{name: "docker, v1", cgroup: "12:memory:/docker/" + hexA + "\n11:cpu,cpuacct:/docker/" + hexA + "\n", id: hexA},
		{name: "docker, systemd", cgroup: "0::/system.slice/docker-" + hexA + ".scope\n", id: hexA},
		{name: "docker in docker", cgroup: "5:cpu:/docker/" + hexA + "/docker/" + hexB + "\n", id: hexB},
		{name: "containerd", cgroup: "0::/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod1a2b.slice/cri-containerd-" + hexA + ".scope\n", id: hexA},
		{name: "containerd, v1 by name", cgroup: "9:pids:/system.slice/containerd.service/kubepods-besteffort-pod1a2b.slice:cri-containerd:" + hexA + "\n", id: hexA},
		{name: "cgroupfs driver", cgroup: "9:pids:/kubepods/burstable/pod0d5a5b1c-1d2e-4f3a-8b4c-5d6e7f8a9b0c/" + hexA + "\n", id: hexA},
		{name: "CRI-O", cgroup: "0::/kubepods.slice/kubepods-pod1a2b.slice/crio-" + hexA + ".scope\n", id: hexA},
		{name: "CRI-O, nested", cgroup: "0::/kubepods.slice/crio-" + hexA + ".scope/container\n", id: hexA},
		{name: "podman", cgroup: "0::/machine.slice/libpod-" + hexA + ".scope/container\n", id: hexA},
		{name: "ECS on EC2", cgroup: "8:cpuset:/ecs/" + ecsTask + "/" + hexA + "\n", id: hexA},
		{name: "ECS on EC2, old", cgroup: "8:cpuset:/ecs/prod/" + ecsTask + "/" + hexA + "\n", id: hexA},
		{name: "ECS on Fargate", cgroup: "8:cpuset:/ecs/" + ecsTask + "/" + ecsTask + "-2387641239\n", id: ecsTask + "-2387641239"},
		{name: "Fargate, v2", cgroup: "0::/ecs/" + ecsTask + "/" + ecsTask + "-527074092\n", id: ecsTask + "-527074092"},
		{name: "first line without", cgroup: "13:rdma:/\n12:memory:/docker/" + hexA + "\n", id: hexA},
		{
			name: "namespace, docker", cgroup: "0::/\n", id: hexA,
			mounts: mount("/", "/") + mount("/var/lib/docker/containers/"+hexA+"/resolv.conf", "/etc/resolv.conf") + mount("/var/lib/docker/containers/"+hexA+"/hostname", "/etc/hostname"),
		},
		{
			name: "namespace, podman", cgroup: "0::/\n", id: hexA,
			mounts: mount("/containers/storage/overlay-containers/"+hexA+"/userdata/hostname", "/etc/hostname"),
		},
		{
			name: "namespace, Fargate", cgroup: "0::/\n", id: ecsTask + "-12",
			mounts: mount("/var/lib/ecs/"+ecsTask+"/"+ecsTask+"-12/hosts", "/etc/hosts"),
		},
		{
			name: "the sandbox is not the container", cgroup: "0::/\n", container: "web",
			mounts: mount("/var/lib/containerd/io.containerd.grpc.v1.cri/sandboxes/"+hexA+"/hostname", "/etc/hostname") +
				mount("/var/lib/kubelet/pods/0d5a5b1c-1d2e-4f3a-8b4c-5d6e7f8a9b0c/etc-hosts", "/etc/hosts") +
				mount("/var/lib/kubelet/pods/0d5a5b1c-1d2e-4f3a-8b4c-5d6e7f8a9b0c/containers/web/1f2e3d4c", "/dev/termination-log"),
		},
		{name: "too short", cgroup: "0::/docker/" + hexA[:63] + "\n"},
		{name: "too long", cgroup: "0::/docker/" + hexA + "0\n"},
		{name: "nonsense", cgroup: "\x00::\n:::::\nabc", mounts: "\x00 \n1 2 3\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if id, name := container(c.cgroup, c.mounts); id != c.id || name != c.container {
				t.Errorf("%q, %q, want %q, %q", id, name, c.id, c.container)
			}
		})
	}
}

func FuzzContainer(f *testing.F) {
	f.Add("0::/docker/"+hexA, "612 600 254:1 /"+hexA+"/hostname /etc/hostname rw")
	f.Fuzz(func(t *testing.T, cgroup, mounts string) {
		id, _ := container(cgroup, mounts)
		if id != "" && len(id) != 64 && (len(id) < 34 || len(id) > 53) {
			t.Errorf("id %q", id)
		}
	})
}

// What is looked for, as regular expressions say it.
func FuzzContainerPaths(f *testing.F) {
	ids := regexp.MustCompile(`(?:^|[/:-])([0-9a-f]{64}|[0-9a-f]{32}-[0-9]{1,20})(?:\.scope)?(?:$|/)`)
	names := regexp.MustCompile(`/containers/([a-z0-9][-a-z0-9.]*)/[0-9a-f]+$`)
	for _, path := range []string{
		"/docker/" + hexA, "/a:b:" + hexA + ".scope/" + ecsTask + "-12/x", ecsTask + "-12", "-" + ecsTask + "-123456789012345678901", "/" + hexA + "-1",
		"x-" + hexA, "x" + hexA, "/pods/u/containers/web.a-1/1f2e", "containers/web/1f", "/containers/-web/1f", "/containers//1f", "/containers/web/",
	} {
		f.Add(path)
	}
	f.Fuzz(func(t *testing.T, path string) {
		id, name := "", ""
		for rest := path; rest != ""; {
			m := ids.FindStringSubmatchIndex(rest)
			if m == nil {
				break
			}
			id, rest = rest[m[2]:m[3]], rest[m[3]:]
		}
		if m := names.FindStringSubmatch(path); m != nil {
			name = m[1]
		}
		if got := lastID(path); got != id {
			t.Errorf("id of %q: %q, want %q", path, got, id)
		}
		if got := kubeletName(path); got != name {
			t.Errorf("name of %q: %q, want %q", path, got, name)
		}
	})
}

func root(files map[string]string) fs.FS {
	m := fstest.MapFS{}
	for name, text := range files {
		m[name] = &fstest.MapFile{Data: []byte(text)}
	}
	return m
}

func TestDiscover(t *testing.T) {
	const secrets = "var/run/secrets/kubernetes.io/serviceaccount/namespace"
	for _, c := range []struct {
		name    string
		environ []string
		files   map[string]string
		origin  schema.Origin
		target  spolicy.Target
	}{
		{
			name:  "docker",
			files: map[string]string{"proc/sys/kernel/hostname": "c0ffee\n", "proc/self/cgroup": "0::/docker/" + hexA},
			origin: schema.Origin{
				HostName: "c0ffee", NodeID: "c0ffee", NamespaceName: "container_namespace",
				PodName: "c0ffee", ContainerName: "c0ffee", ContainerID: hexA,
			},
			target: spolicy.Target{Pod: "c0ffee", Container: "c0ffee", From: spolicy.Sources{Container: "the hostname"}},
		},
		{
			name: "everything said",
			environ: []string{
				"CLUSTER_NAME=c", "NODE_NAME=n", "POD_NAMESPACE=ns", "NAMESPACE=other", "POD_NAME=p", "CONTAINER_NAME=ct",
				"CONTAINER_IMAGE=img:1", "POD_LABELS=b=2, a=1,pod-template-hash=abc,bad", "OWNER_KIND=StatefulSet", "OWNER_NAME=o", "POD_NAME=late",
			},
			files: map[string]string{"proc/sys/kernel/hostname": "h", secrets: "file-ns"},
			origin: schema.Origin{
				ClusterName: "c", HostName: "n", NodeID: "n", NamespaceName: "ns", PodName: "p", ContainerName: "ct", ContainerImage: "img:1",
				Labels: "a=1,b=2", Owner: &schema.Owner{Ref: "StatefulSet", Name: "o", Namespace: "ns"},
			},
			target: spolicy.Target{Namespace: "ns", Pod: "p", Container: "ct", Labels: map[string]string{"a": "1", "b": "2", "pod-template-hash": "abc"}, From: spolicy.Sources{Namespace: "POD_NAMESPACE", Container: "CONTAINER_NAME", Labels: "POD_LABELS"}},
		},
		{
			name:    "Kubernetes",
			environ: []string{"KUBERNETES_SERVICE_HOST=10.0.0.1", "LABELS_FILE=/etc/podinfo/labels", "POD_NAME= "},
			files: map[string]string{
				"proc/sys/kernel/hostname": "web-7d9c5b-x2x4z\n", secrets: "prod",
				"etc/podinfo/labels":  "app=\"web\"\nnote=\"a \\\"b\\\"\"\npod-template-hash=\"7d9c5b\"\n",
				"proc/self/mountinfo": "612 600 254:1 /var/lib/kubelet/pods/u/containers/app/1f2e /dev/termination-log rw - ext4 d rw\n",
			},
			origin: schema.Origin{
				HostName: "web-7d9c5b-x2x4z", NodeID: "web-7d9c5b-x2x4z", NamespaceName: "prod", PodName: "web-7d9c5b-x2x4z", ContainerName: "app",
				Labels: `app=web,note=a "b"`, Owner: &schema.Owner{Ref: "Deployment", Name: "web", Namespace: "prod"},
			},
			target: spolicy.Target{Namespace: "prod", Pod: "web-7d9c5b-x2x4z", Container: "app", Labels: map[string]string{"app": "web", "note": `a "b"`, "pod-template-hash": "7d9c5b"}, From: spolicy.Sources{Namespace: "the service account", Container: "the kubelet's mounts", Labels: "LABELS_FILE /etc/podinfo/labels"}},
		},
		{
			name:    "NAMESPACE alone",
			environ: []string{"NAMESPACE=team"},
			origin:  schema.Origin{NamespaceName: "team"},
			target:  spolicy.Target{Namespace: "team", From: spolicy.Sources{Namespace: "NAMESPACE"}},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			i := Discover(Options{Environ: c.environ, Root: root(c.files)})
			if diff := cmp.Diff(c.origin, i.Origin()); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff(c.target, i.Target()); diff != "" {
				t.Error(diff)
			}
			i.Run(t.Context(), func(spolicy.Target) { t.Error("there was nothing to learn") })
		})
	}
}

// The real root must do, whatever this runs on.
func TestDiscoverHere(t *testing.T) {
	if o := Discover(Options{}).Origin(); o.HostName == "" || o.NamespaceName == "" {
		t.Errorf("origin %+v", o)
	}
}

// broken fails to open everything.
type broken struct{}

func (broken) Open(name string) (fs.File, error) {
	return nil, &fs.PathError{Op: "open", Path: name, Err: errors.New("no luck")}
}

func TestUnreadableFilesAreSaid(t *testing.T) {
	var log bytes.Buffer
	i := Discover(Options{Root: broken{}, Environ: []string{"POD_NAME=p", "LABELS_FILE=/labels"}, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	if o := i.Origin(); o.PodName != "p" {
		t.Errorf("origin %+v", o)
	}
	for _, want := range []string{"proc/self/cgroup", "labels file", "no luck"} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("the log does not say %q: %s", want, &log)
		}
	}
}

func TestForeignTextIsBounded(t *testing.T) {
	var labels strings.Builder
	for range 1000 {
		labels.WriteString(strings.Repeat("k", labels.Len()%50+1) + "=" + strings.Repeat("\xff", 3000) + ",")
	}
	i := Discover(Options{
		Root:    root(map[string]string{"proc/sys/kernel/hostname": strings.Repeat("h", 5000), "labels": labels.String()}),
		Environ: []string{"POD_LABELS=" + labels.String(), "CONTAINER_IMAGE=" + strings.Repeat("é", 1<<20)},
	})
	o := i.Origin()
	for field, s := range map[string]string{"HostName": o.HostName, "Labels": o.Labels, "ContainerImage": o.ContainerImage} {
		if len(s) > maxEnv || strings.ToValidUTF8(s, "") != s {
			t.Errorf("%s has %d bytes", field, len(s))
		}
	}
}
