# Written by `cachectl users export --format terraform`. Change the declaration, not this file.

resource "aws_elasticache_user" "default" {
  user_id       = "app-cache-default"
  user_name     = "default"
  engine        = "redis"
  access_string = "off ~* -@all"

  authentication_mode {
    type = "no-password-required"
  }
}

variable "app_billing_passwords" {
  description = "The password of app-billing; two while it is changed."
  type        = list(string)
  sensitive   = true
}

resource "aws_elasticache_user" "app_billing" {
  user_id       = "app-billing"
  user_name     = "app-billing"
  engine        = "redis"
  access_string = "on ~billing:* ~invoices:* resetchannels -@all +asking +auth +client|caching +client|setinfo +client|tracking +cluster|info +cluster|slots +eval +evalsha +exists +get +getdel +getex +hello +incr +incrby +mget +persist +pexpire +ping +pttl +readonly +set +unlink"

  authentication_mode {
    type      = "password"
    passwords = var.app_billing_passwords
  }
}

variable "app_billing_invalidator_passwords" {
  description = "The password of app-billing-invalidator; two while it is changed."
  type        = list(string)
  sensitive   = true
}

resource "aws_elasticache_user" "app_billing_invalidator" {
  user_id       = "app-billing-invalidator"
  user_name     = "app-billing-invalidator"
  engine        = "redis"
  access_string = "on %W~billing:* %W~invoices:* resetchannels -@all +asking +auth +client|setinfo +cluster|info +cluster|nodes +cluster|shards +cluster|slots +dbsize +hello +ping +readonly +scan +unlink"

  authentication_mode {
    type      = "password"
    passwords = var.app_billing_invalidator_passwords
  }
}

variable "app_board_passwords" {
  description = "The password of app-board; two while it is changed."
  type        = list(string)
  sensitive   = true
}

resource "aws_elasticache_user" "app_board" {
  user_id       = "app-board"
  user_name     = "app-board"
  engine        = "redis"
  access_string = "on resetchannels -@all +asking +auth +client|setinfo +cluster|info +cluster|nodes +cluster|shards +cluster|slots +dbsize +hello +info +ping +readonly +role +time"

  authentication_mode {
    type      = "password"
    passwords = var.app_board_passwords
  }
}

variable "app_oncall_passwords" {
  description = "The password of app-oncall; two while it is changed."
  type        = list(string)
  sensitive   = true
}

resource "aws_elasticache_user" "app_oncall" {
  user_id       = "app-oncall"
  user_name     = "app-oncall"
  engine        = "redis"
  access_string = "on %W~billing:* %W~invoices:* %W~search:* resetchannels -@all +asking +auth +client|caching +client|setinfo +client|tracking +cluster|info +cluster|nodes +cluster|shards +cluster|slots +command|info +dbsize +hello +info +memory|usage +object|idletime +ping +randomkey +readonly +role +scan +time +type +unlink"

  authentication_mode {
    type      = "password"
    passwords = var.app_oncall_passwords
  }
}

resource "aws_elasticache_user" "app_search" {
  user_id       = "app-search"
  user_name     = "app-search"
  engine        = "redis"
  access_string = "on ~search:* resetchannels -@all +asking +auth +client|caching +client|setinfo +client|tracking +cluster|info +cluster|slots +eval +evalsha +exists +get +getdel +getex +hello +incr +incrby +mget +persist +pexpire +ping +pttl +readonly +set +unlink"

  authentication_mode {
    type = "iam"
  }
}

variable "app_search_reader_passwords" {
  description = "The password of app-search-reader; two while it is changed."
  type        = list(string)
  sensitive   = true
}

resource "aws_elasticache_user" "app_search_reader" {
  user_id       = "app-search-reader"
  user_name     = "app-search-reader"
  engine        = "redis"
  access_string = "on %R~search:* resetchannels -@all +asking +auth +client|caching +client|setinfo +client|tracking +cluster|info +cluster|slots +exists +get +hello +mget +ping +pttl +readonly +strlen"

  authentication_mode {
    type      = "password"
    passwords = var.app_search_reader_passwords
  }
}

resource "aws_elasticache_user_group" "users" {
  engine        = "redis"
  user_group_id = "app-cache"
  user_ids = [
    aws_elasticache_user.default.user_id,
    aws_elasticache_user.app_billing.user_id,
    aws_elasticache_user.app_billing_invalidator.user_id,
    aws_elasticache_user.app_board.user_id,
    aws_elasticache_user.app_oncall.user_id,
    aws_elasticache_user.app_search.user_id,
    aws_elasticache_user.app_search_reader.user_id,
  ]
}
