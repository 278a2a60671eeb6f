variable "project" {
  description = "Id of the project."
  type        = string
}

variable "region" {
  description = "Region of the service and of its images."
  type        = string
  default     = "asia-northeast1"
}

variable "service" {
  description = "Name of the Cloud Run service. With the traffic tag of a commit (9 characters) it may have 46 characters."
  type        = string
  default     = "k-back"

  validation {
    condition     = can(regex("^[a-z]([a-z0-9-]{0,35}[a-z0-9])?$", var.service))
    error_message = "service must have 1 to 37 lower-case letters, digits and hyphens, begin with a letter and not end with a hyphen."
  }
}

variable "secrets" {
  description = "Secret Manager secrets (short names) that the service reads. They are made outside of Terraform."
  type        = set(string)
  default     = ["k-back-database-url"]
}

variable "public" {
  description = "Whether everybody may call the service."
  type        = bool
  default     = true
}

variable "github_repository" {
  description = "Repository whose workflows release the service, as OWNER/NAME; unset: no GitHub."
  type        = string
  default     = null

  validation {
    condition     = var.github_repository == null || can(regex("^[A-Za-z0-9-]+/[A-Za-z0-9._-]+$", var.github_repository))
    error_message = "github_repository must have the form OWNER/NAME."
  }
}

variable "github_branch" {
  description = "The branch that is released from."
  type        = string
  default     = "main"

  validation {
    condition     = can(regex("^[A-Za-z0-9._/-]+$", var.github_branch))
    error_message = "github_branch must be a branch's name, such as \"main\"."
  }
}
