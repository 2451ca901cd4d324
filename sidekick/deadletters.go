package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/pflag"

	"github.com/sidearmor/sidearmor/schema"
	"github.com/sidearmor/sidearmor/sidekick/internal/queue"
)

// listed is how many dead letters are listed when nobody says.
const listed = 100

// letterCommand is what to do with which dead letters.
type letterCommand struct {
	verb   string // list, show, replay or delete
	refs   []string
	all    bool
	output string
	limit  int
	json   bool
}

// letterFlags adds the flags of sidekick deadletters.
func letterFlags(flags *pflag.FlagSet) *letterCommand {
	l := new(letterCommand)
	flags.BoolVar(&l.all, "all", false, "all dead letters, for deadletters replay and delete")
	flags.StringVar(&l.output, "output", "", "dead letters of this output, for deadletters")
	flags.IntVar(&l.limit, "limit", listed, "newest so many, 0 for all, for deadletters list")
	flags.BoolVar(&l.json, "json", false, "one JSON object a line, for deadletters list")
	return l
}

// arguments reads what comes after "deadletters".
func (l *letterCommand) arguments(args []string, flags *pflag.FlagSet) error {
	if len(args) == 0 {
		return errors.New("deadletters wants to know what to do:\n" + strings.TrimRight(letterUsage, "\n"))
	}
	l.verb, l.refs = args[0], args[1:]
	takes := map[string][]string{
		"list": {"output", "limit", "json"}, "show": nil, "replay": {"all", "output"}, "delete": {"all", "output"},
	}
	allowed, ok := takes[l.verb]
	if !ok {
		return fmt.Errorf("unknown command %q, see sidekick --help", append([]string{"deadletters"}, args...))
	}
	var err error
	flags.Visit(func(f *pflag.Flag) {
		if f.Name != "config-file" && !slices.Contains(allowed, f.Name) {
			err = fmt.Errorf("--%s is not for deadletters %s", f.Name, l.verb)
		}
	})
	switch given := len(l.refs); {
	case err != nil:
		return err
	case l.limit < 0:
		return errors.New("--limit is less than 0")
	case l.verb == "list" && given > 0:
		return errors.New("deadletters list takes no numbers, see deadletters show")
	case l.verb == "show" && given != 1:
		return errors.New("deadletters show wants the number or the ID of one")
	case (l.verb == "replay" || l.verb == "delete") && (given > 0) == (l.all || l.output != ""):
		return fmt.Errorf("deadletters %s wants either numbers or IDs, or --all, or --output", l.verb)
	}
	return nil
}

// run asks the sidekick at client, and shows what it says.
func (l *letterCommand) run(ctx context.Context, client *http.Client, stdout, stderr io.Writer) error {
	switch l.verb {
	case "list":
		return l.list(ctx, client, stdout, stderr)
	case "show":
		return l.show(ctx, client, stdout)
	}
	return l.change(ctx, client, stdout, stderr)
}

func (l *letterCommand) list(ctx context.Context, client *http.Client, stdout, stderr io.Writer) error {
	request := letterRequest{Output: l.output, Limit: l.limit}
	table := tabwriter.NewWriter(stdout, 0, 8, 2, ' ', 0)
	shown := 0
	err := askControl(ctx, client, "list", request, func(a letterAnswer) error {
		switch {
		case a.Letter == nil:
			if shown < a.Held {
				fmt.Fprintf(stderr, "sidekick: the newest %d of %d; --limit 0 for all\n", shown, a.Held)
			}
			return nil
		case l.json:
			shown++
			return l.line(stdout, a.Letter)
		}
		if shown++; shown == 1 {
			fmt.Fprintln(table, "NUMBER\tTIME\tOUTPUT\tREASON\tEVENT")
		}
		_, err := fmt.Fprintln(table, letterLine(a.Letter))
		return err
	})
	return errors.Join(err, table.Flush())
}

// line writes a dead letter as JSON in one line.
func (l *letterCommand) line(w io.Writer, letter *queue.Letter) error {
	text, err := json.Marshal(letter)
	if err != nil {
		return fmt.Errorf("list dead letters: %w", err)
	}
	_, err = fmt.Fprintln(w, printableJSON(string(text)))
	return err
}

// letterLine is a dead letter in one line, for a terminal.
func letterLine(l *queue.Letter) string {
	return fmt.Sprintf("%d\t%s\t%s\t%s\t%s",
		l.Number, l.Time.UTC().Format(time.RFC3339), printable(l.Output), shorten(printable(l.Reason), 80), shorten(printable(summary(l)), 160))
}

func summary(l *queue.Letter) string {
	var e schema.Event
	if l.Event == nil || e.UnmarshalJSON(l.Event) != nil {
		return fmt.Sprintf("%d bytes that are no event", len(l.Raw))
	}
	return e.ToFalco().Output
}

func shorten(s string, n int) string {
	runes := []rune(s)
	if len(runes) <= n {
		return s
	}
	return string(runes[:n-1]) + "…"
}

// show writes JSON, in which nothing can move a terminal's cursor.
func (l *letterCommand) show(ctx context.Context, client *http.Client, stdout io.Writer) error {
	return askControl(ctx, client, "show", letterRequest{Refs: l.refs}, func(a letterAnswer) error {
		text, err := json.MarshalIndent(struct {
			*queue.Letter
			Text string `json:"text,omitempty"` // of Raw, which is base64
		}{a.Letter, strings.ToValidUTF8(string(a.Letter.Raw), "\uFFFD")}, "", "  ")
		if err != nil {
			return fmt.Errorf("show dead letter: %w", err)
		}
		_, err = fmt.Fprintln(stdout, printableJSON(string(text)))
		return err
	})
}

// printableJSON escapes what JSON lets pass and a terminal may act on.
func printableJSON(text string) string {
	var b strings.Builder
	for _, r := range text {
		if r == '\n' || printable(string(r)) == string(r) {
			b.WriteRune(r)
		} else if r > 0xffff {
			r -= 0x10000
			fmt.Fprintf(&b, `\u%04x\u%04x`, 0xd800+r>>10, 0xdc00+r&0x3ff)
		} else {
			fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	return b.String()
}

// errSomeFailed says that some dead letters are as before, and which has been said.
var errSomeFailed = errors.New("not all of it could be done")

func (l *letterCommand) change(ctx context.Context, client *http.Client, stdout, stderr io.Writer) error {
	request := letterRequest{Refs: l.refs, Output: l.output}
	done, failed := 0, 0
	err := askControl(ctx, client, l.verb, request, func(a letterAnswer) error {
		switch {
		case a.Error != "":
			failed++
			fmt.Fprintln(stderr, "sidekick:", printable(a.Error))
		case l.verb == "replay":
			done++
			fmt.Fprintf(stdout, "%d is delivered to %s again as %s\n", a.Number, printable(a.Output), printable(a.ID))
		default:
			done++
			fmt.Fprintf(stdout, "%d is removed\n", a.Number)
		}
		return nil
	})
	switch {
	case err != nil:
		return err
	case failed > 0:
		return errSomeFailed
	case done == 0:
		fmt.Fprintln(stderr, "sidekick: there are no such dead letters")
	}
	return nil
}
