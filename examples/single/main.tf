# The least that guards something: one service in the project that Runback runs in. It explains, and moves nothing.
#
#   terraform init && terraform apply -var project=my-project -var image=…

terraform {
  required_version = ">= 1.9.0"

  required_providers {
    google = {
      source  = "hashicorp/google"
      version = ">= 6.50.0, < 9.0.0"
    }
  }
}

variable "project" {
  description = "Id of the project that Runback and the service are in."
  type        = string
}

variable "image" {
  description = "Runback's image, which has to be there: docs/deploy.md says how it is built."
  type        = string
}

module "runback" {
  source = "../../infra"

  project = var.project
  region  = "asia-northeast1"
  image   = var.image

  slack_webhook_secret = "runback-slack"
  operator_emails      = ["oncall@example.com"]

  services = [{
    service          = "k-back"
    service_account  = "k-back@${var.project}.iam.gserviceaccount.com"
    image_repository = "projects/${var.project}/locations/asia-northeast1/repositories/k-back-repo"
    health_path      = "/health"
  }]
}

output "modes" {
  description = "What Runback does for each service."
  value       = module.runback.modes
}
