package config

import (
	"errors"
	"fmt"
	"strings"

	"github.com/sidearmor/sidearmor/schema/secret"
)

// tokenVariable holds the token itself. It has no flag: arguments are for all to
// see in /proc.
const tokenVariable = "SIDEKICK_TOKEN"

func setTokenFile(c *Config, value string, _ bool) error {
	c.TokenFile = value
	return nil
}

// setToken reads the token from its variable.
func (c *Config) setToken(env map[string]string) error {
	token := strings.TrimSpace(env[tokenVariable])
	switch {
	case token == "":
		return nil
	case c.TokenFile != "":
		return fmt.Errorf("%s and --sidekick-token-file (SIDEKICK_TOKEN_FILE) are both set: use one", tokenVariable)
	case strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' || r == ',' }):
		return errors.New(tokenVariable + ": one token of visible ASCII without commas is wanted")
	}
	c.Token = secret.New(token)
	return nil
}

func setFile(field func(*TLS) *string) func(*Config, string, bool) error {
	return func(c *Config, value string, _ bool) error {
		*field(&c.TLS) = value
		return nil
	}
}

// checkTLS refuses files that would not be used.
func (c *Config) checkTLS() error {
	switch {
	case c.TLS == TLS{} || c.SidekickURL.IsZero():
		return nil
	case !c.SidekickURL.IsTLS():
		return errors.New("--sidekick-ca-file, --sidekick-cert-file and --sidekick-key-file need an https --sidekick-url")
	case (c.TLS.CertFile == "") != (c.TLS.KeyFile == ""):
		return errors.New("--sidekick-cert-file (SIDEKICK_CERT_FILE) and --sidekick-key-file (SIDEKICK_KEY_FILE) need each other")
	}
	return nil
}

// checkSidekickPolicies refuses to take policies from where there are none.
func (c *Config) checkSidekickPolicies() error {
	switch {
	case !c.SidekickPolicies:
		return nil
	case c.SidekickURL.IsZero():
		return errors.New("--sidekick-policies (TRACER_SIDEKICK_POLICIES) needs a --sidekick-url")
	case c.Format == FormatFalco:
		return errors.New("--sidekick-policies (TRACER_SIDEKICK_POLICIES): a FalcoSidekick, for which --format=falco is, has no policies")
	}
	return nil
}
