package config

import (
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
)

// URL is an address that never prints the user, password, query or fragment
// that it may contain. The zero URL is none.
type URL struct {
	full  *string // fmt follows pointers to structs, even in unexported fields, but none to strings
	shown string
	given bool
}

// ParseURL checks an http or https address, or one of a Unix socket
// (unix:///path); "" gives the zero URL. given says
// that the user named it and it is not a mere default. Errors never repeat the
// value, which may hold a password.
func ParseURL(value string, given bool) (URL, error) {
	if value == "" {
		return URL{given: given}, nil
	}
	u, err := url.Parse(value)
	switch {
	case err != nil:
		return URL{}, errors.New("not a valid URL")
	case u.Scheme == "unix" && u.User == nil && u.Host == "" && strings.HasPrefix(u.Path, "/") && u.RawQuery == "" && u.Fragment == "":
		return URL{full: &value, shown: "unix://" + u.Path, given: given}, nil
	case u.Scheme != "http" && u.Scheme != "https":
		return URL{}, errors.New("not a valid URL: it must begin with http://, https:// or unix:///")
	case u.Hostname() == "":
		return URL{}, errors.New("not a valid URL: it names no host")
	}
	if u.Path == "" {
		u.Path = "/"
	}
	shown := url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}
	full := u.String()
	return URL{full: &full, shown: shown.String(), given: given}, nil
}

// Reveal gives the whole address.
func (u URL) Reveal() string {
	if u.full == nil {
		return ""
	}
	return *u.full
}

// IsTLS says that the address is reached over TLS.
func (u URL) IsTLS() bool { return strings.HasPrefix(u.shown, "https:") }

// IsZero says that there is no address.
func (u URL) IsZero() bool { return u.full == nil }

// Given says that the user named the address; otherwise it is the default.
func (u URL) Given() bool { return u.given }

// String gives the address without its secrets.
func (u URL) String() string { return u.shown }

// Format prints String for every verb.
func (u URL) Format(s fmt.State, _ rune) { _, _ = s.Write([]byte(u.String())) }

// LogValue gives String to slog.
func (u URL) LogValue() slog.Value { return slog.StringValue(u.String()) }

// MarshalText gives String to encoders.
func (u URL) MarshalText() ([]byte, error) { return []byte(u.String()), nil }
