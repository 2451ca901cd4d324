package schema

import (
	"bytes"
	"strings"
	"testing"
	"time"
)

// What was posted is stored as it is where all of it is read again, and nothing else.
func TestPackedText(t *testing.T) {
	const log = `{"Type":"ContainerLog","Operation":"File","Resource":"/etc/\u003chosts","ExecEvent":{"ExecID":"0"}}`
	for name, c := range map[string]struct {
		body string
		same bool
	}{
		"log":                {log, true},
		"alert":              {`{"Type":"MatchedPolicy","Operation":"File","ATags":["T1"],"EventData":{"Fd":"3"}}`, true},
		"another order":      {`{"Operation":"File","Type":"ContainerLog","PID":3}`, true},
		"daemon's spelling":  {`{"type":"ContainerLog","operation":"File","oid":7}`, true},
		"daemon's within":    {`{"Type":"ContainerLog","Operation":"File","PPID":1,"PID":1,"UID":1,"Owner":{"name":"x"}}`, true},
		"on two lines":       {strings.Replace(log, ",", ",\n", 1), true},
		"a little space":     {strings.Replace(log, ",", ", ", 2), true},
		"much space":         {strings.ReplaceAll(log, ",", ",\n          "), false},
		"unknown key":        {strings.Replace(log, "{", `{"x":1,`, 1), false},
		"unknown key within": {strings.Replace(log, `"ExecID"`, `"x":1,"ExecID"`, 1), false},
		"half a surrogate":   {strings.Replace(log, `\u003c`, `\ud800`, 1), false},
		"empty list":         {strings.Replace(log, "{", `{"ATags":[],`, 1), false},
	} {
		var packer Packer
		for range 2 { // the second time it expects the keys
			p, err := packer.Pack([]byte(c.body))
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			p.ID, p.Received = `a"<-1`, time.Unix(1, 0).UTC()
			text, err := p.AppendJSON([]byte("before"))
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if got := bytes.HasSuffix(text, []byte(`,"event":`+c.body+`}`)); got != c.same {
				t.Errorf("%s: stored as it is %v: %s", name, got, text)
			}
			packs(t, &packer, []byte(c.body), decode(t, []byte(c.body)), nil)
			var back Event
			if err := back.UnmarshalJSON(text[len("before"):]); err != nil || back.ID != p.ID || !back.Received.Equal(p.Received) {
				t.Errorf("%s: %v, %+v", name, err, back)
			}
			body, err := back.Body()
			if asStored := c.same && !strings.Contains(name, "daemon") && name != "on two lines"; err != nil || asStored && string(body) != c.body || !asStored && bytes.ContainsAny(body, "\n\r") {
				t.Errorf("%s: outputs get %s, %v", name, body, err)
			}
		}
	}
}

// A Packer that has failed, or met other senders, is as good as a new one.
func TestPackerGoesOn(t *testing.T) {
	var packer Packer
	for range 2 {
		for _, dir := range []string{"pascal", "camel", "falco"} {
			for _, body := range samples(t, dir) {
				for _, end := range []int{len(body), len(body) / 2, 3} {
					e, err := Decode(body[:end])
					packs(t, &packer, body[:end], e, err)
				}
			}
		}
	}
}
