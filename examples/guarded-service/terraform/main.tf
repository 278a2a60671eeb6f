# The guarded service: who may do what is kept here. What runs (image, settings, name and labels of the revision) and
# who gets the traffic is the pipeline's, people's and Runback's.

# What all of this needs. They stay on when it is destroyed.
resource "google_project_service" "apis" {
  for_each = toset([
    "artifactregistry.googleapis.com", "cloudbuild.googleapis.com", "iam.googleapis.com", "iamcredentials.googleapis.com",
    "run.googleapis.com", "secretmanager.googleapis.com", "sts.googleapis.com",
  ])

  service            = each.value
  disable_on_destroy = false
}

resource "google_service_account" "runtime" {
  account_id   = var.service
  display_name = "What ${var.service} runs as"

  depends_on = [google_project_service.apis]
}

resource "google_cloud_run_v2_service" "main" {
  name                = var.service
  location            = var.region
  deletion_protection = true

  # Everybody may call it. An organisation that restricts sharing to its own domain refuses to grant allUsers anything, so
  # the check is switched off instead.
  invoker_iam_disabled = var.public

  # Something that starts, until the pipeline has deployed the first commit.
  template {
    service_account = google_service_account.runtime.email
    containers {
      image = "us-docker.pkg.dev/cloudrun/container/hello"
    }
  }

  lifecycle {
    ignore_changes = [
      # Without this, the apply after a rollback would give the traffic back to the revision that failed.
      traffic,
      # Without this, every apply would deploy what is written above over what the pipeline has deployed. It is not
      # enough to leave out image, revision and labels one by one: Terraform would send the revision's name back with
      # whatever else it changes, and Cloud Run refuses a name that it knows with other settings.
      template,
      # The tool that wrote last, and its version.
      client,
      client_version,
    ]
  }

  depends_on = [google_project_service.apis]
}

resource "google_secret_manager_secret_iam_member" "runtime" {
  for_each = var.secrets

  secret_id = each.value
  role      = "roles/secretmanager.secretAccessor"
  member    = google_service_account.runtime.member
}

# The same as cleanup-policy.json. A revision at 0 % cannot be started again once its image is gone: Cloud Run keeps a
# copy only of what serves.
resource "google_artifact_registry_repository" "images" {
  # checkov:skip=CKV_GCP_84:Google's own keys encrypt the images; they hold no secrets.
  repository_id = "${var.service}-repo"
  location      = var.region
  format        = "DOCKER"
  description   = "Images of ${var.service}, tagged with the commit."

  cleanup_policies {
    id     = "delete-after-half-a-year"
    action = "DELETE"
    condition {
      tag_state  = "ANY"
      older_than = "15552000s"
    }
  }

  # What is kept is kept, however old.
  cleanup_policies {
    id     = "keep-the-newest-50"
    action = "KEEP"
    most_recent_versions {
      keep_count = 50
    }
  }

  depends_on = [google_project_service.apis]
}

# The pipeline

resource "google_service_account" "pipeline" {
  account_id   = "${var.service}-pipeline"
  display_name = "What releases ${var.service}"

  depends_on = [google_project_service.apis]
}

# The service itself: new revisions, traffic, tags.
resource "google_cloud_run_v2_service_iam_member" "pipeline" {
  name     = google_cloud_run_v2_service.main.name
  location = google_cloud_run_v2_service.main.location
  role     = "roles/run.developer"
  member   = google_service_account.pipeline.member
}

# Revisions and operations are listed in the project.
resource "google_project_iam_member" "pipeline" {
  for_each = toset(["roles/run.viewer", "roles/logging.logWriter"])

  project = var.project
  role    = each.value
  member  = google_service_account.pipeline.member
}

# Whoever deploys a service has to be allowed to act as it.
resource "google_service_account_iam_member" "pipeline" {
  service_account_id = google_service_account.runtime.name
  role               = "roles/iam.serviceAccountUser"
  member             = google_service_account.pipeline.member
}

resource "google_artifact_registry_repository_iam_member" "pipeline" {
  repository = google_artifact_registry_repository.images.name
  location   = google_artifact_registry_repository.images.location
  role       = "roles/artifactregistry.writer"
  member     = google_service_account.pipeline.member
}

# A private service is probed with an identity token.
resource "google_cloud_run_v2_service_iam_member" "pipeline_probe" {
  count = var.public ? 0 : 1

  name     = google_cloud_run_v2_service.main.name
  location = google_cloud_run_v2_service.main.location
  role     = "roles/run.invoker"
  member   = google_service_account.pipeline.member
}
