package main

import (
	"fmt"
	"log/slog"

	"github.com/sidearmor/sidearmor/outputs/awsconfig"
	"github.com/sidearmor/sidearmor/sidekick/internal/config"
	"github.com/sidearmor/sidearmor/sidekick/internal/policies"
	awspolicies "github.com/sidearmor/sidearmor/sidekick/internal/policies/aws"
	"github.com/sidearmor/sidearmor/sidekick/internal/policies/kubernetes"
)

// policyPlaces makes the sources of policies that others keep: a cluster, and places on
// AWS, in the order in which they are configured.
func policyPlaces(c config.Policies, log *slog.Logger) (all []policies.Source, err error) {
	if k := c.Kubernetes; k.Follow {
		kubernetes.LogTo(log)
		s, err := kubernetes.New(kubernetes.Options{Kubeconfig: k.Kubeconfig, Namespace: k.Namespace, Pod: k.Pod, Log: log})
		if err != nil {
			return nil, err
		}
		all = append(all, s)
	}
	if c.AWS.Access == nil {
		return all, nil
	}
	access, err := awsconfig.Load(c.AWS.Access)
	if err != nil {
		return nil, fmt.Errorf("policies from AWS: %w", err)
	}
	for _, name := range c.AWS.Parameters {
		all = append(all, awspolicies.Parameters(access, name, c.AWS.Interval, log))
	}
	for _, address := range c.AWS.Objects {
		bucket, key, err := awspolicies.ParseObject(address)
		if err != nil {
			return nil, err
		}
		all = append(all, awspolicies.Objects(access, bucket, key, c.AWS.Interval, log))
	}
	return all, nil
}
