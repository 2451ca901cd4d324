package ecs

import (
	"fmt"
	"slices"

	"github.com/sidearmor/sidearmor/deploy/internal/document"
	"github.com/sidearmor/sidearmor/deploy/internal/workload"
)

// stopTimeout of the sidekick, in seconds: its own SHUTDOWN_TIMEOUT is 25.
const stopTimeout = 30

// addContainers adds what installs the tracer, and the sidekick.
func (i *injection) addContainers() error {
	i.record.Undo = i.doc.Log()
	i.record.Images = i.o.Commands.Found()
	record, err := i.record.Encode()
	if err != nil {
		return err
	}
	logs := i.logs()
	install := i.entries(
		"name", workload.Install,
		"image", i.o.TracerImage,
		"essential", false,
		"command", list([]string{"install", workload.Dir}),
		"environment", i.pairs("value", []Pair{{workload.RecordVariable, record}}),
	)
	if !i.alone {
		install = append(install, i.entries("mountPoints", document.Items{i.mount(workload.Volume, workload.Dir, false)})...)
	}
	install = append(install, i.confined()...)
	if i.needsMemory() {
		install = append(install, i.entries("memoryReservation", 16)...)
	}
	for _, added := range []document.Entries{append(install, logs...), append(i.sidekick(), logs...)} {
		name := fmt.Sprint(added[0].Value)
		if err := i.doc.Append(i.containers, added, document.Match{Key: i.key("name"), Value: name}); err != nil {
			return err
		}
	}
	if (len(i.o.SidekickSecrets) > 0 || i.o.PolicyParameter != "") && !i.alone && i.get("executionRoleArn") == nil {
		i.note("it has no executionRoleArn, which ECS needs for secrets: give one to register-task-definition")
	}
	i.changed("container %s is added: it copies the tracer, one static file, into the shared volume, and ends", workload.Install)
	i.changed("container %s is added: it takes what the tracers report and delivers it; it ends no task when it fails, and is started again", workload.Sidekick)
	return nil
}

func (i *injection) sidekick() document.Entries {
	env := []Pair{{"QUEUE_DIR", workload.QueueDir + "/queue"}}
	if i.socket {
		env = append(env, Pair{"LISTENSOCKET", workload.Socket}, Pair{"LISTENSOCKET_MODE", "0666"})
	}
	c := i.entries(
		"name", workload.Sidekick,
		"image", i.o.SidekickImage,
		"essential", false,
		"restartPolicy", i.entries("enabled", true, "restartAttemptPeriod", 60),
		"user", fmt.Sprintf("%d:%d", workload.User, workload.User),
		"environment", i.pairs("value", append(env, i.o.SidekickEnv...)),
	)
	if len(i.o.SidekickSecrets) > 0 {
		c = append(c, i.entries("secrets", i.pairs("valueFrom", i.o.SidekickSecrets))...)
	}
	var mounts document.Items
	if !i.alone {
		mounts = append(mounts, i.mount(workload.QueueVolume, workload.QueueDir, false))
	}
	if i.socket {
		mounts = append(mounts, i.mount(workload.SocketVolume, workload.SocketDir, false))
	}
	if len(mounts) > 0 {
		c = append(c, i.entries("mountPoints", mounts)...)
	}
	c = append(c, i.confined()...)
	c = append(c, i.entries(
		"healthCheck", i.entries("command", list([]string{"CMD", "/sidekick", "healthcheck"}), "interval", 5, "timeout", 3, "retries", 3, "startPeriod", 30),
		"stopTimeout", stopTimeout,
	)...)
	if i.o.SidekickCPU > 0 {
		c = append(c, i.entries("cpu", i.o.SidekickCPU)...)
	}
	if i.o.SidekickMemory > 0 {
		c = append(c, i.entries("memoryReservation", min(i.o.SidekickMemory, workload.SidekickMemory), "memory", i.o.SidekickMemory)...)
	} else if i.needsMemory() {
		c = append(c, i.entries("memoryReservation", workload.SidekickMemory)...)
	}
	return c
}

// needsMemory says whether ECS wants to know of each container how much memory
// it takes: where the task does not say it, which only Fargate enforces.
func (i *injection) needsMemory() bool {
	return !i.alone && i.get("memory") == nil && !slices.Contains(i.launch, "FARGATE")
}

// confined is what a container is that needs nothing.
func (i *injection) confined() document.Entries {
	return i.entries(
		"readonlyRootFilesystem", true,
		"linuxParameters", i.entries("capabilities", i.entries("drop", document.Items{"ALL"})),
	)
}

// logs are those of the first traced container that has some.
func (i *injection) logs() document.Entries {
	// A log router that is traced waits for the sidekick, which cannot wait for it.
	routed := slices.ContainsFunc(i.traced, func(c *container) bool { return c.get("firelensConfiguration") != nil })
	for _, c := range i.traced {
		if l := c.get("logConfiguration"); l != nil && (!routed || l.Get(i.key("logDriver")).Text() != "awsfirelens") {
			return document.Entries{{Key: i.key("logConfiguration"), Value: l}}
		}
	}
	return nil
}

// entries makes a map of keys and values in turn.
func (t *target) entries(keysAndValues ...any) document.Entries {
	var out document.Entries
	for i := 0; i < len(keysAndValues); i += 2 {
		out = append(out, document.Entry{Key: t.key(fmt.Sprint(keysAndValues[i])), Value: keysAndValues[i+1]})
	}
	return out
}

func (t *target) pairs(value string, pairs []Pair) document.Items {
	var out document.Items
	for _, p := range pairs {
		out = append(out, t.entries("name", p.Name, value, p.Value))
	}
	return out
}
