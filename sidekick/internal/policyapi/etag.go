package policyapi

import (
	"net/http"
	"strings"

	"github.com/sidearmor/sidearmor/sidekick/internal/policies"
)

// unmetError is that a policy is not what a request says it must be.
type unmetError struct {
	tag string // of what it is; "" where there is none
}

func (e *unmetError) Error() string {
	if e.tag == "" {
		return "there is no such policy (any more), which If-Match asks for"
	}
	return "the policy is another than the request asks for: it has the ETag " + e.tag
}

// precondition checks If-Match and If-None-Match (RFC 9110, section 13.1) against what
// was sent here before.
func precondition(r *http.Request, before policies.Text, was bool) error {
	tag := ""
	if was {
		read, err := policies.Read(before, false)
		if err != nil {
			return err // never: it was read before
		}
		tag = etag(&read[0])
	}
	if match := r.Header.Get("If-Match"); match != "" && (!was || !matches(match, tag)) {
		return &unmetError{tag}
	}
	if match := r.Header.Get("If-None-Match"); match != "" && was && matches(match, tag) {
		return &unmetError{tag}
	}
	return nil
}

// matches says whether a list of tags has one of them, "*" being any.
func matches(list, tag string) bool {
	if strings.TrimSpace(list) == "*" {
		return true
	}
	for one := range strings.SplitSeq(list, ",") {
		if strings.TrimPrefix(strings.TrimSpace(one), "W/") == tag {
			return true
		}
	}
	return false
}
