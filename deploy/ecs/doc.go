// Package ecs holds the templates that run SideArmor on ECS Fargate: a task
// definition and the permissions of its roles. It talks to no AWS service.
package ecs
