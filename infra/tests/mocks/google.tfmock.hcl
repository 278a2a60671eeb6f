# What Google would make up. Without these, mocks give random texts, which the provider's own checks refuse.

mock_data "google_project" {
  defaults = { number = "123456789012" }
}

mock_resource "google_service_account" {
  defaults = {
    name   = "projects/demo-project/serviceAccounts/mock@demo-project.iam.gserviceaccount.com"
    email  = "mock@demo-project.iam.gserviceaccount.com"
    member = "serviceAccount:mock@demo-project.iam.gserviceaccount.com"
  }
}

mock_resource "google_pubsub_topic" {
  defaults = { id = "projects/demo-project/topics/mock" }
}

mock_resource "google_pubsub_subscription" {
  defaults = { id = "projects/demo-project/subscriptions/mock" }
}

mock_resource "google_cloud_tasks_queue" {
  defaults = { id = "projects/demo-project/locations/asia-northeast1/queues/mock" }
}

mock_resource "google_project_iam_custom_role" {
  defaults = { id = "projects/demo-project/roles/mock" }
}

mock_resource "google_monitoring_notification_channel" {
  defaults = { name = "projects/demo-project/notificationChannels/1" }
}

mock_resource "google_logging_project_sink" {
  defaults = { writer_identity = "serviceAccount:service-123456789012@gcp-sa-logging.iam.gserviceaccount.com" }
}

mock_resource "google_eventarc_trigger" {
  defaults = {
    transport = { pubsub = { subscription = "projects/demo-project/subscriptions/eventarc-mock" } }
  }
}
