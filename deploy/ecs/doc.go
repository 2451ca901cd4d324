// Package ecs has the templates that run SideArmor on ECS, and the code that puts
// it into task definitions. It talks to no AWS service.
package ecs
