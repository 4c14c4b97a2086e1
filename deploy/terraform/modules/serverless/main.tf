# ElastiCache Serverless for Valkey. It grows by itself up to the limits; the client speaks to it as to a cluster.

variable "name" {
  description = "The name of the cache: CACHE_IAM_CACHE_NAME of the services."
  type        = string
}

variable "vpc_id" {
  description = "The network of the cache."
  type        = string
}

variable "subnet_ids" {
  description = "Private subnets, in two or three zones."
  type        = list(string)
}

variable "client_security_group_ids" {
  description = "Security groups of the services that may connect, and of nobody else."
  type        = list(string)
}

variable "user_group_id" {
  description = "The user group of `cachectl users export --format terraform`."
  type        = string
}

variable "max_gigabytes" {
  description = "The most that it may hold; above that it evicts."
  type        = number
}

variable "max_units_per_second" {
  description = "The most ElastiCache processing units that it may use in a second; above that it throttles."
  type        = number
}

variable "tags" {
  description = "Tags of everything that is made."
  type        = map(string)
  default     = {}
}

resource "aws_security_group" "this" {
  name        = "${var.name}-cache"
  description = "The cache ${var.name}, for its services only"
  vpc_id      = var.vpc_id
  tags        = var.tags
}

resource "aws_vpc_security_group_ingress_rule" "clients" {
  for_each                     = toset(var.client_security_group_ids)
  security_group_id            = aws_security_group.this.id
  description                  = "Valkey"
  referenced_security_group_id = each.value
  ip_protocol                  = "tcp"
  from_port                    = 6379
  to_port                      = 6380
}

resource "aws_elasticache_serverless_cache" "this" {
  name                 = var.name
  description          = "The cache ${var.name}"
  engine               = "valkey"
  major_engine_version = "8"
  security_group_ids   = [aws_security_group.this.id]
  subnet_ids           = var.subnet_ids
  user_group_id        = var.user_group_id
  tags                 = var.tags

  cache_usage_limits {
    data_storage {
      maximum = var.max_gigabytes
      unit    = "GB"
    }
    ecpu_per_second {
      maximum = var.max_units_per_second
    }
  }
}

output "environment" {
  description = "The settings of a service that uses this cache."
  value = {
    CACHE_TYPE           = "valkey"
    CACHE_MODE           = "cluster"
    CACHE_ADDRS          = "${aws_elasticache_serverless_cache.this.endpoint[0].address}:${aws_elasticache_serverless_cache.this.endpoint[0].port}"
    CACHE_TLS_ENABLED    = "true"
    CACHE_IAM_CACHE_NAME = var.name
    CACHE_IAM_SERVERLESS = "true"
  }
}

output "arn" {
  description = "For the policies of modules/access."
  value       = aws_elasticache_serverless_cache.this.arn
}
