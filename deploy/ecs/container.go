package ecs

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/sidearmor/sidearmor/deploy/internal/document"
	"github.com/sidearmor/sidearmor/deploy/internal/workload"
)

// container makes the tracer the entry point of a container.
func (i *injection) container(ctx context.Context, c *container) error {
	// The list may be another one by now: the definition was taken out of its
	// wrapper.
	c.target = i.target
	steps := []func() error{
		func() error { return i.command(ctx, c) },
		func() error { return i.mounts(c) },
		func() error { return i.dependencies(c) },
		func() error { return i.capability(c) },
		func() error { return i.environment(c) },
		func() error { return i.healthCheck(c) },
	}
	for _, step := range steps {
		if err := step(); err != nil {
			return fmt.Errorf("container %s: %w", c.name, err)
		}
	}
	return nil
}

// command puts the tracer in front of what the container runs. What the
// definition has stays as it is; what it leaves to the image is written out,
// because ECS drops the image's CMD with its ENTRYPOINT.
func (i *injection) command(ctx context.Context, c *container) error {
	entry, command := c.get("entryPoint"), c.get("command")
	words, ok := entry.Strings()
	if entry != nil && !ok {
		return fmt.Errorf("line %d: its entryPoint is not written out here", c.doc.Line(entry))
	}
	if workload.Traced(words) {
		return fmt.Errorf("its entryPoint is a tracer already, which inject did not put there: take it away first")
	}
	hasCommand := command != nil && (command.Kind != document.List || len(command.Items) > 0)
	switch {
	case slices.Equal(words, []string{""}): // Docker's way to say: no entry point
		if !hasCommand {
			return fmt.Errorf("it has an empty entryPoint and no command: it runs nothing")
		}
		i.changed("container %s: entryPoint is %q instead of the empty one; command stays", c.name, workload.Head())
		return c.doc.Set(c.at, c.key("entryPoint"), list(workload.Head()))
	case len(words) > 0:
		i.changed("container %s: entryPoint begins with %q; the rest and command stay", c.name, workload.Head())
		return c.doc.Prepend(c.path("entryPoint"), workload.Head()...)
	}
	image := c.get("image")
	config, err := i.o.Commands.Of(ctx, c.name, image.Text(), i.arch, !hasCommand)
	if err != nil {
		return err
	}
	if config.OS == "windows" {
		return fmt.Errorf("its image %s is for Windows: the tracer runs on Linux only", image.Text())
	}
	argv := slices.Concat(workload.Head(), config.Entrypoint)
	if !hasCommand && len(config.Entrypoint)+len(config.Cmd) == 0 {
		return fmt.Errorf("neither it nor its image says what it runs")
	}
	if err := c.doc.Set(c.at, c.key("entryPoint"), list(argv)); err != nil {
		return err
	}
	i.changed("container %s: entryPoint is %q, the tracer and the ENTRYPOINT of %s", c.name, argv, image.Text())
	if hasCommand || len(config.Cmd) == 0 {
		return nil
	}
	i.changed("container %s: command is %q, the CMD of its image", c.name, config.Cmd)
	return c.doc.Set(c.at, c.key("command"), list(config.Cmd))
}

func list(words []string) document.Items {
	items := make(document.Items, len(words))
	for i, w := range words {
		items[i] = w
	}
	return items
}

// mounts brings the tracer into the container.
func (i *injection) mounts(c *container) error {
	if mounts := c.get("mountPoints"); mounts != nil {
		for _, m := range mounts.Items {
			if path := m.Get(c.key("containerPath")).Text(); strings.TrimRight(path, "/") == workload.Dir {
				return fmt.Errorf("it mounts something at %s already", path)
			}
		}
	}
	if i.alone {
		i.changed("container %s: the volume of %s is mounted read-only at %s", c.name, workload.Install, workload.Dir)
		return c.doc.Append(c.path("volumesFrom"),
			document.Entries{{Key: "sourceContainer", Value: workload.Install}, {Key: "readOnly", Value: true}},
			document.Match{Key: "sourceContainer", Value: workload.Install})
	}
	i.changed("container %s: volume %s is mounted read-only at %s", c.name, workload.Volume, workload.Dir)
	if err := c.doc.Append(c.path("mountPoints"), i.mount(workload.Volume, workload.Dir, true),
		document.Match{Key: c.key("sourceVolume"), Value: workload.Volume}); err != nil || !i.socket {
		return err
	}
	i.changed("container %s: the sidekick is reached by a socket in volume %s, because the network mode gives each container a network of its own or shares the host's", c.name, workload.SocketVolume)
	return c.doc.Append(c.path("mountPoints"), i.mount(workload.SocketVolume, workload.SocketDir, true),
		document.Match{Key: c.key("sourceVolume"), Value: workload.SocketVolume})
}

func (t *target) mount(volume, path string, readOnly bool) document.Entries {
	return document.Entries{
		{Key: t.key("sourceVolume"), Value: volume},
		{Key: t.key("containerPath"), Value: path},
		{Key: t.key("readOnly"), Value: readOnly},
	}
}

// dependencies start the container after the others, and stop it before them.
func (i *injection) dependencies(c *container) error {
	condition := "START"
	if i.o.WaitHealthy {
		condition = "HEALTHY"
	}
	i.changed("container %s: it starts when %s has ended well and %s is at %s, and stops before it", c.name, workload.Install, workload.Sidekick, condition)
	for _, d := range []Pair{{workload.Install, "SUCCESS"}, {workload.Sidekick, condition}} {
		v := document.Entries{{Key: c.key("containerName"), Value: d.Name}, {Key: c.key("condition"), Value: d.Value}}
		if err := c.doc.Append(c.path("dependsOn"), v, document.Match{Key: c.key("containerName"), Value: d.Name}); err != nil {
			return err
		}
	}
	return nil
}

// capability adds SYS_PTRACE, with which the tracer can read processes that
// changed their user. It makes the tracer process 1, too.
func (i *injection) capability(c *container) error {
	if init := c.get("linuxParameters", "initProcessEnabled"); init.Text() == "true" {
		i.changed("container %s: initProcessEnabled is false: the tracer does what an init does, and as process 1 cannot be killed from inside", c.name)
		if err := c.doc.Set(c.path("linuxParameters"), c.key("initProcessEnabled"), false); err != nil {
			return err
		}
	}
	added, _ := c.get("linuxParameters", "capabilities", "add").Strings()
	if slices.Contains(added, "SYS_PTRACE") || slices.Contains(added, "ALL") || c.get("privileged").Text() == "true" {
		return nil
	}
	i.changed("container %s: capability SYS_PTRACE is added; the tracer keeps it from the workload", c.name)
	return c.doc.Append(c.path("linuxParameters", "capabilities", "add"), "SYS_PTRACE", document.Match{Value: "SYS_PTRACE"})
}

// environment tells the tracer about policies and the sidekick.
func (i *injection) environment(c *container) error {
	env := slices.Clone(i.o.TracerEnv)
	if i.o.Policies != "" {
		env = append(env, Pair{"TRACER_POLICY", i.o.Policies})
	}
	if i.socket {
		env = append(env, Pair{"SIDEKICK_URL", "unix://" + workload.Socket})
	}
	for _, e := range env {
		if c.variable(c.node(), e.Name) != "" {
			return fmt.Errorf("it sets %s already", e.Name)
		}
		v := document.Entries{{Key: c.key("name"), Value: e.Name}, {Key: c.key("value"), Value: e.Value}}
		if err := c.doc.Append(c.path("environment"), v, document.Match{Key: c.key("name"), Value: e.Name}); err != nil {
			return err
		}
		i.changed("container %s: variable %s is set", c.name, e.Name)
	}
	if i.o.PolicyParameter == "" {
		return nil
	}
	i.changed("container %s: its policies are in TRACER_POLICY, which ECS takes from %s; the execution role must be allowed to read it", c.name, i.o.PolicyParameter)
	v := document.Entries{{Key: c.key("name"), Value: "TRACER_POLICY"}, {Key: c.key("valueFrom"), Value: i.o.PolicyParameter}}
	return c.doc.Append(c.path("secrets"), v, document.Match{Key: c.key("name"), Value: "TRACER_POLICY"})
}

// healthCheck has the tracer run the container's health check, if the user wants
// that: ECS starts it from outside, where nothing is seen or denied.
func (i *injection) healthCheck(c *container) error {
	command := c.get("healthCheck", "command")
	if command == nil || !i.o.TraceHealthChecks {
		return nil
	}
	words, ok := command.Strings()
	if !ok || len(words) < 2 || (words[0] != "CMD" && words[0] != "CMD-SHELL") {
		i.note("container %s: its health check is neither CMD nor CMD-SHELL and stays as it is", c.name)
		return nil
	}
	argv := document.Items{"CMD"}
	for _, w := range workload.Head() {
		argv = append(argv, w)
	}
	if words[0] == "CMD-SHELL" {
		argv = append(argv, "/bin/sh", "-c")
	}
	for _, it := range command.Items[1:] {
		argv = append(argv, it)
	}
	i.changed("container %s: its health check runs under the tracer", c.name)
	return c.doc.Set(c.path("healthCheck"), c.key("command"), argv)
}
