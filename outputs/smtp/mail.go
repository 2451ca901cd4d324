package smtp

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"html"
	"io"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net/textproto"
	"strings"
	"time"

	"github.com/sidearmor/sidearmor/outputs"
	"github.com/sidearmor/sidearmor/outputs/internal/chat"
	"github.com/sidearmor/sidearmor/outputs/internal/clip"
	"github.com/sidearmor/sidearmor/outputs/internal/summary"
	"github.com/sidearmor/sidearmor/schema"
)

// Values of outputformat.
const (
	formatHTML = "html"
	formatText = "text"
)

const maxSubject = 200

// message is a mail before it has a form.
type message struct {
	id, subject, text, html string
	at                      time.Time
}

func (o *output) mail(e *schema.Event) message {
	s := summary.Of(e)
	subject := s.Outcome.String() + ": " + s.Headline
	if f := e.Falco; f != nil {
		subject = cmp.Or(f.Priority.String(), "Falco") + ": " + cmp.Or(f.Rule, "Falco event")
	}
	return message{e.ID, subject, plain().Event(e), marked().Event(e), e.Time()}
}

func (o *output) digest(d *outputs.Digest) message {
	m := o.mail(&d.Examples[0])
	if f := d.Examples[0].Falco; f == nil {
		s := summary.OfDigest(d)
		m.subject = fmt.Sprintf("%s %d times: %s", s.Outcome, d.Count, s.Headline)
	} else {
		m.subject = fmt.Sprintf("%d times %s", d.Count, m.subject)
	}
	m.id += fmt.Sprintf("-%d", d.Count)
	m.text, m.html, m.at = plain().Digest(d), marked().Digest(d), d.Last
	return m
}

func plain() chat.Markup {
	return chat.Markup{
		Bold: func(s string) string { return s },
		Code: func(s string, limit int) string { return clip.Line(s, limit, nil) },
	}
}

func marked() chat.Markup {
	return chat.Markup{
		Bold: func(s string) string { return "<b>" + s + "</b>" },
		Code: func(s string, limit int) string {
			return "<code>" + html.EscapeString(clip.Line(s, limit, nil)) + "</code>"
		},
	}
}

// encode writes the mail as RFC 5322 and MIME have it. The same event has the same
// Message-ID, so that a mail that is sent again can be recognised.
func (m *message) encode(o *output) []byte {
	var b bytes.Buffer
	sum := sha256.Sum256([]byte(m.id))
	header := func(name, value string) { fmt.Fprintf(&b, "%s: %s\r\n", name, value) }
	header("From", "<"+o.from+">")
	header("To", "<"+strings.Join(o.to, ">, <")+">")
	header("Subject", mime.QEncoding.Encode("utf-8", clip.Line(m.subject, maxSubject, nil)))
	header("Date", m.at.Format(time.RFC1123Z))
	header("Message-ID", "<"+hex.EncodeToString(sum[:16])+"@sidearmor>")
	header("Auto-Submitted", "auto-generated") // no answer of an absent recipient, please (RFC 3834)
	header("MIME-Version", "1.0")
	if !o.html {
		header("Content-Type", "text/plain; charset=utf-8")
		header("Content-Transfer-Encoding", "quoted-printable")
		b.WriteString("\r\n")
		quote(&b, m.text)
		return b.Bytes()
	}
	parts := multipart.NewWriter(&b)
	_ = parts.SetBoundary(hex.EncodeToString(sum[:])) // is one
	header("Content-Type", "multipart/alternative; boundary="+parts.Boundary())
	b.WriteString("\r\n")
	for _, part := range [][2]string{
		{"text/plain", m.text},
		{"text/html", `<div style="white-space: pre-wrap">` + m.html + `</div>`},
	} {
		w, _ := parts.CreatePart(textproto.MIMEHeader{ // a buffer takes everything
			"Content-Type": {part[0] + "; charset=utf-8"}, "Content-Transfer-Encoding": {"quoted-printable"},
		})
		quote(w, part[1])
	}
	_ = parts.Close()
	return b.Bytes()
}

func quote(w io.Writer, text string) {
	q := quotedprintable.NewWriter(w)
	_, _ = io.WriteString(q, text+"\n")
	_ = q.Close()
}
