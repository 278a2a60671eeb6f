# Where Runback's own image is kept. The guarded services' images are their own pipeline's concern.

resource "google_artifact_registry_repository" "images" {
  # checkov:skip=CKV_GCP_84: Google's own keys encrypt the images, which are built from public code and hold no secret.
  count = var.create_repository ? 1 : 0

  project       = var.project
  location      = var.region
  repository_id = var.name
  description   = "Runback's own images."
  format        = "DOCKER"
  labels        = var.labels
  kms_key_name  = var.kms_key

  # Enough to go back to; a deleted image cannot be started again.
  cleanup_policies {
    id     = "keep-the-newest"
    action = "KEEP"
    most_recent_versions {
      keep_count = 10
    }
  }

  cleanup_policies {
    id     = "delete-the-old"
    action = "DELETE"
    condition {
      older_than = "2592000s"
    }
  }

  depends_on = [google_project_service.runback]
}
