package config

import (
	"regexp"
	"slices"
	"strings"

	"github.com/agnivade/levenshtein"
)

// unknownVariables refuses variables that look like ours and are none: a
// misspelt one would silently do nothing.
func (l *loader) unknownVariables() {
	names := make([]string, 0, len(l.env))
	for name := range l.env {
		names = append(names, name)
	}
	slices.Sort(names)
	known := l.variables()
	for _, name := range names {
		switch {
		case slices.Contains(known, name), isServiceLink(name, l.env[name]):
		case isUpstreamVariable(name):
			l.foreign = append(l.foreign, name)
		case l.isOurs(name):
			l.problem("%s: unknown variable%s", name, suggest(name, known))
		}
	}
}

// isOurs says whether a variable has a prefix that belongs to a kind of output, to
// the queue or to listening. AWS_ alone does not: those are the SDK's.
func (l *loader) isOurs(name string) bool {
	if slices.Contains(sdkVariables(), name) {
		return false
	}
	for _, k := range l.kinds {
		if strings.HasPrefix(name, variable(k.Block)+"_") {
			return true
		}
	}
	for _, prefix := range []string{
		"QUEUE_", "DIGEST_WINDOW", "SHUTDOWN_TIMEOUT", "AUTH_TOKEN", "TLSSERVER_", "LISTENS", "RATE_LIMIT", "MAX_CONNECTION",
		"MUTUALTLSCLIENT_", "TLSCLIENT_", "GRPC_LISTEN", "KUBEARMOR_GRPC",
	} {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return false
}

// sdkVariables are those of AWS' SDKs that begin like an output's.
func sdkVariables() []string {
	return []string{
		"AWS_S3_DISABLE_EXPRESS_SESSION_AUTH", "AWS_S3_DISABLE_MULTIREGION_ACCESS_POINTS",
		"AWS_S3_USE_ARN_REGION", "AWS_S3_US_EAST_1_REGIONAL_ENDPOINT",
	}
}

func (l *loader) variables() []string {
	var names []string
	for path, s := range l.known {
		names = append(names, variable(path))
		if s.secret {
			names = append(names, variable(path)+"_FILE")
		}
	}
	slices.Sort(names)
	return names
}

func (l *loader) paths() []string {
	var paths []string
	for path, s := range l.known {
		paths = append(paths, path)
		if s.secret {
			paths = append(paths, path+"_file")
		}
		if block, _, ok := strings.Cut(path, "."); ok {
			paths = append(paths, block)
		}
	}
	slices.Sort(paths)
	return slices.Compact(paths)
}

// isServiceLink recognises what Kubernetes puts into the environment for a
// service of the namespace: one called "webhook" gives WEBHOOK_SERVICE_HOST and
// WEBHOOK_PORT=tcp://….
func isServiceLink(name, text string) bool {
	link := regexp.MustCompile(`_SERVICE_HOST$|_SERVICE_PORT(_[A-Z0-9_]+)?$|_PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?$`)
	return link.MatchString(name) || strings.HasSuffix(name, "_PORT") && strings.Contains(text, "://")
}

// suggest gives ", did you mean X?" with the known name nearest to name, if one
// is near enough to be meant.
func suggest(name string, known []string) string {
	best, least := "", 1+len(name)/4
	for _, k := range known {
		if d := levenshtein.ComputeDistance(name, k); d <= least && (best == "" || d < least) {
			best, least = k, d
		}
	}
	if best == "" {
		return ""
	}
	return ", did you mean " + best + "?"
}
