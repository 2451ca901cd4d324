// inject puts the tracer and the sidekick into task definitions and manifests.
// It is the program around deploy/ecs and deploy/eks, and edits nothing itself.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	udiff "github.com/aymanbagabas/go-udiff"
	"github.com/spf13/pflag"
	_ "golang.org/x/crypto/x509roots/fallback" // for registries, in an image that has no root certificates
)

// version is set by the linker.
var version = "unknown"

const usage = `inject puts the tracer and the sidekick into what you deploy.

    inject ecs FILE [flags] > NEW       a task definition, in any form
    inject eks -f FILE [flags] > NEW    Kubernetes manifests
    inject webhook [flags]              puts them into pods as they are made
    inject version

FILE may be - for standard input. The first two take:

    --diff       shows the change, and makes none
    --explain    says in words what changes and what it costs
    --remove     gives back what was there before

--help after a command lists its flags.
`

// Exit statuses.
const (
	ok      = 0
	refused = 1 // the text cannot be changed; standard error says why
	misused = 2 // the flags are wrong
)

// errUsage is wrapped by errors about the command line.
var errUsage = errors.New("see inject --help")

func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	if len(args) == 0 {
		fmt.Fprint(stderr, usage)
		return misused
	}
	var err error
	switch command := args[0]; command {
	case "ecs":
		err = runECS(ctx, args[1:], stdin, stdout, stderr)
	case "webhook":
		err = runWebhook(ctx, args[1:], stdout, stderr)
	case "eks":
		err = runEKS(ctx, args[1:], stdin, stdout, stderr)
	case "version", "--version":
		fmt.Fprintln(stdout, version)
	case "help", "--help", "-h":
		fmt.Fprint(stdout, usage)
	default:
		err = fmt.Errorf("no command %q: %w", command, errUsage)
	}
	switch {
	case err == nil || errors.Is(err, pflag.ErrHelp):
		return ok
	case errors.Is(err, errUsage):
		fmt.Fprintln(stderr, "inject:", err)
		return misused
	}
	for line := range strings.Lines(err.Error()) {
		fmt.Fprintln(stderr, "inject:", strings.TrimSuffix(line, "\n"))
	}
	return refused
}

// outcome is what became of a text.
type outcome struct {
	text                  string
	changes, notes, costs []string
}

// view says what of an outcome is shown.
type view struct{ diff, explain bool }

// show writes what the user wants to see of it.
func (v view) show(name, before string, o *outcome, stdout, stderr io.Writer) error {
	for _, n := range o.notes {
		fmt.Fprintln(stderr, "inject: note:", n)
	}
	var err error
	switch {
	case v.explain:
		err = explain(stdout, name, o)
	case v.diff:
		_, err = io.WriteString(stdout, udiff.Unified(name, name+" (injected)", before, o.text))
	default:
		_, err = io.WriteString(stdout, o.text)
	}
	if err != nil {
		return fmt.Errorf("write: %w", err)
	}
	return nil
}

func explain(w io.Writer, name string, o *outcome) error {
	var b strings.Builder
	section := func(title string, lines []string) {
		if len(lines) == 0 {
			return
		}
		b.WriteString(title + "\n")
		for _, l := range lines {
			b.WriteString("  - " + l + "\n")
		}
	}
	section("What changes in "+name+":", o.changes)
	section("What it costs:", o.costs)
	section("What to know:", o.notes)
	_, err := io.WriteString(w, b.String())
	return err
}

// maxInput is more than any task definition or manifest has.
const maxInput = 16 << 20

// readInput reads a file, or standard input.
func readInput(name string, stdin io.Reader) (string, error) {
	in := stdin
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return "", err
		}
		defer f.Close()
		in = f
	}
	text, err := io.ReadAll(io.LimitReader(in, maxInput+1))
	if err != nil {
		return "", fmt.Errorf("read %s: %w", name, err)
	}
	if len(text) > maxInput {
		return "", fmt.Errorf("%s has more than %d bytes", name, maxInput)
	}
	return string(text), nil
}
