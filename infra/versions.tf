# No provider block and no backend here: every resource names its project, so this module can be applied on its own
# (credentials: `gcloud auth application-default login`) or called from another configuration.
terraform {
  # 1.9 lets a variable's validation look at other variables.
  required_version = ">= 1.9.0"

  required_providers {
    google = {
      source = "hashicorp/google"
      # Everything used here is in 6.50 and still in 8.7.
      version = ">= 6.50.0, < 9.0.0"
    }
  }
}
