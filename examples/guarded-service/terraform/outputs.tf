output "service_account" {
  description = "As whom the service runs. Runback's Terraform wants it, as `service_account`."
  value       = google_service_account.runtime.email
}

output "image_repository" {
  description = "Where the images are kept. Runback's Terraform wants it, as `image_repository`."
  value       = google_artifact_registry_repository.images.id
}

output "pipeline_service_account" {
  description = "As whom the pipeline runs: the service account of the Cloud Build trigger, or of GitHub's identity."
  value       = google_service_account.pipeline.email
}

output "workload_identity_provider" {
  description = "For the repository variable GCP_WORKLOAD_IDENTITY_PROVIDER; null without github_repository."
  value       = one([for provider in google_iam_workload_identity_pool_provider.github : provider.name])
}
