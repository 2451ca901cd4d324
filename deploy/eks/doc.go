// Package eks holds the manifest that runs SideArmor on EKS Fargate. It talks to
// no cluster.
package eks
