package ecs

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/sidearmor/sidearmor/deploy/internal/document"
	"github.com/sidearmor/sidearmor/deploy/internal/workload"
)

// windowsPath is an absolute path that only Windows has.
var windowsPath = regexp.MustCompile(`^[A-Za-z]:[\\/]`)

// platform finds out where the task is to run, and refuses where it cannot.
func (i *injection) platform() error {
	i.launch = i.launchTypes()
	if family := i.get("runtimePlatform", "operatingSystemFamily").Text(); strings.HasPrefix(family, "WINDOWS") {
		return fmt.Errorf("operatingSystemFamily is %s: the tracer runs on Linux only", family)
	}
	if err := i.windowsPaths(); err != nil {
		return err
	}
	i.arch = "amd64"
	if i.get("runtimePlatform", "cpuArchitecture").Text() == "ARM64" {
		i.arch = "arm64"
	}
	mode := i.get("networkMode").Text()
	fargate := slices.Contains(i.launch, "FARGATE")
	switch {
	case fargate && !i.alone && mode != "awsvpc" && (mode != "" && i.get("networkMode").Literal() || i.get("networkMode") == nil):
		return fmt.Errorf("networkMode is %q: Fargate has awsvpc only", mode)
	case mode == "none":
		return fmt.Errorf("networkMode is none: the sidekick could deliver nothing")
	}
	if i.alone && !fargate {
		i.note("a list of containers does not say the network mode: the tracers look for the sidekick at 127.0.0.1, as in awsvpc")
	}
	i.socket = slices.Contains([]string{"bridge", "host"}, mode) || !i.alone && mode == "" && i.get("networkMode") == nil
	if pid := i.get("pidMode").Text(); pid != "" {
		i.note("pidMode is %s: the tracer is not process 1 of its container, so a process of the same user can kill it", pid)
	}
	return nil
}

// windowsPaths finds Windows where runtimePlatform does not say it.
func (i *injection) windowsPaths() error {
	all, err := i.list()
	if err != nil {
		return err
	}
	for _, c := range all {
		mounts := c.get("mountPoints")
		if mounts == nil {
			continue
		}
		for _, m := range mounts.Items {
			if path := m.Get(c.key("containerPath")).Text(); windowsPath.MatchString(path) {
				return fmt.Errorf("container %s mounts %s, so it is Windows: the tracer runs on Linux only", c.name, path)
			}
		}
	}
	return nil
}

func (i *injection) launchTypes() []string {
	if i.o.LaunchType != "" {
		return []string{i.o.LaunchType}
	}
	compatibilities, _ := i.get("requiresCompatibilities").Strings()
	return compatibilities
}

// volumes adds what the containers share.
func (i *injection) volumes() error {
	if i.alone {
		return nil // by volumesFrom: the list of containers has no place for volumes
	}
	names := []string{workload.Volume, workload.QueueVolume}
	if i.socket {
		names = append(names, workload.SocketVolume)
	}
	at := i.at.Key(i.key("volumes"))
	if n := i.doc.At(at); n != nil {
		for _, v := range n.Items {
			if slices.Contains(names, v.Name()) {
				return fmt.Errorf("it has a volume %s that inject did not add", v.Name())
			}
		}
	}
	for _, name := range names {
		v := document.Entries{{Key: i.key("name"), Value: name}}
		if err := i.doc.Append(at, v, document.Match{Key: i.key("name"), Value: name}); err != nil {
			return err
		}
	}
	i.changed("volumes %s are added; they live as long as the task", strings.Join(names, ", "))
	return nil
}

// resize sets the size of the task, if the user wants another.
func (i *injection) resize() error {
	for _, size := range []struct{ key, value string }{{"cpu", i.o.TaskCPU}, {"memory", i.o.TaskMemory}} {
		if size.value == "" {
			continue
		}
		if i.alone {
			return fmt.Errorf("the %s of the task is not here, but in the resource", size.key)
		}
		before := i.get(size.key).Text()
		if err := i.doc.Set(i.at, i.key(size.key), size.value); err != nil {
			return err
		}
		i.changed("%s of the task is %s instead of %q", size.key, size.value, before)
	}
	return nil
}
