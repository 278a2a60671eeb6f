# What the first deployment meets: regions, policies of an organisation, names that Google keeps for a while.

mock_provider "google" {
  source = "./tests/mocks"
}

variables {
  project              = "demo-project"
  image                = "asia-northeast1-docker.pkg.dev/demo-project/runback/runback:1"
  slack_webhook_secret = "runback-slack"
  operator_emails      = ["oncall@example.com"]
  services = [{
    service          = "k-back"
    service_account  = "k-back@demo-project.iam.gserviceaccount.com"
    image_repository = "projects/demo-project/locations/asia-northeast1/repositories/k-back-repo"
    alerts           = { logs = { "database lost" = "textPayload : \"could not connect\"" } }
  }]
}

run "without_a_word_it_asks_for_nothing_special" {
  command = plan

  assert {
    condition = (
      google_cloud_run_v2_service.runback.location == "asia-northeast1"
      && google_cloud_tasks_queue.checks.location == "asia-northeast1"
      && google_cloud_scheduler_job.heartbeat[0].region == "asia-northeast1"
      && length(google_cloud_run_v2_service.runback.template[0].vpc_access) == 0
      && length(google_pubsub_topic.alerts.message_storage_policy) == 0
      && google_pubsub_topic.alerts.kms_key_name == null
      && google_cloud_run_v2_service.runback.template[0].containers[0].resources[0].limits == tomap({ cpu = "1", memory = "256Mi" })
    )
    error_message = "A default changes what is deployed."
  }

  # Cloud Run refuses a probe that takes as long as its period.
  assert {
    condition = alltrue([
      for probe in concat(
        google_cloud_run_v2_service.runback.template[0].containers[0].startup_probe,
        google_cloud_run_v2_service.runback.template[0].containers[0].liveness_probe,
      ) : probe.period_seconds > probe.timeout_seconds
    ])
    error_message = "A probe's period is not above its time-out."
  }

  # What Google would fill in is written down, or the plan after the first apply would not be empty.
  assert {
    condition     = alltrue([for key, value in google_cloud_scheduler_job.heartbeat[0].retry_config[0] : value != null])
    error_message = jsonencode(google_cloud_scheduler_job.heartbeat[0].retry_config)
  }

  assert {
    condition     = output.modes == { "demo-project/asia-northeast1/k-back" = "observe" }
    error_message = jsonencode(output.modes)
  }
}

run "a_region_without_cloud_tasks_is_warned_of" {
  command = plan

  variables {
    region = "europe-west4"
  }

  expect_failures = [check.regions_have_queues]
}

run "queue_and_heartbeat_may_be_in_a_region_nearby" {
  command = apply

  variables {
    region       = "europe-west4"
    queue_region = "europe-west1"
  }

  assert {
    condition = (
      google_cloud_run_v2_service.runback.location == "europe-west4"
      && google_cloud_tasks_queue.checks.location == "europe-west1"
      && google_cloud_tasks_queue_iam_member.checks.location == "europe-west1"
      && google_cloud_scheduler_job.heartbeat[0].region == "europe-west1"
    )
    error_message = "The queue, the right on it and the heartbeat are not where they were asked for."
  }
}

run "an_organisations_policies_can_be_kept" {
  command = apply

  variables {
    trigger                 = "push"
    kms_key                 = "projects/keys/locations/asia-northeast1/keyRings/r/cryptoKeys/k"
    vpc_access              = { network = "shared", subnetwork = "runback", egress = "ALL_TRAFFIC" }
    message_storage_regions = ["asia-northeast1", "asia-northeast2"]
    resources               = { memory = "512Mi" }
    min_instances           = 1
  }

  assert {
    condition = alltrue(concat(
      [google_cloud_run_v2_service.runback.template[0].encryption_key == var.kms_key],
      [google_artifact_registry_repository.images[0].kms_key_name == var.kms_key],
      [for topic in [google_pubsub_topic.alerts, google_pubsub_topic.dead_letters["push"]] : topic.kms_key_name == var.kms_key],
    ))
    error_message = "Something is encrypted with another key."
  }

  assert {
    condition = alltrue([
      for topic in [google_pubsub_topic.alerts, google_pubsub_topic.dead_letters["push"]] :
      toset(topic.message_storage_policy[0].allowed_persistence_regions) == toset(var.message_storage_regions)
    ])
    error_message = "Messages may lie elsewhere."
  }

  assert {
    condition = (
      google_cloud_run_v2_service.runback.template[0].vpc_access[0].egress == "ALL_TRAFFIC"
      && google_cloud_run_v2_service.runback.template[0].vpc_access[0].network_interfaces[0].subnetwork == "runback"
      && google_cloud_run_v2_service.runback.template[0].containers[0].resources[0].limits == tomap({ cpu = "1", memory = "512Mi" })
      && google_cloud_run_v2_service.runback.template[0].scaling[0].min_instance_count == 1
    )
    error_message = jsonencode(google_cloud_run_v2_service.runback.template)
  }
}

run "a_vpc_is_reached_in_one_way" {
  command = plan

  variables {
    vpc_access = { connector = "projects/p/locations/r/connectors/c", network = "shared" }
  }

  expect_failures = [var.vpc_access]
}

run "roles_can_come_back_under_other_ids" {
  command = plan

  variables {
    role_suffix = "_2"
  }

  assert {
    condition = toset([
      google_project_iam_custom_role.rollback["demo-project"].role_id,
      google_project_iam_custom_role.evidence["demo-project"].role_id,
      google_project_iam_custom_role.checks.role_id,
    ]) == toset(["runback_rollback_2", "runback_evidence_2", "runback_checks_2"])
    error_message = "A role has an id that Google blocks."
  }
}

run "a_project_whose_number_is_given_is_not_looked_up" {
  command = plan

  variables {
    project_numbers = { demo-project = "42" }
    trigger         = "push"
    services = [
      { service = "k-back", service_account = "a@demo-project.iam.gserviceaccount.com" },
      { service = "shop", project = "other-project", service_account = "b@other-project.iam.gserviceaccount.com" },
    ]
  }

  assert {
    condition     = keys(data.google_project.numbered) == ["other-project"]
    error_message = jsonencode(keys(data.google_project.numbered))
  }

  assert {
    condition = (
      output.service_url == "https://runback-42.asia-northeast1.run.app"
      && google_pubsub_topic_iam_member.monitoring["demo-project"].member == "serviceAccount:service-42@gcp-sa-monitoring-notification.iam.gserviceaccount.com"
      && google_pubsub_topic_iam_member.dead_letters["push"].member == "serviceAccount:service-42@gcp-sa-pubsub.iam.gserviceaccount.com"
    )
    error_message = "The number that was given is not the one that is used."
  }
}

run "images_of_every_container_can_be_read_wherever_they_are" {
  command = plan

  variables {
    mode = "enforce"
    services = [{
      service            = "k-back"
      service_account    = "a@demo-project.iam.gserviceaccount.com"
      image_repositories = ["projects/images/locations/us/repositories/gcr.io", "projects/demo-project/locations/asia-northeast1/repositories/sidecars"]
    }]
  }

  # In "enforce" a service without any repository would be warned of.
  assert {
    condition = toset([for m in google_artifact_registry_repository_iam_member.images : "${m.project}/${m.location}/${m.repository}"]) == toset([
      "images/us/gcr.io", "demo-project/asia-northeast1/sidecars",
    ])
    error_message = "Not every image can be read."
  }
}

run "an_image_host_is_no_repository" {
  command = plan

  variables {
    services = [{ service = "k-back", service_account = "a@demo-project.iam.gserviceaccount.com", image_repositories = ["gcr.io/my-project"] }]
  }

  expect_failures = [var.services]
}

run "labels_are_on_all_that_carries_them" {
  command = apply

  variables {
    trigger = "push"
    labels  = { cost-centre = "42", 部署 = "介護" }
  }

  assert {
    condition = alltrue([
      for labels in concat(
        [google_cloud_run_v2_service.runback.labels, google_cloud_run_v2_service.runback.template[0].labels],
        [google_artifact_registry_repository.images[0].labels, google_pubsub_topic.alerts.labels, google_pubsub_topic.dead_letters["push"].labels],
        [google_pubsub_subscription.push["push"].labels, google_pubsub_subscription.dead_letters[0].labels],
        [for channel in concat(values(google_monitoring_notification_channel.runback), values(google_monitoring_notification_channel.operators)) : channel.user_labels],
        [for policy in concat(
          values(google_monitoring_alert_policy.errors), values(google_monitoring_alert_policy.latency), values(google_monitoring_alert_policy.logs),
          google_monitoring_alert_policy.silent, values(google_monitoring_alert_policy.dead_letters),
          [google_monitoring_alert_policy.errors_of_runback, google_monitoring_alert_policy.undelivered],
        ) : policy.user_labels],
      ) : labels["cost-centre"] == "42" && labels["部署"] == "介護"
    ])
    error_message = "Something that can carry labels has none."
  }

  # Beside the labels that Runback reads.
  assert {
    condition     = google_monitoring_alert_policy.logs["demo-project/asia-northeast1/k-back/database lost"].user_labels["runback"] == "critical"
    error_message = jsonencode(google_monitoring_alert_policy.logs["demo-project/asia-northeast1/k-back/database lost"].user_labels)
  }
}

run "a_label_that_google_would_refuse_is_refused" {
  command = plan

  variables {
    labels = { "Cost Centre" = "42" }
  }

  expect_failures = [var.labels]
}

run "a_label_cannot_make_an_alert_act" {
  command = plan

  variables {
    labels = { runback = "critical" }
  }

  expect_failures = [var.labels]
}
