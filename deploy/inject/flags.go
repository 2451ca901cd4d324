package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/pflag"

	"github.com/sidearmor/sidearmor/deploy/internal/image"
	"github.com/sidearmor/sidearmor/deploy/internal/workload"
)

// common are the flags of both platforms.
type common struct {
	view
	remove             bool
	tracer, sidekick   string
	only, skip         []string
	entrypoints, cmds  []string
	imageFiles         []string
	offline            bool
	policies           []string
	tracerEnv, sideEnv []string
}

func (c *common) register(f *pflag.FlagSet) {
	f.SortFlags = false
	f.BoolVar(&c.remove, "remove", false, "give back what was there before")
	f.BoolVar(&c.diff, "diff", false, "show the change as a diff, and write nothing else")
	f.BoolVar(&c.explain, "explain", false, "say in words what changes and what it costs, and write nothing else")
	f.StringArrayVar(&c.only, "container", nil, "`NAME` of a container to trace; again for more (default: those of the application)")
	f.StringArrayVar(&c.skip, "skip", nil, "`NAME` of a container to leave as it is; again for more")
	f.StringArrayVar(&c.entrypoints, "entrypoint", nil, "ENTRYPOINT of an image, for a container that leaves it to the image: `[NAME=]JSON`, app='[\"/app\"]'")
	f.StringArrayVar(&c.cmds, "cmd", nil, "CMD of an image, likewise: `[NAME=]JSON`; '[]' for none")
	f.StringArrayVar(&c.imageFiles, "image-file", nil, "an image from a file instead of its registry: `IMAGE=PATH` of an OCI layout or a tarball")
	f.BoolVar(&c.offline, "offline", false, "ask no registry")
	f.StringArrayVar(&c.policies, "policies", nil, "`PATH` of a policy file or a directory of them, put into the result; again for more")
	f.StringVar(&c.tracer, "tracer-image", "sidearmor/tracer:latest", "the tracer's `IMAGE`")
	f.StringVar(&c.sidekick, "sidekick-image", "sidearmor/sidekick:latest", "the sidekick's `IMAGE`")
	f.StringArrayVar(&c.tracerEnv, "tracer-env", nil, "a setting of the tracer, `NAME=VALUE`: see docs/tracer.md")
	f.StringArrayVar(&c.sideEnv, "sidekick-env", nil, "a setting of the sidekick, `NAME=VALUE`: see docs/sidekick/configure.md")
}

// parse reads the flags and returns the one argument.
func parse(f *pflag.FlagSet, args []string, stdout io.Writer, what string) (string, error) {
	f.SetOutput(stdout)
	f.Usage = func() { fmt.Fprintf(stdout, "inject %s [flags]\n\n%s", what, f.FlagUsagesWrapped(100)) }
	if err := f.Parse(args); err != nil {
		return "", usageError(err)
	}
	if f.NArg() > 1 {
		return "", fmt.Errorf("%q: one file at a time: %w", f.Arg(1), errUsage)
	}
	return f.Arg(0), nil
}

func usageError(err error) error {
	if err == pflag.ErrHelp { //nolint:errorlint // pflag returns it as it is
		return err
	}
	return fmt.Errorf("%w: %w", err, errUsage)
}

// commands are what the flags say about images.
func (c *common) commands() (*workload.Commands, error) {
	out := &workload.Commands{Given: map[string]workload.Given{}, Images: &image.Images{Offline: c.offline, Local: map[string]string{}}}
	for _, e := range c.entrypoints {
		name, words, err := argv("--entrypoint", e)
		if err != nil {
			return nil, err
		}
		g := out.Given[name]
		g.Entrypoint = words
		out.Given[name] = g
	}
	for _, e := range c.cmds {
		name, words, err := argv("--cmd", e)
		if err != nil {
			return nil, err
		}
		g := out.Given[name]
		g.Cmd = words
		out.Given[name] = g
	}
	for _, f := range c.imageFiles {
		ref, path, ok := strings.Cut(f, "=")
		if !ok || ref == "" || path == "" {
			return nil, fmt.Errorf("--image-file %q is not IMAGE=PATH: %w", f, errUsage)
		}
		out.Images.Local[ref] = path
	}
	return out, nil
}

// argv reads NAME=["a","b"], or the list alone.
func argv(flag, s string) (string, []string, error) {
	name, list := "", s
	if at := strings.IndexByte(s, '='); at >= 0 && !strings.HasPrefix(strings.TrimSpace(s), "[") {
		name, list = s[:at], s[at+1:]
	}
	words := []string{}
	if err := json.Unmarshal([]byte(list), &words); err != nil {
		return "", nil, fmt.Errorf("%s %q: a list in JSON is wanted, such as [\"/app\",\"serve\"]: %w: %w", flag, s, err, errUsage)
	}
	return name, words, nil
}

// setting is NAME=VALUE.
func setting(flag, s string) (name, value string, err error) {
	name, value, ok := strings.Cut(s, "=")
	if !ok || name == "" {
		return "", "", fmt.Errorf("%s %q is not NAME=VALUE: %w", flag, s, errUsage)
	}
	return name, value, nil
}
