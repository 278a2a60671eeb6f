# The queue of later checks, and as whom its tasks call back.

resource "google_cloud_tasks_queue" "checks" {
  project  = var.project
  location = var.region
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
