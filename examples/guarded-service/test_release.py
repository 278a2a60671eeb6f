"""What release.py promises, against a small Cloud Run of its own: `python3 -m unittest` in this folder.

Each story is told twice: with a stand-in for gcloud, and with the real one where it is installed, which then talks to
the same small Cloud Run. So what the stand-in does is what gcloud does.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import unittest
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import release

HERE = Path(__file__).parent
# Other versions may ask for more than the small Cloud Run below has. GCLOUD=any tries.
GCLOUD = "528."


def gcloud_version():
    if not shutil.which("gcloud"):
        return ""
    shown = subprocess.run(["gcloud", "version", "--format=json"], capture_output=True, text=True).stdout
    return json.loads(shown or "{}").get("Google Cloud SDK", "")


COMMIT = "6831359" + "0" * 33
OLD, NEW = "k-back-00001-old", release.names("k-back", COMMIT, "main", "1")["revision"]


class Cloud:
    """One service, as Cloud Run's Admin API v1 shows it, and the probes of its revisions."""

    def __init__(self, traffic):
        self.created = [OLD]
        self.health = [200]
        self.commits = {}
        self.asked = []
        self.during_probe = lambda: None
        self.during_write = lambda: None
        self.traffic = traffic
        self.annotations = {}
        self.labels = {}
        self.image = "example/k-back:old"
        self.name_of_template = None
        self.generation = 1

    def render(self, base):
        status = []
        for target in self.traffic:
            target = dict(target)
            if target.pop("latestRevision", False):
                target["revisionName"] = self.created[-1]
            if "tag" in target:
                target["url"] = f"{base}/tag/{target['tag']}"
            status.append(target)
        ready = [{"type": name, "status": "True"} for name in ("Ready", "ConfigurationsReady", "RoutesReady")]
        return {
            "apiVersion": "serving.knative.dev/v1",
            "kind": "Service",
            "metadata": {
                "name": "k-back", "namespace": "demo", "uid": "1", "annotations": self.annotations,
                "generation": self.generation, "resourceVersion": str(self.generation),
                "creationTimestamp": "2026-01-01T00:00:00Z", "selfLink": "/k-back",
            },
            "spec": {
                "template": {
                    "metadata": {"name": self.name_of_template, "labels": self.labels},
                    "spec": {"containers": [{"image": self.image}]},
                },
                "traffic": self.traffic,
            },
            "status": {
                "observedGeneration": self.generation, "url": base, "traffic": status, "conditions": ready,
                "latestReadyRevisionName": self.created[-1], "latestCreatedRevisionName": self.created[-1],
            },
        }  # fmt: skip

    def replace(self, sent):
        self.generation += 1
        template = sent["spec"]["template"]
        name = template["metadata"].get("name")
        if name and name != self.name_of_template:
            self.created.append(name)
            self.name_of_template = name
        self.image = template["spec"]["containers"][0]["image"]
        self.labels = template["metadata"].get("labels", {})
        self.traffic = [{k: v for k, v in target.items() if k != "url"} for target in sent["spec"]["traffic"]]
        self.during_write()

    def probed(self, authorization):
        self.asked.append(authorization)
        self.during_probe()
        return self.health.pop(0) if len(self.health) > 1 else self.health[0]

    def percent(self):
        return {t.get("revisionName", "LATEST"): t["percent"] for t in self.traffic if t.get("percent")}

    def tags(self):
        return {t["tag"]: t["revisionName"] for t in self.traffic if "tag" in t}


def handler(cloud):
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_):
            pass

        def answer(self, code, value):
            body = json.dumps(value).encode()
            self.send_response(code)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def handle_call(self):
            base = "http://127.0.0.1:%d" % self.server.server_address[1]
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            path = self.path.split("?")[0]
            if "/tag/" in path:
                self.answer(cloud.probed(self.headers.get("Authorization")), {})
            elif path.endswith(":testIamPermissions"):
                self.answer(200, {"permissions": json.loads(body)["permissions"]})
            elif path.endswith("run.googleapis.com"):
                self.answer(200, {"name": path, "state": "ENABLED"})
            elif path.endswith("/revisions"):
                items = [
                    {
                        "apiVersion": "serving.knative.dev/v1",
                        "kind": "Revision",
                        "metadata": {
                            "name": name,
                            "creationTimestamp": f"2026-01-01T00:{minute:02}:00Z",
                            "labels": {"commit-sha": cloud.commits.get(name, "unknown")},
                        },
                        "spec": {"containers": [{"image": "example"}]},
                        "status": {"conditions": [{"type": "Ready", "status": "True"}]},
                    }
                    for minute, name in enumerate(cloud.created)
                ]
                kind = {"apiVersion": "serving.knative.dev/v1", "kind": "RevisionList", "metadata": {}}
                self.answer(200, kind | {"items": items})
            elif path.endswith("/services/k-back"):
                if self.command == "PUT":
                    cloud.replace(json.loads(body))
                self.answer(200, cloud.render(base))
            else:
                self.answer(404, {"error": {"code": 404, "status": "NOT_FOUND", "message": path}})

        do_GET = do_PUT = do_POST = handle_call

    return Handler


class Stories:
    """Run by the two classes below, once for each gcloud."""

    def start(self, traffic):
        self.cloud = Cloud(traffic)
        server = ThreadingHTTPServer(("127.0.0.1", 0), handler(self.cloud))
        threading.Thread(target=server.serve_forever, daemon=True).start()
        self.addCleanup(server.server_close)
        self.addCleanup(server.shutdown)
        self.port = server.server_address[1]
        self.folder = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.folder)
        self.quarantine(0)

    def quarantine(self, status):
        """What `runback quarantine --check` ends with. Its own tests show what it says of which commit."""
        program = self.folder / "runback"
        program.write_text(f"#!/bin/sh\nexit {status}\n")
        program.chmod(0o755)

    def release(self, command, *more):
        place = ["--service=k-back", "--project=demo", "--region=asia-northeast1"]
        done = subprocess.run(
            [sys.executable, HERE / "release.py", command, *place, *more],
            env=os.environ | self.environment(), capture_output=True, text=True, timeout=120,
        )  # fmt: skip
        return done.returncode, done.stdout + done.stderr

    def deploy(self, *more):
        build = [f"--commit={COMMIT}", "--branch=main", "--build=1", "--image=example/k-back"]
        return self.release("deploy", *build, f"--runback={self.folder / 'runback'}", *more)

    def test_a_healthy_commit_is_probed_at_0_percent_and_then_gets_all_traffic(self):
        self.start([{"latestRevision": True, "percent": 100}])
        seen = []
        self.cloud.during_probe = lambda: seen.append(self.cloud.percent())
        heads = self.folder / "heads.txt"
        heads.write_text("3f8d9e2a1b4c (head)\n")
        code, said = self.deploy(f"--heads={heads}")
        self.assertEqual(code, 0, said)
        self.assertEqual(seen, [{OLD: 100}] * 3, "while it is probed")
        self.assertEqual(self.cloud.percent(), {NEW: 100})
        self.assertEqual(self.cloud.tags(), {"c-6831359": NEW, "released": NEW})
        self.assertEqual(self.cloud.image, "example/k-back:6831359")
        self.assertEqual(self.cloud.labels["commit-sha"], COMMIT)
        self.assertEqual(self.cloud.labels["runback-schema"], "3f8d9e2a1b4c")

    def test_a_rollback_is_not_undone_by_the_next_deploy(self):
        self.start([{"revisionName": OLD, "percent": 100}, {"revisionName": "k-back-bad", "tag": "released"}])
        self.cloud.created = [OLD, "k-back-bad"]
        rollback = {"at": "2026-01-01T03:00:00Z", "incident": "0.abc", "culprit": "k-back-bad", "target": OLD}
        self.cloud.annotations = {"runback.dev/state": json.dumps({"v": 1, "rollbacks": [rollback]})}
        code, said = self.deploy()
        self.assertEqual(code, 3, said)
        self.assertEqual(self.cloud.percent(), {OLD: 100})
        self.assertEqual(self.cloud.tags(), {"released": "k-back-bad", "c-6831359": NEW}, "it can be tried by its tag")
        self.assertIn("Runback rolled k-back-bad back at 2026-01-01T03:00:00Z, incident 0.abc", said)
        self.assertIn("0 % of the traffic", said)
        self.assertIn("runback release --service projects/demo/locations/asia-northeast1/services/k-back", said)

    def test_a_commit_that_fails_its_probe_gets_nothing_and_does_not_block_the_next(self):
        self.start([{"latestRevision": True, "percent": 100}])
        self.cloud.health = [500]
        code, said = self.deploy()
        self.assertEqual((code, self.cloud.percent()), (1, {OLD: 100}), said)
        self.assertEqual(self.cloud.tags()["released"], OLD, "the pin is known as the pipeline's own")
        self.cloud.health = [200]
        code, said = self.deploy("--build=2")
        self.assertEqual(code, 0, said)


class WithAStandIn(Stories, unittest.TestCase):
    def environment(self):
        program = self.folder / "gcloud"
        program.write_text(f"#!/bin/sh\nexec {sys.executable} {HERE / 'gcloud_standin.py'} {self.port} \"$@\"\n")
        program.chmod(0o755)
        return {"PATH": f"{self.folder}:{os.environ['PATH']}"}

    def test_a_rollback_that_comes_while_the_commit_is_probed_stands(self):
        self.start([{"latestRevision": True, "percent": 100}, {"revisionName": OLD, "tag": "released"}])
        self.cloud.created = ["k-back-older", OLD]

        def roll_back():
            self.cloud.traffic = [{"revisionName": "k-back-older", "percent": 100}, *self.cloud.traffic[1:]]

        self.cloud.during_probe = roll_back
        code, said = self.deploy()
        self.assertEqual((code, self.cloud.percent()), (3, {"k-back-older": 100}), said)

    def test_traffic_that_a_person_has_split_is_left_alone(self):
        split = [{"revisionName": OLD, "percent": 90}, {"revisionName": "k-back-b", "percent": 10, "tag": "released"}]
        self.start(split)
        code, said = self.deploy()
        self.assertEqual((code, self.cloud.percent()), (3, {OLD: 90, "k-back-b": 10}), said)
        self.assertIn("90 % to k-back-00001-old and 10 % to k-back-b", said)

    def test_a_released_pin_lets_deploys_through_again(self):
        self.start([{"latestRevision": True, "percent": 100}, {"revisionName": "k-back-bad", "tag": "released"}])
        self.assertEqual(self.deploy()[0], 0)
        self.assertEqual(self.cloud.percent(), {NEW: 100})

    def test_a_private_service_is_probed_with_an_identity_token(self):
        self.start([{"latestRevision": True, "percent": 100}])
        self.cloud.health = [403, 200]
        code, said = self.deploy()
        self.assertEqual(code, 0, said)
        self.assertEqual(self.cloud.asked, [None] + [f"Bearer token-for-http://127.0.0.1:{self.port}"] * 3)

    def test_the_third_answer_in_a_row_convinces_not_the_third_in_all(self):
        self.start([{"latestRevision": True, "percent": 100}])
        self.cloud.health = [200, 200, 503, 200]
        self.assertEqual(self.deploy()[0], 0)
        self.assertEqual(len(self.cloud.asked), 6)

    def test_only_old_commits_lose_their_tag(self):
        revisions = [f"k-back-{number:02}" for number in range(30)]
        tags = [{"revisionName": name, "tag": f"c-{number:07}"} for number, name in enumerate(revisions)]
        own = {"revisionName": revisions[0], "tag": "canary"}
        gone = {"revisionName": "k-back-deleted", "tag": "c-fffffff"}
        self.start([{"revisionName": revisions[1], "percent": 100, "tag": "released"}, *tags, own, gone])
        self.cloud.created = revisions
        self.assertEqual(self.deploy()[0], 0)
        left = set(self.cloud.tags())
        self.assertEqual(left - {"canary", "released", "c-6831359"}, {"c-0000001"} | {f"c-{n:07}" for n in range(11, 30)})

    def test_a_commit_that_was_rolled_back_is_not_deployed_unless_somebody_says_so(self):
        self.start([{"latestRevision": True, "percent": 100}])
        self.quarantine(3)
        code, said = self.deploy()
        self.assertEqual((code, self.cloud.created), (3, [OLD]), said)
        self.assertIn("NOT DEPLOYED: 6831359", said)
        code, said = self.deploy("--although-rolled-back")
        self.assertEqual((code, self.cloud.percent()), (0, {NEW: 100}), said)

    def test_where_nobody_can_tell_what_was_rolled_back_nothing_is_deployed(self):
        self.start([{"latestRevision": True, "percent": 100}])
        for status in (1, 2):
            self.quarantine(status)
            code, said = self.deploy()
            self.assertEqual((code, self.cloud.created), (1, [OLD]), said)
        code, said = self.deploy("--runback=/nowhere/runback")
        self.assertEqual((code, self.cloud.created), (1, [OLD]), said)
        self.assertIn("--runback", said)

    def test_a_canary_gets_more_step_by_step(self):
        self.start([{"latestRevision": True, "percent": 100}])
        seen = []
        self.cloud.during_write = lambda: seen.append(self.cloud.percent().get(NEW, 0))
        code, said = self.deploy("--canary=10,50,100", "--interval=0s")
        self.assertEqual((code, self.cloud.percent()), (0, {NEW: 100}), said)
        self.assertEqual([share for share in seen if share], [10, 50, 100])
        self.assertEqual(self.cloud.tags()["released"], NEW)

    def test_a_canary_that_is_rolled_back_goes_no_further(self):
        self.start([{"latestRevision": True, "percent": 100}])

        def roll_back():
            if self.cloud.percent().get(NEW) == 10:
                self.cloud.traffic = [{"revisionName": OLD, "percent": 100}, *self.cloud.traffic[2:]]

        self.cloud.during_write = roll_back
        code, said = self.deploy("--canary=10,50,100", "--interval=0s")
        self.assertEqual((code, self.cloud.percent()), (3, {OLD: 100}), said)
        self.assertIn("STOPPED at 10 %", said)

    def test_steps_that_make_no_sense_are_refused(self):
        self.start([{"latestRevision": True, "percent": 100}])
        for wrong in ("--canary=50,10,100", "--canary=10,50", "--canary=x", "--canary=0,100", "--interval=4"):
            self.assertEqual(self.deploy(wrong)[0], 2, wrong)

    def test_what_follows_the_dashes_goes_to_gcloud(self):
        self.start([{"latestRevision": True, "percent": 100}])
        self.assertIn("gcloud run deploy k-back", (said := self.deploy("--", "--cpu=2")[1]))
        self.assertIn("--cpu=2", said)


@unittest.skipUnless(
    gcloud_version().startswith(GCLOUD) or os.environ.get("GCLOUD") == "any",
    f"it takes gcloud {GCLOUD}x, and here is {gcloud_version() or 'none'}",
)
class WithGcloud(Stories, unittest.TestCase):
    def environment(self):
        token = self.folder / "token"
        token.write_text("none")
        return {
            "CLOUDSDK_CONFIG": str(self.folder / "config"),
            "CLOUDSDK_AUTH_ACCESS_TOKEN_FILE": str(token),
            # gcloud puts the region before the host, so the host has to be one that is only reached by a proxy.
            "CLOUDSDK_API_ENDPOINT_OVERRIDES_RUN": "http://run.invalid/",
            "CLOUDSDK_API_ENDPOINT_OVERRIDES_SERVICEUSAGE": "http://serviceusage.invalid/",
            "CLOUDSDK_PROXY_TYPE": "http_no_tunnel",
            "CLOUDSDK_PROXY_ADDRESS": "127.0.0.1",
            "CLOUDSDK_PROXY_PORT": str(self.port),
            "CLOUDSDK_CORE_DISABLE_USAGE_REPORTING": "1",
            "CLOUDSDK_COMPONENT_MANAGER_DISABLE_UPDATE_CHECK": "1",
        }


class Names(unittest.TestCase):
    def test_the_handbooks_three_image_tags(self):
        self.assertEqual(
            release.names("k-back", COMMIT, "main", "1")["image_tags"], ["6831359", "main-6831359", "latest"]
        )

    def test_a_branch_with_slashes_becomes_a_tag_that_the_registry_takes(self):
        self.assertEqual(release.branch_tag("fix/issue-バッチ処理", "6831359"), ["fix-issue-------6831359"])
        self.assertEqual(release.branch_tag(".hidden", "6831359"), ["hidden-6831359"])
        self.assertEqual(len(release.branch_tag("x" * 200, "6831359")[0]), 128)
        self.assertEqual(release.branch_tag("", "6831359"), [], "a build of a tag")

    def test_a_traffic_tag_begins_with_a_letter_and_a_revision_carries_the_commit(self):
        called = release.names("k-back", COMMIT, "main", "1")
        self.assertEqual(called["tag"], "c-6831359")
        self.assertRegex(called["revision"], "^k-back-6831359-[0-9a-f]{5}$")

    def test_two_builds_of_one_commit_are_two_revisions(self):
        revisions = {release.names("k-back", COMMIT, "main", build)["revision"] for build in ("1", "2")}
        self.assertEqual(len(revisions), 2)

    def test_names_that_cloud_run_would_refuse_are_refused_before_anything_is_built(self):
        with self.assertRaisesRegex(release.Refused, "46 characters"):
            release.names("s" * 40, COMMIT, "main", "1")
        with self.assertRaisesRegex(release.Refused, "40 hexadecimal digits"):
            release.names("k-back", "6831359", "main", "1")


class Schema(unittest.TestCase):
    def test_one_head_is_the_label(self):
        self.assertEqual(release.schema_label("3f8d9e2a1b4c (head)\n"), "3f8d9e2a1b4c")

    def test_several_heads_make_one_label_whatever_their_order(self):
        for heads in ("b2 (head)\na1 (shop) (head)\n", "a1 (shop) (head)\nb2 (head)\n"):
            self.assertEqual(release.schema_label(heads), "a1-b2")

    def test_heads_that_no_label_can_hold_are_hashed_and_stay_apart(self):
        upper, lower = release.schema_label("Add_Users (head)"), release.schema_label("add_users (head)")
        self.assertRegex(upper, "^h-[0-9a-f]{40}$")
        self.assertNotEqual(upper, lower)
        self.assertLessEqual(len(release.schema_label("\n".join(f"{n:012x} (head)" for n in range(9)))), 63)

    def test_no_migration_is_a_schema_too(self):
        self.assertEqual(release.schema_label(""), "base")

    def test_what_is_no_head_is_refused(self):
        with self.assertRaisesRegex(release.Refused, "FAILED"):
            release.schema_label("FAILED: No config file 'alembic.ini' found")


if __name__ == "__main__":
    unittest.main()
