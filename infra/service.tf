# Runback's own Cloud Run service.

locals {
  # The address that Cloud Run gives a service, known before the service is there. Taking it from the service instead
  # would be a circle: the service needs to know its own address, for its tasks to call back.
  public_url = "https://${var.name}-${local.project_numbers[var.project]}.${var.region}.run.app"

  # A token names an account, and not the group by which that may call.
  people = distinct(concat(
    [for member in var.invokers : split(":", member)[1] if can(regex("^(user|serviceAccount):", member))],
    var.invoker_emails,
  ))
  pipelines = [for member in var.pipelines : split(":", member)[1]]

  # What the tests and the demonstration call `environment`; secrets come below.
  environment = {
    RUNBACK_CALLERS_EVENTS = join(",", concat([google_service_account.trigger.email], local.people))
    # What the trigger brings may report a deploy as well.
    RUNBACK_CALLERS_WATCH   = join(",", distinct(concat([google_service_account.trigger.email], local.people, local.pipelines)))
    RUNBACK_POLICY          = jsonencode(local.policy)
    RUNBACK_TASKS_QUEUE     = google_cloud_tasks_queue.checks.id
    RUNBACK_PUBLIC_URL      = local.public_url
    RUNBACK_SERVICE_ACCOUNT = google_service_account.tasks.email
    GOOGLE_CLOUD_PROJECT    = var.project
    RUST_LOG                = var.log
  }

  # Variables whose values are read from Secret Manager when an instance starts, and are in no state.
  secrets = {
    for variable, secret in {
      SLACK_WEBHOOK_URL = var.slack_webhook_secret
      SLACK_BOT_TOKEN   = var.slack_bot_token_secret
    } : variable => secret if secret != null
  }
}

resource "google_service_account" "runback" {
  project      = var.project
  account_id   = var.name
  display_name = "Runback"
  description  = "What Runback does to guarded services, it does as this account."

  depends_on = [google_project_service.runback]
}

resource "google_secret_manager_secret_iam_member" "runback" {
  for_each = local.secrets

  project   = var.project
  secret_id = each.value
  role      = "roles/secretmanager.secretAccessor"
  member    = google_service_account.runback.member

  depends_on = [google_project_service.runback]
}

resource "google_cloud_run_v2_service" "runback" {
  project             = var.project
  location            = var.region
  name                = var.name
  description         = "Rolls guarded Cloud Run services back when an alert fires and the newest deploy is to blame."
  ingress             = { all = "INGRESS_TRAFFIC_ALL", internal = "INGRESS_TRAFFIC_INTERNAL_ONLY" }[var.ingress]
  labels              = var.labels
  deletion_protection = var.deletion_protection

  template {
    service_account = google_service_account.runback.email
    labels          = var.labels
    # An event is answered within 8 seconds; a preflight and its switch take longest.
    timeout = "60s"
    # It waits for Google most of the time, so one instance handles a whole burst of alerts.
    max_instance_request_concurrency = 20

    scaling {
      min_instance_count = var.min_instances
      max_instance_count = var.max_instances
    }

    encryption_key = var.kms_key

    dynamic "vpc_access" {
      for_each = var.vpc_access[*]
      content {
        connector = vpc_access.value.connector
        egress    = vpc_access.value.egress

        dynamic "network_interfaces" {
          for_each = vpc_access.value.connector == null ? [vpc_access.value] : []
          content {
            network    = network_interfaces.value.network
            subnetwork = network_interfaces.value.subnetwork
            tags       = network_interfaces.value.tags
          }
        }
      }
    }

    containers {
      image = var.image

      ports {
        container_port = 8080
      }

      dynamic "env" {
        for_each = merge(local.environment, var.slack_channel == null ? {} : { SLACK_CHANNEL = var.slack_channel })
        content {
          name  = env.key
          value = env.value
        }
      }

      dynamic "env" {
        for_each = local.secrets
        content {
          name = env.key
          value_source {
            secret_key_ref {
              secret  = env.value
              version = "latest"
            }
          }
        }
      }

      resources {
        limits            = { cpu = var.resources.cpu, memory = var.resources.memory }
        cpu_idle          = true
        startup_cpu_boost = true
      }

      # It listens within milliseconds. Cloud Run wants a period above the time-out, and both in whole seconds.
      startup_probe {
        period_seconds    = 2
        timeout_seconds   = 1
        failure_threshold = 15
        http_get {
          path = "/health"
        }
      }

      liveness_probe {
        period_seconds    = 30
        timeout_seconds   = 5
        failure_threshold = 3
        http_get {
          path = "/health"
        }
      }
    }
  }

  lifecycle {
    # Whoever pins Runback to one of its own revisions, in the console or with gcloud, means it. `client` is the tool that
    # wrote last.
    ignore_changes = [traffic, client, client_version]

    precondition {
      condition     = length(local.policy_problems) == 0
      error_message = "The policy has mistakes:\n${join("\n", local.policy_problems)}"
    }
  }

  # A revision whose secret it may not read does not start.
  depends_on = [google_project_service.runback, google_secret_manager_secret_iam_member.runback]
}

# Nobody may call it who is not named here: there is no allUsers.

resource "google_cloud_run_v2_service_iam_member" "callers" {
  for_each = merge(
    {
      trigger = google_service_account.trigger.member
      tasks   = google_service_account.tasks.member
    },
    { for member in concat(var.invokers, var.pipelines) : member => member },
  )

  project  = var.project
  location = var.region
  name     = google_cloud_run_v2_service.runback.name
  role     = "roles/run.invoker"
  member   = each.value
}

check "people_of_groups_are_known" {
  assert {
    condition     = length(var.invoker_emails) > 0 || alltrue([for member in var.invokers : can(regex("^(user|serviceAccount):", member))])
    error_message = "invokers has a group, but a token names the account and not its groups: list the people in invoker_emails, or Runback answers them with 403."
  }
}
