# What becomes of the variables: the policy document that Runback reads, and what is refused.

mock_provider "google" {
  source = "./tests/mocks"
}

variables {
  project              = "demo-project"
  region               = "asia-northeast1"
  image                = "asia-northeast1-docker.pkg.dev/demo-project/runback/runback:1"
  slack_webhook_secret = "runback-slack"
  operator_emails      = ["oncall@example.com"]
  services = [{
    service         = "k-back"
    service_account = "k-back@demo-project.iam.gserviceaccount.com"
  }]
}

run "a_service_that_says_nothing_is_observed_and_the_document_has_no_null" {
  command = plan

  assert {
    condition = jsonencode(output.policy) == jsonencode({
      defaults = { mode = "observe" }
      service  = [{ project = "demo-project", region = "asia-northeast1", service = "k-back" }]
    })
    error_message = jsonencode(output.policy)
  }

  assert {
    condition = one([
      for e in google_cloud_run_v2_service.runback.template[0].containers[0].env : e.value if e.name == "RUNBACK_POLICY"
    ]) == jsonencode(output.policy)
    error_message = "Runback is not given the policy as JSON."
  }
}

run "every_key_arrives_as_it_was_written" {
  command = plan

  variables {
    mode = "enforce"
    defaults = {
      warning               = 0.01
      rollback              = 0.04
      critical              = 0.4
      slow                  = "800ms"
      slow_share            = 0.1
      window                = "5m"
      deploy_window         = "12h"
      history               = "14d"
      min_requests          = 50
      cooldown              = "1h"
      max_rollbacks_per_day = 2
      strategy              = "gradual"
      steps                 = [25, 100]
      step_interval         = "5m"
      trial_share           = 30
      health_path           = "/health?deep=1"
      not_helped            = "restore"
      schema                = "allow"
      alert_projects        = ["my-monitoring"]
      repository            = "https://github.com/acme/all"
      language              = "ja"
      mention               = "<!subteam^S123>"
    }
    services = [{
      service               = "k-back"
      service_account       = "k-back@demo-project.iam.gserviceaccount.com"
      image_repository      = "projects/demo-project/locations/asia-northeast1/repositories/k-back"
      mode                  = "observe"
      warning               = 0.02
      rollback              = 0.05
      critical              = 0.5
      slow                  = "3s"
      slow_share            = 0.05
      window                = "10m"
      deploy_window         = "1d"
      history               = "7d"
      min_requests          = 20
      cooldown              = "30m"
      max_rollbacks_per_day = 3
      strategy              = "immediate"
      steps                 = [10, 50, 100]
      step_interval         = "4m"
      trial_share           = 100
      health_path           = "/health"
      not_helped            = "hold"
      schema                = "block"
      alert_projects        = []
      repository            = "https://github.com/acme/k-back"
      language              = "en"
      mention               = "<@U123>"
    }]
  }

  assert {
    condition     = jsonencode(output.policy.defaults) == jsonencode(merge({ mode = "enforce" }, var.defaults))
    error_message = jsonencode(output.policy.defaults)
  }

  assert {
    condition = jsonencode(output.policy.service[0]) == jsonencode(merge(
      { project = "demo-project", region = "asia-northeast1" },
      { for key, value in var.services[0] : key => value if !contains(["project", "region", "service_account", "image_repository", "image_repositories", "alerts"], key) },
    ))
    error_message = jsonencode(output.policy.service[0])
  }
}

run "services_may_be_in_other_projects_and_regions" {
  command = plan

  variables {
    services = [
      { service = "k-back", service_account = "a@demo-project.iam.gserviceaccount.com" },
      { service = "k-back", region = "europe-west1", service_account = "a@demo-project.iam.gserviceaccount.com" },
      { service = "k-back", project = "other-project", service_account = "b@other-project.iam.gserviceaccount.com" },
    ]
  }

  assert {
    condition = toset([for s in output.policy.service : "${s.project}/${s.region}/${s.service}"]) == toset([
      "demo-project/asia-northeast1/k-back", "demo-project/europe-west1/k-back", "other-project/asia-northeast1/k-back",
    ])
    error_message = jsonencode(output.policy.service)
  }
}

# Bad input: each is one sentence of the variable, or of the policy.

run "no_service" {
  command = plan
  variables {
    services = []
  }
  expect_failures = [var.services]
}

run "a_service_by_its_url" {
  command = plan
  variables {
    services = [{ service = "https://k-back.run.app", service_account = "a@demo-project.iam.gserviceaccount.com" }]
  }
  expect_failures = [var.services]
}

run "a_service_twice" {
  command = plan
  variables {
    services = [
      { service = "k-back", service_account = "a@demo-project.iam.gserviceaccount.com" },
      { service = "k-back", region = "asia-northeast1", service_account = "a@demo-project.iam.gserviceaccount.com" },
    ]
  }
  expect_failures = [var.services]
}

run "a_runtime_identity_that_is_no_service_account" {
  command = plan
  variables {
    services = [{ service = "k-back", service_account = "me@example.com" }]
  }
  expect_failures = [var.services]
}

run "a_repository_by_its_address" {
  command = plan
  variables {
    services = [{ service = "k-back", service_account = "a@demo-project.iam.gserviceaccount.com", image_repository = "asia-northeast1-docker.pkg.dev/demo-project/k-back" }]
  }
  expect_failures = [var.services]
}

run "a_log_alert_on_everything" {
  command = plan
  variables {
    services = [{ service = "k-back", service_account = "a@demo-project.iam.gserviceaccount.com", alerts = { logs = { all = " " } } }]
  }
  expect_failures = [var.services]
}

run "an_alert_that_waits_for_half_a_minute" {
  command = plan
  variables {
    services = [{ service = "k-back", service_account = "a@demo-project.iam.gserviceaccount.com", alerts = { duration = "30s" } }]
  }
  expect_failures = [var.services]
}

run "a_ratio_in_percent" {
  command = plan
  variables {
    services = [{ service = "k-back", service_account = "a@demo-project.iam.gserviceaccount.com", alerts = { error_ratio = 5 } }]
  }
  expect_failures = [var.services]
}

run "a_project_number" {
  command = plan
  variables {
    project = "123456789012"
  }
  expect_failures = [var.project]
}

run "a_zone" {
  command = plan
  variables {
    region = "asia-northeast1-a"
  }
  expect_failures = [var.region]
}

run "an_image_without_a_tag" {
  command = plan
  variables {
    image = "asia-northeast1-docker.pkg.dev/demo-project/runback/runback"
  }
  expect_failures = [var.image]
}

run "an_image_with_a_tag_and_a_digest" {
  command = plan
  variables {
    image = "asia-northeast1-docker.pkg.dev/demo-project/runback/runback:1a2b3c4@sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
  }
}

run "a_log_that_hides_the_heartbeat" {
  command = plan
  variables {
    log = "warn"
  }
  expect_failures = [var.log]
}

run "a_mode_that_does_not_exist" {
  command = plan
  variables {
    mode = "enforced"
  }
  expect_failures = [var.mode]
}

run "a_trigger_that_does_not_exist" {
  command = plan
  variables {
    trigger = "webhook"
  }
  expect_failures = [var.trigger]
}

run "an_ingress_that_does_not_exist" {
  command = plan
  variables {
    ingress = "public"
  }
  expect_failures = [var.ingress]
}

run "everybody_may_call" {
  command = plan
  variables {
    invokers = ["allUsers"]
  }
  expect_failures = [var.invokers]
}

run "a_webhook_where_its_secrets_name_belongs" {
  command = plan
  variables {
    slack_webhook_secret = "https://hooks.slack.com/services/T/B/x"
  }
  expect_failures = [var.slack_webhook_secret]
}

run "a_token_where_its_secrets_name_belongs" {
  command = plan
  variables {
    slack_webhook_secret   = null
    slack_bot_token_secret = "xoxb-1-2-3"
    slack_channel          = "C1"
  }
  expect_failures = [var.slack_bot_token_secret]
}

run "a_webhook_and_a_bot" {
  command = plan
  variables {
    slack_bot_token_secret = "runback-bot"
    slack_channel          = "C1"
  }
  expect_failures = [var.slack_webhook_secret]
}

run "a_bot_without_a_channel" {
  command = plan
  variables {
    slack_webhook_secret   = null
    slack_bot_token_secret = "runback-bot"
  }
  expect_failures = [var.slack_channel]
}

run "a_name_that_is_too_long_for_service_accounts" {
  command = plan
  variables {
    name = "runback-of-the-platform-team"
  }
  expect_failures = [var.name]
}

run "wrong_words" {
  command = plan
  variables {
    defaults = { strategy = "slowly" }
  }
  expect_failures = [google_cloud_run_v2_service.runback]
}

run "a_share_in_percent" {
  command = plan
  variables {
    defaults = { rollback = 5 }
  }
  expect_failures = [google_cloud_run_v2_service.runback]
}

run "a_duration_in_words" {
  command = plan
  variables {
    defaults = { window = "ten minutes" }
  }
  expect_failures = [google_cloud_run_v2_service.runback]
}

run "a_window_that_is_no_whole_minute" {
  command = plan
  variables {
    defaults = { window = "150s" }
  }
  expect_failures = [google_cloud_run_v2_service.runback]
}

run "more_rollbacks_than_the_record_remembers" {
  command = plan
  variables {
    services = [{ service = "k-back", service_account = "a@demo-project.iam.gserviceaccount.com", max_rollbacks_per_day = 11 }]
  }
  expect_failures = [google_cloud_run_v2_service.runback]
}

run "steps_that_go_down" {
  command = plan
  variables {
    defaults = { steps = [50, 10, 100] }
  }
  expect_failures = [google_cloud_run_v2_service.runback]
}

run "steps_that_do_not_end_at_100" {
  command = plan
  variables {
    defaults = { steps = [10, 50] }
  }
  expect_failures = [google_cloud_run_v2_service.runback]
}

run "a_health_path_that_is_a_url" {
  command = plan
  variables {
    defaults = { health_path = "//k-back/health" }
  }
  expect_failures = [google_cloud_run_v2_service.runback]
}

run "a_warning_above_the_rollback_of_a_service" {
  command = plan
  variables {
    defaults = { warning = 0.04 }
    services = [{ service = "k-back", service_account = "a@demo-project.iam.gserviceaccount.com", rollback = 0.03 }]
  }
  expect_failures = [google_cloud_run_v2_service.runback]
}

run "a_history_shorter_than_the_window" {
  command = plan
  variables {
    defaults = { history = "5m" }
  }
  expect_failures = [google_cloud_run_v2_service.runback]
}

run "an_enforced_service_whose_images_nobody_named_is_warned_of" {
  command = plan
  variables {
    mode = "enforce"
  }
  expect_failures = [check.images_can_be_read]
}

run "that_nobody_is_told_is_warned_of" {
  command = plan
  variables {
    slack_webhook_secret = null
    operator_emails      = []
  }
  expect_failures = [check.somebody_is_told]
}
