# One page: how the guarded services' revisions do, and what Runback made of it. It shows what this project's metrics
# scope contains: for services of other projects, add those to the scope.

locals {
  guarded_selector = "monitored_resource=\"cloud_run_revision\",service_name=~\"${join("|", distinct([for s in local.guarded : s.service]))}\""
  own_selector     = "monitored_resource=\"cloud_run_revision\""
  request_count    = "run_googleapis_com:request_count"
  by_series        = "sum by (service_name, revision_name)"

  charts = [
    {
      title = "Share of 5xx by revision"
      query = "${local.by_series}(rate(${local.request_count}{${local.guarded_selector},response_code_class=\"5xx\"}[5m])) / ${local.by_series}(rate(${local.request_count}{${local.guarded_selector}}[5m]))"
      unit  = "1"
    },
    {
      title = "Requests per second by revision"
      query = "${local.by_series}(rate(${local.request_count}{${local.guarded_selector}}[5m]))"
      unit  = "1/s"
    },
    {
      title = "95th percentile of latency by revision"
      query = "histogram_quantile(0.95, sum by (le, service_name, revision_name)(rate(run_googleapis_com:request_latencies_bucket{${local.guarded_selector}}[5m])))"
      unit  = "ms"
    },
    {
      title = "Rollbacks by service"
      query = "sum by (service, reason)(increase(logging_googleapis_com:user_${google_logging_metric.decisions.name}{${local.own_selector},decision=\"rollback\"}[1h]))"
      unit  = "1"
    },
    {
      title = "Decisions by reason"
      query = "sum by (decision, reason)(increase(logging_googleapis_com:user_${google_logging_metric.decisions.name}{${local.own_selector}}[1h]))"
      unit  = "1"
    },
    {
      title = "How rollbacks ended"
      query = "sum by (service, verdict)(increase(logging_googleapis_com:user_${google_logging_metric.verdicts.name}{${local.own_selector}}[1h]))"
      unit  = "1"
    },
    {
      title = "Heartbeats heard"
      query = "sum(increase(logging_googleapis_com:user_${google_logging_metric.heartbeats.name}{${local.own_selector}}[1h]))"
      unit  = "1"
    },
  ]
}

resource "google_monitoring_dashboard" "runback" {
  project = var.project

  dashboard_json = jsonencode({
    displayName = "Runback (${var.name})"
    mosaicLayout = {
      columns = 48
      tiles = [
        for i, chart in local.charts : merge(
          {
            width  = 24
            height = 16
            widget = {
              title = chart.title
              xyChart = {
                chartOptions = { mode = "COLOR" }
                dataSets = [{
                  plotType        = "LINE"
                  targetAxis      = "Y1"
                  timeSeriesQuery = { prometheusQuery = chart.query, unitOverride = chart.unit }
                }]
              }
            }
          },
          # Monitoring drops a position of 0, and the next plan would see that as a change.
          i % 2 == 0 ? {} : { xPos = 24 },
          floor(i / 2) == 0 ? {} : { yPos = floor(i / 2) * 16 },
        )
      ]
    }
  })

  depends_on = [google_project_service.runback]
}
