# How the pieces are put together: both ways in, who may do what, the alerts. Everything is "applied" to a mock, which
# is destroyed again at the end.

mock_provider "google" {
  source = "./tests/mocks"
}

variables {
  project              = "demo-project"
  region               = "asia-northeast1"
  image                = "asia-northeast1-docker.pkg.dev/demo-project/runback/runback:1"
  slack_webhook_secret = "runback-slack"
  operator_emails      = ["oncall@example.com"]
  invokers             = ["group:oncall@example.com", "user:lead@example.com"]
  invoker_emails       = ["a@example.com"]
  pipelines            = ["serviceAccount:ci@demo-project.iam.gserviceaccount.com"]
  services = [
    {
      service          = "k-back"
      service_account  = "k-back@demo-project.iam.gserviceaccount.com"
      image_repository = "projects/demo-project/locations/asia-northeast1/repositories/images"
      warning          = 0.02
      health_path      = "/health"
      alerts = {
        logs = { "database lost" = "textPayload : \"could not connect\"" }
      }
    },
    {
      service          = "k-front"
      region           = "europe-west1"
      service_account  = "k-back@demo-project.iam.gserviceaccount.com"
      image_repository = "projects/demo-project/locations/asia-northeast1/repositories/images"
      slow             = "800ms"
      slow_share       = 0.01
      alerts           = { error_ratio = 0.1, duration = "5m" }
    },
    {
      service         = "shop"
      project         = "other-project"
      service_account = "999999999999-compute@developer.gserviceaccount.com"
      alerts          = { error_ratio = 0, latency = false, notification_channels = ["projects/other-project/notificationChannels/7"] }
    },
  ]
}

run "eventarc_brings_alerts_as_an_identity_that_may_do_nothing_else" {
  command = apply

  assert {
    condition = (
      google_eventarc_trigger.alerts["eventarc"].service_account == google_service_account.trigger.email
      && google_eventarc_trigger.alerts["eventarc"].transport[0].pubsub[0].topic == google_pubsub_topic.alerts.id
      && google_eventarc_trigger.alerts["eventarc"].destination[0].cloud_run_service[0].service == "runback"
      && google_eventarc_trigger.alerts["eventarc"].destination[0].cloud_run_service[0].path == "/events"
      && tolist(google_eventarc_trigger.alerts["eventarc"].matching_criteria)[0].value == "google.cloud.pubsub.topic.v1.messagePublished"
    )
    error_message = "The trigger does not lead from the topic to Runback."
  }

  assert {
    condition     = length(google_pubsub_subscription.push) + length(google_pubsub_topic.dead_letters) + length(google_pubsub_subscription.dead_letters) == 0
    error_message = "With Eventarc there is a push subscription as well: every alert would come twice."
  }

  assert {
    condition     = output.subscription == "projects/demo-project/subscriptions/eventarc-mock" && output.dead_letter_subscription == null
    error_message = "The subscription that Eventarc made is not the one that is watched."
  }

  assert {
    condition     = strcontains(google_monitoring_alert_policy.undelivered.conditions[0].condition_threshold[0].filter, "resource.labels.subscription_id = \"eventarc-mock\"")
    error_message = google_monitoring_alert_policy.undelivered.conditions[0].condition_threshold[0].filter
  }

  # Callers.

  assert {
    condition     = toset(keys(google_cloud_run_v2_service_iam_member.callers)) == toset(["trigger", "tasks", "group:oncall@example.com", "user:lead@example.com", "serviceAccount:ci@demo-project.iam.gserviceaccount.com"])
    error_message = jsonencode(keys(google_cloud_run_v2_service_iam_member.callers))
  }

  assert {
    condition = alltrue([
      for caller in google_cloud_run_v2_service_iam_member.callers : caller.role == "roles/run.invoker" && !startswith(caller.member, "all")
    ])
    error_message = "Somebody may do more than call, or everybody may call."
  }

  # The service.

  assert {
    condition = (
      google_cloud_run_v2_service.runback.ingress == "INGRESS_TRAFFIC_ALL"
      && google_cloud_run_v2_service.runback.template[0].service_account == google_service_account.runback.email
      && google_cloud_run_v2_service.runback.template[0].scaling[0].min_instance_count == 0
      && google_cloud_run_v2_service.runback.template[0].scaling[0].max_instance_count == 3
      && google_cloud_run_v2_service.runback.template[0].containers[0].resources[0].startup_cpu_boost
      && google_cloud_run_v2_service.runback.template[0].containers[0].startup_probe[0].http_get[0].path == "/health"
      && google_cloud_run_v2_service.runback.template[0].containers[0].liveness_probe[0].http_get[0].path == "/health"
    )
    error_message = "The service is not as it should be."
  }

  assert {
    condition = {
      for e in google_cloud_run_v2_service.runback.template[0].containers[0].env : e.name => e.value
      if !contains(["RUNBACK_POLICY", "SLACK_WEBHOOK_URL"], e.name)
      } == {
      GOOGLE_CLOUD_PROJECT    = "demo-project"
      RUNBACK_CALLERS_EVENTS  = "${google_service_account.trigger.email},lead@example.com,a@example.com"
      RUNBACK_CALLERS_WATCH   = "${google_service_account.trigger.email},lead@example.com,a@example.com,ci@demo-project.iam.gserviceaccount.com"
      RUNBACK_PUBLIC_URL      = "https://runback-123456789012.asia-northeast1.run.app"
      RUNBACK_SERVICE_ACCOUNT = google_service_account.tasks.email
      RUNBACK_TASKS_QUEUE     = google_cloud_tasks_queue.checks.id
      RUST_LOG                = "info"
    }
    error_message = jsonencode(google_cloud_run_v2_service.runback.template[0].containers[0].env)
  }

  assert {
    condition = alltrue([
      for e in google_cloud_run_v2_service.runback.template[0].containers[0].env :
      e.value_source[0].secret_key_ref[0].secret == "runback-slack" if e.name == "SLACK_WEBHOOK_URL"
    ]) && contains([for e in google_cloud_run_v2_service.runback.template[0].containers[0].env : e.name], "SLACK_WEBHOOK_URL")
    error_message = "The Slack webhook does not come from Secret Manager."
  }

  assert {
    condition = (
      keys(google_secret_manager_secret_iam_member.runback) == ["SLACK_WEBHOOK_URL"]
      && google_secret_manager_secret_iam_member.runback["SLACK_WEBHOOK_URL"].secret_id == "runback-slack"
      && google_secret_manager_secret_iam_member.runback["SLACK_WEBHOOK_URL"].role == "roles/secretmanager.secretAccessor"
    )
    error_message = "Runback may not read its secret, or more than that."
  }

  assert {
    condition     = output.service_url == "https://runback-123456789012.asia-northeast1.run.app"
    error_message = output.service_url
  }
}

run "a_push_subscription_declares_how_it_retries_and_where_it_gives_up" {
  command = apply

  variables {
    trigger = "push"
  }

  assert {
    condition     = length(google_eventarc_trigger.alerts) == 0
    error_message = "With a push subscription there is a trigger as well: every alert would come twice."
  }

  assert {
    condition = (
      google_pubsub_subscription.push["push"].topic == google_pubsub_topic.alerts.id
      && google_pubsub_subscription.push["push"].push_config[0].push_endpoint == "https://runback-123456789012.asia-northeast1.run.app/events"
      && google_pubsub_subscription.push["push"].push_config[0].oidc_token[0].service_account_email == google_service_account.trigger.email
      && google_pubsub_subscription.push["push"].push_config[0].oidc_token[0].audience == "https://runback-123456789012.asia-northeast1.run.app"
    )
    error_message = "The subscription does not push to Runback as the trigger's identity."
  }

  assert {
    condition = (
      google_pubsub_subscription.push["push"].ack_deadline_seconds >= 10
      && google_pubsub_subscription.push["push"].retry_policy[0].minimum_backoff == "10s"
      && google_pubsub_subscription.push["push"].retry_policy[0].maximum_backoff == "600s"
      && google_pubsub_subscription.push["push"].dead_letter_policy[0].max_delivery_attempts == 20
      && google_pubsub_subscription.push["push"].expiration_policy[0].ttl == ""
    )
    error_message = "The subscription does not retry as declared."
  }

  assert {
    condition     = google_pubsub_subscription.dead_letters[0].topic == google_pubsub_topic.dead_letters["push"].id && output.dead_letter_subscription != null
    error_message = "Nothing keeps the dead letters."
  }

  # Pub/Sub itself puts them there.
  assert {
    condition = (
      google_pubsub_topic_iam_member.dead_letters["push"].role == "roles/pubsub.publisher"
      && google_pubsub_topic_iam_member.dead_letters["push"].topic == "runback-dead-letters"
      && google_pubsub_subscription_iam_member.dead_letters["push"].role == "roles/pubsub.subscriber"
      && google_pubsub_subscription_iam_member.dead_letters["push"].subscription == "runback-alerts"
      && google_pubsub_topic_iam_member.dead_letters["push"].member == "serviceAccount:service-123456789012@gcp-sa-pubsub.iam.gserviceaccount.com"
      && google_pubsub_subscription_iam_member.dead_letters["push"].member == "serviceAccount:service-123456789012@gcp-sa-pubsub.iam.gserviceaccount.com"
    )
    error_message = "Pub/Sub may not move a message to the dead letters."
  }

  assert {
    condition     = strcontains(google_monitoring_alert_policy.dead_letters["push"].conditions[0].condition_threshold[0].filter, "resource.labels.subscription_id = \"runback-dead-letters\"")
    error_message = "Nobody hears of dead letters."
  }
}

run "rights_are_given_where_they_are_needed_and_nowhere_else" {
  command = apply

  assert {
    condition     = toset(google_project_iam_custom_role.rollback["demo-project"].permissions) == toset(["run.services.get", "run.services.update"])
    error_message = jsonencode(google_project_iam_custom_role.rollback["demo-project"].permissions)
  }

  assert {
    condition     = toset(google_project_iam_custom_role.evidence["other-project"].permissions) == toset(["run.revisions.list", "monitoring.timeSeries.list", "monitoring.alertPolicies.get"])
    error_message = jsonencode(google_project_iam_custom_role.evidence["other-project"].permissions)
  }

  assert {
    condition     = toset(google_project_iam_custom_role.checks.permissions) == toset(["cloudtasks.tasks.create", "cloudtasks.tasks.get"])
    error_message = jsonencode(google_project_iam_custom_role.checks.permissions)
  }

  assert {
    condition = toset([for m in google_cloud_run_v2_service_iam_member.rollback : "${m.project}/${m.location}/${m.name}"]) == toset([
      "demo-project/asia-northeast1/k-back", "demo-project/europe-west1/k-front", "other-project/asia-northeast1/shop",
    ])
    error_message = "The right to roll back is not given on exactly the guarded services."
  }

  assert {
    condition = (
      toset([for m in google_project_iam_member.evidence : m.project]) == toset(["demo-project", "other-project"])
      && toset([for r in google_project_iam_custom_role.rollback : r.project]) == toset(["demo-project", "other-project"])
    )
    error_message = "Not every guarded project has the roles."
  }

  # Two services share one identity and one repository: one right each.
  assert {
    condition = toset([for m in google_service_account_iam_member.runtime : m.service_account_id]) == toset([
      "projects/demo-project/serviceAccounts/k-back@demo-project.iam.gserviceaccount.com",
      "projects/999999999999/serviceAccounts/999999999999-compute@developer.gserviceaccount.com",
    ])
    error_message = jsonencode([for m in google_service_account_iam_member.runtime : m.service_account_id])
  }

  assert {
    condition = [for m in google_artifact_registry_repository_iam_member.images : "${m.project}/${m.location}/${m.repository} ${m.role}"] == [
      "demo-project/asia-northeast1/images roles/artifactregistry.reader",
    ]
    error_message = "The images cannot be read, or more than those."
  }

  # Only a service with a health_path is called.
  assert {
    condition     = [for m in google_cloud_run_v2_service_iam_member.probe : "${m.name} ${m.role}"] == ["k-back roles/run.invoker"]
    error_message = "Another service than the one with a health_path may be called."
  }

  assert {
    condition = (
      google_cloud_tasks_queue_iam_member.checks.name == "runback-checks"
      && google_service_account_iam_member.tasks.service_account_id == google_service_account.tasks.name
      && google_service_account_iam_member.tasks.role == "roles/iam.serviceAccountUser"
    )
    error_message = "Runback may not plan its checks."
  }

  # Every right is Runback's own.
  assert {
    condition = alltrue([
      for m in concat(
        values(google_cloud_run_v2_service_iam_member.rollback), values(google_cloud_run_v2_service_iam_member.probe),
      ) : m.member == google_service_account.runback.member
    ])
    error_message = "Somebody else may roll back."
  }
}

run "each_project_has_a_channel_that_may_publish" {
  command = apply

  assert {
    condition = (
      toset([for c in google_monitoring_notification_channel.runback : "${c.project} ${c.type}"]) == toset(["demo-project pubsub", "other-project pubsub"])
      && alltrue([for c in google_monitoring_notification_channel.runback : c.labels["topic"] == google_pubsub_topic.alerts.id])
    )
    error_message = "A project has no channel to the topic."
  }

  assert {
    condition = alltrue([
      for project in ["demo-project", "other-project"] :
      google_pubsub_topic_iam_member.monitoring[project].member == "serviceAccount:service-123456789012@gcp-sa-monitoring-notification.iam.gserviceaccount.com"
      && google_pubsub_topic_iam_member.monitoring[project].topic == "runback-alerts"
      && google_pubsub_topic_iam_member.monitoring[project].role == "roles/pubsub.publisher"
    ])
    error_message = "Monitoring may not publish alerts."
  }

  # The APIs of a project that is not Runback's own.
  assert {
    condition     = contains(keys(google_project_service.guarded), "other-project/monitoring.googleapis.com") && !contains(keys(google_project_service.guarded), "demo-project/monitoring.googleapis.com")
    error_message = jsonencode(keys(google_project_service.guarded))
  }
}

run "alerts_are_by_revision_and_say_which_service_is_meant" {
  command = apply

  assert {
    condition = toset(keys(google_monitoring_alert_policy.errors)) == toset([
      "demo-project/asia-northeast1/k-back", "demo-project/asia-northeast1/k-back/warning", "demo-project/europe-west1/k-front",
    ])
    error_message = "An error ratio of 0 should make no alert, and any other should."
  }

  assert {
    condition     = google_monitoring_alert_policy.errors["demo-project/asia-northeast1/k-back"].conditions[0].condition_threshold[0].filter == "resource.type = \"cloud_run_revision\" AND resource.labels.project_id = \"demo-project\" AND resource.labels.location = \"asia-northeast1\" AND resource.labels.service_name = \"k-back\" AND metric.type = \"run.googleapis.com/request_count\" AND metric.labels.response_code_class = \"5xx\""
    error_message = google_monitoring_alert_policy.errors["demo-project/asia-northeast1/k-back"].conditions[0].condition_threshold[0].filter
  }

  # A ratio: all that the numerator counts, the denominator counts as well, grouped in the same way.
  assert {
    condition = alltrue([
      for p in google_monitoring_alert_policy.errors : alltrue([
        p.conditions[0].condition_threshold[0].filter == "${p.conditions[0].condition_threshold[0].denominator_filter} AND metric.labels.response_code_class = \"5xx\"",
        jsonencode(p.conditions[0].condition_threshold[0].aggregations) == jsonencode(p.conditions[0].condition_threshold[0].denominator_aggregations),
        toset(p.conditions[0].condition_threshold[0].aggregations[0].group_by_fields) == toset(["resource.label.service_name", "resource.label.revision_name", "resource.label.location"]),
      ])
    ])
    error_message = "The ratio is none."
  }

  # At the policy's limits, unless the alert says otherwise.
  assert {
    condition = (
      google_monitoring_alert_policy.errors["demo-project/asia-northeast1/k-back"].conditions[0].condition_threshold[0].threshold_value == 0.05
      && google_monitoring_alert_policy.errors["demo-project/asia-northeast1/k-back/warning"].conditions[0].condition_threshold[0].threshold_value == 0.02
      && google_monitoring_alert_policy.errors["demo-project/europe-west1/k-front"].conditions[0].condition_threshold[0].threshold_value == 0.1
      && google_monitoring_alert_policy.errors["demo-project/europe-west1/k-front"].conditions[0].condition_threshold[0].duration == "300s"
      && google_monitoring_alert_policy.errors["demo-project/asia-northeast1/k-back"].conditions[0].condition_threshold[0].duration == "60s"
    )
    error_message = "An alert fires at another limit than the policy's."
  }

  assert {
    condition     = google_monitoring_alert_policy.errors["demo-project/asia-northeast1/k-back/warning"].conditions[0].display_name == "More than 2 % of a revision's answers are 5xx"
    error_message = google_monitoring_alert_policy.errors["demo-project/asia-northeast1/k-back"].conditions[0].display_name
  }

  assert {
    condition = (
      google_monitoring_alert_policy.latency["demo-project/asia-northeast1/k-back"].conditions[0].condition_threshold[0].threshold_value == 3000
      && google_monitoring_alert_policy.latency["demo-project/asia-northeast1/k-back"].conditions[0].condition_threshold[0].aggregations[0].cross_series_reducer == "REDUCE_PERCENTILE_95"
      && google_monitoring_alert_policy.latency["demo-project/europe-west1/k-front"].conditions[0].condition_threshold[0].threshold_value == 800
      && google_monitoring_alert_policy.latency["demo-project/europe-west1/k-front"].conditions[0].condition_threshold[0].aggregations[0].cross_series_reducer == "REDUCE_PERCENTILE_99"
      && !contains(keys(google_monitoring_alert_policy.latency), "other-project/asia-northeast1/shop")
    )
    error_message = "Latency is not alerted on by the policy's limits."
  }

  assert {
    condition = google_monitoring_alert_policy.errors["demo-project/europe-west1/k-front"].user_labels == tomap({
      runback_project = "demo-project", runback_location = "europe-west1", runback_service = "k-front",
    })
    error_message = jsonencode(google_monitoring_alert_policy.errors["demo-project/europe-west1/k-front"].user_labels)
  }

  # A log alert is believed.
  assert {
    condition = (
      google_monitoring_alert_policy.logs["demo-project/asia-northeast1/k-back/database lost"].user_labels["runback"] == "critical"
      && endswith(google_monitoring_alert_policy.logs["demo-project/asia-northeast1/k-back/database lost"].conditions[0].condition_matched_log[0].filter, " AND resource.labels.service_name = \"k-back\" AND (textPayload : \"could not connect\")")
      && google_monitoring_alert_policy.logs["demo-project/asia-northeast1/k-back/database lost"].alert_strategy[0].notification_rate_limit[0].period == "300s"
    )
    error_message = "The log alert is not as it should be."
  }

  # Every alert of a service leads to Runback, and to nobody else unless asked for.
  assert {
    condition = alltrue([
      for p in concat(values(google_monitoring_alert_policy.errors), values(google_monitoring_alert_policy.latency), values(google_monitoring_alert_policy.logs)) :
      p.notification_channels == tolist([google_monitoring_notification_channel.runback[p.project].name])
    ])
    error_message = "An alert does not lead to Runback."
  }

  assert {
    condition     = length(output.alert_policies) == 6
    error_message = jsonencode(output.alert_policies)
  }
}

run "an_alert_can_tell_others_too" {
  command = apply

  variables {
    services = [{
      service         = "shop"
      project         = "other-project"
      service_account = "shop@other-project.iam.gserviceaccount.com"
      alerts          = { notification_channels = ["projects/other-project/notificationChannels/7"] }
    }]
  }

  assert {
    condition     = google_monitoring_alert_policy.errors["other-project/asia-northeast1/shop"].notification_channels == tolist(["projects/demo-project/notificationChannels/1", "projects/other-project/notificationChannels/7"])
    error_message = jsonencode(google_monitoring_alert_policy.errors["other-project/asia-northeast1/shop"].notification_channels)
  }

  assert {
    condition     = google_monitoring_alert_policy.errors["other-project/asia-northeast1/shop"].project == "other-project"
    error_message = "An alert policy and its channel have to be in the project of the service."
  }
}

run "operators_hear_when_runback_is_in_trouble" {
  command = apply

  variables {
    operator_channels = ["projects/demo-project/notificationChannels/9"]
  }

  assert {
    condition = (
      base64decode(google_cloud_scheduler_job.heartbeat[0].pubsub_target[0].data) == "{\"version\":\"1.2\"}"
      && google_cloud_scheduler_job.heartbeat[0].pubsub_target[0].topic_name == google_pubsub_topic.alerts.id
    )
    error_message = "The heartbeat does not go through the topic of the alerts."
  }

  assert {
    condition = (
      strcontains(google_monitoring_alert_policy.silent[0].conditions[0].condition_prometheus_query_language[0].query, "logging_googleapis_com:user_runback_heartbeats{")
      && google_monitoring_alert_policy.silent[0].conditions[0].condition_prometheus_query_language[0].disable_metric_validation
    )
    error_message = google_monitoring_alert_policy.silent[0].conditions[0].condition_prometheus_query_language[0].query
  }

  # Not to Runback: it would have to report its own death.
  assert {
    condition = alltrue([
      for p in [google_monitoring_alert_policy.silent[0], google_monitoring_alert_policy.errors_of_runback, google_monitoring_alert_policy.undelivered] :
      p.notification_channels == tolist(["projects/demo-project/notificationChannels/1", "projects/demo-project/notificationChannels/9"])
    ])
    error_message = "Operators are not told."
  }

  assert {
    condition     = strcontains(google_monitoring_alert_policy.errors_of_runback.conditions[0].condition_matched_log[0].filter, "NOT logName:\"run.googleapis.com%2Frequests\" AND severity>=ERROR")
    error_message = "Every answer that asks for a redelivery would count as an error."
  }

  # Monitoring drops zeros from a dashboard, and the plan would never be empty.
  assert {
    condition     = !strcontains(google_monitoring_dashboard.runback.dashboard_json, "Pos\":0") && length(jsondecode(google_monitoring_dashboard.runback.dashboard_json).mosaicLayout.tiles) == 7
    error_message = google_monitoring_dashboard.runback.dashboard_json
  }
}

run "what_is_not_wanted_is_not_made" {
  command = apply

  variables {
    heartbeat            = false
    create_repository    = false
    enable_apis          = false
    ingress              = "internal"
    queue_name           = "second-attempt"
    slack_webhook_secret = null
    # The short name of a secret, and the channel as it is.
    slack_bot_token_secret = "runback-bot"
    slack_channel          = "#incidents"
  }

  assert {
    condition = (
      length(google_cloud_scheduler_job.heartbeat) + length(google_monitoring_alert_policy.silent) + length(google_artifact_registry_repository.images)
      + length(google_project_service.runback) + length(google_project_service.guarded)
    ) == 0 && output.image_repository == null
    error_message = "Something is made that was not asked for."
  }

  assert {
    condition     = google_cloud_run_v2_service.runback.ingress == "INGRESS_TRAFFIC_INTERNAL_ONLY" && google_cloud_tasks_queue.checks.name == "second-attempt"
    error_message = "Ingress or queue are not as asked for."
  }

  assert {
    condition = toset([
      for e in google_cloud_run_v2_service.runback.template[0].containers[0].env : e.name if startswith(e.name, "SLACK_")
    ]) == toset(["SLACK_BOT_TOKEN", "SLACK_CHANNEL"])
    error_message = "The bot is not configured."
  }
}

run "a_second_installation_shares_no_name_with_the_first" {
  command = apply

  variables {
    name = "runback-staging"
  }

  assert {
    condition = alltrue([
      for name in [
        google_cloud_run_v2_service.runback.name, google_pubsub_topic.alerts.name, google_eventarc_trigger.alerts["eventarc"].name,
        google_cloud_tasks_queue.checks.name, google_service_account.runback.account_id, google_service_account.trigger.account_id,
        google_service_account.tasks.account_id, google_cloud_scheduler_job.heartbeat[0].name, google_artifact_registry_repository.images[0].repository_id,
        replace(google_logging_metric.decisions.name, "_", "-"), replace(google_project_iam_custom_role.checks.role_id, "_", "-"),
        replace(google_project_iam_custom_role.rollback["demo-project"].role_id, "_", "-"),
      ] : startswith(name, "runback-staging")
    ])
    error_message = "Two installations in one project would fight over a name."
  }
}
