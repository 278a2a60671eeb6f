# From Monitoring to the topic. A channel belongs to the project of the alert policies that use it, so each project with
# a guarded service gets one; all lead to the one topic.

resource "google_monitoring_notification_channel" "runback" {
  for_each = local.guarded_projects

  project      = each.value
  display_name = "Runback (${var.name})"
  description  = "Alerts on this channel may roll a Cloud Run service back, if Runback's policy lists it."
  type         = "pubsub"
  user_labels  = var.labels
  labels       = { topic = google_pubsub_topic.alerts.id }

  depends_on = [google_project_service.runback, google_project_service.guarded]
}

resource "google_pubsub_topic_iam_member" "monitoring" {
  for_each = local.guarded_projects

  project = var.project
  topic   = google_pubsub_topic.alerts.name
  role    = "roles/pubsub.publisher"
  member  = "serviceAccount:service-${local.project_numbers[each.value]}@gcp-sa-monitoring-notification.iam.gserviceaccount.com"

  # Monitoring's agent comes into being with a project's first Pub/Sub channel; before, there is nobody to give the
  # right to.
  depends_on = [google_monitoring_notification_channel.runback]
}
