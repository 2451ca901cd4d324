package config

import "path/filepath"

// Policies says where policies for tracers come from.
type Policies struct {
	Directory string // of policy files; "" for none
	Strict    bool   // what KubeArmor would pass over is an error
	StateDir  string // where those that clients send are kept; "" to choose one

	Kubernetes KubernetesPolicies
	AWS        AWSPolicies
}

func (l *loader) policies() Policies {
	return Policies{
		Directory: l.absolute("policies.directory"),
		Strict:    l.boolean("policies.strict"),
		StateDir:  l.absolute("policies.state_dir"),

		Kubernetes: l.kubernetesPolicies(),
		AWS:        l.awsPolicies(),
	}
}

// absolute looks up a path.
func (l *loader) absolute(path string) string {
	v := l.get(path)
	if v.text != "" && !filepath.IsAbs(v.text) {
		l.problem("%s: %q is not an absolute path", v.name, v.text)
	}
	return v.text
}
