# Staging: a single server with a replica, users from `cachectl users export --format terraform`.

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
  description = "Private subnets in two zones."
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

module "cache" {
  source                    = "../modules/cache"
  name                      = "cache-staging"
  shards                    = 1
  replicas                  = 1
  vpc_id                    = var.vpc_id
  subnet_ids                = var.subnet_ids
  client_security_group_ids = var.client_security_group_ids
  user_group_id             = var.user_group_id
  tags                      = { environment = "staging" }
}

output "environment" {
  description = "The CACHE_* settings of a service in staging."
  value       = module.cache.environment
}
