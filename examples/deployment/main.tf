# A root module to copy into a repository of your own: its state is shared, its provider is one version, and everything that
# you change is in terraform.tfvars. CI plans it, people read the plan, CI applies it:
#
#   terraform init -backend-config=bucket=my-project-runback-state
#   terraform plan -input=false -out=plan
#   terraform apply -input=false plan
#
# The lock file that `init` writes belongs into that repository too. None is here: a library should not choose for you.

terraform {
  required_version = ">= 1.9.0"

  required_providers {
    google = {
      source  = "hashicorp/google"
      version = "~> 8.7"
    }
  }

  backend "gcs" {
    prefix = "runback"
  }
}

variable "project" {
  description = "Id of the project that Runback runs in."
  type        = string
}

variable "image" {
  description = "Runback's image by its digest, so that a plan says exactly what will run."
  type        = string
}

variable "mode" {
  description = "observe explains, enforce acts."
  type        = string
  default     = "observe"
}

variable "services" {
  description = "The guarded services, as the module's variable `services` has them."
  type        = any
}

module "runback" {
  # Elsewhere: "git::https://github.com/OWNER/runback.git//infra?ref=v0.1.0"
  source = "../../infra"

  project  = var.project
  image    = var.image
  mode     = var.mode
  services = var.services

  slack_webhook_secret = "runback-slack"
  operator_emails      = ["oncall@example.com"]
}

output "modes" {
  description = "What Runback does for each service."
  value       = module.runback.modes
}
