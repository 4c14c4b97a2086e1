# The cache of production with the module of the registry in place of modules/cache: a cluster of three shards, users from
# `cachectl users export --format terraform`. Alarms, SSM parameters and policies are not part of that module.

terraform {
  required_version = ">= 1.9"
  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 6.0"
    }
  }
}

provider "aws" {
  region = var.region
}

variable "region" {
  description = "The region."
  type        = string
  default     = "eu-central-1"
}

variable "vpc_id" {
  description = "The network."
  type        = string
}

variable "subnet_ids" {
  description = "Private subnets in three zones."
  type        = list(string)
}

variable "client_security_group_ids" {
  description = "Security groups of the services."
  type        = list(string)
}

variable "user_group_id" {
  description = "The user group that holds the users of users.toml."
  type        = string
}

locals {
  name = "cache-production"
}

module "elasticache" {
  source  = "terraform-aws-modules/elasticache/aws"
  version = "~> 1.10"

  replication_group_id = local.name
  description          = "The cache ${local.name}"
  engine               = "valkey"
  engine_version       = "8.0"
  node_type            = "cache.r7g.large"
  port                 = 6379

  # The module needs both: the first decides about its parameters, the second is the provider's.
  cluster_mode_enabled    = true
  cluster_mode            = "enabled"
  num_node_groups         = 3
  replicas_per_node_group = 1
  multi_az_enabled        = true

  create_parameter_group      = true
  parameter_group_name        = "${local.name}-valkey8"
  parameter_group_family      = "valkey8"
  parameter_group_description = "The cache ${local.name}: evicts instead of refusing writes"
  parameters                  = [{ name = "maxmemory-policy", value = "allkeys-lfu" }]

  subnet_group_name = local.name
  subnet_ids        = var.subnet_ids

  vpc_id                     = var.vpc_id
  security_group_name        = "${local.name}-cache"
  security_group_description = "The cache ${local.name}, for its services only"
  security_group_rules = {
    for group in var.client_security_group_ids : group => {
      description                  = "Valkey"
      referenced_security_group_id = group
    }
  }

  at_rest_encryption_enabled = true
  transit_encryption_enabled = true
  transit_encryption_mode    = "required"
  user_group_ids             = [var.user_group_id]

  # A cache can be loaded again; a snapshot costs a fork. Its slow log shows keys, so it stays on the servers.
  snapshot_retention_limit   = 0
  log_delivery_configuration = {}
  maintenance_window         = "sun:03:00-sun:04:00"
  auto_minor_version_upgrade = true
  apply_immediately          = false

  tags = { environment = "production" }
}

output "environment" {
  description = "The CACHE_* settings of a service; CACHE_USERNAME is its own."
  value = {
    CACHE_TYPE           = "valkey"
    CACHE_MODE           = "cluster"
    CACHE_ADDRS          = "${module.elasticache.replication_group_configuration_endpoint_address}:6379"
    CACHE_TLS_ENABLED    = "true"
    CACHE_IAM_ENABLED    = "true"
    CACHE_IAM_CACHE_NAME = local.name
  }
}

output "arn" {
  description = "For the policies of modules/access."
  value       = module.elasticache.replication_group_arn
}
