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
    image_repository = "projects/my-project/locations/asia-northeast1/repositories/k-back-repo"
    health_path      = "/health"

    # The handbook in two bands: 5-10 % of 5xx are a warning and may be looked at for 30 minutes (section 7.2), more goes
    # back. Section 9.1 goes back from 5 % on: for that, leave both lines out.
    warning  = 0.05
    rollback = 0.10

    # The handbook's criticals (section 7.1). ONE matching line is believed, so match only what no healthy revision ever
    # writes. A Python traceback on stderr has no severity: look for its words.
    alerts = {
      logs = {
        "data may be lost"         = "(severity >= ERROR OR textPayload =~ \"ERROR|CRITICAL|Exception|Traceback\") AND textPayload : \"DataLossError\""
        "payments stand still"     = "(severity >= ERROR OR textPayload =~ \"ERROR|CRITICAL|Exception|Traceback\") AND textPayload : \"PaymentUnavailable\""
        "nobody can log in"        = "jsonPayload.event = \"login_outage\""
        "database connection lost" = "textPayload =~ \"ERROR|CRITICAL|Exception|Traceback\" AND textPayload : \"OperationalError\" AND textPayload : \"could not connect to server\""
      }
    }
  },
  {
    service          = "k-front"
    service_account  = "k-front@my-project.iam.gserviceaccount.com"
    image_repository = "projects/my-project/locations/asia-northeast1/repositories/k-front-repo"
    slow             = "800ms"
  },
]
