package markup_test

import (
	"strings"
	"testing"

	"github.com/sidearmor/sidearmor/outputs/internal/markup"
)

type data struct {
	Text   string
	Number int
	List   []string
	Map    map[string]any
}

func sample() data {
	return data{Text: "<a&b>", Number: 7, List: []string{"<x>", "y"}, Map: map[string]any{"k": "<v>", "n": 1.5, "<key>": "v"}}
}

func entities(s string) string {
	return strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;").Replace(s)
}

func TestExecute(t *testing.T) {
	for text, want := range map[string]string{
		`<!here> {{.Text}}`:                                         `<!here> &lt;a&amp;b&gt;`,
		`{{raw .Text}} {{.Text | raw}} {{.Text}}`:                   `<a&b> <a&b> &lt;a&amp;b&gt;`,
		`{{with $x := raw .Text}}{{$x}}{{.}}{{end}}`:                `<a&b><a&b>`,
		`{{$x := .Text}}{{$x}}{{$x = "<y>"}}{{$x}}`:                 `&lt;a&amp;b&gt;&lt;y&gt;`,
		`{{if eq .Text "<a&b>"}}same{{end}}{{len .Text}}`:           `same5`,
		`{{"<!here>"}}{{print "<!here>"}}`:                          `<!here>&lt;!here&gt;`,
		`{{printf "<%s|%d>" .Text .Number}}`:                        `<&lt;a&amp;b&gt;|7>`,
		`{{printf "<%s|%s>" (raw .Text) .Text}}`:                    `<<a&b>|&lt;a&amp;b&gt;>`,
		`{{.Text | printf "<%s>"}}`:                                 `<&lt;a&amp;b&gt;>`,
		`{{print (printf "<%v>" .Text)}}`:                           `&lt;&amp;lt;a&amp;amp;b&amp;gt;&gt;`,
		`{{printf .Text}}`:                                          `&lt;a&amp;b&gt;`,
		`{{range .List}}[{{.}}]{{else}}{{.Text}}{{end}}`:            `[&lt;x&gt;][y]`,
		`{{range $k, $v := .Map}}{{$k}}={{$v}} {{end}}`:             `&lt;key&gt;=v k=&lt;v&gt; n=1.5 `,
		`{{.Map}} {{.List}}`:                                        `map[&lt;key&gt;:v k:&lt;v&gt; n:1.5] [&lt;x&gt; y]`,
		`{{define "part"}}<b>{{.}}{{end}}{{template "part" .Text}}`: `<b>&lt;a&amp;b&gt;`,
		`{{block "own" .List}}{{index . 0}}{{end}}`:                 `&lt;x&gt;`,
		`{{.Map.none}} {{index .Map "none"}} {{raw .Map.none}}`:     `&lt;no value&gt; &lt;no value&gt; <no value>`,
		`{{if false}}{{else}}{{or "" .Text}}{{end}}`:                `&lt;a&amp;b&gt;`,
	} {
		tmpl, err := markup.Parse("test", text, "default")
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		for range 2 { // the second must not find what the first has left
			var b strings.Builder
			if err := tmpl.Execute(&b, sample(), entities); err != nil || b.String() != want {
				t.Errorf("%s: %q, %v; want %q", text, b.String(), err, want)
			}
		}
	}
}

func TestErrors(t *testing.T) {
	if _, err := markup.Parse("test", "{{.Text", "default"); err == nil {
		t.Error("a template that is cut off is taken")
	}
	d := data{Text: strings.Repeat("x", 300<<10), List: make([]string, 100)}
	for text, want := range map[string]string{
		`{{index .List 100}}`:                      "out of range",
		`{{range .List}}{{raw $.Text}}{{end}}`:     "more than 1 MiB",
		`{{range .List}}{{$.Text | raw}} {{end}}x`: "more than 1 MiB",
	} {
		tmpl, err := markup.Parse("test", text, "default")
		if err != nil {
			t.Fatal(err)
		}
		var b strings.Builder
		if err := tmpl.Execute(&b, d, entities); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v", text, err)
		}
	}
}

// Whatever a template does with a text, without raw it comes out escaped, or the
// template fails.
func FuzzEscaped(f *testing.F) {
	for _, seed := range []string{
		`{{.Text}}`, `{{printf "%s" .Text}}`, `{{printf "%q%v" .List .Map}}`, `{{slice .Text 0 2}}`, `{{with .Text}}{{.}}{{end}}`,
		`{{range .List}}{{.}}{{end}}`, `{{html .Text}}`, `{{.Text | printf "%.3s"}}`, `{{$x := .Map.k}}{{$x | print}}`,
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		// Huge widths are the author's own, and so is markup outside of the texts.
		if strings.ContainsAny(text, "<>&") || strings.Contains(text, "raw") || strings.Contains(text, "_escape") || len(text) > 200 || strings.ContainsAny(text, "0123456789xXcCUb*\\") {
			return
		}
		tmpl, err := markup.Parse("test", text, "default")
		if err != nil {
			return
		}
		var b strings.Builder
		if tmpl.Execute(&b, sample(), func(s string) string { return strings.NewReplacer("<", "(", ">", ")").Replace(s) }) != nil {
			return
		}
		if strings.ContainsAny(b.String(), "<>") {
			t.Errorf("%s prints %q", text, b.String())
		}
	})
}
