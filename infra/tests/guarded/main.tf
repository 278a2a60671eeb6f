# The least that a guarded service's own Terraform needs, for the drift test: see .ci/test-infra.

terraform {
  required_version = ">= 1.9.0"
  required_providers {
    google = {
      source  = "hashicorp/google"
      version = ">= 6.50.0, < 9.0.0"
    }
  }
}

resource "google_cloud_run_v2_service" "guarded" {
  project             = "demo-project"
  location            = "asia-northeast1"
  name                = "k-back"
  deletion_protection = false

  template {
    containers {
      image = "asia-northeast1-docker.pkg.dev/demo-project/k-back/k-back:1a2b3c4"
    }
  }

  traffic {
    type    = "TRAFFIC_TARGET_ALLOCATION_TYPE_LATEST"
    percent = 100
  }

  lifecycle {
    # Runback moves the traffic, and the pipeline deploys: neither is to be undone by the next apply.
    ignore_changes = [traffic, template[0].containers[0].image, template[0].revision, client, client_version]
  }
}
