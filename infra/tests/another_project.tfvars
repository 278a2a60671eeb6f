# example.tfvars and one service more, in another project.

services = [
  {
    service          = "k-back"
    service_account  = "k-back@my-project.iam.gserviceaccount.com"
    image_repository = "projects/my-project/locations/asia-northeast1/repositories/k-back"
    warning          = 0.02
    health_path      = "/healthz"

    alerts = {
      logs = {
        "database connection lost" = "severity >= ERROR AND textPayload : \"OperationalError\" AND textPayload : \"could not connect to server\""
        "nobody can log in"        = "jsonPayload.event = \"login_outage\""
      }
    }
  },
  {
    service          = "k-front"
    service_account  = "k-front@my-project.iam.gserviceaccount.com"
    image_repository = "projects/my-project/locations/asia-northeast1/repositories/k-front"
    slow             = "800ms"
  },
  {
    service          = "shop"
    project          = "other-project"
    service_account  = "shop@other-project.iam.gserviceaccount.com"
    image_repository = "projects/other-project/locations/asia-northeast1/repositories/shop"
  },
]
