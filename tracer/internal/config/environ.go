package config

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
)

const prefix = "TRACER_"

// serviceLink matches the variables that Kubernetes and Docker links put into
// every container for a service that happens to be called "tracer" or
// "tracer-something": they are not ours and not a mistake.
const serviceLink = `^TRACER_(.*_)?(SERVICE_HOST|SERVICE_PORT(_[A-Z0-9_]+)?|PORT|PORT_[0-9]+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)$`

// lookup makes a map of an environment. As for getenv(3), the first of several
// values counts.
func lookup(environ []string) map[string]string {
	m := make(map[string]string, len(environ))
	for _, e := range environ {
		name, value, ok := strings.Cut(e, "=")
		if !ok {
			continue
		}
		if _, dup := m[name]; !dup {
			m[name] = value
		}
	}
	return m
}

// unknownVariables refuses misspelt variables. Only the prefix TRACER_ is
// surely meant for this program: all others may be the workload's.
func unknownVariables(environ []string) error {
	known := map[string]bool{}
	for _, s := range settings() {
		known[s.variable] = true
	}
	link := regexp.MustCompile(serviceLink)
	var errs []error
	for _, e := range environ {
		name, _, _ := strings.Cut(e, "=")
		if strings.HasPrefix(name, prefix) && !known[name] && !link.MatchString(name) {
			errs = append(errs, fmt.Errorf("unknown variable %s", name))
		}
	}
	return errors.Join(errs...)
}

// SecretVariables names the variables of environ whose values are secrets of
// the tracer. The workload must be started without them.
func SecretVariables(environ []string) []string {
	var names []string
	for _, e := range environ {
		name, value, _ := strings.Cut(e, "=")
		if name == tokenVariable || name == "SIDEKICK_URL" && hasCredentials(value) {
			names = append(names, name)
		}
	}
	return names
}

// hasCredentials errs towards yes: a value that is no URL may hold half of one.
func hasCredentials(value string) bool {
	return strings.ContainsAny(value, "@?#")
}

// WorkloadEnviron is environ without the variables that carry secrets, in the
// same order.
func WorkloadEnviron(environ []string) []string {
	secret := map[string]bool{}
	for _, name := range SecretVariables(environ) {
		secret[name] = true
	}
	kept := make([]string, 0, len(environ))
	for _, e := range environ {
		name, _, _ := strings.Cut(e, "=")
		if !secret[name] {
			kept = append(kept, e)
		}
	}
	return kept
}
