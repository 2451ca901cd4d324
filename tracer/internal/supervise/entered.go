package supervise

import (
	"context"
	"strconv"
	"time"

	"github.com/sidearmor/sidearmor/schema"
	"github.com/sidearmor/sidearmor/schema/rules"
	"github.com/sidearmor/sidearmor/tracer/internal/process"
)

const (
	// lookEvery is how often processes are looked for that have entered the container.
	// A look that takes long is followed by a longer pause, up to lookAtLeast.
	lookEvery   = 250 * time.Millisecond
	lookAtLeast = time.Second
	lookShare   = 50 // the part of the time that looks may take
)

// WatchEntered tells of processes that have come into the container from outside,
// with all that they start, until ctx ends. They are under no filter: nothing that
// they do is held.
func (s *Supervisor) WatchEntered(ctx context.Context) {
	entered, err := s.Processes.Entered()
	denied := map[int]bool{} // trees that the preset denies, by their root
	for pause := lookEvery; err == nil; {
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
		var found []*process.Visitor
		begin := time.Now()
		found, err = entered.Look()
		pause = min(max(lookEvery, lookShare*time.Since(begin)), lookAtLeast)
		for _, v := range found {
			s.meet(v, denied)
		}
	}
	s.Log.Error("processes that enter the container are not looked for", "error", err)
}

// meet tells of a process that has entered. The preset exec is about those with a
// terminal, as in KubeArmor, and about what they start.
func (s *Supervisor) meet(v *process.Visitor, denied map[int]bool) {
	verdict := s.Rules().Entered()
	if denied[v.Root] = verdict.Deny && (denied[v.Root] || v.TTY != ""); !denied[v.Root] {
		delete(denied, v.Root)
		if verdict.Deny || v.TTY == "" {
			verdict = rules.Verdict{}
		}
	}
	r := report{
		verdict: verdict, op: rules.Process, at: s.Now(), spec: execSpec(), result: schema.ResultPassed,
		who: &v.Snapshot, uid: v.UID, program: v.Exe, args: v.Args, data: "entered=outside",
		execID: strconv.FormatUint(v.Start<<22|uint64(v.Root), 10), // of the whole tree, as KubeArmor's
	}
	if verdict.Deny {
		if err := v.Kill(s.Processes); err != nil {
			s.Log.Error("a process that has entered the container could not be killed", "process", v.PID, "error", err)
		} else {
			r.result = schema.ResultPermissionDenied
		}
	}
	if verdict.Alert || s.Visible()&rules.Process != 0 {
		s.tell(&r)
	}
}
