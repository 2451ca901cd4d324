package httppost

import (
	"encoding/base64"
	"fmt"
	"strings"

	"golang.org/x/net/http/httpguts"

	"github.com/sidearmor/sidearmor/outputs"
	"github.com/sidearmor/sidearmor/schema/secret"
)

// ParseHeaders reads a customheaders setting: name:value pairs, one a line where
// there are line ends, else separated by commas. Unlike FalcoSidekick it takes
// values with a colon. name is what the user called the setting. Values are
// credentials: errors count headers instead of showing them.
func ParseHeaders(name, s string) ([]Header, error) {
	separator := ","
	if strings.Contains(s, "\n") {
		separator = "\n"
	}
	var list []Header
	for i, pair := range strings.Split(s, separator) {
		if strings.TrimSpace(pair) == "" {
			continue
		}
		key, value, ok := strings.Cut(pair, ":")
		key, value = strings.TrimSpace(key), strings.TrimSpace(value)
		switch {
		case !ok:
			return nil, fmt.Errorf("%s: header %d is not name:value", name, i+1)
		case !httpguts.ValidHeaderFieldName(key):
			return nil, fmt.Errorf("%s: header %d has a name that HTTP does not allow", name, i+1)
		case !httpguts.ValidHeaderFieldValue(value):
			return nil, fmt.Errorf("%s: header %d has a value that HTTP does not allow", name, i+1)
		}
		list = append(list, Header{Name: key, Value: secret.New(value)})
	}
	return list, nil
}

// Basic is the header of basic authentication.
func Basic(user, password string) Header {
	return Header{Name: "Authorization", Value: secret.New("Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password)))}
}

// Key reads a setting that is a key or a token, as headers can carry it. A file that it
// comes from may end with a line end. what names it in the error: "a token".
func Key(v outputs.Values, setting, what string) (string, error) {
	key := strings.TrimSpace(v.String(setting))
	if key == "" || strings.ContainsFunc(key, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return "", fmt.Errorf("%s: not %s", v.Name(setting), what)
	}
	return key, nil
}
