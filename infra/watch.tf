# Word of deploys: the part of Cloud Run's audit log that tells of changes of the guarded services goes to the topic that
# the alerts come by. A sink sees only its own project's log, so each project with a guarded service gets one.

locals {
  watched_projects = var.watch_deploys ? local.guarded_projects : toset([])

  # The methods that make or change a service, as src/intake/audit.rs knows them; a test holds the two together.
  service_changes = [
    "CreateService", "ReplaceService", "UpdateService", "CreateInternalService", "ReplaceInternalService",
  ]

  # By project and region: the short names of the guarded services, for a regular expression. They hold letters, digits
  # and hyphens only.
  watched_names = {
    for project in local.guarded_projects : project => {
      for region in toset([for s in local.guarded : s.region if s.project == project]) : region => join("|", [
        for s in local.guarded : s.service if s.project == project && s.region == region
      ])
    }
  }

  # A service is named in one of two ways, and only one of them says in which region it is.
  watched_services = {
    for project, regions in local.watched_names : project => [
      for region, names in regions : join(" OR ", [
        "protoPayload.resourceName=~\"^projects/[^/]+/locations/${region}/services/(${names})$\"",
        "(protoPayload.resourceName=~\"^namespaces/[^/]+/services/(${names})$\" AND (resource.labels.location=\"${region}\" OR protoPayload.resourceLocation.currentLocations=\"${region}\"))",
      ])
    ]
  }

  # Cloud Run itself says in the log of system events that a change has been rolled out. Reads are in data_access, which
  # may be switched on and is long. A change that failed changed nothing, and what Runback changes is no deploy.
  deploy_filters = {
    for project, services in local.watched_services : project => join(" AND ", [
      "(log_id(\"cloudaudit.googleapis.com/activity\") OR log_id(\"cloudaudit.googleapis.com/system_event\"))",
      "protoPayload.serviceName=\"run.googleapis.com\"",
      "protoPayload.methodName=~\"[./](${join("|", local.service_changes)})$\"",
      "NOT protoPayload.status.code>0",
      "NOT protoPayload.authenticationInfo.principalEmail=\"${google_service_account.runback.email}\"",
      "(${join(" OR ", services)})",
    ])
  }
}

resource "google_logging_project_sink" "deploys" {
  for_each = local.watched_projects

  project     = each.value
  name        = "${var.name}-deploys"
  description = "Tells Runback of deploys of the services that it guards."
  destination = "pubsub.googleapis.com/${google_pubsub_topic.alerts.id}"
  filter      = local.deploy_filters[each.value]

  # An identity of the project's own. The one that all projects share can only write within the sink's project.
  unique_writer_identity = true

  depends_on = [google_project_service.runback, google_project_service.guarded]
}

resource "google_pubsub_topic_iam_member" "deploys" {
  for_each = local.watched_projects

  project = var.project
  topic   = google_pubsub_topic.alerts.name
  role    = "roles/pubsub.publisher"
  member  = google_logging_project_sink.deploys[each.value].writer_identity
}
