# Who watches the watchman: metrics from Runback's own log, a heartbeat through the real topic, and alerts for operators
# when Runback is in trouble. None of them leads to Runback itself.

locals {
  # Runback's own lines, without Cloud Run's request log: there, every 503 that asks for a redelivery is an error.
  of_runback = join(" AND ", [
    "resource.type=\"cloud_run_revision\"",
    "resource.labels.service_name=\"${var.name}\"",
    "resource.labels.location=\"${var.region}\"",
    "NOT logName:\"run.googleapis.com%2Frequests\"",
  ])
  # What Runback logs for a heartbeat; a test holds it to this.
  ping = "jsonPayload.message:\"A ping: a version without an incident\""

  metric_prefix = replace(var.name, "-", "_")
  operators = concat(
    [for channel in google_monitoring_notification_channel.operators : channel.name], var.operator_channels,
  )
}

resource "google_monitoring_notification_channel" "operators" {
  for_each = toset(var.operator_emails)

  project      = var.project
  display_name = "Runback's operators: ${each.value}"
  type         = "email"
  labels       = { email_address = each.value }
  user_labels  = var.labels

  # Monitoring refuses to delete a channel that an alert policy still names: the policies have to let go of it first.
  lifecycle {
    create_before_destroy = true
  }

  depends_on = [google_project_service.runback]
}

# Metrics

resource "google_logging_metric" "decisions" {
  project     = var.project
  name        = "${local.metric_prefix}_decisions"
  description = "Runback's decisions, by what was decided, why and about which service."
  filter      = "${local.of_runback} AND jsonPayload.stage=\"decided\" AND NOT ${local.ping}"

  label_extractors = {
    decision = "EXTRACT(jsonPayload.decision)"
    reason   = "EXTRACT(jsonPayload.reason)"
    service  = "EXTRACT(jsonPayload.service)"
  }

  metric_descriptor {
    metric_kind = "DELTA"
    value_type  = "INT64"
    labels {
      key = "decision"
    }
    labels {
      key = "reason"
    }
    labels {
      key = "service"
    }
  }

  depends_on = [google_project_service.runback]
}

resource "google_logging_metric" "verdicts" {
  project     = var.project
  name        = "${local.metric_prefix}_verdicts"
  description = "How rollbacks ended: recovered, not_helped, unjudged, halted, observe_mode, overruled, not_arrived, write_refused."
  filter      = "${local.of_runback} AND jsonPayload.verdict:*"

  label_extractors = {
    verdict = "EXTRACT(jsonPayload.verdict)"
    service = "EXTRACT(jsonPayload.service)"
  }

  metric_descriptor {
    metric_kind = "DELTA"
    value_type  = "INT64"
    labels {
      key = "verdict"
    }
    labels {
      key = "service"
    }
  }

  depends_on = [google_project_service.runback]
}

resource "google_logging_metric" "heartbeats" {
  project     = var.project
  name        = "${local.metric_prefix}_heartbeats"
  description = "Heartbeats that came through the topic and the trigger and were heard by Runback."
  filter      = "${local.of_runback} AND ${local.ping}"

  metric_descriptor {
    metric_kind = "DELTA"
    value_type  = "INT64"
  }

  depends_on = [google_project_service.runback]
}

# The heartbeat: the same few bytes that Monitoring sends when a channel is made. Runback logs that it heard them, and does
# what is overdue at any guarded service, for example because a task was lost.

resource "google_cloud_scheduler_job" "heartbeat" {
  count = var.heartbeat ? 1 : 0

  project     = var.project
  region      = local.scheduler_region
  name        = "${var.name}-heartbeat"
  description = "Shows that alerts would reach Runback."
  schedule    = "*/30 * * * *"
  time_zone   = "Etc/UTC"

  pubsub_target {
    topic_name = google_pubsub_topic.alerts.id
    data       = base64encode(jsonencode({ version = "1.2" }))
  }

  # All five: Google fills the others in, and the plan after the first apply would not be empty.
  retry_config {
    retry_count          = 3
    max_retry_duration   = "0s"
    min_backoff_duration = "5s"
    max_backoff_duration = "3600s"
    max_doublings        = 5
  }

  depends_on = [google_project_service.runback]
}

# Alerts

resource "google_monitoring_alert_policy" "silent" {
  count = var.heartbeat ? 1 : 0

  project      = var.project
  display_name = "Runback (${var.name}) does not hear the heartbeat"
  combiner     = "OR"
  severity     = "CRITICAL"
  user_labels  = var.labels

  conditions {
    display_name = "No heartbeat for 90 minutes, and for 90 more"

    # PromQL, because a threshold cannot refer to a metric that nothing has been written to yet, and an absence
    # condition never fires for one that has been silent from the start. The second 90 minutes are for a first
    # deployment, where the first heartbeats are still to come.
    condition_prometheus_query_language {
      query                     = "(sum(increase(logging_googleapis_com:user_${google_logging_metric.heartbeats.name}{monitored_resource=\"cloud_run_revision\"}[90m])) or vector(0)) < 0.5"
      duration                  = "5400s"
      evaluation_interval       = "60s"
      disable_metric_validation = true
    }
  }

  alert_strategy {
    auto_close = "86400s"
  }

  documentation {
    mime_type = "text/markdown"
    content   = <<-TEXT
      Every 30 minutes the Cloud Scheduler job `${var.name}-heartbeat` publishes a ping to the topic `${var.name}-alerts`,
      and Runback logs it. It no longer does, so **alerts would not reach it either, and nothing would be rolled back**.

      Look, in this order, at: the job's last run; the topic's subscription (undelivered messages, errors); the Cloud Run
      service `${var.name}` (does it start, may the trigger's account call it?); its log.
    TEXT
  }

  notification_channels = local.operators
}

resource "google_monitoring_alert_policy" "errors_of_runback" {
  project      = var.project
  display_name = "Runback (${var.name}) logs errors"
  combiner     = "OR"
  severity     = "ERROR"
  user_labels  = var.labels

  conditions {
    display_name = "An error in the log"

    condition_matched_log {
      filter = "${local.of_runback} AND severity>=ERROR"
    }
  }

  alert_strategy {
    auto_close = "86400s"

    notification_rate_limit {
      period = "3600s"
    }
  }

  documentation {
    mime_type = "text/markdown"
    content   = "Something failed that people should know of: Slack could not be told, a later check could not be planned, the container does not start. The line in the log says what."
  }

  notification_channels = local.operators

  depends_on = [google_project_service.runback]
}

resource "google_monitoring_alert_policy" "undelivered" {
  project      = var.project
  display_name = "Runback (${var.name}) does not take an alert"
  combiner     = "OR"
  severity     = "CRITICAL"
  user_labels  = var.labels

  conditions {
    display_name = "A message has waited for 15 minutes"

    # Runback refuses a message for 5 minutes while a deploy is in flight. Longer means that it cannot work.
    condition_threshold {
      filter          = "resource.type = \"pubsub_subscription\" AND resource.labels.subscription_id = \"${basename(local.subscription)}\" AND metric.type = \"pubsub.googleapis.com/subscription/oldest_unacked_message_age\""
      comparison      = "COMPARISON_GT"
      threshold_value = 900
      duration        = "0s"

      aggregations {
        alignment_period   = "60s"
        per_series_aligner = "ALIGN_MAX"
      }

      trigger {
        count = 1
      }
    }
  }

  alert_strategy {
    auto_close = "86400s"
  }

  documentation {
    mime_type = "text/markdown"
    content   = "An alert, or word of a deploy, lies in the subscription `${basename(local.subscription)}` and Runback does not acknowledge it. Its log says why: mostly a missing permission, or Cloud Run or Monitoring do not answer. **Whatever it was about has not been rolled back.**"
  }

  notification_channels = local.operators

  depends_on = [google_project_service.runback]
}

resource "google_monitoring_alert_policy" "dead_letters" {
  for_each = local.by_push

  project      = var.project
  display_name = "Runback (${var.name}) has dead letters"
  combiner     = "OR"
  severity     = "CRITICAL"
  user_labels  = var.labels

  conditions {
    display_name = "A message was given up"

    condition_threshold {
      filter          = "resource.type = \"pubsub_subscription\" AND resource.labels.subscription_id = \"${google_pubsub_subscription.dead_letters[0].name}\" AND metric.type = \"pubsub.googleapis.com/subscription/num_undelivered_messages\""
      comparison      = "COMPARISON_GT"
      threshold_value = 0
      duration        = "0s"

      aggregations {
        alignment_period   = "60s"
        per_series_aligner = "ALIGN_MAX"
      }

      trigger {
        count = 1
      }
    }
  }

  alert_strategy {
    auto_close = "86400s"
  }

  documentation {
    mime_type = "text/markdown"
    content   = "Pub/Sub gave an alert up after 20 tries. Read it with `gcloud pubsub subscriptions pull ${google_pubsub_subscription.dead_letters[0].name} --project ${var.project}`; add `--auto-ack` when it is dealt with."
  }

  notification_channels = local.operators
}
