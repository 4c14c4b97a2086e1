output "environment" {
  description = "The settings of a service that uses this cache; user name and secret are the service's own."
  value = {
    CACHE_TYPE           = "valkey"
    CACHE_MODE           = local.is_cluster ? "cluster" : "single"
    CACHE_ADDRS          = local.address
    CACHE_TLS_ENABLED    = "true"
    CACHE_IAM_CACHE_NAME = var.name
  }
}

output "arn" {
  description = "For the policies of modules/access."
  value       = aws_elasticache_replication_group.this.arn
}

output "security_group_id" {
  description = "The security group of the nodes."
  value       = aws_security_group.this.id
}
