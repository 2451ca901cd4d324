package ecs

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/sidearmor/sidearmor/deploy/internal/document"
	"github.com/sidearmor/sidearmor/deploy/internal/workload"
)

// size is what Fargate gives for an amount of CPU: memory in MiB.
type size struct {
	cpu, least, most, step int
	also                   []int // sizes below the steps
}

// sizes are Fargate's (AWS documentation, "Task size").
var sizes = []size{
	{256, 2048, 2048, 1024, []int{512, 1024}},
	{512, 1024, 4096, 1024, nil},
	{1024, 2048, 8192, 1024, nil},
	{2048, 4096, 16384, 1024, nil},
	{4096, 8192, 30720, 1024, nil},
	{8192, 16384, 61440, 4096, nil},
	{16384, 32768, 122880, 8192, nil},
}

func (s size) has(memory int) bool {
	return slices.Contains(s.also, memory) || memory >= s.least && memory <= s.most && (memory-s.least)%s.step == 0
}

func (s size) String() string {
	var also string
	for _, m := range s.also {
		also += fmt.Sprintf("%d, ", m)
	}
	if s.least == s.most {
		return fmt.Sprintf("%s%d", also, s.most)
	}
	return fmt.Sprintf("%s%d to %d in steps of %d", also, s.least, s.most, s.step)
}

// units reads a size as ECS takes it: 512, "1 vCPU", "2 GB".
func units(text, unit string) (int, bool) {
	trimmed := strings.TrimSpace(strings.ToLower(text))
	number, ok := strings.CutSuffix(trimmed, unit)
	v, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
	if err != nil || v <= 0 {
		return 0, false
	}
	if ok {
		v *= 1024
	}
	return int(v), true
}

// rules are those of the service that the types do not have.
func (c *checker) rules(launch string) {
	c.everywhere()
	compatibilities, _ := c.get("requiresCompatibilities").Strings()
	if launch != "" {
		compatibilities = []string{launch}
	}
	memory, memoryKnown := units(c.literal(c.get("memory")), "gb")
	cpu, cpuKnown := units(c.literal(c.get("cpu")), "vcpu")
	if memoryKnown {
		c.sum("memory", "MiB", memory)
	}
	if cpuKnown {
		c.sum("cpu", "units", cpu)
	}
	if !slices.Contains(compatibilities, "FARGATE") || c.alone {
		return
	}
	for _, key := range []string{"cpu", "memory"} {
		if c.get(key) == nil {
			c.fault("%s is missing: Fargate wants it for the task", key)
		}
	}
	if cpuKnown {
		c.pair(cpu, memory, memoryKnown)
	}
	c.fargate()
}

func (c *checker) pair(cpu, memory int, memoryKnown bool) {
	at := slices.IndexFunc(sizes, func(s size) bool { return s.cpu == cpu })
	if at < 0 {
		c.fault("cpu %d is not a size of Fargate: 256, 512, 1024, 2048, 4096, 8192 or 16384; --task-cpu sets another", cpu)
	} else if memoryKnown && !sizes[at].has(memory) {
		c.fault("memory %d does not go with cpu %d on Fargate, but %s; --task-memory sets another", memory, cpu, sizes[at])
	}
}

// sum checks that the containers' shares fit into the task's.
func (c *checker) sum(key, unit string, task int) {
	all, err := c.list()
	if err != nil {
		return
	}
	total, most := 0, ""
	var parts []string
	for _, one := range all {
		limit, known := c.number(one.get(key))
		if key == "memory" && limit > task && known {
			c.fault("container %s may take %d %s of memory, and the whole task %d; %s", one.name, limit, unit, task, advice(key))
			return
		}
		share := limit
		if reserved, ok := c.number(one.get("memoryReservation")); ok && key == "memory" {
			share = reserved
		}
		if total += share; share > 0 {
			parts = append(parts, fmt.Sprintf("%s %d", one.name, share))
		}
		most = one.name
	}
	if total > task && most != "" {
		c.fault("the containers reserve %d %s of %s (%s), and the task has %d; %s", total, unit, key, strings.Join(parts, ", "), task, advice(key))
	}
}

func advice(key string) string {
	if key == "memory" {
		return "--task-memory gives the task more, --sidekick-memory 0 gives the sidekick no share of its own"
	}
	return "--task-cpu gives the task more, --sidekick-cpu 0 gives the sidekick no share of its own"
}

// everywhere has the rules of every launch type.
func (c *checker) everywhere() {
	all, err := c.list()
	if err != nil {
		c.faults = append(c.faults, err)
		return
	}
	names := map[string]bool{}
	for _, one := range all {
		if names[one.name] && one.node().Get(c.key("name")).Literal() && len(one.at) == len(c.containers)+1 {
			c.fault("two containers are called %s", one.name)
		}
		names[one.name] = true
	}
	for _, one := range all {
		limit, limited := c.number(one.get("memory"))
		if reserved, ok := c.number(one.get("memoryReservation")); ok && limited && reserved > limit {
			c.fault("container %s: memoryReservation %d is more than memory %d", one.name, reserved, limit)
		}
		depends := one.get("dependsOn")
		if depends == nil {
			continue
		}
		for _, d := range depends.Items {
			if name := c.literal(d.Get(c.key("containerName"))); name != "" && !names[name] {
				c.fault("container %s: dependsOn names %s, which there is not", one.name, name)
			}
		}
	}
}

// fargate has what Fargate does not have.
func (c *checker) fargate() {
	if volumes := c.get("volumes"); volumes != nil {
		for _, v := range volumes.Items {
			if v.Get(c.key("host")).Get(c.key("sourcePath")) != nil {
				c.fault("volume %s is a path of the host, which Fargate does not have", v.Name())
			}
			if v.Get(c.key("dockerVolumeConfiguration")) != nil {
				c.fault("volume %s has a dockerVolumeConfiguration, which Fargate does not take", v.Name())
			}
		}
	}
	all, err := c.list()
	if err != nil {
		return
	}
	for _, one := range all {
		c.fargateContainer(one)
	}
}

func (c *checker) fargateContainer(one *container) {
	added, _ := one.get("linuxParameters", "capabilities", "add").Strings()
	for _, capability := range added {
		if capability != "SYS_PTRACE" {
			c.fault("container %s adds capability %s: Fargate allows SYS_PTRACE only", one.name, capability)
		}
	}
	if c.literal(one.get("privileged")) == "true" {
		c.fault("container %s is privileged, which Fargate does not allow", one.name)
	}
	if driver := c.literal(one.get("logConfiguration", "logDriver")); driver != "" && !slices.Contains([]string{"awslogs", "splunk", "awsfirelens"}, driver) {
		c.fault("container %s: Fargate has no log driver %s, but awslogs, splunk and awsfirelens", one.name, driver)
	}
	if stop, ok := c.number(one.get("stopTimeout")); ok && stop > 120 {
		c.fault("container %s: stopTimeout %d is more than Fargate's 120", one.name, stop)
	}
	for _, key := range []string{"links", "dockerSecurityOptions", "extraHosts", "dnsServers", "dnsSearchDomains"} {
		if n := one.get(key); n != nil && len(n.Items) > 0 {
			c.fault("container %s: %s is not there on Fargate", one.name, key)
		}
	}
	for _, key := range []string{"devices", "tmpfs", "maxSwap", "swappiness", "sharedMemorySize"} {
		if n := one.get("linuxParameters", key); n != nil && (n.Kind != document.List || len(n.Items) > 0) {
			c.fault("container %s: linuxParameters.%s is not there on Fargate", one.name, key)
		}
	}
}

// cost says what the added containers take of the task.
func (o *Options) cost() []string {
	share := "no share of its own"
	if o.SidekickMemory > 0 {
		share = fmt.Sprintf("%d MiB reserved, at most %d MiB", min(o.SidekickMemory, workload.SidekickMemory), o.SidekickMemory)
	}
	return []string{
		fmt.Sprintf("memory: the sidekick %s; the tracer about %d MiB in each traced container, and up to 16 MiB more while the sidekick does not answer", share, workload.TracerMemory),
		"CPU: a call that no policy and no log is about costs nothing; one that is held 3 to 90 µs; the start of a program 0.2 ms (docs/benchmarks.md)",
		"start: the task pulls two more images (tracer about 9 MB, sidekick about 55 MB unpacked), and the workload waits for a copy of 9 MB and for the sidekick's container to be started",
	}
}
