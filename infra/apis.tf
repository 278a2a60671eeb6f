locals {
  # What Runback's own project needs.
  apis = [
    "artifactregistry.googleapis.com",
    "cloudresourcemanager.googleapis.com",
    "cloudscheduler.googleapis.com",
    "cloudtasks.googleapis.com",
    "eventarc.googleapis.com",
    "iam.googleapis.com",
    "logging.googleapis.com",
    "monitoring.googleapis.com",
    "pubsub.googleapis.com",
    "run.googleapis.com",
    "secretmanager.googleapis.com",
  ]
  # What other projects with guarded services need for the roles, the channel, the alert policies and the sink there.
  guarded_apis = ["iam.googleapis.com", "logging.googleapis.com", "monitoring.googleapis.com"]
}

resource "google_project_service" "runback" {
  for_each = var.enable_apis ? toset(local.apis) : toset([])

  project = var.project
  service = each.value
  # Others may use it by then.
  disable_on_destroy = false
}

resource "google_project_service" "guarded" {
  for_each = {
    for pair in setproduct(setsubtract(local.guarded_projects, [var.project]), local.guarded_apis) :
    "${pair[0]}/${pair[1]}" => { project = pair[0], api = pair[1] } if var.enable_apis
  }

  project            = each.value.project
  service            = each.value.api
  disable_on_destroy = false
}

# For the number, which Google's own service agents and the run.app address are named by. There is deliberately no
# depends_on: it would make the number unknown whenever an API is about to be switched on, and Terraform would take the
# rights that are made of it away and give them anew, while alerts come in. So Cloud Resource Manager has to be on before
# the first plan; the README says how.

data "google_project" "numbered" {
  for_each = setsubtract(setunion([var.project], local.guarded_projects), keys(var.project_numbers))

  project_id = each.value
}

locals {
  project_numbers = merge({ for id, project in data.google_project.numbered : id => project.number }, var.project_numbers)
}
