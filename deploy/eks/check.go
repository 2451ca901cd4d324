package eks

import (
	"errors"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/sidearmor/sidearmor/deploy/internal/workload"
)

// Check holds the pods in a text against the types of the Kubernetes API and,
// unless they run on nodes, the rules of Fargate. It returns all faults.
func Check(text string, nodes bool) error {
	doc, targets, err := read(text)
	if err != nil {
		return err
	}
	var faults []error
	for _, t := range targets {
		var spec corev1.PodSpec
		if err := doc.Decode(doc.At(t.spec()), &spec); err != nil {
			faults = append(faults, fmt.Errorf("%s: its spec is not a pod's: %s", t.label(), strings.TrimPrefix(err.Error(), "json: ")))
			continue
		}
		if nodes {
			continue
		}
		for _, f := range fargate(t.kind, &spec) {
			faults = append(faults, fmt.Errorf("%s: %s; with --compute ec2 it is injected for nodes", t.label(), f))
		}
	}
	return errors.Join(faults...)
}

// fargate says what Fargate does not schedule (Amazon EKS User Guide, "AWS
// Fargate considerations").
func fargate(kind string, spec *corev1.PodSpec) []string {
	var faults []string
	fault := func(format string, a ...any) { faults = append(faults, fmt.Sprintf(format, a...)) }
	if kind == "DaemonSet" {
		fault("Fargate has no DaemonSets")
	}
	if spec.HostNetwork {
		fault("hostNetwork is not there on Fargate")
	}
	if spec.HostPID || spec.HostIPC {
		fault("hostPID and hostIPC are not there on Fargate")
	}
	for _, v := range spec.Volumes {
		if v.HostPath != nil {
			fault("volume %s is a hostPath, which Fargate does not have", v.Name)
		}
	}
	for _, c := range append(append([]corev1.Container(nil), spec.InitContainers...), spec.Containers...) {
		for _, p := range c.Ports {
			if p.HostPort != 0 {
				fault("container %s has hostPort %d, which Fargate does not have", c.Name, p.HostPort)
			}
		}
		if _, gpu := c.Resources.Limits["nvidia.com/gpu"]; gpu {
			fault("container %s wants a GPU, which Fargate does not have", c.Name)
		}
		if s := c.SecurityContext; s != nil {
			if s.Privileged != nil && *s.Privileged {
				fault("container %s is privileged, which Fargate does not allow", c.Name)
			}
			if s.Capabilities != nil {
				for _, added := range s.Capabilities.Add {
					if !defaultCapabilities[added] {
						fault("container %s adds capability %s, which Fargate does not allow", c.Name, added)
					}
				}
			}
		}
	}
	if _, ok := sizeOf(spec); !ok {
		fault("it asks for more than Fargate's largest size, 16 vCPU and 120 GB")
	}
	return faults
}

// defaultCapabilities are those that a container has anyway.
var defaultCapabilities = map[corev1.Capability]bool{
	"AUDIT_WRITE": true, "CHOWN": true, "DAC_OVERRIDE": true, "FOWNER": true, "FSETID": true, "KILL": true, "MKNOD": true,
	"NET_BIND_SERVICE": true, "NET_RAW": true, "SETFCAP": true, "SETGID": true, "SETPCAP": true, "SETUID": true, "SYS_CHROOT": true,
}

// size is one that Fargate has: millicores and MiB.
type size struct{ cpu, memory int64 }

func (s size) String() string {
	return fmt.Sprintf("%g vCPU and %g GB", float64(s.cpu)/1000, float64(s.memory)/1024)
}

// sizes are Fargate's, the least first.
func sizes() []size {
	var all []size
	add := func(cpu, from, to, step int64) {
		for m := from; m <= to; m += step {
			all = append(all, size{cpu, m * 1024})
		}
	}
	all = append(all, size{250, 512})
	add(250, 1, 2, 1)
	add(500, 1, 4, 1)
	add(1000, 2, 8, 1)
	add(2000, 4, 16, 1)
	add(4000, 8, 30, 1)
	add(8000, 16, 60, 4)
	add(16000, 32, 120, 8)
	return all
}

// kubelet is what Fargate adds to each pod for the components of Kubernetes.
const kubelet = 256

// sizeOf is the size of Fargate that a pod gets, by its requests.
func sizeOf(spec *corev1.PodSpec) (size, bool) {
	cpu, memory := needs(spec)
	for _, s := range sizes() {
		if s.cpu >= cpu && s.memory >= memory+kubelet {
			return s, true
		}
	}
	return size{}, false
}

// needs sums up requests as the scheduler does: sidecars count with the
// containers, other init containers alone.
func needs(spec *corev1.PodSpec) (cpu, memory int64) {
	of := func(c corev1.Container) (int64, int64) {
		return c.Resources.Requests.Cpu().MilliValue(), mib(c.Resources.Requests.Memory())
	}
	var initCPU, initMemory int64
	for _, c := range spec.InitContainers {
		a, b := of(c)
		if c.RestartPolicy != nil && *c.RestartPolicy == corev1.ContainerRestartPolicyAlways {
			cpu, memory = cpu+a, memory+b
			initCPU, initMemory = max(initCPU, cpu), max(initMemory, memory)
			continue
		}
		initCPU, initMemory = max(initCPU, cpu+a), max(initMemory, memory+b)
	}
	for _, c := range spec.Containers {
		a, b := of(c)
		cpu, memory = cpu+a, memory+b
	}
	return max(cpu, initCPU), max(memory, initMemory)
}

func mib(q *resource.Quantity) int64 { return (q.Value() + 1<<20 - 1) >> 20 }

// size is what a pod takes on Fargate, or nothing where nobody can say.
func (t *target) size() string {
	var spec corev1.PodSpec
	if t.doc.Decode(t.doc.At(t.spec()), &spec) != nil {
		return ""
	}
	s, ok := sizeOf(&spec)
	if !ok {
		return ""
	}
	return s.String()
}

// cost says what the added containers take.
func (i *injection) cost(before string) []string {
	lines := []string{
		fmt.Sprintf("%s: memory: the sidekick requests %d MiB and may take %d; the tracer about %d MiB in each traced container, and up to 16 MiB more while the sidekick does not answer",
			i.label(), workload.SidekickMemory, 2*workload.SidekickMemory, workload.TracerMemory),
		i.label() + ": CPU: the sidekick requests 0.05; a call that is held costs 3 to 90 µs, the start of a program 0.2 ms (docs/benchmarks.md)",
		i.label() + ": start: two more images are pulled (tracer about 9 MB, sidekick about 55 MB), and the application waits until the sidekick answers, a second or two",
	}
	if after := i.size(); after != "" && !i.o.Nodes {
		if after == before {
			lines = append(lines, i.label()+": Fargate size: "+after+", as before")
		} else {
			lines = append(lines, i.label()+": Fargate size: "+after+" instead of "+before)
		}
	}
	return lines
}
