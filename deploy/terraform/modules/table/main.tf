# A cache on DynamoDB: the same table as `cachectl dynamodb create-table` makes.

variable "name" {
  description = "The name of the table: CACHE_DYNAMODB_TABLE of the services."
  type        = string
}

variable "tags" {
  description = "Tags of the table."
  type        = map(string)
  default     = {}
}

resource "aws_dynamodb_table" "this" {
  name         = var.name
  billing_mode = "PAY_PER_REQUEST"
  hash_key     = "key"
  tags         = var.tags

  attribute {
    name = "key"
    type = "S"
  }

  ttl {
    attribute_name = "ttl"
    enabled        = true
  }
}

output "environment" {
  description = "The settings of a service that uses this table."
  value = {
    CACHE_TYPE           = "dynamodb"
    CACHE_DYNAMODB_TABLE = var.name
  }
}

output "arn" {
  description = "For the policies of modules/access."
  value       = aws_dynamodb_table.this.arn
}
