variable "container_definitions" {
  description = "The containers of the task, as a list of objects with the keys of the ECS API. A container that is traced states its entryPoint: `inject ecs` finds it out from the image, a module cannot."
  type        = any
}

variable "containers" {
  description = "Names of the containers to trace. Empty: all but log routers."
  type        = list(string)
  default     = []
}

variable "tracer_image" {
  description = "Image of the tracer."
  type        = string
}

variable "sidekick_image" {
  description = "Image of the sidekick."
  type        = string
}

variable "slack_secret_arn" {
  description = "ARN of the secret or parameter with the address of Slack's webhook."
  type        = string
  default     = ""
}

variable "discord_secret_arn" {
  description = "ARN of the secret or parameter with the address of Discord's webhook."
  type        = string
  default     = ""
}

variable "policy_parameter_arn" {
  description = "ARN of the Systems Manager parameter or secret with the policies."
  type        = string
  default     = ""
}

variable "sidekick_environment" {
  description = "Settings of the sidekick: see docs/sidekick/configure.md."
  type        = map(string)
  default     = {}
}

variable "sidekick_secrets" {
  description = "Secret settings of the sidekick, with the ARN that each comes from."
  type        = map(string)
  default     = {}
}

variable "tracer_environment" {
  description = "Settings of the tracer: see docs/tracer.md."
  type        = map(string)
  default     = {}
}

variable "sidekick_memory" {
  description = "MiB that the sidekick may take."
  type        = number
  default     = 128

  validation {
    condition     = var.sidekick_memory >= 64
    error_message = "The sidekick needs 64 MiB."
  }
}

variable "log_configuration" {
  description = "logConfiguration of the added containers."
  type        = any
  default     = null
}

variable "wait_healthy" {
  description = "Whether the workload starts only when the sidekick answers."
  type        = bool
  default     = false
}
