# What Runback may do, and nothing else. permissions.json says which call needs which permission; docs/permissions.md
# shows it as a table, and the tests hold both against the calls that Runback really makes.

locals {
  permissions = {
    for role in ["rollback", "evidence", "checks"] : role => [
      for p in jsondecode(file("${path.module}/permissions.json")) : p.permission if p.role == role
    ]
  }
  role_prefix = replace(var.name, "-", "_")

  # The project of a service account, by its e-mail address: NAME@PROJECT.iam…, NUMBER-compute@developer…, or
  # PROJECT@appspot…. IAM wants it in the name of the resource.
  identities = {
    for email in toset([for s in local.guarded : s.service_account]) : email => try(
      regex("^[^@]+@([a-z0-9-]+)\\.iam\\.gserviceaccount\\.com$", email)[0],
      regex("^([0-9]+)-compute@developer\\.gserviceaccount\\.com$", email)[0],
      regex("^([a-z0-9-]+)@appspot\\.gserviceaccount\\.com$", email)[0],
      [for s in local.guarded : s.project if s.service_account == email][0],
    )
  }

  # By guarded service: where its containers' images are kept.
  images_of = {
    for name, s in local.guarded : name => distinct(concat(s.image_repository == null ? [] : [s.image_repository], s.image_repositories))
  }
  repositories = {
    for name in toset(flatten(values(local.images_of))) : name => {
      project    = split("/", name)[1]
      location   = split("/", name)[3]
      repository = split("/", name)[5]
    }
  }
}

# On each guarded service: read it and move its traffic.

resource "google_project_iam_custom_role" "rollback" {
  for_each = local.guarded_projects

  project     = each.value
  role_id     = "${local.role_prefix}_rollback${var.role_suffix}"
  title       = "Runback: roll back"
  description = "Read a Cloud Run service and change its traffic. Granted on guarded services only."
  permissions = local.permissions.rollback

  depends_on = [google_project_service.runback, google_project_service.guarded]
}

resource "google_cloud_run_v2_service_iam_member" "rollback" {
  for_each = local.guarded

  project  = each.value.project
  location = each.value.region
  name     = each.value.service
  role     = google_project_iam_custom_role.rollback[each.value.project].id
  member   = google_service_account.runback.member
}

# On each project with a guarded service: list revisions and read metrics.

resource "google_project_iam_custom_role" "evidence" {
  for_each = local.guarded_projects

  project     = each.value
  role_id     = "${local.role_prefix}_evidence${var.role_suffix}"
  title       = "Runback: read the evidence"
  description = "List Cloud Run revisions and read metrics."
  permissions = local.permissions.evidence

  depends_on = [google_project_service.runback, google_project_service.guarded]
}

resource "google_project_iam_member" "evidence" {
  for_each = local.guarded_projects

  project = each.value
  role    = google_project_iam_custom_role.evidence[each.value].id
  member  = google_service_account.runback.member
}

# On each guarded service's identity: Cloud Run lets only those update a service who may act as it.

resource "google_service_account_iam_member" "runtime" {
  for_each = local.identities

  service_account_id = "projects/${each.value}/serviceAccounts/${each.key}"
  role               = "roles/iam.serviceAccountUser"
  member             = google_service_account.runback.member
}

# On each guarded service's images: Cloud Run checks them with our rights when traffic is moved.

resource "google_artifact_registry_repository_iam_member" "images" {
  for_each = local.repositories

  project    = each.value.project
  location   = each.value.location
  repository = each.value.repository
  role       = "roles/artifactregistry.reader"
  member     = google_service_account.runback.member
}

# On each guarded service whose target is probed first: call it, should it be private.

resource "google_cloud_run_v2_service_iam_member" "probe" {
  for_each = { for name, s in local.guarded : name => s if local.rules[name].health_path != null }

  project  = each.value.project
  location = each.value.region
  name     = each.value.service
  role     = "roles/run.invoker"
  member   = google_service_account.runback.member
}

# On the queue: plan later checks, which call back as the tasks' account.

resource "google_project_iam_custom_role" "checks" {
  project     = var.project
  role_id     = "${local.role_prefix}_checks${var.role_suffix}"
  title       = "Runback: plan checks"
  description = "Create and look up Cloud Tasks. Granted on Runback's queue only."
  permissions = local.permissions.checks

  depends_on = [google_project_service.runback]
}

resource "google_cloud_tasks_queue_iam_member" "checks" {
  project  = var.project
  location = local.queue_region
  name     = google_cloud_tasks_queue.checks.name
  role     = google_project_iam_custom_role.checks.id
  member   = google_service_account.runback.member
}

resource "google_service_account_iam_member" "tasks" {
  service_account_id = google_service_account.tasks.name
  role               = "roles/iam.serviceAccountUser"
  member             = google_service_account.runback.member
}
