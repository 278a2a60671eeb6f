# Every kind of mistake in the policy at once, on top of example.tfvars; .ci/test-infra holds the plan's answer against
# mistakes.txt.

defaults = {
  strategy     = "slowly"
  rollback     = 5
  window       = "ten minutes"
  steps        = [50, 10, 100]
  health_path  = "/k-back/healthz"
  min_requests = 1.5
  history      = "90s"
  slow         = "2h"
}

services = [
  {
    service         = "k-back"
    service_account = "k-back@my-project.iam.gserviceaccount.com"
    rollback        = 0.6
    warning         = 0.7
    cooldown        = "25h"
    schema          = ""
    steps           = []
  },
]
