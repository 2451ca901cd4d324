package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/sidearmor/sidearmor/outputs"
)

// maxSecretBytes bounds what is read from a *_FILE, which may be any file.
const maxSecretBytes = 64 << 10

// value is what was given for a setting.
type value struct {
	text  string // "" when nothing was
	name  string // how the user knows it: a variable, or a key with file and line
	isMap bool   // text is "key:value\n" lines
}

// loader collects what is given and what is wrong with it.
type loader struct {
	env   map[string]string // what may be settings: without empty values, and blanks around them
	all   map[string]string // the whole environment as it is
	file  string
	yaml  map[string]value // by path
	kinds []outputs.Kind
	known map[string]setting // by path

	plainPaths []string // of Input

	instances map[string][]string // of a kind's block, the keys of the outputs that there are
	effective []Setting           // what was looked up

	digestWindow time.Duration // of outputs that have none of their own

	problems []error
	off      []string // sentences about settings of outputs that are off
	foreign  []string // names of FalcoSidekick's settings that are not here
}

func newLoader(in Input) (*loader, error) {
	l := &loader{env: map[string]string{}, all: map[string]string{}, file: in.File, kinds: in.Kinds, plainPaths: in.PlainPaths, known: map[string]setting{}, instances: map[string][]string{}}
	for _, entry := range in.Environ {
		name, text, _ := strings.Cut(entry, "=")
		l.all[name] = text
	}
	for name, text := range l.all {
		if text = trimmed(name, text); text != "" && !isServiceLink(name, text) {
			l.env[name] = text
		}
	}
	for _, s := range generalSettings() {
		l.known[s.path] = s
	}
	for _, k := range in.Kinds {
		l.addInstance(k, "")
		l.addVariables(k)
	}
	if err := l.readYAML(); err != nil {
		return nil, err
	}
	return l, nil
}

func variable(path string) string {
	return strings.ToUpper(strings.ReplaceAll(path, ".", "_"))
}

// trimmed takes off what comes with a secret that was made with echo, or with an env
// file. A replacement for brackets may be a blank.
func trimmed(name, text string) string {
	if strings.EqualFold(name, bracketReplacerPath) {
		return text
	}
	return strings.TrimSpace(text)
}

// unquoted refuses quotation marks around an address or a secret: an env file does not
// take them off, and nothing would be reached with them.
func (l *loader) unquoted(path string, v value) value {
	first, last := v.text[:min(1, len(v.text))], v.text[max(0, len(v.text)-1):]
	quoted := len(v.text) > 1 && first == last && strings.Contains(`"'`, first)
	if quoted && (l.known[path].secret || strings.Contains(v.text, "://")) {
		l.problem("%s: the value is in quotation marks, which are taken as a part of it: remove them", v.name)
		return value{name: v.name}
	}
	return v
}

// get looks a setting up. What is wrong with it is noted.
func (l *loader) get(path string) value {
	v := l.unquoted(path, l.lookup(path))
	if path == sharedCAPath && v.text == chartCAFile {
		if _, err := os.Stat(chartCAFile); errors.Is(err, fs.ErrNotExist) {
			why := fmt.Sprintf("%s has no effect: there is no %s, which FalcoSidekick's chart names unless it is told otherwise", v.name, chartCAFile)
			if !slices.Contains(l.off, why) {
				l.off = append(l.off, why)
			}
			v = value{name: v.name}
		}
	}
	l.note(path, v)
	return v
}

func (l *loader) lookup(path string) value {
	name := variable(path)
	text, file := l.env[name], ""
	if l.known[path].secret {
		file = l.env[name+"_FILE"]
	}
	switch {
	case text != "" && file != "":
		l.problem("%s and %s_FILE are both set: use one", name, name)
		return value{name: name}
	case text != "":
		return value{text: text, name: name}
	case file != "":
		return value{text: l.secretFile(name+"_FILE", file), name: name + "_FILE"}
	}
	inFile, hasFile := l.yaml[path+"_file"]
	if v, ok := l.yaml[path]; ok && v.text != "" {
		if hasFile && inFile.text != "" {
			l.problem("%s and %s are both set: use one", v.name, inFile.name)
		}
		return v
	}
	if hasFile && inFile.text != "" {
		return value{text: l.secretFile(inFile.name, inFile.text), name: inFile.name}
	}
	if file, ok := clientFiles()[path]; ok {
		if dir := l.lookup(clientFilesPath); dir.text != "" {
			return value{text: filepath.Join(dir.text, file), name: dir.name}
		}
	}
	return value{name: name}
}

// FalcoSidekick's chart and example name this file of authorities, which is then not
// there. What its certificates would be for fails without them, and so nothing is less
// safe.
const (
	sharedCAPath = "tlsclient.cacertfile"
	chartCAFile  = "/etc/certs/client/ca.crt"
)

// clientFilesPath is FalcoSidekick's older way to say where the files are that
// outputs show who they are with: all in one directory.
const clientFilesPath = "mutualtlsfilespath"

func clientFiles() map[string]string {
	return map[string]string{
		"mutualtlsclient.certfile": "client.crt", "mutualtlsclient.keyfile": "client.key", "mutualtlsclient.cacertfile": "ca.crt",
	}
}

// secretFile reads a secret, and notes what is wrong with it.
func (l *loader) secretFile(name, path string) string {
	text, err := readSecret(path)
	if err != nil {
		l.problem("%s: %w", name, err)
	}
	return text
}

// readSecret reads a secret as systems mount it: with a line end, or blanks, that are
// not part of it.
func readSecret(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	buf := make([]byte, maxSecretBytes+1)
	n := 0
	for n < len(buf) {
		got, err := f.Read(buf[n:])
		n += got
		if err != nil || got == 0 {
			break
		}
	}
	text := strings.TrimSpace(string(buf[:n]))
	switch {
	case n == len(buf):
		return "", fmt.Errorf("%s has more than %d bytes", path, maxSecretBytes)
	case text == "":
		return "", fmt.Errorf("%s is empty or not readable", path)
	}
	return text, nil
}

func (l *loader) warnings() []string {
	warnings := l.off
	if len(l.foreign) > 0 {
		warnings = append(warnings, fmt.Sprintf(
			"settings of FalcoSidekick that are not supported and have no effect: %s", strings.Join(l.foreign, ", ")))
	}
	return warnings
}
