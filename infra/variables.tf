# Where Runback itself runs

variable "project" {
  description = "Id of the project that Runback runs in."
  type        = string

  validation {
    condition     = can(regex("^([a-z0-9.-]+:)?[a-z][a-z0-9-]{4,28}[a-z0-9]$", var.project))
    error_message = "project must be a project id, such as \"my-project\", not a number or a display name."
  }
}

variable "region" {
  description = "Region that Runback runs in. It can guard services in any region."
  type        = string
  default     = "asia-northeast1"

  validation {
    condition     = can(regex("^[a-z]+-[a-z]+[0-9]+$", var.region))
    error_message = "region must be a region, such as \"asia-northeast1\", not a zone or a place."
  }
}

variable "name" {
  description = "Name of the Cloud Run service, and the beginning of the name of everything else."
  type        = string
  default     = "runback"

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{4,18}[a-z0-9]$", var.name))
    error_message = "name must have 6 to 20 lower-case letters, digits and hyphens, begin with a letter and not end with a hyphen."
  }
}

variable "image" {
  description = "Container image of Runback, with its tag or, better, its digest. Terraform owns it: a new version is deployed by changing this."
  type        = string

  validation {
    condition     = can(regex("^[a-z0-9][a-z0-9.-]*(/[a-z0-9._-]+)+(:[A-Za-z0-9._-]+|(:[A-Za-z0-9._-]+)?@sha256:[0-9a-f]{64})$", var.image))
    error_message = "image must be a full image name with a tag or a digest, such as \"asia-northeast1-docker.pkg.dev/my-project/runback/runback:1a2b3c4\"."
  }
}

# What is guarded, and how. Every key that is left out has the default of the policy (see the project's README).

variable "services" {
  description = "The guarded services, each with its policy keys, its runtime identity and its alerts. Nothing else is ever touched."
  type = list(object({
    service = string
    project = optional(string) # default: the project of Runback
    region  = optional(string) # default: the region of Runback

    # The service account that the guarded service runs as. A traffic change needs actAs on it.
    service_account = string
    # Artifact Registry repository of its images, as projects/P/locations/L/repositories/R. A traffic change needs read
    # access to it; unset only when the images are public.
    image_repository = optional(string)
    # More of them, where its containers' images (sidecars too) come from several. gcr.io/P is projects/P/locations/us/repositories/gcr.io.
    image_repositories = optional(list(string), [])

    # The policy of this service.
    mode                  = optional(string)
    warning               = optional(number)
    rollback              = optional(number)
    critical              = optional(number)
    slow                  = optional(string)
    slow_share            = optional(number)
    window                = optional(string)
    deploy_window         = optional(string)
    history               = optional(string)
    min_requests          = optional(number)
    cooldown              = optional(string)
    max_rollbacks_per_day = optional(number)
    strategy              = optional(string)
    steps                 = optional(list(number))
    step_interval         = optional(string)
    trial_share           = optional(number)
    health_path           = optional(string)
    not_helped            = optional(string)
    schema                = optional(string)
    alert_projects        = optional(list(string))
    repository            = optional(string)
    language              = optional(string)
    mention               = optional(string)

    alerts = optional(object({
      # Share of 5xx answers that opens an incident; default: `rollback`. `warning` opens one of its own. 0: neither.
      error_ratio = optional(number)
      # Whether slow requests open an incident, by the policy's `slow` and `slow_share`.
      latency = optional(bool, true)
      # How long either has to last, in whole minutes.
      duration = optional(string, "1m")
      # Log alerts by name: a Logging filter each. ONE matching line is believed without further evidence (the alert
      # carries runback = critical), so a filter must only match what no healthy revision ever writes.
      logs = optional(map(string), {})
      # Who else is told, as projects/P/notificationChannels/C of the service's own project.
      notification_channels = optional(list(string), [])
    }), {})
  }))

  validation {
    condition     = length(var.services) > 0
    error_message = "services must list at least one service: without one there is nothing to guard."
  }

  validation {
    condition = alltrue([
      for s in var.services : can(regex("^[a-z]([a-z0-9-]{0,47}[a-z0-9])?$", s.service))
    ])
    error_message = "Each service must be a Cloud Run service's short name, such as \"k-back\": ${join(", ", [
      for s in var.services : jsonencode(s.service) if !can(regex("^[a-z]([a-z0-9-]{0,47}[a-z0-9])?$", s.service))
    ])} is none."
  }

  validation {
    condition = alltrue([
      for s in var.services : s.project == null || can(regex("^([a-z0-9.-]+:)?[a-z][a-z0-9-]{4,28}[a-z0-9]$", s.project))
    ])
    error_message = "The project of a service must be a project id, such as \"my-project\"."
  }

  validation {
    condition = alltrue([
      for s in var.services : s.region == null || can(regex("^[a-z]+-[a-z]+[0-9]+$", s.region))
    ])
    error_message = "The region of a service must be a region, such as \"asia-northeast1\"."
  }

  validation {
    condition = length(var.services) == length(distinct([
      for s in var.services : "${coalesce(s.project, var.project)}/${coalesce(s.region, var.region)}/${s.service}"
    ]))
    error_message = "services lists a service twice: project, region and service together must differ."
  }

  validation {
    condition = alltrue([
      for s in var.services : can(regex("^[^@\\s:/]+@[a-z0-9.-]+\\.gserviceaccount\\.com$", s.service_account))
    ])
    error_message = "service_account must be the e-mail address of the account that the service runs as; this shows it: gcloud run services describe SERVICE --region REGION --format 'value(spec.template.spec.serviceAccountName)'."
  }

  validation {
    condition = alltrue([
      for name in flatten([for s in var.services : concat(s.image_repository == null ? [] : [s.image_repository], s.image_repositories)]) :
      can(regex("^projects/[^/]+/locations/[^/]+/repositories/[^/]+$", name))
    ])
    error_message = "image_repository and image_repositories must have the form projects/P/locations/L/repositories/R. gcr.io/P is kept in projects/P/locations/us/repositories/gcr.io, eu.gcr.io/P in projects/P/locations/europe/repositories/eu.gcr.io, us.gcr.io and asia.gcr.io likewise."
  }

  validation {
    condition = alltrue([
      for s in var.services : s.alerts.error_ratio == null ? true : s.alerts.error_ratio >= 0 && s.alerts.error_ratio < 1
    ])
    error_message = "alerts.error_ratio must be a share from 0 (no such alert) to below 1, such as 0.05 for 5 %."
  }

  validation {
    condition     = alltrue([for s in var.services : can(regex("^([1-9]|[1-5][0-9]|60)m$", s.alerts.duration))])
    error_message = "alerts.duration must be 1m to 60m: Monitoring counts in whole minutes, and an hour is late for a rollback."
  }

  validation {
    condition = alltrue(flatten([
      for s in var.services : [for name, filter in s.alerts.logs : trimspace(name) != "" && trimspace(filter) != ""]
    ]))
    error_message = "alerts.logs must give each log alert a name and a Logging filter: an empty filter would match every line."
  }

  validation {
    condition = alltrue(flatten([
      for s in var.services : [for c in s.alerts.notification_channels : can(regex("^projects/[^/]+/notificationChannels/[^/]+$", c))]
    ]))
    error_message = "alerts.notification_channels must have the form projects/P/notificationChannels/C."
  }
}

variable "mode" {
  description = "What services do that do not say otherwise: \"observe\" explains what it would do, \"enforce\" acts."
  type        = string
  default     = "observe"

  validation {
    condition     = contains(["observe", "enforce"], var.mode)
    error_message = "mode must be \"observe\" or \"enforce\"."
  }
}

variable "defaults" {
  description = "Policy keys of all services that do not say otherwise. `mode` has a variable of its own."
  type = object({
    warning               = optional(number)
    rollback              = optional(number)
    critical              = optional(number)
    slow                  = optional(string)
    slow_share            = optional(number)
    window                = optional(string)
    deploy_window         = optional(string)
    history               = optional(string)
    min_requests          = optional(number)
    cooldown              = optional(string)
    max_rollbacks_per_day = optional(number)
    strategy              = optional(string)
    steps                 = optional(list(number))
    step_interval         = optional(string)
    trial_share           = optional(number)
    health_path           = optional(string)
    not_helped            = optional(string)
    schema                = optional(string)
    alert_projects        = optional(list(string))
    repository            = optional(string)
    language              = optional(string)
    mention               = optional(string)
  })
  default  = {}
  nullable = false
}

# Who is told

variable "slack_webhook_secret" {
  description = "Secret Manager secret (its short name) with the URL of a Slack webhook. The secret is made outside of Terraform, so that its value is in no state."
  type        = string
  default     = null

  validation {
    condition     = var.slack_webhook_secret == null || can(regex("^[A-Za-z0-9_-]{1,255}$", var.slack_webhook_secret))
    error_message = "slack_webhook_secret must be the short name of a secret in the project, such as \"runback-slack\", never the webhook itself."
  }

  validation {
    condition     = var.slack_webhook_secret == null || var.slack_bot_token_secret == null
    error_message = "slack_webhook_secret and slack_bot_token_secret are both set, and only one can be used."
  }
}

variable "slack_bot_token_secret" {
  description = "Instead of a webhook: secret (its short name) with the token of a Slack bot, which can also thread and update."
  type        = string
  default     = null

  validation {
    condition     = var.slack_bot_token_secret == null || can(regex("^[A-Za-z0-9_-]{1,255}$", var.slack_bot_token_secret))
    error_message = "slack_bot_token_secret must be the short name of a secret in the project, such as \"runback-slack-bot\", never the token itself."
  }

  # A token begins with "xoxb-" and would fit the form above.
  validation {
    condition     = var.slack_bot_token_secret == null || !startswith(coalesce(var.slack_bot_token_secret, "-"), "xox")
    error_message = "slack_bot_token_secret holds a token. Put the token into Secret Manager, and the secret's name here."
  }
}

variable "slack_channel" {
  description = "Channel that the bot posts to."
  type        = string
  default     = null

  validation {
    condition     = (var.slack_channel == null) == (var.slack_bot_token_secret == null)
    error_message = "slack_channel and slack_bot_token_secret belong together: a bot needs a channel, and a webhook has its own."
  }
}

variable "operator_emails" {
  description = "Addresses that hear when Runback itself is in trouble."
  type        = list(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for address in var.operator_emails : can(regex("^[^@\\s]+@[^@\\s]+\\.[^@\\s]+$", address))])
    error_message = "operator_emails must be e-mail addresses."
  }
}

variable "operator_channels" {
  description = "Existing notification channels of the project (projects/P/notificationChannels/C) that hear the same, for a pager or another Slack channel."
  type        = list(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for channel in var.operator_channels : can(regex("^projects/[^/]+/notificationChannels/[^/]+$", channel))])
    error_message = "operator_channels must have the form projects/P/notificationChannels/C."
  }
}

# How it is reached

variable "trigger" {
  description = "How alerts get from the topic to Runback: \"eventarc\", or \"push\" for a Pub/Sub push subscription with a dead-letter topic."
  type        = string
  default     = "eventarc"

  validation {
    condition     = contains(["eventarc", "push"], var.trigger)
    error_message = "trigger must be \"eventarc\" or \"push\"."
  }
}

variable "ingress" {
  description = "Which networks reach Runback: \"all\", or \"internal\" for this project and Google's own deliveries only. Either way IAM authenticates every caller."
  type        = string
  default     = "all"

  validation {
    condition     = contains(["all", "internal"], var.ingress)
    error_message = "ingress must be \"all\" or \"internal\"."
  }
}

variable "invokers" {
  description = "People who may send Runback an alert with curl, or report a deploy: IAM members such as \"user:a@example.com\". For the people of a group see invoker_emails."
  type        = list(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for member in var.invokers : can(regex("^(user|group|serviceAccount|domain|principal|principalSet):.+", member))])
    error_message = "invokers must be IAM members such as \"user:a@example.com\" or \"group:oncall@example.com\". allUsers would let anybody send alerts."
  }
}

variable "invoker_emails" {
  description = "The people of the groups in invokers, by their e-mail addresses: a token names no group."
  type        = list(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for address in var.invoker_emails : can(regex("^[^@\\s,]+@[^@\\s,]+$", address))])
    error_message = "invoker_emails must be e-mail addresses."
  }
}

variable "pipelines" {
  description = "Service accounts that may report a deploy (runback watch), and nothing else: IAM members such as \"serviceAccount:ci@my-project.iam.gserviceaccount.com\"."
  type        = list(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for member in var.pipelines : can(regex("^serviceAccount:[^@\\s,]+@[^@\\s,]+$", member))])
    error_message = "pipelines must be service accounts as IAM members, such as \"serviceAccount:ci@my-project.iam.gserviceaccount.com\"."
  }
}

variable "watch_deploys" {
  description = "Whether Runback hears of every deploy of a guarded service, by a log sink in its project, and judges the new revision once a minute for ten minutes."
  type        = bool
  default     = true
  nullable    = false
}

# The rest has defaults that fit

variable "heartbeat" {
  description = "Whether an empty message is sent through the topic every 30 minutes. Runback then does what is overdue at any guarded service, and operators are told when it no longer hears the message."
  type        = bool
  default     = true
  nullable    = false
}

variable "min_instances" {
  description = "Instances of Runback that always run. 0 costs nothing and starts within a second."
  type        = number
  default     = 0
  nullable    = false

  validation {
    condition     = var.min_instances >= 0 && var.min_instances <= var.max_instances && floor(var.min_instances) == var.min_instances
    error_message = "min_instances must be a whole number from 0 to max_instances."
  }
}

variable "max_instances" {
  description = "Most instances of Runback. One is enough; more are for the moment in which one is replaced, or a burst of alerts."
  type        = number
  default     = 3
  nullable    = false

  validation {
    condition     = var.max_instances >= 1 && var.max_instances <= 100 && floor(var.max_instances) == var.max_instances
    error_message = "max_instances must be a whole number from 1 to 100."
  }
}

variable "log" {
  description = "What Runback logs (RUST_LOG). Without \"info\", the log-based metrics and the heartbeat see nothing."
  type        = string
  default     = "info"
  nullable    = false

  validation {
    condition     = !var.heartbeat || !contains(["warn", "error", "off"], lower(trimspace(var.log)))
    error_message = "log hides the lines by which the heartbeat is heard, and operators would be told that Runback is silent: use \"info\", or set heartbeat = false."
  }
}

variable "queue_region" {
  description = "Region of the Cloud Tasks queue, where Cloud Tasks is not to be had in `region`; unset: `region`. Cloud Tasks is in fewer regions than Cloud Run."
  type        = string
  default     = null

  validation {
    condition     = var.queue_region == null || can(regex("^[a-z]+-[a-z]+[0-9]+$", var.queue_region))
    error_message = "queue_region must be a region, such as \"europe-west1\"."
  }
}

variable "scheduler_region" {
  description = "Region of the heartbeat's Cloud Scheduler job, which is in fewer regions too; unset: `queue_region`."
  type        = string
  default     = null

  validation {
    condition     = var.scheduler_region == null || can(regex("^[a-z]+-[a-z]+[0-9]+$", var.scheduler_region))
    error_message = "scheduler_region must be a region, such as \"europe-west1\"."
  }
}

variable "role_suffix" {
  description = "End of the custom roles' ids. Google blocks the id of a deleted role from day 8 to day 37, so an installation that was destroyed may need another one to come back, such as \"_2\"."
  type        = string
  default     = ""
  nullable    = false

  validation {
    condition     = can(regex("^[A-Za-z0-9_.]{0,20}$", var.role_suffix))
    error_message = "role_suffix must have at most 20 letters, digits, underscores and dots, such as \"_2\"."
  }
}

variable "project_numbers" {
  description = "Numbers of projects by their ids, for projects that Terraform shall not look up: where it may not, or where a depends_on on this module makes everything that is looked up known only after the apply."
  type        = map(string)
  default     = {}
  nullable    = false

  validation {
    condition     = alltrue([for number in values(var.project_numbers) : can(regex("^[0-9]+$", number))])
    error_message = "project_numbers must give each project id its number, such as { my-project = \"123456789012\" }; this shows it: gcloud projects describe my-project --format 'value(projectNumber)'."
  }
}

variable "queue_name" {
  description = "Name of the Cloud Tasks queue; unset: NAME-checks. A deleted queue's name cannot be used again for some days, so a second attempt may need another one."
  type        = string
  default     = null

  validation {
    condition     = var.queue_name == null || can(regex("^[A-Za-z0-9-]{1,100}$", var.queue_name))
    error_message = "queue_name must have 1 to 100 letters, digits and hyphens."
  }
}

variable "create_repository" {
  description = "Whether to make an Artifact Registry repository for Runback's own image."
  type        = bool
  default     = true
  nullable    = false
}

variable "enable_apis" {
  description = "Whether to switch on the APIs that are needed. They stay on when Runback is destroyed."
  type        = bool
  default     = true
  nullable    = false
}

variable "deletion_protection" {
  description = "Whether Terraform refuses to delete the Cloud Run service of Runback. It keeps no data, so there is little to protect."
  type        = bool
  default     = false
  nullable    = false
}

variable "labels" {
  description = "Labels for everything that can carry labels."
  type        = map(string)
  default     = {}
  nullable    = false

  validation {
    condition = length(var.labels) <= 32 && alltrue([
      for key, value in var.labels :
      can(regex("^[\\p{Ll}\\p{Lo}][\\p{Ll}\\p{Lo}\\p{N}_-]{0,62}$", key)) && can(regex("^[\\p{Ll}\\p{Lo}\\p{N}_-]{0,63}$", value))
    ])
    error_message = "labels must be at most 32, each with a key of 1 to 63 lower-case letters, digits, underscores and hyphens that begins with a letter, and a value of at most 63 of these."
  }

  # On an alert policy they say which service is meant, and whether the alert's word is enough.
  validation {
    condition     = alltrue([for key in keys(var.labels) : !startswith(key, "runback") && !startswith(key, "goog")])
    error_message = "labels must not begin with \"runback\", which Runback reads on alert policies, or with \"goog\", which Google keeps for itself."
  }
}

# What an organisation's policies ask for

variable "resources" {
  description = "CPU and memory of an instance, where a policy or a quota asks for other sizes."
  type        = object({ cpu = optional(string, "1"), memory = optional(string, "256Mi") })
  default     = {}
  nullable    = false
}

variable "vpc_access" {
  description = "The way out through a VPC, where a policy wants one (constraints/run.allowedVPCEgress): a connector, or a network and a subnetwork. Slack and Google's APIs must be reachable from there."
  type = object({
    connector  = optional(string)
    network    = optional(string)
    subnetwork = optional(string)
    tags       = optional(list(string))
    egress     = optional(string, "PRIVATE_RANGES_ONLY")
  })
  default = null

  validation {
    condition     = var.vpc_access == null ? true : (var.vpc_access.connector != null) != (var.vpc_access.network != null || var.vpc_access.subnetwork != null)
    error_message = "vpc_access must name either a connector, or a network and a subnetwork."
  }

  validation {
    condition     = var.vpc_access == null ? true : contains(["ALL_TRAFFIC", "PRIVATE_RANGES_ONLY"], var.vpc_access.egress)
    error_message = "vpc_access.egress must be \"ALL_TRAFFIC\" or \"PRIVATE_RANGES_ONLY\"."
  }
}

variable "message_storage_regions" {
  description = "Regions that may keep messages on their way (constraints/gcp.resourceLocations); unset: what Pub/Sub and the organisation's policy say."
  type        = list(string)
  default     = []
  nullable    = false
}

variable "kms_key" {
  description = "Cloud KMS key (projects/P/locations/L/keyRings/R/cryptoKeys/K) for the service, the images and the messages, where a policy wants one (constraints/gcp.restrictNonCmekServices). It has to be in `region`, and the agents of Cloud Run, Artifact Registry and Pub/Sub have to be allowed to use it."
  type        = string
  default     = null

  validation {
    condition     = var.kms_key == null || can(regex("^projects/[^/]+/locations/[^/]+/keyRings/[^/]+/cryptoKeys/[^/]+$", var.kms_key))
    error_message = "kms_key must have the form projects/P/locations/L/keyRings/R/cryptoKeys/K."
  }
}
