# GitHub's identity, for github-actions.yml: no key is kept anywhere. Only workflows of one branch of one repository are
# taken for the pipeline.

locals {
  github = var.github_repository == null ? toset([]) : toset([var.github_repository])
}

resource "google_iam_workload_identity_pool" "github" {
  for_each = local.github

  workload_identity_pool_id = "${var.service}-github"
  display_name              = "Releases of ${var.service}"
  description               = "Workflows of ${each.value} on GitHub."

  depends_on = [google_project_service.apis]
}

resource "google_iam_workload_identity_pool_provider" "github" {
  # checkov:skip=CKV_GCP_125: The condition names one repository and branch; the check does not look a variable up.
  for_each = local.github

  workload_identity_pool_id          = google_iam_workload_identity_pool.github[each.value].workload_identity_pool_id
  workload_identity_pool_provider_id = "github"
  display_name                       = "GitHub Actions"

  # Everybody on GitHub has an identity of this issuer: without the condition, everybody could release.
  attribute_condition = "assertion.repository == \"${each.value}\" && assertion.ref == \"refs/heads/${var.github_branch}\""
  attribute_mapping = {
    "google.subject"       = "assertion.sub"
    "attribute.repository" = "assertion.repository"
  }

  oidc {
    issuer_uri = "https://token.actions.githubusercontent.com"
  }
}

resource "google_service_account_iam_member" "github" {
  for_each = local.github

  service_account_id = google_service_account.pipeline.name
  role               = "roles/iam.workloadIdentityUser"
  member             = "principalSet://iam.googleapis.com/${google_iam_workload_identity_pool.github[each.value].name}/attribute.repository/${each.value}"
}
