package config

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/sidearmor/sidearmor/outputs"
	"github.com/sidearmor/sidearmor/outputs/awsconfig"
	"github.com/sidearmor/sidearmor/schema/secret"
)

// maxPolicyPlaces bounds what is asked again and again.
const maxPolicyPlaces = 10

// KubernetesPolicies says of which pod the policies of a cluster are followed.
type KubernetesPolicies struct {
	Follow     bool
	Kubeconfig string // "" for the service account of this pod
	Namespace  string // "" for that of the service account, or of the kubeconfig
	Pod        string // "" where nobody says
}

// AWSPolicies says which places on AWS have policies.
type AWSPolicies struct {
	Parameters []string // names in Systems Manager, or paths, which end in "/"
	Objects    []string // s3://bucket/key, or s3://bucket/prefix/
	Interval   time.Duration
	Access     outputs.Values // how AWS is used, for awsconfig.Load
}

func (l *loader) kubernetesPolicies() KubernetesPolicies {
	k := KubernetesPolicies{Follow: l.boolean("policies.kubernetes")}
	if !k.Follow {
		l.withoutEffect("no cluster is followed without POLICIES_KUBERNETES", "policies.kubeconfig")
		return KubernetesPolicies{}
	}
	k.Kubeconfig = l.absolute("policies.kubeconfig")
	// As the tracer knows them. They are no settings: of those, names that are nearly
	// the same are refused, and POD_NODE is somebody else's.
	k.Namespace, k.Pod = strings.TrimSpace(l.all["POD_NAMESPACE"]), strings.TrimSpace(l.all["POD_NAME"])
	return k
}

func (l *loader) awsPolicies() AWSPolicies {
	a := AWSPolicies{Interval: l.duration("policies.interval")}
	a.Parameters = l.places("policies.ssm", func(name string) string {
		if strings.ContainsFunc(name, func(c rune) bool { return c <= ' ' || c > '~' }) || strings.Contains(name, "//") {
			return "is not a name of a parameter"
		}
		return ""
	})
	a.Objects = l.places("policies.s3", func(address string) string {
		rest, ok := strings.CutPrefix(address, "s3://")
		if bucket, _, slash := strings.Cut(rest, "/"); !ok || !slash || bucket == "" {
			return "is not s3://bucket/key, or s3://bucket/prefix/"
		}
		return ""
	})
	if len(a.Parameters)+len(a.Objects) == 0 {
		l.withoutEffect("nothing is asked for policies without POLICIES_SSM or POLICIES_S3", "policies.interval")
		return AWSPolicies{}
	}
	access := &values{defaults: map[string]string{}, given: map[string]given{}}
	for _, s := range awsconfig.Settings() {
		v := l.get(s.Block + "." + s.Key)
		access.given[s.Key] = given{text: secret.New(v.text), name: v.name}
	}
	a.Access = access
	return a
}

// places reads a list of places, of which wrong says what is wrong with one.
func (l *loader) places(path string, wrong func(string) string) []string {
	v := l.get(path)
	var all []string
	for place := range strings.SplitSeq(v.text, ",") {
		if place = strings.TrimSpace(place); place == "" {
			continue
		}
		if what := wrong(place); what != "" {
			l.problem("%s: %q %s", v.name, place, what)
		}
		if slices.Contains(all, place) {
			l.problem("%s: %q is given twice", v.name, place)
		}
		all = append(all, place)
	}
	if len(all) > maxPolicyPlaces {
		l.problems = append(l.problems, fmt.Errorf("%s: has %d places, at most %d are possible", v.name, len(all), maxPolicyPlaces))
	}
	return all
}
