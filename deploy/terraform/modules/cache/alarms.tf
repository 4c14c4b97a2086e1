# One alarm of each kind for each node. What to do is in docs/runbook.md.

locals {
  nodes = sort(tolist(aws_elasticache_replication_group.this.member_clusters))
  alarms = {
    "engine-cpu" = {
      metric      = "EngineCPUUtilization"
      statistic   = "Average"
      threshold   = 80
      periods     = 5
      description = "The engine's only thread is busy: a hot key, slow commands, or too few shards. Runbook: Hot key."
    }
    "connections" = {
      metric      = "CurrConnections"
      statistic   = "Maximum"
      threshold   = var.max_connections
      periods     = 5
      description = "A client opens a connection for each call, or there are more instances than planned."
    }
    "memory" = {
      metric      = "DatabaseMemoryUsagePercentage"
      statistic   = "Maximum"
      threshold   = 80
      periods     = 5
      description = "Evictions begin soon. Runbook: Memory full."
    }
    "evictions" = {
      metric      = "Evictions"
      statistic   = "Sum"
      threshold   = 1000
      periods     = 5
      description = "Entries go before their TTL ends. Runbook: Memory full."
    }
    "replication-lag" = {
      metric      = "ReplicationLag"
      statistic   = "Maximum"
      threshold   = 10
      periods     = 5
      description = "Seconds that a replica is behind. A failover would lose them."
    }
  }
  # By a name that is known before the nodes are.
  node_count = var.shards * (1 + var.replicas)
  pairs      = { for pair in setproduct(keys(local.alarms), range(local.node_count)) : "${pair[0]}-${pair[1]}" => { alarm = local.alarms[pair[0]], node = pair[1] } }
}

resource "aws_cloudwatch_metric_alarm" "this" {
  for_each            = local.pairs
  alarm_name          = "${var.name}-${each.key}"
  alarm_description   = each.value.alarm.description
  namespace           = "AWS/ElastiCache"
  metric_name         = each.value.alarm.metric
  dimensions          = { CacheClusterId = local.nodes[each.value.node] }
  statistic           = each.value.alarm.statistic
  comparison_operator = "GreaterThanThreshold"
  threshold           = each.value.alarm.threshold
  period              = 60
  evaluation_periods  = each.value.alarm.periods
  treat_missing_data  = "notBreaching"
  alarm_actions       = var.alarm_topic_arns
  ok_actions          = var.alarm_topic_arns
  tags                = var.tags
}
