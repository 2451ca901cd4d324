package process

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// capSet is the capabilities of an OS thread, bit n for capability n.
type capSet struct{ effective, permitted, inheritable uint64 }

func capabilities() (capSet, error) {
	set, err := capabilitiesOf(0)
	if err != nil {
		return capSet{}, fmt.Errorf("read this thread's capabilities: %w", err)
	}
	return set, nil
}

// capabilitiesOf are those of any thread; 0 is this one.
func capabilitiesOf(tid int) (capSet, error) {
	head := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3, Pid: int32(tid)}
	var d [2]unix.CapUserData
	if err := unix.Capget(&head, &d[0]); err != nil {
		return capSet{}, err
	}
	join := func(low, high uint32) uint64 { return uint64(high)<<32 | uint64(low) }
	return capSet{
		effective:   join(d[0].Effective, d[1].Effective),
		permitted:   join(d[0].Permitted, d[1].Permitted),
		inheritable: join(d[0].Inheritable, d[1].Inheritable),
	}, nil
}

// setEffective changes the effective ones; the others stay, so that any of the permitted ones can be taken back.
func (c *capSet) setEffective(effective uint64) error {
	head := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	d := [2]unix.CapUserData{
		{Effective: uint32(effective), Permitted: uint32(c.permitted), Inheritable: uint32(c.inheritable)},
		{Effective: uint32(effective >> 32), Permitted: uint32(c.permitted >> 32), Inheritable: uint32(c.inheritable >> 32)},
	}
	if err := unix.Capset(&head, &d[0]); err != nil {
		return fmt.Errorf("set this thread's capabilities: %w", err)
	}
	return nil
}
