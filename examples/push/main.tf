# By a push subscription instead of Eventarc: how it retries and where it gives up is declared, and dead letters are kept for
# a week. With what an organisation's policies may ask for.

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

  trigger                 = "push"
  ingress                 = "internal"
  message_storage_regions = ["asia-northeast1", "asia-northeast2"]
  kms_key                 = "projects/keys/locations/asia-northeast1/keyRings/runback/cryptoKeys/runback"
  vpc_access              = { network = "shared", subnetwork = "runback", egress = "PRIVATE_RANGES_ONLY" }

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
