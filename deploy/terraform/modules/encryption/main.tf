# Where the keyset of encryption is: a secret under a KMS key. `cachectl keyset create` puts the keyset there; Terraform never
# sees it.

variable "name" {
  description = "The name of the secret."
  type        = string
}

variable "tags" {
  description = "Tags of everything that is made."
  type        = map(string)
  default     = {}
}

resource "aws_kms_key" "this" {
  description             = "The keyset of the cache, ${var.name}"
  enable_key_rotation     = true
  deletion_window_in_days = 30
  tags                    = var.tags
}

resource "aws_kms_alias" "this" {
  name          = "alias/${var.name}"
  target_key_id = aws_kms_key.this.key_id
}

resource "aws_secretsmanager_secret" "this" {
  name                    = var.name
  description             = "An encrypted Tink keyset; changed by cachectl keyset"
  recovery_window_in_days = 30
  tags                    = var.tags
}

output "environment" {
  description = "The settings of a service that encrypts."
  value = {
    CACHE_ENCRYPTION_ENABLED              = "true"
    CACHE_ENCRYPTION_KEYSET_URI           = "aws-secretsmanager:///${var.name}"
    CACHE_ENCRYPTION_KMS_ENVELOPE_KEY_URI = "aws-kms://${aws_kms_key.this.arn}"
  }
}

output "secret_arn" {
  description = "For the policies of modules/access."
  value       = aws_secretsmanager_secret.this.arn
}

output "key_arn" {
  description = "For the policies of modules/access."
  value       = aws_kms_key.this.arn
}
