# Production: a cluster of three shards, IAM, an encrypted keyset, alarms.

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

variable "service_user_arn" {
  description = "The user that the service logs in as, with IAM."
  type        = string
}

variable "service_role_name" {
  description = "The role that the service runs as."
  type        = string
}

variable "alarm_topic_arns" {
  description = "Where alarms go."
  type        = list(string)
}

locals {
  tags = { environment = "production" }
}

module "cache" {
  source                    = "../modules/cache"
  name                      = "cache-production"
  shards                    = 3
  replicas                  = 1
  node_type                 = "cache.r7g.large"
  vpc_id                    = var.vpc_id
  subnet_ids                = var.subnet_ids
  client_security_group_ids = var.client_security_group_ids
  user_group_id             = var.user_group_id
  alarm_topic_arns          = var.alarm_topic_arns
  tags                      = local.tags
}

module "encryption" {
  source = "../modules/encryption"
  name   = "production/cache-keyset"
  tags   = local.tags
}

module "access" {
  source            = "../modules/access"
  name              = "cache"
  role_name         = var.service_role_name
  cache_arn         = module.cache.arn
  user_arn          = var.service_user_arn
  keyset_secret_arn = module.encryption.secret_arn
  keyset_key_arn    = module.encryption.key_arn
}

output "environment" {
  description = "The CACHE_* settings of a service in production; CACHE_USERNAME is its own."
  value       = merge(module.cache.environment, module.encryption.environment, { CACHE_IAM_ENABLED = "true" })
}
