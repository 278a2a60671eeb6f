"""What scripts/ promises, with stand-ins for terraform and gcloud: python3 -m unittest .ci/test_scripts.py

They run in a copy of the project, so that nobody's settings, state or account are touched.
"""

import json
import os
import re
import shutil
import subprocess
import tempfile
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

# A stand-in writes down how it was called, and answers with the first rule whose words are in the call. A rule with a
# fourth part answers so many calls and no more.
STAND_IN = """#!/usr/bin/env python3
import json, os, sys
words = [word for word in sys.argv[1:] if not word.startswith("-chdir")]
call = " ".join([os.path.basename(sys.argv[0]), *words])
if "console" in words:
    call += " " + sys.stdin.read().strip()
before = open(os.environ["CALLS"]).read().splitlines()
with open(os.environ["CALLS"], "a") as calls:
    calls.write(call + "\\n")
for start, status, output, *times in json.load(open(os.environ["RULES"])):
    fits = lambda call: all(part in call for part in start.split("*"))
    if fits(call) and (not times or sum(map(fits, before)) < times[0]):
        print(output)
        sys.exit(status)
"""

SETTINGS = 'project = "my-project"\nregion = "asia-northeast1"\n'
REPOSITORY = "asia-northeast1-docker.pkg.dev/my-project/runback"
SIGNED_IN = ["gcloud auth list", 0, "me@example.com"]
NO_IMAGE = ["terraform console*var.image", 0, '"none/none:none"']
VALUES = ["terraform console*var.project, ", 0, '"my-project asia-northeast1 runback - true"']
BASIS = [
    SIGNED_IN,
    ["terraform version", 0, "Terraform v1.11.4"],
    ["terraform console*[var.project]", 0, '"my-project"'],
    ["terraform output -raw topic", 0, "projects/my-project/topics/runback-alerts"],
    ["terraform output -raw service_url", 0, "https://runback.example"],
    ["terraform state list", 0, "google_pubsub_topic.alerts"],
]


class Scripts(unittest.TestCase):
    def setUp(self):
        self.folder = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.folder)
        self.project = self.folder / "project"
        shutil.copytree(ROOT / "scripts", self.project / "scripts")
        (self.project / "infra").mkdir()
        (self.project / "src").mkdir()
        (self.project / "src/main.rs").write_text("fn main() {}\n")
        (self.project / "cloudbuild.yaml").write_text("")
        self.settings = self.project / "infra/terraform.tfvars"
        self.settings.write_text(SETTINGS)
        self.calls_file = self.folder / "calls"
        self.calls_file.write_text("")
        self.programs = self.folder / "bin"
        self.programs.mkdir()
        for name in ("terraform", "gcloud"):
            self.install(name)
        git = ["git", "-C", self.project, "-c", "user.name=t", "-c", "user.email=t@example.com"]
        for command in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "first"]):
            subprocess.run([*git, *command], check=True)
        self.commit = subprocess.check_output([*git, "rev-parse", "--short=7", "HEAD"], text=True).strip()

    def install(self, name):
        (self.programs / name).write_text(STAND_IN)
        (self.programs / name).chmod(0o755)

    def run_script(self, name, rules=(), answers="", path=None, arguments=(), **environment):
        rules_file = self.folder / "rules.json"
        rules_file.write_text(json.dumps([*rules, *BASIS]))
        done = subprocess.run(
            ["bash", self.project / "scripts" / name, *arguments],
            input=answers, capture_output=True, text=True, timeout=60,
            env={
                "PATH": path or f"{self.programs}:{os.environ['PATH']}", "HOME": str(self.folder), "WAIT": "0",
                "CALLS": str(self.calls_file), "RULES": str(rules_file), **environment,
            },
        )  # fmt: skip
        return done.returncode, done.stdout + done.stderr

    def calls(self, part):
        return [call for call in self.calls_file.read_text().splitlines() if part in call]

    def assert_nothing_is_changed(self):
        for changing in ("apply", "builds submit", "services enable", "publish", "identity create", "buckets create", "update"):
            self.assertEqual(self.calls(changing), [])


class Deploy(Scripts):
    there = ["gcloud artifacts docker images describe", 0, "sha256:" + "a" * 64]
    changes = ["terraform plan", 2, "Plan: 40 to add"]

    def test_what_is_missing_is_said_all_at_once_and_before_anything_is_done(self):
        self.settings.unlink()
        rules = [["gcloud auth list", 0, ""], ["gcloud auth application-default", 1, ""]]
        code, said = self.run_script("deploy", [["terraform version", 0, "Terraform v1.5.7"], *rules])
        self.assertEqual(code, 1)
        for missing in ("1.9 or newer; this is 1.5.7", "gcloud auth login", "application-default", "terraform.tfvars"):
            self.assertIn(missing, said)
        self.assert_nothing_is_changed()

    def test_missing_programs_are_named(self):
        tools = self.folder / "tools"
        tools.mkdir()
        for tool in ("bash", "dirname", "git", "sed", "sort", "head"):
            (tools / tool).symlink_to(shutil.which(tool))
        code, said = self.run_script("deploy", path=str(tools))
        self.assertEqual(code, 1)
        self.assertIn("* terraform: 1.9 or newer", said)
        self.assertIn("* gcloud: https://", said)

    def test_a_secret_without_a_value_is_missed_before_the_plan(self):
        values = [VALUES[0], 0, '"my-project asia-northeast1 runback runback-slack true"']
        code, said = self.run_script("deploy", [values, NO_IMAGE, ["gcloud secrets versions", 1, ""]])
        self.assertEqual(code, 1)
        self.assertIn("gcloud secrets create runback-slack --project=my-project", said)
        self.assertEqual(self.calls("plan"), [])

    def test_the_plan_is_shown_and_applied_after_a_yes(self):
        code, said = self.run_script("deploy", [VALUES, NO_IMAGE, self.there, self.changes], "yes\n")
        self.assertEqual(code, 0, said)
        self.assertLess(said.index("Plan: 40 to add"), said.index('Only "yes" does it'))
        self.assertEqual(len(self.calls("terraform apply")), 1)
        self.assertIn(f"{REPOSITORY}/runback@sha256:aaa", self.calls("terraform plan")[0], "by digest")
        self.assertEqual(self.calls("builds submit"), [], "the image of this commit is there")

    def test_anything_but_yes_changes_nothing(self):
        for answer in ("", "y\n", "no\n", "YES\n"):
            code, said = self.run_script("deploy", [VALUES, NO_IMAGE, self.there, self.changes], answer)
            self.assertEqual(code, 1)
            self.assertIn("Nothing was changed.", said)
        self.assert_nothing_is_changed()

    def test_an_image_that_is_not_there_is_built_after_its_repository(self):
        rules = [["gcloud artifacts docker images describe", 1, ""], ["gcloud artifacts repositories describe", 1, ""]]
        code, said = self.run_script("deploy", [VALUES, NO_IMAGE, *rules, ["terraform plan", 0, ""]], "yes\nyes\n")
        self.assertIn("-target=google_artifact_registry_repository.images", self.calls("terraform plan")[0])
        self.assertIn(f"_REPOSITORY={REPOSITORY},SHORT_SHA={self.commit}", self.calls("builds submit")[0])
        self.assertEqual(code, 1, "the stand-in builds nothing")
        self.assertIn(f"{REPOSITORY}/runback:{self.commit} is still not there.", said)

    def test_on_a_new_project_the_apis_and_agents_come_before_the_first_plan_also_with_an_image(self):
        rules = [
            ["terraform state list", 0, ""],
            ["gcloud run services describe", 1, ""],
            ["gcloud storage buckets describe", 1, ""],
            ["terraform console*var.enable_apis", 0, '"true eventarc.googleapis.com,pubsub.googleapis.com,run.googleapis.com shop-project"'],
            ["terraform console*local.guarded_apis", 0, '"monitoring.googleapis.com"'],
            ["gcloud services list --enabled --project=my-project", 0, "run.googleapis.com"],
            ["gcloud services list --enabled --project=shop-project", 0, ""],
            ["terraform console*var.image", 0, f'"{REPOSITORY}/runback:1"'],
        ]
        given = {"IMAGE": f"{REPOSITORY}/runback:1"}
        code, said = self.run_script("deploy", [VALUES, *rules, self.there, self.changes], "yes\nyes\nyes\n", **given)
        self.assertEqual(code, 0, said)
        calls = self.calls_file.read_text().splitlines()
        enabled = [call for call in calls if "services enable" in call]
        self.assertEqual(enabled, [
            "gcloud services enable eventarc.googleapis.com pubsub.googleapis.com --project=my-project",
            "gcloud services enable monitoring.googleapis.com --project=shop-project",
        ])  # fmt: skip
        agents = [call.split("--service=")[1] for call in calls if "identity create" in call]
        self.assertEqual(agents, [
            "eventarc.googleapis.com --project=my-project --quiet", "pubsub.googleapis.com --project=my-project --quiet",
            "monitoring.googleapis.com --project=shop-project --quiet",
        ])  # fmt: skip
        first_plan = next(i for i, call in enumerate(calls) if "terraform plan" in call)
        self.assertLess(max(i for i, call in enumerate(calls) if "identity create" in call), first_plan)

    PASSING = [
        "Error: Error creating Trigger: googleapi: Error 400: Permission denied while using the Eventarc Service Agent.",
        "Error 403: Cloud Tasks API has not been used in project 42 before or it is disabled.",
        "Service account service-42@gcp-sa-monitoring-notification.iam.gserviceaccount.com does not exist.",
        "Permission denied on secret: projects/42/secrets/runback-slack/versions/latest for Revision service account",
        "Error 400: Service account service-42@gcp-sa-logging.iam.gserviceaccount.com does not exist.",
        'Error when reading or editing Project Service my-project/run.googleapis.com: Request "List Project Services"',
    ]

    def test_what_passes_by_itself_on_a_new_project_is_tried_again(self):
        for message in self.PASSING:
            self.calls_file.write_text("")
            fails = ["terraform apply", 1, message, 2]
            code, said = self.run_script("deploy", [VALUES, NO_IMAGE, self.there, fails, self.changes], "yes\n")
            self.assertEqual(code, 0, said)
            self.assertEqual((len(self.calls("terraform plan")), len(self.calls("terraform apply"))), (3, 3), message)
            self.assertEqual(said.count("Only \"yes\""), 1, "one yes is for the whole of it")

    def test_a_plan_that_comes_too_early_is_tried_again(self):
        early = ["terraform plan", 1, "Error 403: Cloud Resource Manager API has not been used in project 42 before or it is disabled", 1]
        code, said = self.run_script("deploy", [VALUES, NO_IMAGE, self.there, early, self.changes], "yes\n")
        self.assertEqual(code, 0, said)
        self.assertEqual((len(self.calls("terraform plan")), len(self.calls("terraform apply"))), (2, 1))

    def test_it_is_tried_three_times_at_most_and_anything_else_once(self):
        for message, times in ((self.PASSING[0], 3), ("Error 409: Resource already exists", 1)):
            self.calls_file.write_text("")
            fails = ["terraform apply", 1, message]
            code, said = self.run_script("deploy", [VALUES, NO_IMAGE, self.there, fails, self.changes], "yes\n")
            self.assertEqual((code, len(self.calls("terraform apply"))), (1, times), said)
            self.assertIn("docs/deploy.md", said)

    def test_the_modes_are_shown_at_the_end(self):
        modes = ["terraform output modes", 0, '"my-project/asia-northeast1/k-back" = "observe"']
        code, said = self.run_script("deploy", [VALUES, NO_IMAGE, self.there, self.changes, modes], "yes\n")
        self.assertEqual(code, 0, said)
        self.assertIn('"my-project/asia-northeast1/k-back" = "observe"', said)

    def test_a_second_machine_does_not_make_everything_again(self):
        empty = [["terraform state list", 0, ""], ["gcloud storage buckets describe", 1, ""]]
        code, said = self.run_script("deploy", [VALUES, NO_IMAGE, *empty, ["gcloud run services describe runback", 0, "runback"]])
        self.assertEqual(code, 1)
        self.assertIn("it was deployed from another machine", said)
        self.assertIn("-migrate-state", said)
        self.assert_nothing_is_changed()

    def test_a_shared_state_is_found_by_its_bucket(self):
        empty = [["terraform state list", 0, "", 1], ["gcloud storage buckets describe gs://my-project-runback-state", 0, ""]]
        code, said = self.run_script("deploy", [VALUES, NO_IMAGE, *empty, self.there, self.changes], "yes\n")
        self.assertEqual(code, 0, said)
        self.assertIn('bucket = "my-project-runback-state"', (self.project / "infra/backend.tf").read_text())
        self.assertIn("terraform init -input=false -reconfigure", self.calls("terraform init")[1])

    def test_a_plan_is_kept_for_apply_and_asks_nothing(self):
        code, said = self.run_script("deploy", [VALUES, NO_IMAGE, self.there, self.changes], arguments=["plan"])
        self.assertEqual(code, 0, said)
        self.assertIn("-out=", self.calls("terraform plan")[0])
        self.assertIn("make apply", said)
        self.assert_nothing_is_changed()

    def test_a_plan_never_builds_or_switches_anything_on(self):
        missing = ["gcloud artifacts docker images describe", 1, ""]
        code, said = self.run_script("deploy", [VALUES, NO_IMAGE, missing], "yes\n", arguments=["plan"])
        self.assertEqual(code, 1)
        self.assertIn("'make plan' changes nothing", said)
        self.assert_nothing_is_changed()

    def test_an_image_is_never_named_by_a_commit_that_it_was_not_built_from(self):
        (self.project / "src/main.rs").write_text("fn main() { todo!() }\n")
        code, said = self.run_script("deploy", [VALUES, NO_IMAGE])
        self.assertEqual(code, 1)
        self.assertIn("changes that no commit has", said)
        self.assert_nothing_is_changed()

    def test_an_image_that_is_given_has_to_be_there(self):
        given = ["terraform console*var.image", 0, f'"{REPOSITORY}/runback:gone"']
        missing = ["gcloud artifacts docker images describe", 1, ""]
        code, said = self.run_script("deploy", [VALUES, given, missing], IMAGE=f"{REPOSITORY}/runback:gone")
        self.assertEqual(code, 1)
        self.assertIn("runback:gone is not there", said)

    def test_the_first_time_the_settings_are_written_from_the_service(self):
        self.settings.unlink()
        rules = [
            ["gcloud run services describe k-back*serviceAccountName", 0, "k-back@my-project.iam.gserviceaccount.com"],
            ["gcloud run services describe k-back*image", 0, "\n".join([
                "asia-northeast1-docker.pkg.dev/images/k-back-repo/k-back:1", "gcr.io/my-project/proxy@sha256:" + "b" * 64,
                "eu.gcr.io/my-project/logs", "docker.io/library/redis:7", "asia-northeast1-docker.pkg.dev/images/k-back-repo/other:1",
            ])],
            ["gcloud secrets describe", 1, ""],
            ["terraform state list", 0, ""],
            ["gcloud storage buckets describe", 1, ""],
            ["gcloud run services describe runback", 1, ""],
        ]
        where = {"PROJECT": "my-project", "REGION": "asia-northeast1", "SERVICE": "k-back"}
        code, said = self.run_script("deploy", [*rules, VALUES, NO_IMAGE, self.there, self.changes], **where)
        written = self.settings.read_text()
        self.assertIn('mode = "observe"', written)
        self.assertIn('service_account    = "k-back@my-project.iam.gserviceaccount.com"', written)
        repositories = [
            "projects/images/locations/asia-northeast1/repositories/k-back-repo", "projects/my-project/locations/us/repositories/gcr.io",
            "projects/my-project/locations/europe/repositories/eu.gcr.io",
        ]  # fmt: skip
        self.assertIn(f"image_repositories = {json.dumps(repositories)}", written, "each container's, each once")
        self.assertIn("gs://my-project-runback-state", said, "a place for the state is offered")
        self.assertIn("slack_webhook_secret = null", written)
        self.assertEqual(code, 1, "nobody said yes")
        self.assertIn("Nothing was changed.", said)

    def test_settings_are_not_written_over(self):
        where = {"PROJECT": "another", "REGION": "asia-northeast1", "SERVICE": "k-back"}
        code, said = self.run_script("deploy", [VALUES, NO_IMAGE], **where)
        self.assertEqual((code, self.settings.read_text()), (1, SETTINGS))
        self.assertIn("PROJECT is another, but infra/terraform.tfvars says my-project.", said)

    def test_without_a_plan_nothing_is_applied(self):
        code, said = self.run_script("deploy", [VALUES, NO_IMAGE, self.there, ["terraform plan", 1, ""]], "yes\n")
        self.assertEqual(code, 1)
        self.assertIn("nothing was changed", said)
        self.assert_nothing_is_changed()


class Apply(Scripts):
    def test_a_saved_plan_is_applied_and_nothing_is_planned_anew(self):
        (self.project / "target").mkdir()
        (self.project / "target/runback.tfplan").write_text("")
        code, said = self.run_script("apply", [["terraform output modes", 0, '"k-back" = "enforce"']])
        self.assertEqual(code, 0, said)
        self.assertTrue(self.calls("terraform apply")[0].endswith("/target/runback.tfplan"))
        self.assertEqual(self.calls("terraform plan"), [])
        self.assertIn('"k-back" = "enforce"', said)

    def test_without_a_plan_it_says_how_to_get_one(self):
        code, said = self.run_script("apply")
        self.assertEqual(code, 1)
        self.assertIn("'make plan' writes target/runback.tfplan", said)


class Observe(Scripts):
    policy = {"defaults": {"mode": "enforce"}, "service": [
        {"service": "k-back", "mode": "enforce", "mention": "a, \"mode\":\"enforce\""}, {"service": "shop", "mode": "observe"},
    ]}  # fmt: skip
    serving = ["gcloud run services describe*status.traffic", 0, "runback-2\trunback-2\t100"]

    def of(self, policy):
        return ["gcloud run services describe*containers.env", 0, f"RUST_LOG\tinfo\nRUNBACK_POLICY\t{policy}\nSLACK_WEBHOOK_URL\t"]

    def test_every_service_observes_and_nothing_else_of_the_policy_changes(self):
        where = {"PROJECT": "p", "REGION": "r"}
        for separators in ((",", ":"), (", ", ": ")):
            self.calls_file.write_text("")
            rules = [["terraform output", 1, ""], self.of(json.dumps(self.policy, separators=separators)), self.serving]
            code, said = self.run_script("observe", rules, **where)
            self.assertEqual(code, 0, said)
            (update,) = self.calls("services update ")
            self.assertIn("gcloud run services update runback --project=p --region=r", update)
            written = json.loads(update.split("RUNBACK_POLICY=")[1].removesuffix(" --quiet"))
            expected = json.loads(json.dumps(self.policy))
            expected["defaults"]["mode"] = expected["service"][0]["mode"] = "observe"
            self.assertEqual(written, expected)
            self.assertIn("the next 'make deploy'", said, "Terraform does not know")

    def test_it_knows_where_runback_is_from_terraform(self):
        rules = [
            ["terraform output -raw project", 0, "p"], ["terraform output -raw region", 0, "r"],
            ["terraform output -raw service_name", 0, "runback-two"], self.of('{"defaults":{"mode":"enforce"}}'), self.serving,
        ]  # fmt: skip
        code, said = self.run_script("observe", rules)
        self.assertEqual(code, 0, said)
        self.assertIn("update runback-two --project=p --region=r", self.calls("services update ")[0])

    def test_what_observes_already_is_left_alone(self):
        code, said = self.run_script("observe", [self.of('{"defaults":{"mode":"observe"}}'), self.serving], PROJECT="p", REGION="r")
        self.assertEqual(code, 0, said)
        self.assert_nothing_is_changed()

    def test_a_runback_that_is_pinned_is_no_success(self):
        pinned = ["gcloud run services describe*status.traffic", 0, "runback-2\trunback-1\t100"]
        code, said = self.run_script("observe", [self.of('{"defaults":{"mode":"enforce"}}'), pinned], PROJECT="p", REGION="r")
        self.assertEqual(code, 1)
        self.assertIn("update-traffic runback --project=p --region=r --to-latest", said)

    def test_without_a_policy_it_says_so(self):
        code, said = self.run_script("observe", [["gcloud run services describe", 0, "RUST_LOG\tinfo"]], PROJECT="p", REGION="r")
        self.assertEqual(code, 1)
        self.assertIn("no RUNBACK_POLICY", said)


class Bash(unittest.TestCase):
    def test_an_array_that_may_be_empty_is_no_unset_variable_in_bash_3_2(self):
        scripts = {path.name: path.read_text() for path in (ROOT / "scripts").iterdir()}
        empty = {name for text in scripts.values() for name in re.findall(r"\b(\w+)=\(\)", text)}
        self.assertIn("image_argument", empty)
        for script, text in scripts.items():
            for name in empty:
                bare = re.sub(rf'\$\{{{name}\[@\]\+"\$\{{{name}\[@\]\}}"\}}', "", text)
                self.assertNotIn(f'"${{{name}[@]}}"', bare, script)

    def test_nothing_newer_than_bash_3_2_is_used(self):
        for path in (ROOT / "scripts").iterdir():
            found = re.findall(r"\b(?:mapfile|readarray|declare -[gnA])\b|\$\{\w+(?:,,|\^\^|@[QEPAa])\}|\|&|&>>", path.read_text())
            self.assertEqual(found, [], path.name)


class SendTest(Scripts):
    heard = ["gcloud logging read", 0, "notify (test_notification), incident …: this is a test notification"]

    def test_it_publishes_one_test_to_the_topic_and_shows_what_runback_says(self):
        code, said = self.run_script("send-test", [self.heard])
        self.assertEqual(code, 0, said)
        (published,) = self.calls("pubsub topics publish")
        self.assertIn("projects/my-project/topics/runback-alerts", published)
        message = json.loads(published.split("--message=")[1])
        self.assertEqual(message["version"], "test")
        self.assertIn(f'jsonPayload.incident="{message["incident"]["incident_id"]}"', self.calls("logging read")[0])
        self.assertIn("Runback: notify (test_notification)", said)

    def test_silence_is_no_success(self):
        code, said = self.run_script("send-test", [["gcloud logging read", 0, ""]])
        self.assertEqual(code, 1)
        self.assertIn("docs/deploy.md", said)
        self.assertEqual(len(self.calls("pubsub topics publish")), 1)

    def test_without_a_topic_it_says_so(self):
        code, said = self.run_script("send-test", [["terraform output", 1, ""]])
        self.assertEqual(code, 1)
        self.assertIn("run 'make deploy' first, or give TOPIC=", said)
        self.assert_nothing_is_changed()

    def test_a_topic_can_be_given(self):
        code, _ = self.run_script("send-test", [self.heard], TOPIC="projects/other/topics/alerts")
        self.assertEqual(code, 0)
        self.assertIn("--project=other", self.calls("logging read")[0])


class Destroy(Scripts):
    plan = ["terraform plan", 0, "Plan: 40 to destroy"]

    def test_it_takes_the_projects_name(self):
        for answer in ("", "yes\n", "my-projec\n"):
            code, said = self.run_script("destroy", [self.plan], answer)
            self.assertEqual(code, 1)
        self.assert_nothing_is_changed()
        code, said = self.run_script("destroy", [self.plan], "my-project\n")
        self.assertEqual(code, 0, said)
        self.assertIn("-destroy", self.calls("terraform plan")[-1])
        self.assertEqual(len(self.calls("terraform apply")), 1)
        self.assertIn("runback release", said, "a pin stays")

    def test_settings_that_cannot_be_read_delete_nothing(self):
        for status, output in ((1, ""), (0, "")):
            code, said = self.run_script("destroy", [["terraform console", status, output], self.plan], "\n")
            self.assertEqual(code, 1)
            self.assertIn("cannot be read", said)
        self.assert_nothing_is_changed()

    def test_an_empty_state_is_said(self):
        code, said = self.run_script("destroy", [["terraform state list", 0, ""]], "my-project\n")
        self.assertEqual(code, 1)
        self.assertIn("nothing to delete", said)
        self.assert_nothing_is_changed()


if __name__ == "__main__":
    unittest.main()
