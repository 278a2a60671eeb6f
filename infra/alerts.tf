# The alerts that wake Runback: for each guarded service one on errors, one on slow requests, and the log alerts that it
# asks for. They are grouped by revision, so that a deploy that fails opens an incident of its own even while another
# one is open.

locals {
  # Every filter of a service's alerts begins with this.
  of_service = {
    for name, s in local.guarded : name => join(" AND ", [
      "resource.type = \"cloud_run_revision\"",
      "resource.labels.project_id = \"${s.project}\"",
      "resource.labels.location = \"${s.region}\"",
      "resource.labels.service_name = \"${s.service}\"",
    ])
  }
  by_revision = ["resource.label.service_name", "resource.label.revision_name", "resource.label.location"]

  # One alert at each limit that Runback judges by. A warning has one of its own: Monitoring notifies once, so an
  # incident that opened at 2 % would say nothing more when it reaches 50 %.
  error_alerts = merge(
    {
      for name, s in local.guarded : name => {
        guarded  = name
        ratio    = s.alerts.error_ratio != null ? s.alerts.error_ratio : local.rules[name].rollback
        severity = "CRITICAL"
        words    = "answers with 5xx"
      } if s.alerts.error_ratio != 0
    },
    {
      for name, s in local.guarded : "${name}/warning" => {
        guarded  = name
        ratio    = local.rules[name].warning
        severity = "WARNING"
        words    = "answers with some 5xx"
      } if s.alerts.error_ratio != 0 && local.rules[name].warning != null
    },
  )
  alert_seconds = { for name, s in local.guarded : name => "${tonumber(trimsuffix(s.alerts.duration, "m")) * 60}s" }

  # A share of 5 % slower than `slow` is a 95th percentile above it. Monitoring has no percentile between these two.
  slow_percentile = { for name, rules in local.rules : name => rules.slow_share < 0.05 ? 99 : 95 }

  log_alerts = merge([
    for name, s in local.guarded : {
      for alert, filter in s.alerts.logs : "${name}/${alert}" => { guarded = name, alert = alert, filter = filter }
    }
  ]...)

  # From these Runback learns which service is meant, when a condition drops the labels. A label's value has no dot and
  # no colon, so an old project id ("example.com:app") is left out; then the incident's own project is taken.
  guarded_labels = {
    for name, s in local.guarded : name => merge(
      var.labels,
      { runback_location = s.region, runback_service = s.service },
      can(regex("^[a-z0-9_-]{1,63}$", s.project)) ? { runback_project = s.project } : {},
    )
  }
  guarded_channels = {
    for name, s in local.guarded : name => concat(
      [google_monitoring_notification_channel.runback[s.project].name], s.alerts.notification_channels,
    )
  }

  alert_policy_names = concat(
    [for p in google_monitoring_alert_policy.errors : p.name],
    [for p in google_monitoring_alert_policy.latency : p.name],
    [for p in google_monitoring_alert_policy.logs : p.name],
  )
}

resource "google_monitoring_alert_policy" "errors" {
  for_each = local.error_alerts

  project      = local.guarded[each.value.guarded].project
  display_name = "Runback: ${local.guarded[each.value.guarded].service} (${local.guarded[each.value.guarded].region}) ${each.value.words}"
  combiner     = "OR"
  severity     = each.value.severity
  user_labels  = local.guarded_labels[each.value.guarded]

  conditions {
    display_name = "More than ${format("%.4g", each.value.ratio * 100)} % of a revision's answers are 5xx"

    condition_threshold {
      filter             = "${local.of_service[each.value.guarded]} AND metric.type = \"run.googleapis.com/request_count\" AND metric.labels.response_code_class = \"5xx\""
      denominator_filter = "${local.of_service[each.value.guarded]} AND metric.type = \"run.googleapis.com/request_count\""
      comparison         = "COMPARISON_GT"
      threshold_value    = each.value.ratio
      duration           = local.alert_seconds[each.value.guarded]

      aggregations {
        alignment_period     = "60s"
        per_series_aligner   = "ALIGN_RATE"
        cross_series_reducer = "REDUCE_SUM"
        group_by_fields      = local.by_revision
      }

      denominator_aggregations {
        alignment_period     = "60s"
        per_series_aligner   = "ALIGN_RATE"
        cross_series_reducer = "REDUCE_SUM"
        group_by_fields      = local.by_revision
      }

      trigger {
        count = 1
      }
    }
  }

  alert_strategy {
    # Monitoring's shortest: after a rollback the failing revision has no data, and only this ends its incident.
    auto_close           = "1800s"
    notification_prompts = ["OPENED", "CLOSED"]
  }

  documentation {
    mime_type = "text/markdown"
    content   = "Runback looks into this on its own and says in Slack what it found and did."
  }

  notification_channels = local.guarded_channels[each.value.guarded]
}

resource "google_monitoring_alert_policy" "latency" {
  for_each = { for name, s in local.guarded : name => s if s.alerts.latency }

  project      = each.value.project
  display_name = "Runback: ${each.value.service} (${each.value.region}) is slow"
  combiner     = "OR"
  severity     = "ERROR"
  user_labels  = local.guarded_labels[each.key]

  conditions {
    display_name = "${100 - local.slow_percentile[each.key]} % of a revision's requests take longer than ${local.rules[each.key].slow}"

    condition_threshold {
      filter          = "${local.of_service[each.key]} AND metric.type = \"run.googleapis.com/request_latencies\""
      comparison      = "COMPARISON_GT"
      threshold_value = local.rule_milliseconds[each.key].slow
      duration        = local.alert_seconds[each.key]

      # The percentile of all instances' requests together, not a mean of percentiles.
      aggregations {
        alignment_period     = "60s"
        per_series_aligner   = "ALIGN_DELTA"
        cross_series_reducer = "REDUCE_PERCENTILE_${local.slow_percentile[each.key]}"
        group_by_fields      = local.by_revision
      }

      trigger {
        count = 1
      }
    }
  }

  alert_strategy {
    auto_close           = "1800s"
    notification_prompts = ["OPENED", "CLOSED"]
  }

  documentation {
    mime_type = "text/markdown"
    content   = "Runback looks into this on its own and says in Slack what it found and did."
  }

  notification_channels = local.guarded_channels[each.key]
}

# Requests need not show a lost database or failed logins, so Runback takes the alert's word: runback = critical.
resource "google_monitoring_alert_policy" "logs" {
  for_each = local.log_alerts

  project      = local.guarded[each.value.guarded].project
  display_name = "Runback: ${local.guarded[each.value.guarded].service} (${local.guarded[each.value.guarded].region}) logs: ${each.value.alert}"
  combiner     = "OR"
  severity     = "CRITICAL"
  user_labels  = merge(local.guarded_labels[each.value.guarded], { runback = "critical" })

  conditions {
    display_name = each.value.alert

    condition_matched_log {
      filter = "${local.of_service[each.value.guarded]} AND (${each.value.filter})"
    }
  }

  alert_strategy {
    auto_close = "1800s"

    # Monitoring's shortest, and it wants one.
    notification_rate_limit {
      period = "300s"
    }
  }

  documentation {
    mime_type = "text/markdown"
    content   = "Runback takes this alert's word for it: the service is rolled back if its newest deploy can be the cause."
  }

  notification_channels = local.guarded_channels[each.value.guarded]
}
