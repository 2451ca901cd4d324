package main

import (
	"bytes"
	"fmt"
	"io"
	"strings"

	"github.com/sidearmor/sidearmor/outputs"
	"github.com/sidearmor/sidearmor/sidekick/internal/config"
)

// screen is how many columns a text may have.
const screen = 80

// explainSettings writes what can be configured: everything with only "", else the
// settings of one kind of output.
func explainSettings(w io.Writer, kinds []outputs.Kind, only string) error {
	var b bytes.Buffer
	if only == "" {
		b.WriteString("Variables win over keys of the YAML file. A secret can be in a file, which is\nnamed by the variable with _FILE, or by the key with _file.\n")
	}
	var names []string
	found := only == ""
	for _, s := range config.Explain(kinds) {
		if s.Output != "" {
			names = append(names, s.Output)
		}
		if only == "" || s.Output == only {
			found = true
			writeSection(&b, s)
		}
	}
	if !found {
		return fmt.Errorf("there is no output %q, use one of: %s", only, strings.Join(names, ", "))
	}
	if _, err := w.Write(b.Bytes()); err != nil {
		return fmt.Errorf("show settings: %w", err)
	}
	return nil
}

func writeSection(b *bytes.Buffer, s config.Section) {
	fmt.Fprintf(b, "\n%s:\n", s.Title)
	for _, e := range s.Settings {
		head := e.Variable + "  " + e.Path
		if e.Secret {
			head += "  (secret)"
		}
		wrap(b, head, "  ")
		said := e.Usage
		if e.Default != "" {
			said += " (default " + e.Default + ")"
		}
		wrap(b, said, "      ")
	}
}

// wrap writes text in lines that fit the screen, each with the same margin. A word
// that does not fit a line has one of its own.
func wrap(b *bytes.Buffer, text, margin string) {
	line := margin
	for part := range strings.SplitSeq(text, " ") {
		if len(line) > len(margin) && len(line)+1+len(part) > screen {
			b.WriteString(strings.TrimRight(line, " ") + "\n")
			line = margin
		}
		if line != margin {
			line += " "
		}
		line += part
	}
	b.WriteString(strings.TrimRight(line, " ") + "\n")
}
