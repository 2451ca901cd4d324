package config

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/agnivade/levenshtein"

	"github.com/sidearmor/sidearmor/outputs"
)

// unknownVariables looks at variables that are no settings. An environment is shared
// with other programs, whose variables may begin like ours: only one that is nearly a
// setting which would count is refused, since a misspelt one would silently do nothing.
func (l *loader) unknownVariables(outputsOn int) {
	known := l.variables()
	var strangers []string
	for _, name := range slices.Sorted(maps.Keys(l.env)) {
		upper := strings.ToUpper(name)
		_, isKnown := known[name]
		_, isLower := known[upper]
		switch {
		case isKnown:
		case isLower && l.env[upper] == "":
			l.off = append(l.off, fmt.Sprintf("%s has no effect: names of variables are in capitals, %s", name, upper))
		case isUpstreamVariable(name):
			l.foreign = append(l.foreign, name)
		case slices.Contains(sdkVariables(), name):
		case known[familiarVariables()[name]] != "":
			l.off = append(l.off, fmt.Sprintf("%s has no effect: other programs use it; the setting of the sidekick is %s", name, familiarVariables()[name]))
		case strings.HasPrefix(name, "LOG_"):
			l.logStranger(name, known)
		default:
			if l.stranger(name, known, outputsOn) {
				strangers = append(strangers, name)
			}
		}
	}
	if len(strangers) > 0 {
		l.off = append(l.off, "variables that begin like settings and are none have no effect: "+strings.Join(strangers, ", "))
	}
}

// stranger refuses a misspelt variable, and says whether one that it does not refuse
// is worth a word.
func (l *loader) stranger(name string, known map[string]string, outputsOn int) (tell bool) {
	if isGlobal(name) {
		return !l.misspelt(name, nearest(name, "", known))
	}
	for _, k := range l.kinds {
		for _, at := range l.instancesOf(k) {
			prefix := variable(at.Block) + "_"
			if !strings.HasPrefix(name, prefix) {
				continue
			}
			enabler := at.Block + "." + k.Enabler
			on := l.peek(enabler) != ""
			guess := nearest(name, prefix, known)
			// What would turn an output on is missed where nothing else is on, or where
			// there are other settings for that output.
			meant := known[guess] == enabler && (outputsOn == 0 || l.isTold(at))
			if (on || meant) && l.misspelt(name, guess) {
				return false
			}
			if on && strings.TrimPrefix(name, prefix) == digestWindow {
				l.problem("%s: unknown variable, %s has no digests", name, k.Name)
				return false
			}
			tell = tell || on || guess != "" || resembles(at, strings.TrimPrefix(name, prefix))
		}
	}
	return tell
}

// resembles says whether a word is made of a kind's setting: GROUP of LOGGROUP, or
// THREE_WORDS_BEFORE_WEBHOOKURL, which is no name of an output.
func resembles(k outputs.Kind, word string) bool {
	if strings.Contains(variable(k.Enabler), word) {
		return true
	}
	return slices.ContainsFunc(k.Settings, func(s outputs.Setting) bool {
		return strings.HasSuffix(word, "_"+variable(s.Key))
	})
}

// misspelt refuses name if it is near to a setting.
func (l *loader) misspelt(name, guess string) bool {
	if guess != "" {
		l.problem("%s: unknown variable, did you mean %s?", name, guess)
	}
	return guess != ""
}

// isTold says whether there are settings for an output.
func (l *loader) isTold(k outputs.Kind) bool {
	return slices.ContainsFunc(l.settingsOf(k), func(s setting) bool { return l.peek(s.path) != "" })
}

// isGlobal says whether a variable begins like a setting that is not an output's.
func isGlobal(name string) bool {
	for _, prefix := range []string{
		"QUEUE_", "HISTORY_MAX", "DIGEST_WINDOW", "SHUTDOWN_TIMEOUT", "AUTH_TOKEN", "TLSSERVER_", "LISTEN", "RATE_LIMIT", "MAX_CONNECTION",
		"MUTUALTLSCLIENT_", "TLSCLIENT_", "GRPC_LISTEN", "KUBEARMOR_GRPC", "CUSTOM", "TEMPLATEDFIELD", "BRACKETREPLACE", "OUTPUTFIELDFORMAT",
		"PROMETHEUS_EXTRA", "POLICIES_",
	} {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return false
}

// nearest gives the setting with that prefix that name is a slip of the pen from, or "".
func nearest(name, prefix string, known map[string]string) string {
	if base, ok := strings.CutSuffix(name, "_FILE"); ok && known[base] != "" {
		return base // no secret, so it is not read from a file
	}
	best, least := "", slip(strings.TrimPrefix(name, prefix))+1
	for _, candidate := range slices.Sorted(maps.Keys(known)) {
		if !strings.HasPrefix(candidate, prefix) {
			continue
		}
		d := levenshtein.ComputeDistance(name, candidate)
		if d == 2 && sortedLetters(name) == sortedLetters(candidate) {
			d = 1 // two letters that changed places
		}
		if d < least {
			best, least = candidate, d
		}
	}
	return best
}

// slip is how many letters may be wrong in a word.
func slip(word string) int {
	return min(1+len(word)/5, 3)
}

func sortedLetters(s string) string {
	letters := []byte(s)
	slices.Sort(letters)
	return string(letters)
}

// variables gives all that are settings, with the path of each.
func (l *loader) variables() map[string]string {
	names := make(map[string]string, 2*len(l.known))
	for path, s := range l.known {
		names[variable(path)] = path
		if s.secret {
			names[variable(path)+"_FILE"] = path
		}
	}
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
