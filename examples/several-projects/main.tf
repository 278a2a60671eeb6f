# One Runback in a project of its own, for the services of two teams. Whoever applies this has to be able to grant roles in
# their projects; the teams' own Terraform need not know.

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
  description = "Id of the project that Runback runs in."
  type        = string
}

variable "image" {
  description = "Runback's image, which has to be there: docs/deploy.md says how it is built."
  type        = string
}

module "runback" {
  source = "../../infra"

  project = var.project
  region  = "europe-west4"
  image   = var.image

  # Cloud Tasks and Cloud Scheduler are in fewer regions than Cloud Run.
  queue_region = "europe-west1"

  # Neither a lookup nor its right is needed for projects whose numbers are known.
  project_numbers = { shop-project = "123456789012", care-project = "210987654321" }

  slack_webhook_secret = "runback-slack"
  operator_emails      = ["platform@example.com"]
  labels               = { team = "platform" }

  mode = "observe"
  services = [
    {
      service            = "checkout"
      project            = "shop-project"
      service_account    = "checkout@shop-project.iam.gserviceaccount.com"
      image_repositories = ["projects/images/locations/europe/repositories/eu.gcr.io", "projects/shop-project/locations/europe-west4/repositories/sidecars"]
      mode               = "enforce"
    },
    {
      service          = "k-back"
      project          = "care-project"
      region           = "asia-northeast1"
      service_account  = "k-back@care-project.iam.gserviceaccount.com"
      image_repository = "projects/care-project/locations/asia-northeast1/repositories/k-back-repo"
    },
  ]
}

output "modes" {
  description = "What Runback does for each service."
  value       = module.runback.modes
}
