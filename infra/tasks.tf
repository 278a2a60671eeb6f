# The queue of later checks, and as whom its tasks call back.

locals {
  queue_region     = coalesce(var.queue_region, var.region)
  scheduler_region = coalesce(var.scheduler_region, local.queue_region)

  # Cloud Run's regions in which Cloud Tasks and Cloud Scheduler were not documented when this was written.
  without_queues = [
    "europe-north1", "europe-southwest1", "europe-west4", "europe-west8", "europe-west9", "me-west1", "us-east5", "us-south1",
  ]
}

resource "google_cloud_tasks_queue" "checks" {
  project  = var.project
  location = local.queue_region
  name     = coalesce(var.queue_name, "${var.name}-checks")

  rate_limits {
    max_dispatches_per_second = 5
    max_concurrent_dispatches = 5
  }

  # A check that is answered 503 is worth repeating while Cloud Run or Monitoring are down: these tries take about an
  # hour and a half.
  retry_config {
    max_attempts  = 20
    min_backoff   = "10s"
    max_backoff   = "300s"
    max_doublings = 5
  }

  depends_on = [google_project_service.runback]
}

resource "google_service_account" "tasks" {
  project      = var.project
  account_id   = "${var.name}-tasks"
  display_name = "Runback's tasks"
  description  = "Calls Runback back for the checks that it has planned."

  depends_on = [google_project_service.runback]
}

# Worth a line in the plan, not a refusal: Google adds regions.
check "regions_have_queues" {
  assert {
    condition     = !contains(local.without_queues, local.queue_region) && !(var.heartbeat && contains(local.without_queues, local.scheduler_region))
    error_message = "Cloud Tasks and Cloud Scheduler may not be in ${join(" or ", distinct([local.queue_region, local.scheduler_region]))}. If the apply says so, set queue_region and scheduler_region to a region nearby; gcloud tasks locations list shows which there are."
  }
}
