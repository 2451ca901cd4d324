package config

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// errHelp says that help was asked for.
var errHelp = errors.New("help is wanted")

// readFlags reads "--name=value" and "--name value" up to "--" or to the first
// argument that is no flag, and returns what comes then. It takes a command line as
// github.com/spf13/pflag does, which sidekick uses, of which it needs little.
func readFlags(args []string, known map[string]bool) (given map[string]string, rest []string, err error) {
	given = map[string]string{}
	for len(args) > 0 && len(args[0]) > 1 && args[0][0] == '-' { // "-" alone is no flag
		arg := args[0]
		args = args[1:]
		if arg == "--" {
			break
		}
		name, long := strings.CutPrefix(arg, "--")
		switch {
		case !long && arg[1] == 'h':
			return nil, nil, errHelp
		case !long:
			letter, _ := utf8.DecodeRuneInString(arg[1:])
			return nil, nil, fmt.Errorf("unknown shorthand flag: %q in %s", letter, arg)
		case name[0] == '-' || name[0] == '=':
			return nil, nil, fmt.Errorf("bad flag syntax: %s", arg)
		}
		name, value, ok := strings.Cut(name, "=")
		switch flag := ourSpelling(name); {
		case !known[flag] && name == "help":
			return nil, nil, errHelp
		case !known[flag]:
			return nil, nil, fmt.Errorf("unknown flag: --%s", name)
		case !ok && len(args) == 0:
			return nil, nil, fmt.Errorf("flag needs an argument: --%s", name)
		case !ok:
			value, args = args[0], args[1:]
			fallthrough
		default:
			given[flag] = value
		}
	}
	return given, args, nil
}

// ourSpelling is our name of a flag that may be spelt as KubeArmor spells it.
func ourSpelling(name string) string {
	switch name {
	case "defaultFilePosture":
		return "default-file-posture"
	case "defaultNetworkPosture":
		return "default-network-posture"
	case "defaultCapabilitiesPosture":
		return "default-capabilities-posture"
	}
	return name
}
