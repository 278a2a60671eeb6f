# From the variables to the policy document, as Runback reads it from RUNBACK_POLICY, and what it allows. Runback itself
# refuses a wrong policy when it starts; here it is refused by the plan.

locals {
  policy_keys = [
    "mode", "warning", "rollback", "critical", "slow", "slow_share", "window", "deploy_window", "history", "min_requests",
    "cooldown", "max_rollbacks_per_day", "strategy", "steps", "step_interval", "trial_share", "health_path", "not_helped", "schema",
    "alert_projects", "repository", "language", "mention",
  ]

  defaults = merge({ mode = var.mode }, var.defaults)

  # The guarded services by their names.
  guarded = {
    for s in var.services : "${coalesce(s.project, var.project)}/${coalesce(s.region, var.region)}/${s.service}" => merge(s, {
      project = coalesce(s.project, var.project)
      region  = coalesce(s.region, var.region)
    })
  }
  guarded_projects = toset([for s in local.guarded : s.project])

  # The document has no null: a key that is not set is not there.
  policy = {
    defaults = { for key in local.policy_keys : key => local.defaults[key] if local.defaults[key] != null }
    service = [
      for s in local.guarded : merge(
        { project = s.project, region = s.region, service = s.service },
        { for key in local.policy_keys : key => s[key] if s[key] != null },
      )
    ]
  }

  # What holds for each service in the end, for alerts and rights that follow from the policy.
  built_in = { mode = "observe", rollback = 0.05, critical = 0.5, slow = "3s", slow_share = 0.05, window = "10m", history = "7d" }
  rules = {
    for name, s in local.guarded : name => {
      for key in local.policy_keys : key => try(coalesce(s[key], local.defaults[key], lookup(local.built_in, key, null)), null)
    }
  }

  # What the keys allow: the same bounds and words as in the program.
  allowed_words = {
    mode       = ["observe", "enforce"]
    strategy   = ["immediate", "gradual"]
    not_helped = ["hold", "restore"]
    schema     = ["block", "allow"]
    language   = ["en", "ja"]
  }
  allowed_shares = ["warning", "rollback", "critical", "slow_share"]
  allowed_whole = {
    min_requests          = { least = 1, most = 1000000000 }
    max_rollbacks_per_day = { least = 1, most = 10 }
    trial_share           = { least = 1, most = 100 }
  }
  # In milliseconds.
  allowed_durations = {
    slow          = { least = 1, most = 3600000, whole_minutes = false, words = "a duration above zero and up to 1h, such as \"3s\"" }
    window        = { least = 120000, most = 3600000, whole_minutes = true, words = "a duration from 2m to 1h in whole minutes, such as \"10m\"" }
    deploy_window = { least = 60000, most = 3628800000, whole_minutes = false, words = "a duration from 1m to 42d, such as \"24h\"" }
    history       = { least = 60000, most = 3628800000, whole_minutes = true, words = "a duration from `window` to 42d in whole minutes, such as \"7d\"" }
    cooldown      = { least = 1, most = 86400000, whole_minutes = false, words = "a duration above zero and up to 24h, such as \"30m\"" }
    step_interval = { least = 60000, most = 3600000, whole_minutes = false, words = "a duration from 1m to 1h, such as \"4m\"" }
  }
  unit_milliseconds = { ms = 1, s = 1000, m = 60000, h = 3600000, d = 86400000 }

  policy_layers = merge(
    { defaults = local.defaults },
    { for name, s in local.guarded : name => { for key in local.policy_keys : key => s[key] } },
  )
  # One number and one unit; -1 is no duration.
  layer_milliseconds = {
    for place, layer in local.policy_layers : place => {
      for key in keys(local.allowed_durations) : key => try(
        tonumber(regex("^([0-9]+)(ms|s|m|h|d)$", layer[key])[0]) * local.unit_milliseconds[regex("^([0-9]+)(ms|s|m|h|d)$", layer[key])[1]], -1
      ) if layer[key] != null
    }
  }
  rule_milliseconds = {
    for name, rules in local.rules : name => {
      for key in ["slow", "window", "history"] : key => try(
        tonumber(regex("^([0-9]+)(ms|s|m|h|d)$", rules[key])[0]) * local.unit_milliseconds[regex("^([0-9]+)(ms|s|m|h|d)$", rules[key])[1]], -1
      )
    }
  }

  # Every mistake as a sentence.
  policy_problems = concat(
    flatten([
      for place, layer in local.policy_layers : concat(
        [
          for key, words in local.allowed_words : "in ${place}, `${key}` must be ${join(" or ", [for word in words : jsonencode(word)])}, not ${jsonencode(layer[key])}."
          if layer[key] == null ? false : !contains(words, layer[key])
        ],
        [
          for key in local.allowed_shares : "in ${place}, `${key}` must be a number above 0 and up to 1, such as 0.05 for 5 %, not ${jsonencode(layer[key])}."
          if layer[key] == null ? false : layer[key] <= 0 || layer[key] > 1
        ],
        [
          for key, bounds in local.allowed_whole : "in ${place}, `${key}` must be a whole number from ${bounds.least} to ${bounds.most}, not ${jsonencode(layer[key])}."
          if layer[key] == null ? false : layer[key] < bounds.least || layer[key] > bounds.most || layer[key] != floor(layer[key])
        ],
        [
          for key, length in local.layer_milliseconds[place] : "in ${place}, `${key}` must be ${local.allowed_durations[key].words}, not ${jsonencode(layer[key])}; write one whole number and one of ms, s, m, h, d."
          if length < local.allowed_durations[key].least || length > local.allowed_durations[key].most || (local.allowed_durations[key].whole_minutes && length % 60000 != 0)
        ],
        [
          for steps in layer.steps == null ? [] : [layer.steps] : "in ${place}, `steps` must be whole numbers from 1 to 100, each above the one before and the last one 100, such as [10, 50, 100], not ${jsonencode(steps)}."
          if !alltrue(concat(
            [length(steps) > 0, try(steps[length(steps) - 1] == 100, false)],
            [for i, step in steps : step >= 1 && step == floor(step) && (i == 0 ? true : step > steps[i - 1])],
          ))
        ],
        [
          for projects in layer.alert_projects == null ? [] : [layer.alert_projects] : "in ${place}, `alert_projects` must be a list of project ids, such as [\"my-monitoring\"], not ${jsonencode(projects)}."
          if !alltrue([for project in projects : can(regex("^([a-z0-9-]+([.][a-z0-9-]+)*:)?[a-z][a-z0-9-]{0,62}$", project))])
        ],
        [
          for address in layer.repository == null ? [] : [layer.repository] : "in ${place}, `repository` must be the https address of a repository, such as \"https://github.com/acme/k-back\", not ${jsonencode(address)}."
          if !can(regex("^https://[A-Za-z0-9._~:-]*/[A-Za-z0-9._~/:-]*[A-Za-z0-9._~:-]/*$", address)) || length(address) > 200
        ],
        [
          for mention in layer.mention == null ? [] : [layer.mention] : "in ${place}, `mention` must be a group or a member as Slack writes it, \"<!subteam^S123>\" or \"<@U123>\", not ${jsonencode(mention)}."
          if !can(regex("^<(!subteam\\^|@)[A-Z0-9]{1,30}>$", mention))
        ],
        [
          for path in layer.health_path == null ? [] : [layer.health_path] : "in ${place}, `health_path` must be a path that begins with one \"/\", has no spaces and reaches the container, such as \"/health\" (Google's front end answers \"/eventlog\", \"/_ah/...\" and paths that end in \"z\" itself), not ${jsonencode(path)}."
          if !can(regex("^/([!\"$-\\[\\]-~][!\"$-\\[\\]-~]*)?$", path)) || startswith(path, "//") || can(regex("^(/_ah/.*|/eventlog|[^?]*z)([?].*)?$", path))
        ],
      )
    ]),
    flatten([
      for name, rules in local.rules : concat(
        [
          for warning in rules.warning == null ? [] : [rules.warning] : "in ${name}, `warning` (${warning}) must be below `rollback` (${rules.rollback})."
          if warning >= rules.rollback
        ],
        rules.rollback <= rules.critical ? [] : [
          "in ${name}, `rollback` (${rules.rollback}) must not be above `critical` (${rules.critical})."
        ],
        local.rule_milliseconds[name].history >= local.rule_milliseconds[name].window ? [] : [
          "in ${name}, `history` (${rules.history}) must not be shorter than `window` (${rules.window})."
        ],
      )
    ]),
  )
}

# Not mistakes, but worth a line in every plan.

check "images_can_be_read" {
  assert {
    condition = alltrue([for name, repositories in local.images_of : length(repositories) > 0 || local.rules[name].mode != "enforce"])
    error_message = "Without image_repository or image_repositories, Cloud Run may refuse a rollback of: ${join(", ", [
      for name, repositories in local.images_of : name if length(repositories) == 0 && local.rules[name].mode == "enforce"
    ])}."
  }
}

check "somebody_is_told" {
  assert {
    condition     = var.slack_webhook_secret != null || var.slack_bot_token_secret != null
    error_message = "Neither slack_webhook_secret nor slack_bot_token_secret is set: nobody is told what Runback does, the log is all there is."
  }

  assert {
    condition     = length(var.operator_emails) + length(var.operator_channels) > 0
    error_message = "Neither operator_emails nor operator_channels is set: nobody hears when Runback itself is in trouble."
  }
}
