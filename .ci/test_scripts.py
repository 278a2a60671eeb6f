"""What scripts/ promises, with stand-ins for terraform and gcloud: python3 -m unittest .ci/test_scripts.py

They run in a copy of the project, so that nobody's settings, state or account are touched.
"""

import json
import os
import shutil
import subprocess
import tempfile
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

# A stand-in writes down how it was called, and answers with the first rule whose words the call begins with.
STAND_IN = """#!/usr/bin/env python3
import json, os, sys
words = [word for word in sys.argv[1:] if not word.startswith("-chdir")]
call = " ".join([os.path.basename(sys.argv[0]), *words])
with open(os.environ["CALLS"], "a") as calls:
    calls.write(call + "\\n")
if "console" in words:
    call += " " + sys.stdin.read().strip()
for start, status, output in json.load(open(os.environ["RULES"])):
    if all(part in call for part in start.split("*")):
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

    def run_script(self, name, rules=(), answers="", path=None, **environment):
        rules_file = self.folder / "rules.json"
        rules_file.write_text(json.dumps([*rules, *BASIS]))
        done = subprocess.run(
            ["bash", self.project / "scripts" / name],
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
        for changing in ("apply", "builds submit", "services enable", "publish"):
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
            ["gcloud run services describe k-back*image", 0, "asia-northeast1-docker.pkg.dev/images/k-back-repo/k-back:1"],
            ["gcloud secrets describe", 1, ""],
        ]
        where = {"PROJECT": "my-project", "REGION": "asia-northeast1", "SERVICE": "k-back"}
        code, said = self.run_script("deploy", [*rules, VALUES, NO_IMAGE, self.there, self.changes], **where)
        written = self.settings.read_text()
        self.assertIn('mode = "observe"', written)
        self.assertIn('service_account  = "k-back@my-project.iam.gserviceaccount.com"', written)
        self.assertIn('image_repository = "projects/images/locations/asia-northeast1/repositories/k-back-repo"', written)
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
        self.assertIn("--to-latest", said, "a pin stays")

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
