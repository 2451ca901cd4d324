package config

import "path/filepath"

// Policies says where policies for tracers come from.
type Policies struct {
	Directory string // of policy files; "" for none
	Strict    bool   // what KubeArmor would pass over is an error
	StateDir  string // where those that clients send are kept; "" to choose one
}

func (l *loader) policies() Policies {
	return Policies{
		Directory: l.directory("policies.directory"),
		Strict:    l.boolean("policies.strict"),
		StateDir:  l.directory("policies.state_dir"),
	}
}

// directory looks up the path of a directory.
func (l *loader) directory(path string) string {
	v := l.get(path)
	if v.text != "" && !filepath.IsAbs(v.text) {
		l.problem("%s: %q is not an absolute path", v.name, v.text)
	}
	return v.text
}
