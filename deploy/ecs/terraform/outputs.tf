output "container_definitions" {
  description = "The containers with the tracer and the sidekick, as JSON: container_definitions of aws_ecs_task_definition."
  value       = jsonencode(concat(local.containers, [local.install, local.sidekick]))

  precondition {
    condition     = length(local.silent) == 0
    error_message = "State the entryPoint of ${join(", ", local.silent)}: the tracer comes in front of it. `docker inspect -f '{{.Config.Entrypoint}} {{.Config.Cmd}}' IMAGE` shows what an image has; with an entryPoint, ECS drops the image's CMD as well."
  }
}

output "volumes" {
  description = "Names of the volumes that the task needs."
  value       = ["sidearmor", "sidearmor-queue"]
}

output "secret_arns" {
  description = "What the execution role must be allowed to read."
  value       = concat([for arn in local.secrets : arn], [for arn in local.policy : arn])
}
