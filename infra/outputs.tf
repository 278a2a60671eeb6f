output "project" {
  description = "The project that Runback runs in."
  value       = var.project
}

output "region" {
  description = "The region that Runback runs in."
  value       = var.region
}

output "service_name" {
  description = "Name of Runback's Cloud Run service."
  value       = google_cloud_run_v2_service.runback.name
}

output "service_url" {
  description = "Where Runback is reached, with an identity token."
  value       = local.public_url
}

output "service_account" {
  description = "The identity that Runback acts as."
  value       = google_service_account.runback.email
}

output "image_repository" {
  description = "Where Runback's image is pushed to; null with create_repository = false."
  value       = one([for r in google_artifact_registry_repository.images : "${r.location}-docker.pkg.dev/${r.project}/${r.repository_id}"])
}

output "topic" {
  description = "The topic that alerts are published to, as projects/P/topics/T."
  value       = google_pubsub_topic.alerts.id
}

output "subscription" {
  description = "The subscription that carries alerts to Runback, as projects/P/subscriptions/S."
  value       = local.subscription
}

output "dead_letter_subscription" {
  description = "Where messages wait that Runback never took; null with trigger = \"eventarc\"."
  value       = one(google_pubsub_subscription.dead_letters[*].id)
}

output "queue" {
  description = "The queue of later checks, as projects/P/locations/L/queues/Q."
  value       = google_cloud_tasks_queue.checks.id
}

output "notification_channels" {
  description = "By project: the notification channel that leads to Runback, for alert policies of your own."
  value       = { for project, channel in google_monitoring_notification_channel.runback : project => channel.name }
}

output "alert_policies" {
  description = "The names of the alert policies of the guarded services."
  value       = local.alert_policy_names
}

output "deploy_sinks" {
  description = "By project: the identity that its log sink publishes word of deploys as; empty with watch_deploys = false."
  value       = { for project, sink in google_logging_project_sink.deploys : project => sink.writer_identity }
}

output "dashboard" {
  description = "The dashboard's page."
  value       = "https://console.cloud.google.com/monitoring/dashboards/builder/${basename(google_monitoring_dashboard.runback.id)}?project=${var.project}"
}

output "modes" {
  description = "By guarded service: whether Runback acts (enforce) or only explains (observe)."
  value       = { for name, rules in local.rules : name => rules.mode }
}

output "policy" {
  description = "The policy as Runback reads it. Terraform drops a misspelt key of a service without a word: what is missing here is not set."
  value       = local.policy
}
