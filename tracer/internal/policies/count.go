package policies

import (
	"sync"

	spolicy "github.com/sidearmor/sidearmor/schema/policy"
	"github.com/sidearmor/sidearmor/schema/rules"
)

// count is what one policy has done.
type count struct{ denied, wouldDenied, audited uint64 }

// counts are those of all policies that ever did something. What has no policy, as
// DefaultPosture, has counts too.
type counts struct {
	mu sync.Mutex
	by map[string]*count // by the name of the policy
}

// maxCounts bounds the names: policies come and go.
const maxCounts = 10_000

// Count notes that a policy has decided about an access: action is that of the alert.
func (h *Hub) Count(policy, action string) {
	h.counts.mu.Lock()
	defer h.counts.mu.Unlock()
	one := h.counts.by[policy]
	if one == nil {
		if h.counts.by == nil || len(h.counts.by) >= maxCounts {
			h.counts.by = map[string]*count{}
		}
		one = &count{}
		h.counts.by[policy] = one
	}
	switch action {
	case spolicy.ActionBlock:
		one.denied++
	case rules.ActionWatched:
		one.wouldDenied++
	case spolicy.ActionAudit:
		one.audited++
	}
}

// of gives the counts of a policy.
func (c *counts) of(policy string) count {
	c.mu.Lock()
	defer c.mu.Unlock()
	if one := c.by[policy]; one != nil {
		return *one
	}
	return count{}
}
