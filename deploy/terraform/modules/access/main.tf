# What a service may do, and nothing else: the policies of docs/aws.md, for the parts that it uses.

variable "name" {
  description = "The name of the policy."
  type        = string
}

variable "role_name" {
  description = "The role that the service runs as."
  type        = string
}

variable "cache_arn" {
  description = "The cache it logs in to with IAM."
  type        = string
  default     = null
}

variable "user_arn" {
  description = "The user it logs in as."
  type        = string
  default     = null
}

variable "table_arn" {
  description = "The table that it keeps its cache in."
  type        = string
  default     = null
}

variable "keyset_secret_arn" {
  description = "The secret with its keyset."
  type        = string
  default     = null
}

variable "keyset_key_arn" {
  description = "The KMS key of its keyset."
  type        = string
  default     = null
}

variable "service_secret_arn" {
  description = "The secret with host, user and password (CACHE_SECRET_ARN)."
  type        = string
  default     = null
}

data "aws_iam_policy_document" "this" {
  dynamic "statement" {
    for_each = var.cache_arn == null ? [] : [1]
    content {
      sid       = "Connect"
      actions   = ["elasticache:Connect"]
      resources = [var.cache_arn, var.user_arn]
    }
  }

  dynamic "statement" {
    for_each = var.table_arn == null ? [] : [1]
    content {
      sid = "Table"
      actions = [
        "dynamodb:BatchGetItem",
        "dynamodb:BatchWriteItem",
        "dynamodb:DeleteItem",
        "dynamodb:DescribeTable",
        "dynamodb:DescribeTimeToLive",
        "dynamodb:GetItem",
        "dynamodb:PutItem",
        "dynamodb:UpdateItem",
      ]
      resources = [var.table_arn]
    }
  }

  dynamic "statement" {
    for_each = var.keyset_key_arn == null ? [] : [1]
    content {
      sid       = "KeysetKey"
      actions   = ["kms:Decrypt"]
      resources = [var.keyset_key_arn]
    }
  }

  dynamic "statement" {
    for_each = toset([for secret in [var.keyset_secret_arn, var.service_secret_arn] : secret if secret != null])
    content {
      actions   = ["secretsmanager:GetSecretValue"]
      resources = [statement.value]
    }
  }
}

resource "aws_iam_role_policy" "this" {
  name   = var.name
  role   = var.role_name
  policy = data.aws_iam_policy_document.this.json
}
