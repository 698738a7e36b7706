# The resources of ../template.yaml, for those who deploy by Terraform. ../README.md tells what each is for.

terraform {
  required_version = ">= 1.5"
  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 5.80"
    }
  }
}

data "aws_caller_identity" "this" {}
data "aws_region" "this" {}
data "aws_partition" "this" {}

locals {
  account    = data.aws_caller_identity.this.account_id
  bucket     = coalesce(var.bucket, "${lower(var.name)}-dags-${local.account}-${data.aws_region.this.name}")
  bucket_arn = "arn:${data.aws_partition.this.partition}:s3:::${local.bucket}"
  functions  = toset(["scheduler", "worker", "python-worker", "api"])
  senders    = [aws_sqs_queue.tasks.arn, aws_sqs_queue.python.arn, aws_sqs_queue.looks.arn]
  environment = {
    UPDRAFT_TABLE               = aws_dynamodb_table.this.name
    UPDRAFT_BUCKET              = local.bucket
    UPDRAFT_TASK_QUEUE_URL      = aws_sqs_queue.tasks.url
    UPDRAFT_PYTHON_QUEUE_URL    = aws_sqs_queue.python.url
    UPDRAFT_SCHEDULER_QUEUE_URL = aws_sqs_queue.looks.url
    UPDRAFT_VERSION             = var.release
    UPDRAFT_METRICS             = tostring(var.metrics)
    UPDRAFT_HISTORY_DAYS        = tostring(var.history_days)
    OTEL_EXPORTER_OTLP_ENDPOINT = var.traces_endpoint
    OTEL_EXPORTER_OTLP_HEADERS  = var.traces_headers
    RUST_LOG                    = var.log_level
  }
  # What whoever reads variables and connections is told, and may read.
  secrets_environment = {
    UPDRAFT_SECRETS_BACKEND        = var.secrets_backend
    UPDRAFT_SECRETS_BACKEND_KWARGS = var.secrets_backend_kwargs
    UPDRAFT_FERNET_KEY_SECRET      = var.fernet_key_secret
  }
  here = "${data.aws_region.this.name}:${local.account}"
  secrets = {
    actions = ["ssm:GetParameter", "secretsmanager:GetSecretValue"]
    resources = [
      "arn:${data.aws_partition.this.partition}:ssm:${local.here}:parameter/${var.secrets_prefix}/*",
      "arn:${data.aws_partition.this.partition}:secretsmanager:${local.here}:secret:${var.secrets_prefix}/*",
    ]
  }
  table_reads  = ["dynamodb:GetItem", "dynamodb:BatchGetItem", "dynamodb:Query"]
  table_writes = ["dynamodb:PutItem", "dynamodb:UpdateItem"]
  receives     = ["sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:ChangeMessageVisibility", "sqs:GetQueueAttributes"]

  # What each function may do, statement by statement.
  rights = {
    scheduler = [
      { actions = concat(local.table_reads, local.table_writes, ["dynamodb:DeleteItem"]), resources = [aws_dynamodb_table.this.arn] },
      { actions = ["dynamodb:Query"], resources = ["${aws_dynamodb_table.this.arn}/index/due"] },
      { actions = ["s3:ListBucket"], resources = [local.bucket_arn] },
      { actions = ["s3:GetObject"], resources = ["${local.bucket_arn}/dags/*"] },
      { actions = ["sqs:SendMessage"], resources = local.senders },
      { actions = local.receives, resources = [aws_sqs_queue.looks.arn] },
    ]
    worker = [
      { actions = concat(local.table_reads, local.table_writes), resources = [aws_dynamodb_table.this.arn] },
      { actions = ["s3:ListBucket"], resources = [local.bucket_arn] },
      { actions = ["s3:GetObject"], resources = ["${local.bucket_arn}/xcoms/*"] },
      { actions = ["s3:PutObject"], resources = ["${local.bucket_arn}/logs/*", "${local.bucket_arn}/xcoms/*"] },
      { actions = ["sqs:SendMessage"], resources = local.senders },
      { actions = local.receives, resources = [aws_sqs_queue.tasks.arn] },
      local.secrets,
    ]
    python-worker = [
      { actions = concat(local.table_reads, local.table_writes), resources = [aws_dynamodb_table.this.arn] },
      { actions = ["s3:ListBucket"], resources = [local.bucket_arn] },
      { actions = ["s3:GetObject"], resources = ["${local.bucket_arn}/xcoms/*", "${local.bucket_arn}/packages/*"] },
      { actions = ["s3:PutObject"], resources = ["${local.bucket_arn}/logs/*", "${local.bucket_arn}/xcoms/*"] },
      { actions = ["sqs:SendMessage"], resources = local.senders },
      { actions = local.receives, resources = [aws_sqs_queue.python.arn] },
      local.secrets,
    ]
    api = [
      { actions = concat(local.table_reads, local.table_writes, ["dynamodb:DeleteItem"]), resources = [aws_dynamodb_table.this.arn] },
      { actions = ["dynamodb:Query"], resources = ["${aws_dynamodb_table.this.arn}/index/due"] },
      { actions = ["s3:ListBucket"], resources = [local.bucket_arn] },
      { actions = ["s3:GetObject", "s3:DeleteObject"], resources = ["${local.bucket_arn}/logs/*", "${local.bucket_arn}/xcoms/*"] },
      { actions = ["sqs:SendMessage"], resources = local.senders },
      local.secrets,
    ]
  }

  # The zip, runtime, memory and time of each function, and what it is told beside the others.
  built = {
    scheduler = { zip = "scheduler", runtime = "provided.al2023", memory = var.scheduler_memory, timeout = 60, more = {} }
    worker    = { zip = "worker", runtime = "provided.al2023", memory = var.worker_memory, timeout = var.worker_timeout, more = local.secrets_environment }
    python-worker = {
      zip     = "worker"
      runtime = var.python_runtime
      memory  = var.python_worker_memory
      timeout = var.worker_timeout
      more = merge(local.secrets_environment, {
        AWS_LAMBDA_EXEC_WRAPPER = "/var/task/bootstrap"
        UPDRAFT_WORKER          = "python"
      })
    }
    api = {
      zip     = "api"
      runtime = "provided.al2023"
      memory  = 256
      timeout = 30
      more = merge(local.secrets_environment, {
        UPDRAFT_JWT_ROLE_CLAIM   = var.jwt_role_claim
        UPDRAFT_JWT_ISSUER       = var.jwt_issuer == null ? "" : var.jwt_issuer
        UPDRAFT_JWT_AUDIENCE     = var.jwt_audience
        UPDRAFT_JWT_CLIENT       = var.jwt_client
        UPDRAFT_JWT_LOGIN_ORIGIN = var.jwt_login_origin
      })
    }
  }
}

# ---- State -------------------------------------------------------------------------------------------------------------

resource "aws_dynamodb_table" "this" {
  name         = var.name
  billing_mode = "PAY_PER_REQUEST"
  hash_key     = "pk"
  range_key    = "sk"

  attribute {
    name = "pk"
    type = "S"
  }
  attribute {
    name = "sk"
    type = "S"
  }
  attribute {
    name = "shard"
    type = "S"
  }
  attribute {
    name = "wake_at"
    type = "N"
  }

  # The time index. Only items that wait for a time carry `shard` and `wake_at`, so an idle DAG is not in it.
  global_secondary_index {
    name            = "due"
    hash_key        = "shard"
    range_key       = "wake_at"
    projection_type = "KEYS_ONLY"
  }

  point_in_time_recovery {
    enabled = true
  }

  # Only what the functions write with `history_days` has this attribute.
  ttl {
    attribute_name = "expires"
    enabled        = true
  }

  lifecycle {
    prevent_destroy = true
  }
}

resource "aws_s3_bucket" "this" {
  bucket = local.bucket

  lifecycle {
    prevent_destroy = true
  }
}

resource "aws_s3_bucket_server_side_encryption_configuration" "this" {
  bucket = aws_s3_bucket.this.id
  rule {
    apply_server_side_encryption_by_default {
      sse_algorithm = "AES256"
    }
  }
}

resource "aws_s3_bucket_public_access_block" "this" {
  bucket                  = aws_s3_bucket.this.id
  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

resource "aws_s3_bucket_ownership_controls" "this" {
  bucket = aws_s3_bucket.this.id
  rule {
    object_ownership = "BucketOwnerEnforced"
  }
}

resource "aws_s3_bucket_lifecycle_configuration" "this" {
  bucket = aws_s3_bucket.this.id
  rule {
    id     = "abandoned-uploads"
    status = "Enabled"
    filter {}
    abort_incomplete_multipart_upload {
      days_after_initiation = 7
    }
  }
}

resource "aws_s3_bucket_policy" "this" {
  bucket = aws_s3_bucket.this.id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Sid       = "EncryptedTransportOnly"
      Effect    = "Deny"
      Principal = "*"
      Action    = "s3:*"
      Resource  = [local.bucket_arn, "${local.bucket_arn}/*"]
      Condition = { Bool = { "aws:SecureTransport" = "false" } }
    }]
  })
}

resource "aws_lambda_permission" "bucket" {
  action         = "lambda:InvokeFunction"
  function_name  = aws_lambda_function.this["scheduler"].function_name
  principal      = "s3.amazonaws.com"
  source_account = local.account
  source_arn     = local.bucket_arn
}

resource "aws_s3_bucket_notification" "this" {
  bucket = aws_s3_bucket.this.id
  # Filtered, because the functions write to the same bucket and must not wake themselves by it.
  lambda_function {
    lambda_function_arn = aws_lambda_function.this["scheduler"].arn
    events              = ["s3:ObjectCreated:*", "s3:ObjectRemoved:*"]
    filter_prefix       = "dags/"
  }
  depends_on = [aws_lambda_permission.bucket]
}

# ---- Work --------------------------------------------------------------------------------------------------------------

resource "aws_sqs_queue" "dead_tasks" {
  name                      = "${var.name}-dead-tasks"
  sqs_managed_sse_enabled   = true
  message_retention_seconds = 1209600
}

resource "aws_sqs_queue" "dead_looks" {
  name                      = "${var.name}-dead-looks"
  sqs_managed_sse_enabled   = true
  message_retention_seconds = 1209600
}

resource "aws_sqs_queue" "tasks" {
  name                       = "${var.name}-tasks"
  sqs_managed_sse_enabled    = true
  visibility_timeout_seconds = var.worker_timeout + 30
  redrive_policy             = jsonencode({ deadLetterTargetArn = aws_sqs_queue.dead_tasks.arn, maxReceiveCount = 5 })
}

resource "aws_sqs_queue" "python" {
  name                       = "${var.name}-python"
  sqs_managed_sse_enabled    = true
  visibility_timeout_seconds = var.worker_timeout + 30
  redrive_policy             = jsonencode({ deadLetterTargetArn = aws_sqs_queue.dead_tasks.arn, maxReceiveCount = 5 })
}

resource "aws_sqs_queue" "looks" {
  name                       = "${var.name}-looks"
  sqs_managed_sse_enabled    = true
  visibility_timeout_seconds = 75
  redrive_policy             = jsonencode({ deadLetterTargetArn = aws_sqs_queue.dead_looks.arn, maxReceiveCount = 5 })
}

resource "aws_sqs_queue_policy" "this" {
  for_each = {
    dead_tasks = aws_sqs_queue.dead_tasks
    dead_looks = aws_sqs_queue.dead_looks
    tasks      = aws_sqs_queue.tasks
    python     = aws_sqs_queue.python
    looks      = aws_sqs_queue.looks
  }
  queue_url = each.value.url
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Sid       = "EncryptedTransportOnly"
      Effect    = "Deny"
      Principal = "*"
      Action    = "sqs:*"
      Resource  = each.value.arn
      Condition = { Bool = { "aws:SecureTransport" = "false" } }
    }]
  })
}

# ---- Functions ---------------------------------------------------------------------------------------------------------

resource "aws_cloudwatch_log_group" "this" {
  for_each          = local.functions
  name              = "/aws/lambda/${var.name}-${each.key}"
  retention_in_days = var.log_retention_days
}

resource "aws_iam_role" "this" {
  for_each = local.functions
  name     = "${var.name}-${each.key}"
  assume_role_policy = jsonencode({
    Version   = "2012-10-17"
    Statement = [{ Effect = "Allow", Principal = { Service = "lambda.amazonaws.com" }, Action = "sts:AssumeRole" }]
  })
}

resource "aws_iam_role_policy" "this" {
  for_each = local.functions
  name     = each.key
  role     = aws_iam_role.this[each.key].id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = concat(
      [for right in local.rights[each.key] : { Effect = "Allow", Action = right.actions, Resource = right.resources }],
      [{
        Effect   = "Allow"
        Action   = ["logs:CreateLogStream", "logs:PutLogEvents"]
        Resource = ["${aws_cloudwatch_log_group.this[each.key].arn}:*"]
      }],
    )
  })
}

resource "aws_lambda_function" "this" {
  for_each         = local.functions
  function_name    = "${var.name}-${each.key}"
  role             = aws_iam_role.this[each.key].arn
  runtime          = local.built[each.key].runtime
  handler          = "bootstrap"
  architectures    = [var.architecture]
  filename         = "${var.zips}/${local.built[each.key].zip}.zip"
  source_code_hash = filebase64sha256("${var.zips}/${local.built[each.key].zip}.zip")
  memory_size      = local.built[each.key].memory
  timeout          = local.built[each.key].timeout
  environment {
    variables = merge(local.environment, local.built[each.key].more)
  }
  logging_config {
    log_format = "Text"
    log_group  = aws_cloudwatch_log_group.this[each.key].name
  }
  depends_on = [aws_iam_role_policy.this]
}

# A run is a loop of messages between functions and queues, which Lambda would take for a runaway.
resource "aws_lambda_function_recursion_config" "this" {
  for_each       = local.functions
  function_name  = aws_lambda_function.this[each.key].function_name
  recursive_loop = "Allow"
}

resource "aws_lambda_function_event_invoke_config" "scheduler" {
  function_name                = aws_lambda_function.this["scheduler"].function_name
  maximum_event_age_in_seconds = 900
  maximum_retry_attempts       = 2
}

resource "aws_lambda_event_source_mapping" "this" {
  for_each = {
    scheduler     = { queue = aws_sqs_queue.looks.arn, batch = 10, most = 10 }
    worker        = { queue = aws_sqs_queue.tasks.arn, batch = 1, most = var.worker_concurrency }
    python-worker = { queue = aws_sqs_queue.python.arn, batch = 1, most = var.python_worker_concurrency }
  }
  event_source_arn        = each.value.queue
  function_name           = aws_lambda_function.this[each.key].arn
  batch_size              = each.value.batch
  function_response_types = ["ReportBatchItemFailures"]
  scaling_config {
    maximum_concurrency = each.value.most
  }
}

resource "aws_lambda_function_url" "api" {
  function_name      = aws_lambda_function.this["api"].function_name
  authorization_type = "AWS_IAM"
}

# The same function behind a gateway, for whoever has a token of the issuer.
resource "aws_apigatewayv2_api" "tokens" {
  count         = var.jwt_issuer == null ? 0 : 1
  name          = "${var.name}-api"
  protocol_type = "HTTP"
}

resource "aws_apigatewayv2_authorizer" "tokens" {
  count            = var.jwt_issuer == null ? 0 : 1
  name             = "issuer"
  api_id           = aws_apigatewayv2_api.tokens[0].id
  authorizer_type  = "JWT"
  identity_sources = ["$request.header.Authorization"]
  jwt_configuration {
    issuer   = var.jwt_issuer
    audience = [var.jwt_audience]
  }
}

resource "aws_apigatewayv2_integration" "tokens" {
  count                  = var.jwt_issuer == null ? 0 : 1
  api_id                 = aws_apigatewayv2_api.tokens[0].id
  integration_type       = "AWS_PROXY"
  integration_uri        = aws_lambda_function.this["api"].arn
  payload_format_version = "2.0"
}

resource "aws_apigatewayv2_route" "tokens" {
  count              = var.jwt_issuer == null ? 0 : 1
  api_id             = aws_apigatewayv2_api.tokens[0].id
  route_key          = "$default"
  authorization_type = "JWT"
  authorizer_id      = aws_apigatewayv2_authorizer.tokens[0].id
  target             = "integrations/${aws_apigatewayv2_integration.tokens[0].id}"
}

# What a browser asks before it has a token.
resource "aws_apigatewayv2_route" "open" {
  for_each  = var.jwt_issuer == null ? toset([]) : toset(["GET /", "GET /assets/{name}", "GET /favicon.svg", "GET /auth/issuer"])
  api_id    = aws_apigatewayv2_api.tokens[0].id
  route_key = each.value
  target    = "integrations/${aws_apigatewayv2_integration.tokens[0].id}"
}

resource "aws_apigatewayv2_stage" "tokens" {
  count       = var.jwt_issuer == null ? 0 : 1
  api_id      = aws_apigatewayv2_api.tokens[0].id
  name        = "$default"
  auto_deploy = true
  # The gateway's own bound, so that a script gone wrong takes neither the account's functions nor its money.
  default_route_settings {
    throttling_burst_limit = 100
    throttling_rate_limit  = 50
  }
  access_log_settings {
    destination_arn = aws_cloudwatch_log_group.tokens[0].arn
    format = jsonencode({
      at     = "$context.requestTime"
      who    = "$context.authorizer.claims.sub"
      from   = "$context.identity.sourceIp"
      route  = "$context.httpMethod $context.path"
      status = "$context.status"
      error  = "$context.authorizer.error"
    })
  }
}

resource "aws_cloudwatch_log_group" "tokens" {
  count             = var.jwt_issuer == null ? 0 : 1
  name              = "/aws/apigateway/${var.name}-api"
  retention_in_days = var.log_retention_days
}

resource "aws_lambda_permission" "tokens" {
  count         = var.jwt_issuer == null ? 0 : 1
  action        = "lambda:InvokeFunction"
  function_name = aws_lambda_function.this["api"].function_name
  principal     = "apigateway.amazonaws.com"
  source_arn    = "${aws_apigatewayv2_api.tokens[0].execution_arn}/*"
}

# ---- The tick ----------------------------------------------------------------------------------------------------------

resource "aws_iam_role" "tick" {
  name = "${var.name}-tick"
  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Principal = { Service = "scheduler.amazonaws.com" }
      Action    = "sts:AssumeRole"
      Condition = { StringEquals = { "aws:SourceAccount" = local.account } }
    }]
  })
}

resource "aws_iam_role_policy" "tick" {
  name = "tick"
  role = aws_iam_role.tick.id
  policy = jsonencode({
    Version   = "2012-10-17"
    Statement = [{ Effect = "Allow", Action = "lambda:InvokeFunction", Resource = aws_lambda_function.this["scheduler"].arn }]
  })
}

resource "aws_scheduler_schedule_group" "this" {
  name = var.name
}

resource "aws_scheduler_schedule" "tick" {
  name                = "${var.name}-tick"
  group_name          = aws_scheduler_schedule_group.this.name
  schedule_expression = "rate(1 minute)"
  flexible_time_window {
    mode = "OFF"
  }
  target {
    arn      = aws_lambda_function.this["scheduler"].arn
    role_arn = aws_iam_role.tick.arn
    input    = jsonencode({ "detail-type" = "Scheduled Event", source = "aws.scheduler" })
    retry_policy {
      maximum_event_age_in_seconds = 60
      maximum_retry_attempts       = 1
    }
  }
}

# ---- Alarms ------------------------------------------------------------------------------------------------------------

locals {
  alarms = merge(
    { for name, queue in { dead_tasks = aws_sqs_queue.dead_tasks, dead_looks = aws_sqs_queue.dead_looks } : name => {
      namespace                       = "AWS/SQS", metric = "ApproximateNumberOfMessagesVisible", dimensions = { QueueName = queue.name }
      statistic                       = "Maximum", period = 60, of = 1, within = 1, above = 0
      text                            = "A message was given up after five attempts. Its run goes on by the sweep; the cause should be found."
    } },
    { for name, queue in { tasks = aws_sqs_queue.tasks, python = aws_sqs_queue.python } : "${name}_age" => {
      namespace                  = "AWS/SQS", metric = "ApproximateAgeOfOldestMessage", dimensions = { QueueName = queue.name }
      statistic                  = "Maximum", period = 300, of = 1, within = 1, above = 900
      text                       = "Tasks wait for a worker for more than 15 minutes."
    } },
    { looks_age = {
      namespace = "AWS/SQS", metric = "ApproximateAgeOfOldestMessage", dimensions = { QueueName = aws_sqs_queue.looks.name }
      statistic = "Maximum", period = 60, of = 1, within = 1, above = 300
      text      = "Looks wait for the scheduler for more than 5 minutes: it fails, or is throttled."
    } },
    { for pair in setproduct(local.functions, ["Errors", "Throttles"]) : "${pair[0]}_${lower(pair[1])}" => {
      namespace = "AWS/Lambda", metric = pair[1], dimensions = { FunctionName = aws_lambda_function.this[pair[0]].function_name }
      statistic = "Sum", period = 300, of = 2, within = 3, above = 0
      text      = "Invocations of ${pair[0]} failed or were refused in two of three periods of five minutes."
    } },
  )
}

resource "aws_cloudwatch_metric_alarm" "this" {
  for_each            = var.alarms ? local.alarms : {}
  alarm_name          = "${var.name}-${each.key}"
  alarm_description   = each.value.text
  namespace           = each.value.namespace
  metric_name         = each.value.metric
  dimensions          = each.value.dimensions
  statistic           = each.value.statistic
  period              = each.value.period
  datapoints_to_alarm = each.value.of
  evaluation_periods  = each.value.within
  threshold           = each.value.above
  comparison_operator = "GreaterThanThreshold"
  treat_missing_data  = "notBreaching"
  alarm_actions       = var.alarm_topic == null ? [] : [var.alarm_topic]
  ok_actions          = var.alarm_topic == null ? [] : [var.alarm_topic]
}

resource "aws_cloudwatch_metric_alarm" "tick" {
  count               = var.alarms ? 1 : 0
  alarm_name          = "${var.name}-tick"
  alarm_description   = "The scheduler was not called for ten minutes. Nothing starts on schedule and nothing is repaired until it is."
  namespace           = "AWS/Scheduler"
  metric_name         = "InvocationAttemptCount"
  dimensions          = { ScheduleGroup = aws_scheduler_schedule_group.this.name }
  statistic           = "Sum"
  period              = 300
  datapoints_to_alarm = 2
  evaluation_periods  = 2
  threshold           = 1
  comparison_operator = "LessThanThreshold"
  treat_missing_data  = "breaching"
  alarm_actions       = var.alarm_topic == null ? [] : [var.alarm_topic]
  ok_actions          = var.alarm_topic == null ? [] : [var.alarm_topic]
}

# ---- Dashboard ---------------------------------------------------------------------------------------------------------

locals {
  # Each widget's title, statistic, period, and lines: namespace, metric, its dimensions, and how the line differs.
  widgets = [
    {
      title = "Waiting", stat = "Maximum", period = 60, metrics = [
        ["AWS/SQS", "ApproximateAgeOfOldestMessage", "QueueName", aws_sqs_queue.tasks.name, { label = "tasks, oldest (s)" }],
        ["AWS/SQS", "ApproximateAgeOfOldestMessage", "QueueName", aws_sqs_queue.python.name, { label = "Python tasks, oldest (s)" }],
        ["AWS/SQS", "ApproximateAgeOfOldestMessage", "QueueName", aws_sqs_queue.looks.name, { label = "looks, oldest (s)" }],
        ["AWS/SQS", "ApproximateNumberOfMessagesVisible", "QueueName", aws_sqs_queue.dead_tasks.name, { label = "dead tasks" }],
        ["AWS/SQS", "ApproximateNumberOfMessagesVisible", "QueueName", aws_sqs_queue.dead_looks.name, { label = "dead looks" }],
      ]
    },
    {
      title = "Running", stat = "Maximum", period = 60, metrics = [
        ["AWS/Lambda", "ConcurrentExecutions", "FunctionName", "${var.name}-worker", { label = "workers" }],
        ["AWS/Lambda", "ConcurrentExecutions", "FunctionName", "${var.name}-python-worker", { label = "Python workers" }],
        ["AWS/Lambda", "ConcurrentExecutions", "FunctionName", "${var.name}-scheduler", { label = "schedulers" }],
      ]
    },
    {
      title = "Going wrong", stat = "Sum", period = 300, metrics = [
        ["AWS/Lambda", "Errors", "FunctionName", "${var.name}-scheduler", { label = "scheduler errors" }],
        ["AWS/Lambda", "Errors", "FunctionName", "${var.name}-worker", { label = "worker errors" }],
        ["AWS/Lambda", "Errors", "FunctionName", "${var.name}-python-worker", { label = "Python worker errors" }],
        ["AWS/Lambda", "Throttles", "FunctionName", "${var.name}-worker", { label = "worker throttles" }],
        ["AWS/DynamoDB", "ThrottledRequests", "TableName", var.name, "Operation", "UpdateItem", { label = "throttled writes" }],
      ]
    },
    {
      title = "What it costs", stat = "Sum", period = 3600, metrics = [
        ["AWS/DynamoDB", "ConsumedWriteCapacityUnits", "TableName", var.name, { label = "write units" }],
        ["AWS/DynamoDB", "ConsumedReadCapacityUnits", "TableName", var.name, { label = "read units" }],
        ["AWS/SQS", "NumberOfMessagesSent", "QueueName", aws_sqs_queue.tasks.name, { label = "task messages" }],
        ["AWS/Lambda", "Invocations", "FunctionName", "${var.name}-worker", { label = "worker invocations" }],
      ]
    },
    {
      title = "Delays and ends (with the variable metrics)", stat = "p99", period = 300, metrics = [
        ["Updraft", "scheduling_delay_ms", "deployment", var.name, { stat = "p99" }],
        ["Updraft", "queue_delay_ms", "deployment", var.name, { stat = "p99" }],
        ["Updraft", "duration_ms", "deployment", var.name, { stat = "p50" }],
        ["Updraft", "succeeded", "deployment", var.name, { stat = "Sum", yAxis = "right" }],
        ["Updraft", "failed", "deployment", var.name, { stat = "Sum", yAxis = "right" }],
      ]
    },
    {
      title = "Millionths of a dollar (with the variable metrics)", stat = "Sum", period = 3600, metrics = [
        ["Updraft", "cost_microdollars", "deployment", var.name, { label = "functions, table and queues" }],
      ]
    },
  ]
}

resource "aws_cloudwatch_dashboard" "this" {
  count          = var.dashboard ? 1 : 0
  dashboard_name = var.name
  dashboard_body = jsonencode({
    widgets = [for number, widget in local.widgets : {
      type   = "metric"
      x      = number % 2 * 12
      y      = floor(number / 2) * 6
      width  = 12
      height = 6
      properties = {
        title   = widget.title
        region  = data.aws_region.this.name
        stat    = widget.stat
        period  = widget.period
        metrics = widget.metrics
      }
    }]
  })
}
