# Two tasks.
resource "aws_ecs_task_definition" "web" {
  family                   = "web"
  requires_compatibilities = ["FARGATE"]
  container_definitions = jsonencode([
    {
      name       = "web" # the application
      image      = var.image
      entryPoint = ["/web"]
      command    = concat(["serve"], var.flags)
      logConfiguration = {
        logDriver = "awslogs"
        options = {
          awslogs-group = aws_cloudwatch_log_group.web.name
        }
      }
    },
  ])
}

resource "aws_ecs_task_definition" "worker" {
  family                = "worker"
  container_definitions = <<-JSON
    [
      {"name": "worker", "image": "${var.image}", "entryPoint": ["/worker"], "memory": 512}
    ]
  JSON
}

output "family" {
  value = aws_ecs_task_definition.web.family
}
