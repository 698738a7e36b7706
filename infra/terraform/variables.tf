variable "name" {
  description = "Name of the deployment and of its table; what everything else is named after."
  type        = string
  default     = "updraft"
}

variable "bucket" {
  description = "Name of the bucket to make for DAG files, logs and large values; null: NAME-dags-ACCOUNT-REGION."
  type        = string
  default     = null
}

variable "zips" {
  description = "Directory with scheduler.zip, worker.zip and api.zip, as `infra/deploy --zips` writes them."
  type        = string
}

variable "release" {
  description = "Which version of Updraft is deployed, for `updraft doctor`."
  type        = string
  default     = "unknown"
}

variable "worker_timeout" {
  description = "Seconds one worker invocation may take, and so the longest a single task may run in it."
  type        = number
  default     = 900
  validation {
    condition     = var.worker_timeout >= 30 && var.worker_timeout <= 900
    error_message = "A worker lives for 30 to 900 seconds."
  }
}

variable "worker_memory" {
  type    = number
  default = 512
}

variable "worker_concurrency" {
  description = "Workers at once; all mappings together stay well below the account's limit of concurrent executions."
  type        = number
  default     = 100
}

variable "python_runtime" {
  description = "Lambda's runtime whose Python the Python worker uses; `provided.al2023` on emulators."
  type        = string
  default     = "python3.13"
}

variable "python_worker_memory" {
  type    = number
  default = 512
}

variable "python_worker_concurrency" {
  type    = number
  default = 100
}

variable "scheduler_memory" {
  type    = number
  default = 256
}

variable "log_level" {
  type    = string
  default = "info"
}

variable "log_retention_days" {
  type    = number
  default = 30
}

variable "metrics" {
  description = "Whether figures become CloudWatch metrics, which are billed."
  type        = bool
  default     = false
}

variable "alarm_topic" {
  description = "ARN of an SNS topic that is told of alarms; null: nobody is."
  type        = string
  default     = null
}

variable "secrets_backend" {
  type    = string
  default = ""
}

variable "secrets_backend_kwargs" {
  type    = string
  default = ""
}

variable "fernet_key_secret" {
  type    = string
  default = ""
}

variable "secrets_prefix" {
  description = "Functions may read parameters and secrets whose names begin with this and a slash."
  type        = string
  default     = "airflow"
}

variable "jwt_issuer" {
  description = "URL of an OpenID issuer whose tokens reach the API by a gateway; null: only requests signed by IAM reach it."
  type        = string
  default     = null
}

variable "jwt_audience" {
  description = "Whom the issuer's tokens are for, the client's id."
  type        = string
  default     = "updraft"
}

variable "jwt_client" {
  description = "The issuer's client that browsers log in with, one without a secret; empty: the audience."
  type        = string
  default     = ""
}

variable "jwt_login_origin" {
  description = "The host that gives the issuer's tokens, where it is another than the issuer's (Cognito: https://NAME.auth.REGION.amazoncognito.com)."
  type        = string
  default     = ""
}

variable "jwt_role_claim" {
  description = "Which claim of a token names roles."
  type        = string
  default     = "roles"
}

variable "history_days" {
  description = "Days after its end that a run's history is kept in the table; 0: for ever."
  type        = number
  default     = 0
  validation {
    condition     = var.history_days == 0 || var.history_days >= 30
    error_message = "History is kept for ever (0), or for 30 days or more."
  }
}

variable "traces_endpoint" {
  description = "URL of an OpenTelemetry collector that takes OTLP over HTTP; given, each run is a trace. `infra/deploy --traces --zips` builds the functions for it."
  type        = string
  default     = ""
}

variable "traces_headers" {
  description = "What the collector wants to be told with every request, as `name=value,name=value`."
  type        = string
  default     = ""
  sensitive   = true
}

variable "alarms" {
  description = "Whether there are alarms. Each costs $0.10 a month beyond the ten that are free in an account."
  type        = bool
  default     = true
}

variable "dashboard" {
  description = "Whether there is a CloudWatch dashboard. Three are free in an account, each further one costs $3 a month."
  type        = bool
  default     = true
}

variable "architecture" {
  description = "The processor the zip files are built for: x86_64 or arm64, which costs a fifth less."
  type        = string
  default     = "x86_64"
  validation {
    condition     = contains(["x86_64", "arm64"], var.architecture)
    error_message = "architecture is x86_64 or arm64."
  }
}
