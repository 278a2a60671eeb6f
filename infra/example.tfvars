# cp example.tfvars terraform.tfvars, then change what is yours. `terraform.tfvars` is not checked in.

project = "my-project"
region  = "asia-northeast1"
image   = "asia-northeast1-docker.pkg.dev/my-project/runback/runback:1a2b3c4"

# "observe" explains what it would do, in the log and in Slack. Say "enforce" when you like what you read.
mode = "observe"

# gcloud secrets create runback-slack --data-file=-
slack_webhook_secret = "runback-slack"

operator_emails = ["oncall@example.com"]
invokers        = ["user:somebody@example.com"]

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
]
