# `make` explains itself. Nothing here needs an account at Google or Slack, but deploy, plan, apply, observe, send-test and destroy.
PORT ?= 8080
IMAGE ?= runback
EVENT ?= target/test-event.json
SEEDS ?= 1000
FROM ?= 0

.DEFAULT_GOAL := help
.PHONY: help demo run test-event test test-infra decisions schedules faults plot check lint bench image deploy \
	plan apply observe send-test destroy clean

help: ## What can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: ## A bad deploy, its alert and the rollback, told step by step; everything runs on this machine
	@cargo build --locked --bin runback --example demo
	@cargo run --quiet --locked --example demo

run: ## Runback on PORT beside a simulated Google Cloud and Slack, until Ctrl-C
	@cargo build --locked --bin runback --example demo
	@PORT=$(PORT) EVENT=$(EVENT) cargo run --quiet --locked --example demo -- --keep

test-event: ## Send the running one (`make run`) an alert, as Eventarc would
	@test -f $(EVENT) || { echo "There is no $(EVENT) yet: start 'make run' in another terminal, it writes the event." >&2; exit 1; }
	@curl --silent --show-error --max-time 15 --write-out '\nHTTP %{http_code}\n' \
		--header 'Content-Type: application/json' \
		--header 'ce-specversion: 1.0' \
		--header 'ce-id: test-event' \
		--header 'ce-type: google.cloud.pubsub.topic.v1.messagePublished' \
		--header 'ce-source: //pubsub.googleapis.com/projects/demo/topics/alerts' \
		--data-binary @$(EVENT) http://127.0.0.1:$(PORT)/

# Most tests wait for the program rather than for a core.
test: export RUST_TEST_THREADS ?= 6
test: ## The whole test suite
	cargo test --locked
	@$(MAKE) --no-print-directory schedules

test-infra: ## The Terraform in infra/, without an account at Google
	@.ci/test-infra

decisions: ## The labelled decision bench: precision, recall, and each answer
	@cargo test --quiet --locked --test decisions

schedules: ## Every crash point, every fault, and SEEDS seeds from FROM on, in virtual time
	cargo test --locked --profile schedules --test schedules -- --crashes --faults --from $(FROM) --seeds $(SEEDS)

faults: ## The fault table: how long anybody waits, whatever Google or Slack answer
	@cargo test --quiet --locked --profile schedules --test schedules -- --table

plot: ## Draw docs/verdicts.svg anew, from what the code decides
	@cargo test --quiet --locked --test decisions -- --plot

check: ## Format, lints and documentation, without changing anything
	cargo fmt --check
	cargo clippy --all-targets --locked -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --no-deps --locked

lint: ## Shell scripts, workflows, Cloud Build, Dockerfile and Terraform, with linters from PyPI
	@bash .ci/lint

bench: ## What an event costs: latency, throughput, memory
	@cargo build --release --locked --bin runback --example bench
	@cargo run --release --quiet --locked --example bench

image: ## The container image, tagged IMAGE, with docker, podman or buildah
	@if docker info >/dev/null 2>&1; then set -x; docker build --tag $(IMAGE) .; \
	elif command -v podman >/dev/null; then set -x; podman build --tag $(IMAGE) .; \
	elif command -v buildah >/dev/null; then set -x; buildah build --tag $(IMAGE) .; \
	else echo "An image needs docker (with its daemon running), podman or buildah; none is here." >&2; exit 1; fi

# PROJECT, REGION, SERVICE, IMAGE and TOPIC come from the command line: make hands them on.
deploy: ## Runback into your project: the plan is shown first (PROJECT=, REGION=, SERVICE= the first time)
	@scripts/deploy

plan: ## What deploy would change, kept for apply; asks nothing, changes nothing
	@scripts/deploy plan

apply: ## What plan has shown, and nothing else (PLAN=)
	@scripts/apply

observe: ## Stop Runback now: every service is only explained (PROJECT=, REGION=, NAME= where Terraform's state is not)
	@scripts/observe

send-test: ## A test incident through the real topic; it can only be explained, never acted on
	@scripts/send-test

destroy: ## Everything that deploy made, gone: shown first
	@scripts/destroy

clean: ## Remove everything that was built
	cargo clean
