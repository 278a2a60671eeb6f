# From the topic to Runback: an Eventarc trigger, or a push subscription that says itself how it retries and where it
# leaves what was never taken.

locals {
  pubsub_agent = "serviceAccount:service-${local.project_numbers[var.project]}@gcp-sa-pubsub.iam.gserviceaccount.com"
  by_push      = var.trigger == "push" ? toset(["push"]) : toset([])
  by_eventarc  = var.trigger == "eventarc" ? toset(["eventarc"]) : toset([])

  # Eventarc makes a subscription of its own.
  subscription = one(concat(
    [for s in google_pubsub_subscription.push : s.id],
    [for t in google_eventarc_trigger.alerts : t.transport[0].pubsub[0].subscription],
  ))
}

resource "google_pubsub_topic" "alerts" {
  # checkov:skip=CKV_GCP_83: Google's own keys encrypt the alerts, which hold figures and names for a day at most.
  project = var.project
  name    = "${var.name}-alerts"
  labels  = var.labels

  kms_key_name = var.kms_key

  dynamic "message_storage_policy" {
    for_each = length(var.message_storage_regions) > 0 ? [var.message_storage_regions] : []
    content {
      allowed_persistence_regions = message_storage_policy.value
    }
  }

  depends_on = [google_project_service.runback]
}

# As whom alerts are delivered: it may call Runback and nothing else.
resource "google_service_account" "trigger" {
  project      = var.project
  account_id   = "${var.name}-trigger"
  display_name = "Runback's trigger"
  description  = "Delivers alerts to Runback."

  depends_on = [google_project_service.runback]
}

resource "google_eventarc_trigger" "alerts" {
  for_each = local.by_eventarc

  project         = var.project
  location        = var.region
  name            = "${var.name}-alerts"
  labels          = var.labels
  service_account = google_service_account.trigger.email

  matching_criteria {
    attribute = "type"
    value     = "google.cloud.pubsub.topic.v1.messagePublished"
  }

  transport {
    pubsub {
      topic = google_pubsub_topic.alerts.id
    }
  }

  destination {
    cloud_run_service {
      service = google_cloud_run_v2_service.runback.name
      region  = var.region
      path    = "/events"
    }
  }

  depends_on = [google_project_service.runback, google_cloud_run_v2_service_iam_member.callers]
}

resource "google_pubsub_subscription" "push" {
  for_each = local.by_push

  project = var.project
  name    = "${var.name}-alerts"
  topic   = google_pubsub_topic.alerts.id
  labels  = var.labels

  # An answer takes 8 seconds at most, and a cold start some more.
  ack_deadline_seconds = 30
  # As long as Eventarc keeps a message: an older alert is no news.
  message_retention_duration = "86400s"

  push_config {
    push_endpoint = "${local.public_url}/events"
    oidc_token {
      service_account_email = google_service_account.trigger.email
      audience              = local.public_url
    }
  }

  # 503 means "again, please": for 5 minutes while a deploy is in flight, for an hour while Cloud Run refuses us. Twenty
  # tries with this backoff take about two and a half hours.
  retry_policy {
    minimum_backoff = "10s"
    maximum_backoff = "600s"
  }

  dead_letter_policy {
    dead_letter_topic     = google_pubsub_topic.dead_letters["push"].id
    max_delivery_attempts = 20
  }

  # It never expires, however quiet the month.
  expiration_policy {
    ttl = ""
  }

  depends_on = [google_cloud_run_v2_service_iam_member.callers]
}

resource "google_pubsub_topic" "dead_letters" {
  # checkov:skip=CKV_GCP_83: As for the alerts; these lie for a week.
  for_each = local.by_push

  project = var.project
  name    = "${var.name}-dead-letters"
  labels  = var.labels

  kms_key_name = var.kms_key

  dynamic "message_storage_policy" {
    for_each = length(var.message_storage_regions) > 0 ? [var.message_storage_regions] : []
    content {
      allowed_persistence_regions = message_storage_policy.value
    }
  }

  depends_on = [google_project_service.runback]
}

# Without a subscription, a dead letter is lost.
resource "google_pubsub_subscription" "dead_letters" {
  count = var.trigger == "push" ? 1 : 0

  project                    = var.project
  name                       = "${var.name}-dead-letters"
  topic                      = google_pubsub_topic.dead_letters["push"].id
  labels                     = var.labels
  message_retention_duration = "604800s"

  expiration_policy {
    ttl = ""
  }
}

# Pub/Sub itself moves a message: it takes it from the one and puts it into the other.

resource "google_pubsub_topic_iam_member" "dead_letters" {
  for_each = local.by_push

  project = var.project
  topic   = google_pubsub_topic.dead_letters["push"].name
  role    = "roles/pubsub.publisher"
  member  = local.pubsub_agent
}

resource "google_pubsub_subscription_iam_member" "dead_letters" {
  for_each = local.by_push

  project      = var.project
  subscription = google_pubsub_subscription.push["push"].name
  role         = "roles/pubsub.subscriber"
  member       = local.pubsub_agent
}
