# What `inject ecs` does, for task definitions that are made by Terraform. The
# module has no resources: it turns a list of containers into another.

terraform {
  required_version = ">= 1.3"
}

locals {
  head   = ["/sidearmor/tracer", "run", "--"]
  traced = [for c in var.container_definitions : c.name if length(var.containers) > 0 ? contains(var.containers, c.name) : !can(c.firelensConfiguration.type)]
  silent = [for c in var.container_definitions : c.name if contains(local.traced, c.name) && try(length(c.entryPoint), 0) == 0]

  policy = var.policy_parameter_arn == "" ? {} : { TRACER_POLICY = var.policy_parameter_arn }
  secrets = merge(
    var.sidekick_secrets,
    var.slack_secret_arn == "" ? {} : { SLACK_WEBHOOKURL = var.slack_secret_arn },
    var.discord_secret_arn == "" ? {} : { DISCORD_WEBHOOKURL = var.discord_secret_arn },
  )
  logs = var.log_configuration == null ? {} : { logConfiguration = var.log_configuration }

  confined = {
    readonlyRootFilesystem = true
    linuxParameters        = { capabilities = { drop = ["ALL"] } }
  }

  # Both sides of a condition must be of one type: so they are text.
  containers = [for c in var.container_definitions : jsondecode(!contains(local.traced, c.name) ? jsonencode(c) : jsonencode(merge(c, {
    entryPoint  = concat(local.head, try([for word in c.entryPoint : word], []))
    mountPoints = concat(try([for m in c.mountPoints : m], []), [{ sourceVolume = "sidearmor", containerPath = "/sidearmor", readOnly = true }])
    dependsOn = concat(try([for d in c.dependsOn : d], []), [
      { containerName = "sidearmor-install", condition = "SUCCESS" },
      { containerName = "sidearmor-sidekick", condition = var.wait_healthy ? "HEALTHY" : "START" },
    ])
    linuxParameters = merge(try(merge(c.linuxParameters, {}), {}), {
      initProcessEnabled = false
      capabilities = merge(try(merge(c.linuxParameters.capabilities, {}), {}), {
        add = distinct(concat(try([for a in c.linuxParameters.capabilities.add : a], []), ["SYS_PTRACE"]))
      })
    })
    environment = concat(try([for e in c.environment : e], []), [for name, value in var.tracer_environment : { name = name, value = value }])
    secrets     = concat(try([for s in c.secrets : s], []), [for name, arn in local.policy : { name = name, valueFrom = arn }])
  })))]

  install = merge(local.confined, local.logs, {
    name        = "sidearmor-install"
    image       = var.tracer_image
    essential   = false
    command     = ["install", "/sidearmor"]
    mountPoints = [{ sourceVolume = "sidearmor", containerPath = "/sidearmor", readOnly = false }]
  })

  sidekick = merge(local.confined, local.logs, {
    name              = "sidearmor-sidekick"
    image             = var.sidekick_image
    essential         = false
    restartPolicy     = { enabled = true, restartAttemptPeriod = 60 }
    user              = "65532:65532"
    environment       = concat([{ name = "QUEUE_DIR", value = "/var/lib/sidearmor/queue" }], [for name, value in var.sidekick_environment : { name = name, value = value }])
    secrets           = [for name, arn in local.secrets : { name = name, valueFrom = arn }]
    mountPoints       = [{ sourceVolume = "sidearmor-queue", containerPath = "/var/lib/sidearmor", readOnly = false }]
    healthCheck       = { command = ["CMD", "/sidekick", "healthcheck"], interval = 5, timeout = 3, retries = 3, startPeriod = 30 }
    stopTimeout       = 30
    memoryReservation = 64
    memory            = var.sidekick_memory
  })
}
