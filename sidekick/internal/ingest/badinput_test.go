package ingest

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode/utf16"

	"github.com/sidearmor/sidearmor/schema"
)

// Each field of either spelling refuses what has another type, by its name.
func TestWrongTypes(t *testing.T) {
	url := serve(t, &store{}, nil).URL
	alert := reflect.TypeFor[schema.Alert]()
	var fields []reflect.StructField
	for _, f := range reflect.VisibleFields(alert) {
		if !f.Anonymous && f.IsExported() {
			fields = append(fields, f)
		}
	}
	if len(fields) < 40 {
		t.Fatalf("only %d fields", len(fields))
	}
	for _, f := range fields {
		wrong := []string{`[{}]`, `true`, `{"a":{"b":1}}`, `1.5`}
		switch f.Type.Kind() {
		case reflect.String:
			wrong = append(wrong, `7`, `["x"]`)
		case reflect.Slice, reflect.Map, reflect.Pointer:
			wrong = append(wrong, `"x"`, `7`)
		default:
			wrong = append(wrong, `"x"`, `1e999`, `99999999999999999999`, `NaN`)
		}
		for _, value := range wrong {
			if f.Type.Kind() == reflect.Pointer && strings.HasPrefix(value, "{") {
				continue // an object with a key that is not known
			}
			event := fmt.Sprintf(`{"Type":"MatchedPolicy","Operation":"File",%q:%s}`, f.Name, value)
			if f.Name == "Type" || f.Name == "Operation" {
				event = fmt.Sprintf(`{%q:%s}`, f.Name, value)
			}
			status, text, _ := post(t, url, strings.NewReader(event))
			if status != 400 || !strings.Contains(text, `"item":0`) || value != `NaN` && !strings.Contains(text, `"field":"`+f.Name) {
				t.Errorf("%s: %d %s", event, status, text)
			}
		}
	}
}

func TestBadInput(t *testing.T) {
	wide := func(s string) string {
		var b strings.Builder
		b.WriteString("\xff\xfe")
		for _, u := range utf16.Encode([]rune(s)) {
			b.Write([]byte{byte(u), byte(u >> 8)})
		}
		return b.String()
	}
	log := func(more string) string { return `{"Type":"ContainerLog","Operation":"File"` + more + `}` }
	gz := func(s string) string { return packed(t, "gzip", s).String() }
	const lines, array = "application/x-ndjson", "application/json"
	for _, c := range []struct {
		name, body, contentType, encoding string
		status, stored                    int
		want                              string
	}{
		{"empty", "", "", "", 400, 0, "body has no event"},
		{"white space", " \r\n\t\n ", "", "", 400, 0, "body has no event"},
		{"white space as lines", "\r\n \n", lines, "", 400, 0, "body has no event"},
		{"null", "null", "", "", 400, 0, `"item":0`},
		{"a number", "1", "", "", 400, 0, `"item":0`},
		{"a byte order mark", "\ufeff" + log(""), "", "", 200, 1, ""},
		{"a byte order mark before an array", "\ufeff[" + log("") + "]", array, "", 200, 1, ""},
		{"a byte order mark before lines", "\ufeff" + log("") + "\n" + log(""), lines, "", 200, 2, `"accepted":2`},
		{"two byte order marks", "\ufeff\ufeff" + log(""), "", "", 400, 0, `"item":0`},
		{"a byte order mark alone", "\ufeff", "", "", 400, 0, "body has no event"},
		{"UTF-16", wide(log("")), "", "", 400, 0, "body is UTF-16 or UTF-32, it must be UTF-8"},
		{"UTF-16 without a mark", wide(log(""))[2:], "", "", 400, 0, "it must be UTF-8"},
		{"invalid UTF-8", log(`,"Resource":"` + "\xc3\x28" + `"`), "", "", 400, 0, "UTF-8"},
		{"half a surrogate", log(`,"Resource":"\ud800"`), "", "", 200, 1, ""},
		{"half a surrogate, half an escape", log(`,"Resource":"\ud800\u00"`), "", "", 400, 0, `"field":"Resource"`},
		{"null output fields", strings.Replace(falcoEvent, `{"proc.tty":1234}`, "null", 1), "", "", 200, 1, ""},
		{"NUL in a string", log(`,"Resource":"a` + "\x00" + `b"`), "", "", 400, 0, `"field":"Resource"`},
		{"NUL, escaped", log(`,"Resource":"a\u0000b"`), "", "", 200, 1, ""},
		{"NUL after the event", log("") + "\x00", "", "", 400, 0, "after the event"},
		{"NaN", log(`,"PID":NaN`), "", "", 400, 0, `"item":0`},
		{"a huge number", log(`,"PID":1` + strings.Repeat("0", 1000)), "", "", 400, 0, `"field":"PID"`},
		{"a huge number that nobody reads", log(`,"x":1` + strings.Repeat("0", 1000)), "", "", 200, 1, ""},
		{"a key twice", log(`,"PID":1,"PID":2`), "", "", 400, 0, `"field":"PID"`},
		{"a key twice, in both spellings", log(`,"PID":1,"pid":2`), "", "", 400, 0, `"field":"pid"`},
		{"a key twice, deep", log(`,"EventData":{"a":"b","a":"c"}`), "", "", 400, 0, `"field":"EventData.a"`},
		{"10,000 deep", log(`,"x":` + strings.Repeat(`{"a":`, 10_000) + "1" + strings.Repeat("}", 10_000)), "", "", 400, 0, `"item":0`},
		{"10,000 deep, in an array", "[" + strings.Repeat("[", 10_000) + strings.Repeat("]", 10_000) + "]", "", "", 400, 0, `"item":0`},
		{"never closed", strings.Repeat(`{"a":`, 100_000), "", "", 400, 0, `"item":0`},
		{"a string of 1 MiB and 1", log(`,"Resource":"` + strings.Repeat("x", 1<<20+1) + `"`), "", "", 413, 0, "event is too large"},
		{"a string of 256 KiB and 1", log(`,"Resource":"` + strings.Repeat("x", 256<<10+1) + `"`), "", "", 400, 0, `"field":"Resource"`},
		{"a string of 256 KiB", log(`,"Resource":"` + strings.Repeat("x", 256<<10) + `"`), "", "", 200, 1, ""},
		{"10,001 in an array", "[" + strings.Repeat(log("")+",", 10_000) + log("") + "]", "", "", 413, 0, "more than 10000 events"},
		{"10,000 in an array", "[" + strings.Repeat(log("")+",", 9_999) + log("") + "]", "", "", 200, 10_000, `"accepted":10000`},
		{"good and bad lines", log("") + "\r\n{]\r\n" + log("") + "\r\n", lines, "", 200, 2, `"accepted":2,"rejected":1`},
		{"good and bad in an array", "[" + log("") + ",7," + log("") + "]", array, "", 200, 2, `"accepted":2,"rejected":1`},
		{"bad first", "[7," + log("") + "]", array, "", 200, 1, `{"status":"rejected"`},
		{"lines that end in CRLF", log("") + "\r\n" + log("") + "\r\n", "", "", 200, 2, `"accepted":2`},
		{"a comma too many", "[" + log("") + ",]", "", "", 400, 0, `"error"`},
		{"no comma", "[" + log("") + " " + log("") + "]", "", "", 400, 0, `"error"`},
		{"a form", log(""), "application/x-www-form-urlencoded", "", 200, 1, ""},
		{"said to be XML", log(""), "text/xml", "", 200, 1, ""},
		{"XML", "<a/>", "text/xml", "", 400, 0, "not JSON"},
		{"a content type that is none", log(""), ";;;", "", 200, 1, ""},
		{"one event, said to be lines", log(""), lines, "", 200, 1, ""},
		{"an array, said to be lines", "[" + log("") + "]", lines, "", 400, 0, `"item":0`},
		{"gzip", gz(log("")), "", "gzip", 200, 1, ""},
		{"gzip of several members", gz(log("")+"\n") + gz(log("")), lines, "gzip", 200, 2, `"accepted":2`},
		{"gzip and more", gz(log("")) + "more", "", "gzip", 400, 0, "reading the body"},
		{"half of gzip", gz(log(""))[:20], "", "gzip", 400, 0, "reading the body"},
		{"gzip without its end", gz(log(""))[:len(gz(log("")))-4], "", "gzip", 400, 0, "reading the body"},
		{"gzip of nothing", gz(""), "", "gzip", 400, 0, "body has no event"},
		{"nothing as gzip", "", "", "gzip", 400, 0, "reading the body"},
		{"gzip twice", gz(gz(log(""))), "", "gzip, gzip", 415, 0, "not supported"},
		{"gzip that is not said", gz(log("")), "", "", 400, 0, "not UTF-8"},
		{"zstd of several frames", packed(t, "zstd", log("")+"\n").String() + packed(t, "zstd", log("")).String(), lines, "zstd", 200, 2, `"accepted":2`},
		{"nothing as zstd", "", "", "zstd", 400, 0, "body has no event"},
		{"half of zstd", packed(t, "zstd", log("")).String()[:10], "", "zstd", 400, 0, "reading the body"},
		{"zstd that needs a window of 1 GiB", "\x28\xb5\x2f\xfd\x00\xa0" + "\x01\x00\x00", "", "zstd", 400, 0, "reading the body"},
		{"zstd that says it is 1 TiB", "\x28\xb5\x2f\xfd\xe0\x00\x00\x00\x00\x00\x01\x00\x00" + "\x01\x00\x00", "", "zstd", 413, 0, "body has more than"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := &store{}
			for _, chunked := range []bool{false, true} {
				s.events = nil
				body := io.Reader(strings.NewReader(c.body))
				if chunked {
					body = io.MultiReader(body)
				}
				status, text, _ := post(t, serve(t, s, nil).URL, body, "Content-Type", c.contentType, "Content-Encoding", c.encoding)
				if status != c.status || len(s.events) != c.stored || !strings.Contains(text, c.want) {
					t.Errorf("chunked %v: %d %.300s, %d stored, want %d %s, %d stored", chunked, status, text, len(s.events), c.status, c.want, c.stored)
				}
			}
		})
	}
}

// sent writes to a connection and gives the status of every answer until it is
// closed. Where the client says no more, it closes its side.
func sent(t *testing.T, address, text string) (statuses []int) {
	t.Helper()
	conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(time.Minute))
	// The server may answer, and close, before it has all.
	_, _ = io.WriteString(conn, text)
	_ = conn.(*net.TCPConn).CloseWrite()
	r := bufio.NewReader(conn)
	for {
		resp, err := http.ReadResponse(r, &http.Request{Method: http.MethodPost})
		if err != nil {
			return statuses
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
		statuses = append(statuses, resp.StatusCode)
	}
}

// What is wrong with HTTP itself. Each byte is read in one way only: what is
// within a body is never taken for a request.
func TestBadHTTP(t *testing.T) {
	log := `{"Type":"ContainerLog","Operation":"File"}`
	request := func(headers, body string) string {
		return "POST / HTTP/1.1\r\nHost: x\r\n" + headers + "\r\n" + body
	}
	length := fmt.Sprintf("Content-Length: %d\r\n", len(log))
	chunk := fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", len(log), log)
	const te = "Transfer-Encoding: chunked\r\n"
	for _, c := range []struct {
		name, text string
		want       string // statuses
		stored     int
	}{
		{"good", request(length, log), "[200]", 1},
		{"pipelined", strings.Repeat(request(length, log), 3), "[200 200 200]", 3},
		{"HTTP/1.0", "POST / HTTP/1.0\r\n" + length + "\r\n" + log, "[200]", 1},
		{"HTTP/1.0 without a length", "POST / HTTP/1.0\r\n\r\n" + log, "[400]", 0},
		{"HTTP/0.9", "POST /\r\n", "[400]", 0},
		{"HTTP/2 at once", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "[404]", 0},
		{"no Host", "POST / HTTP/1.1\r\n" + length + "\r\n" + log, "[400]", 0},
		{"no length", request("", log), "[400 400]", 0},
		{"length too small", request("Content-Length: 5\r\n", log), "[400 400]", 0},
		{"length too large", request("Content-Length: 500\r\n", log), "[400]", 0},
		{"length beyond all bounds", request("Content-Length: 99999999999\r\n", log), "[413]", 0},
		{"length of 30 digits", request("Content-Length: 999999999999999999999999999999\r\n", log), "[400]", 0},
		{"length below zero", request("Content-Length: -1\r\n", log), "[400]", 0},
		{"length with a plus", request(strings.Replace(length, " ", " +", 1), log), "[400]", 0},
		{"two lengths", request(length+"Content-Length: 5\r\n", log), "[400]", 0},
		{"two lengths that are the same", request(length+length, log), "[200]", 1},
		{"chunked", request(te, chunk), "[200]", 1},
		{"chunked with a length: the chunks count", request(te+"Content-Length: 5\r\n", chunk), "[200]", 1},
		{"chunked, spelled oddly", request("Transfer-Encoding: xchunked\r\n"+length, log), "[501]", 0},
		{"chunked twice", request(te+te, chunk), "[501]", 0},
		{"a space before the colon", request("Transfer-Encoding : chunked\r\n"+length, log), "[400]", 0},
		{"chunk of a wrong size", request(te, "5\r\n"+log+"\r\n0\r\n\r\n"), "[400]", 0},
		{"chunk of 2^64 bytes", request(te, "10000000000000000\r\n"+log), "[400]", 0},
		{"chunk extensions for ever", request(te, strings.Repeat("1;"+strings.Repeat("x", 4000)+"\r\n \r\n", 20_000)), "[400]", 0},
		{"last chunk is missing", request(te, fmt.Sprintf("%x\r\n%s\r\n", len(log), log)), "[400]", 0},
		{"trailers", request(te+"Trailer: A\r\n", strings.TrimSuffix(chunk, "\r\n")+"A: b\r\n\r\n"), "[200]", 1},
		{"trailers for ever", request(te, strings.TrimSuffix(chunk, "\r\n")+strings.Repeat("A: b\r\n", 100_000)+"\r\n"), "[400]", 0},
		{"a request within a body", request(length+"X: y\r\n", log) + request("Content-Length: 300\r\n", request(length, log)), "[200 400]", 1},
		{"a line feed in a header", request("A: b\n"+length, log), "[200]", 1},
		{"a NUL in a header", request("A: \x00\r\n"+length, log), "[400]", 0},
		{"a key in a header that is no key", request("Idempotency-Key: \xff\r\n"+length, log), "[400]", 0},
		{"a header of 40 KiB", request("A: "+strings.Repeat("b", 40<<10)+"\r\n"+length, log), "[431]", 0},
		{"headers for ever", "POST / HTTP/1.1\r\n" + strings.Repeat("A: b\r\n", 100_000), "[431]", 0},
		{"an address for ever", "POST /" + strings.Repeat("a", 100_000), "[431]", 0},
		{"another method", "PUT / HTTP/1.1\r\nHost: x\r\n" + length + "\r\n" + log, "[405]", 0},
		{"two slashes", "POST // HTTP/1.1\r\nHost: x\r\n" + length + "\r\n" + log, "[404]", 0},
		{"CONNECT", "CONNECT x:80 HTTP/1.1\r\nHost: x\r\n\r\n", "[404]", 0},
		{"a whole URL", "POST http://elsewhere/ HTTP/1.1\r\nHost: x\r\n" + length + "\r\n" + log, "[200]", 1},
		{"expects something odd", request("Expect: tea\r\n"+length, log), "[417]", 0},
		{"no HTTP", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "[400]", 0},
		{"nothing", "", "[]", 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := &store{}
			server := serve(t, s, nil)
			got := fmt.Sprint(sent(t, server.Listener.Addr().String(), c.text))
			if got != c.want || len(s.events) != c.stored {
				t.Errorf("%s, %d stored; want %s, %d", got, len(s.events), c.want, c.stored)
			}
			if status, text, _ := post(t, server.URL, strings.NewReader(log)); status != 200 {
				t.Errorf("afterwards: %d %s", status, text)
			}
		})
	}
}

// A client that asks first is told to go on only when its body is wanted.
func TestExpectContinue(t *testing.T) {
	server, _, _ := guardedServer(t, right, func(o *Options) {
		o.Pace = func(r *http.Request, _ int) time.Duration {
			if r.Header.Get("Slow") != "" {
				return time.Minute
			}
			return 0
		}
	})
	for headers, want := range map[string]string{
		"Authorization: Bearer right\r\nContent-Length: 5\r\n":                              "HTTP/1.1 100 Continue",
		"Content-Length: 5\r\n":                                                             "HTTP/1.1 401 Unauthorized",
		"Authorization: Bearer right\r\nContent-Length: 99999999\r\n":                       "HTTP/1.1 413 Request Entity Too Large",
		"Authorization: Bearer right\r\nContent-Length: 5\r\nContent-Encoding: br\r\n":      "HTTP/1.1 415 Unsupported Media Type",
		"Authorization: Bearer right\r\nContent-Length: 5\r\nSlow: yes\r\n":                 "HTTP/1.1 429 Too Many Requests",
		"Authorization: Bearer right\r\nContent-Length: 5\r\nIdempotency-Key: " + "a b\r\n": "HTTP/1.1 400 Bad Request",
	} {
		conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", server.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		_ = conn.SetDeadline(time.Now().Add(time.Minute))
		if _, err := io.WriteString(conn, "POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n"+headers+"\r\n"); err != nil {
			t.Fatal(err)
		}
		line, err := bufio.NewReader(conn).ReadBytes('\n')
		if err != nil || !bytes.HasPrefix(line, []byte(want)) {
			t.Errorf("%q: %q, %v", headers, line, err)
		}
		_ = conn.Close()
	}
}
