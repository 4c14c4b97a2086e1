# ElastiCache for Valkey with nodes: a single server with replicas, or a cluster. TLS always; reachable from the security
# groups of its services only.

locals {
  is_cluster = var.shards > 1
}

resource "aws_elasticache_subnet_group" "this" {
  name        = var.name
  description = "Subnets of the cache ${var.name}"
  subnet_ids  = var.subnet_ids
  tags        = var.tags
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
  to_port                      = 6379
}

resource "aws_elasticache_parameter_group" "this" {
  name        = "${var.name}-valkey8"
  family      = "valkey8"
  description = "The cache ${var.name}: evicts instead of refusing writes"
  tags        = var.tags

  dynamic "parameter" {
    for_each = {
      "cluster-enabled"  = local.is_cluster ? "yes" : "no"
      "maxmemory-policy" = "allkeys-lfu"
    }
    content {
      name  = parameter.key
      value = parameter.value
    }
  }
}

resource "aws_elasticache_replication_group" "this" {
  replication_group_id       = var.name
  description                = "The cache ${var.name}"
  engine                     = "valkey"
  engine_version             = var.engine_version
  node_type                  = var.node_type
  port                       = 6379
  num_node_groups            = var.shards
  replicas_per_node_group    = var.replicas
  cluster_mode               = local.is_cluster ? "enabled" : "disabled"
  automatic_failover_enabled = var.replicas > 0
  multi_az_enabled           = var.replicas > 0
  parameter_group_name       = aws_elasticache_parameter_group.this.name
  subnet_group_name          = aws_elasticache_subnet_group.this.name
  security_group_ids         = [aws_security_group.this.id]
  at_rest_encryption_enabled = true
  transit_encryption_enabled = true
  transit_encryption_mode    = "required"
  user_group_ids             = var.user_group_id == null ? null : [var.user_group_id]
  auth_token                 = var.auth_token
  auth_token_update_strategy = var.auth_token == null ? null : var.auth_token_update_strategy
  # A cache can be loaded again; a snapshot costs a fork.
  snapshot_retention_limit   = 0
  maintenance_window         = var.maintenance_window
  auto_minor_version_upgrade = true
  apply_immediately          = false
  tags                       = var.tags

  lifecycle {
    precondition {
      condition     = (var.user_group_id == null) != (var.auth_token == null)
      error_message = "Set user_group_id or auth_token, and not both: without either anyone in the network may do everything."
    }
    precondition {
      condition     = !local.is_cluster || var.replicas > 0
      error_message = "A cluster needs a replica for each shard: ElastiCache demands automatic failover."
    }
  }
}

# What services read: CACHE_ADDRS and the user group.
resource "aws_ssm_parameter" "address" {
  name        = "${var.parameter_prefix}/${var.name}/address"
  description = "CACHE_ADDRS of the cache ${var.name}"
  type        = "String"
  value       = local.address
  tags        = var.tags
}

resource "aws_ssm_parameter" "user_group" {
  count       = var.user_group_id == null ? 0 : 1
  name        = "${var.parameter_prefix}/${var.name}/user-group"
  description = "The user group of the cache ${var.name}"
  type        = "String"
  value       = var.user_group_id
  tags        = var.tags
}

locals {
  host    = local.is_cluster ? aws_elasticache_replication_group.this.configuration_endpoint_address : aws_elasticache_replication_group.this.primary_endpoint_address
  address = "${local.host}:6379"
}
