package policies

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	spolicy "github.com/sidearmor/sidearmor/schema/policy"
)

// Parameter is the name of a source of policies that are a parameter's value, and
// stands for the file in what is said of them: "TRACER_POLICY:3".
const Parameter = "TRACER_POLICY"

// FromParameter reads policies that are given as text, YAML or JSON, or as base64
// of it: what a task definition or a pod can say without a volume. "" gives none.
// Strict is as for Load.
func FromParameter(value string, strict bool) ([]spolicy.Document, error) {
	text, err := decodeParameter(strings.TrimSpace(value))
	if err != nil {
		return nil, fmt.Errorf("loading policies: %s: %w", Parameter, err)
	}
	docs, err := parser(strict)(Parameter, strings.NewReader(text))
	if err == nil && strict {
		err = errors.Join(duplicates(docs)...)
	}
	if err != nil {
		if strings.Contains(text, `\n`) && !strings.Contains(text, "\n") {
			err = fmt.Errorf(`%w (the text has "\n" where lines should end: give base64 of it)`, err)
		}
		return nil, fmt.Errorf("loading policies: %w", err)
	}
	return docs, nil
}

// decodeParameter gives the text of a parameter. No policy is without a colon, which
// base64 does not have.
func decodeParameter(value string) (string, error) {
	if value == "" || strings.Contains(value, ":") {
		return value, nil
	}
	packed := strings.Join(strings.Fields(value), "") // base64(1) breaks lines
	encoding := base64.StdEncoding
	if strings.ContainsAny(packed, "-_") {
		encoding = base64.URLEncoding
	}
	text, err := encoding.WithPadding(base64.NoPadding).DecodeString(strings.TrimRight(packed, "="))
	switch {
	case err != nil && strings.HasPrefix(value, "/"):
		return "", errors.New("this is the name of a file: it goes into --policies (TRACER_POLICIES)")
	case err != nil:
		return "", fmt.Errorf("neither YAML nor base64: %w", err)
	}
	return string(text), nil
}
