project = "my-project"
image   = "asia-northeast1-docker.pkg.dev/my-project/runback/runback@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

services = [{
  service          = "k-back"
  service_account  = "k-back@my-project.iam.gserviceaccount.com"
  image_repository = "projects/my-project/locations/asia-northeast1/repositories/k-back-repo"
  health_path      = "/health"
}]
