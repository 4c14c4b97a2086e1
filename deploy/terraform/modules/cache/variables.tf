variable "name" {
  description = "The name of the cache: CACHE_IAM_CACHE_NAME of the services."
  type        = string
  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{0,39}$", var.name)) && !endswith(var.name, "-") && !strcontains(var.name, "--")
    error_message = "At most 40 lower-case letters, digits and single hyphens; it begins with a letter and does not end with a hyphen."
  }
}

variable "shards" {
  description = "1 is a single server with replicas (CACHE_MODE=single); more are a cluster (CACHE_MODE=cluster)."
  type        = number
  default     = 1
  validation {
    condition     = var.shards >= 1 && var.shards <= 500
    error_message = "From 1 to 500."
  }
}

variable "replicas" {
  description = "Replicas of each shard. Without one a failover loses what the shard held."
  type        = number
  default     = 1
  validation {
    condition     = var.replicas >= 0 && var.replicas <= 5
    error_message = "From 0 to 5."
  }
}

variable "node_type" {
  description = "The type of each node."
  type        = string
  default     = "cache.t4g.medium"
}

variable "engine_version" {
  description = "The version of Valkey."
  type        = string
  default     = "8.0"
}

variable "vpc_id" {
  description = "The network of the cache."
  type        = string
}

variable "subnet_ids" {
  description = "Private subnets, in at least two zones."
  type        = list(string)
  validation {
    condition     = length(var.subnet_ids) >= 2
    error_message = "At least two, in different zones."
  }
}

variable "client_security_group_ids" {
  description = "Security groups of the services that may connect, and of nobody else."
  type        = list(string)
}

variable "user_group_id" {
  description = "The user group of `cachectl users export --format terraform`. Exclusive with auth_token."
  type        = string
  default     = null
}

variable "auth_token" {
  description = "One password for everybody, where there is no user group. To rotate it, set auth_token_update_strategy to ROTATE, then to SET."
  type        = string
  default     = null
  sensitive   = true
}

variable "auth_token_update_strategy" {
  description = "ROTATE: the old token is accepted beside the new one. SET: only the new one is."
  type        = string
  default     = "ROTATE"
  validation {
    condition     = contains(["ROTATE", "SET"], var.auth_token_update_strategy)
    error_message = "ROTATE or SET."
  }
}

variable "maintenance_window" {
  description = "When AWS may replace nodes, in UTC."
  type        = string
  default     = "sun:03:00-sun:04:00"
}

variable "alarm_topic_arns" {
  description = "Where alarms go."
  type        = list(string)
  default     = []
}

variable "max_connections" {
  description = "Connections of a node from which an alarm is raised."
  type        = number
  default     = 1000
}

variable "parameter_prefix" {
  description = "Where services find the endpoint and the user group: SSM parameters below this path."
  type        = string
  default     = "/cache"
}

variable "tags" {
  description = "Tags of everything that is made."
  type        = map(string)
  default     = {}
}
