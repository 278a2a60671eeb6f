# The way from a deploy to Runback: which entries of which project's log, as whom, and that it can be left out. What the
# filter takes out of a log is tried in .ci/log_filter.py.

mock_provider "google" {
  source = "./tests/mocks"
}

variables {
  project              = "demo-project"
  region               = "asia-northeast1"
  image                = "asia-northeast1-docker.pkg.dev/demo-project/runback/runback:1"
  slack_webhook_secret = "runback-slack"
  operator_emails      = ["oncall@example.com"]
  services = [
    {
      service          = "k-back"
      service_account  = "k-back@demo-project.iam.gserviceaccount.com"
      image_repository = "projects/demo-project/locations/asia-northeast1/repositories/images"
    },
    {
      service          = "k-admin"
      service_account  = "k-back@demo-project.iam.gserviceaccount.com"
      image_repository = "projects/demo-project/locations/asia-northeast1/repositories/images"
    },
    {
      service          = "k-front"
      region           = "europe-west1"
      service_account  = "k-back@demo-project.iam.gserviceaccount.com"
      image_repository = "projects/demo-project/locations/asia-northeast1/repositories/images"
    },
    {
      service          = "shop"
      project          = "other-project"
      service_account  = "shop@other-project.iam.gserviceaccount.com"
      image_repository = "projects/other-project/locations/asia-northeast1/repositories/shop"
    },
  ]
}

run "each_project_tells_of_changes_of_its_own_guarded_services_and_of_nothing_else" {
  command = apply

  assert {
    condition     = google_logging_project_sink.deploys["other-project"].filter == "(log_id(\"cloudaudit.googleapis.com/activity\") OR log_id(\"cloudaudit.googleapis.com/system_event\")) AND protoPayload.serviceName=\"run.googleapis.com\" AND protoPayload.methodName=~\"[./](CreateService|ReplaceService|UpdateService|CreateInternalService|ReplaceInternalService)$\" AND NOT protoPayload.status.code>0 AND NOT protoPayload.authenticationInfo.principalEmail=\"mock@demo-project.iam.gserviceaccount.com\" AND (protoPayload.resourceName=~\"^projects/[^/]+/locations/asia-northeast1/services/(shop)$\" OR (protoPayload.resourceName=~\"^namespaces/[^/]+/services/(shop)$\" AND (resource.labels.location=\"asia-northeast1\" OR protoPayload.resourceLocation.currentLocations=\"asia-northeast1\")))"
    error_message = google_logging_project_sink.deploys["other-project"].filter
  }

  # Services of one region in one expression, each region's own names.
  assert {
    condition     = endswith(google_logging_project_sink.deploys["demo-project"].filter, " AND (protoPayload.resourceName=~\"^projects/[^/]+/locations/asia-northeast1/services/(k-admin|k-back)$\" OR (protoPayload.resourceName=~\"^namespaces/[^/]+/services/(k-admin|k-back)$\" AND (resource.labels.location=\"asia-northeast1\" OR protoPayload.resourceLocation.currentLocations=\"asia-northeast1\")) OR protoPayload.resourceName=~\"^projects/[^/]+/locations/europe-west1/services/(k-front)$\" OR (protoPayload.resourceName=~\"^namespaces/[^/]+/services/(k-front)$\" AND (resource.labels.location=\"europe-west1\" OR protoPayload.resourceLocation.currentLocations=\"europe-west1\")))")
    error_message = google_logging_project_sink.deploys["demo-project"].filter
  }

  assert {
    condition     = !strcontains(google_logging_project_sink.deploys["demo-project"].filter, "shop")
    error_message = "A project's log has no other project's services."
  }

  # Where it goes, and as whom.
  assert {
    condition = (
      toset(keys(google_logging_project_sink.deploys)) == toset(["demo-project", "other-project"])
      && alltrue([
        for project, sink in google_logging_project_sink.deploys :
        sink.project == project && sink.unique_writer_identity && sink.name == "runback-deploys"
        && sink.destination == "pubsub.googleapis.com/${google_pubsub_topic.alerts.id}"
      ])
    )
    error_message = "A project with a guarded service has no sink of its own to the topic."
  }

  assert {
    condition = alltrue([
      for project in ["demo-project", "other-project"] :
      google_pubsub_topic_iam_member.deploys[project].member == google_logging_project_sink.deploys[project].writer_identity
      && google_pubsub_topic_iam_member.deploys[project].project == "demo-project"
      && google_pubsub_topic_iam_member.deploys[project].topic == "runback-alerts"
      && google_pubsub_topic_iam_member.deploys[project].role == "roles/pubsub.publisher"
    ]) && length(google_pubsub_topic_iam_member.deploys) == 2
    error_message = "A sink may not publish to the topic, or may do more."
  }

  assert {
    condition = (
      contains(keys(google_project_service.guarded), "other-project/logging.googleapis.com")
      && alltrue([for api in ["logging.googleapis.com", "pubsub.googleapis.com"] : contains(keys(google_project_service.runback), api)])
    )
    error_message = "An API that a sink needs is not switched on."
  }

  assert {
    condition = output.deploy_sinks == {
      demo-project  = "serviceAccount:service-123456789012@gcp-sa-logging.iam.gserviceaccount.com"
      other-project = "serviceAccount:service-123456789012@gcp-sa-logging.iam.gserviceaccount.com"
    }
    error_message = jsonencode(output.deploy_sinks)
  }
}

run "runback_hears_of_no_deploy_where_that_is_not_wanted" {
  command = apply

  variables {
    watch_deploys = false
  }

  assert {
    condition     = length(google_logging_project_sink.deploys) + length(google_pubsub_topic_iam_member.deploys) + length(output.deploy_sinks) == 0
    error_message = "A sink is made that was not asked for, or somebody may publish who need not."
  }

  # The alerts come as before.
  assert {
    condition     = length(google_pubsub_topic_iam_member.monitoring) == 2
    error_message = "Alerts do not reach the topic."
  }
}

run "a_second_installation_has_sinks_of_its_own" {
  command = apply

  variables {
    name = "runback-staging"
  }

  assert {
    condition     = alltrue([for sink in google_logging_project_sink.deploys : sink.name == "runback-staging-deploys"])
    error_message = "Two installations would fight over a sink."
  }
}
