#!/usr/bin/env python3
"""Releases a commit of a Cloud Run service: at 0 % first, probed, then with all traffic.

    release.py names     what the image, the revision and its traffic tag are called, as shell variables
    release.py deploy    deploys the image at 0 %, probes it by its tag, then moves the traffic to it

`deploy` ends with 0 when the revision serves all traffic, with 1 when something failed (the traffic is where it was),
and with 3 when the commit was rolled back before, or somebody else holds the traffic: Runback after a rollback, or a
person. Then the new revision waits at 0 %, and the message says how to release it. It needs python3, gcloud and runback.

To go back by hand there is `runback rollback`, which knows the record and the quarantine.

How it tells whose pin it is: the traffic tag `released` marks the revision that this pipeline last gave the traffic to.
Traffic that is there, or on LATEST, is the pipeline's to move. Traffic anywhere else was moved by somebody with a
reason, and a green build must not undo that.
"""

import argparse
import hashlib
import json
import re
import shlex
import subprocess
import sys
import time
import urllib.error
import urllib.request

RELEASED = "released"
COMMIT_TAG = re.compile(r"c-[0-9a-f]{7}")
# Cloud Run's limits: a revision's name is service, hyphen, suffix; a tag and its service are one label of a host name.
LONGEST_REVISION = 63
LONGEST_TAG_AND_SERVICE = 46
LONGEST_IMAGE_TAG = 128
LONGEST_LABEL = 63

# Revisions that keep their tag. It keeps them from Cloud Run's own clean-up, and lets Runback probe them at once.
KEPT_TAGS = 20

# The handbook's health check: 200 within 3 seconds. Three in a row, because one may be luck.
PROBE_SECONDS = 3
PROBES_IN_A_ROW = 3
PROBES_AT_MOST = 10

FAILED = 1
HELD = 3


class Refused(Exception):
    """One sentence for whoever reads the build log."""


# What things are called


def names(service, commit, branch, build):
    """Everything that carries the commit. `build` tells two builds of one commit apart."""
    if not re.fullmatch(r"[0-9a-f]{40}", commit):
        raise Refused(f"The commit must be a full hash of 40 hexadecimal digits, not {commit!r}.")
    short = commit[:7]
    # A revision's name is taken for good, and the commit may be built again, with other settings.
    suffix = f"{short}-{hashlib.sha256(build.encode()).hexdigest()[:5]}"
    revision = f"{service}-{suffix}"
    # A tag must begin with a letter, which a hash often does not.
    tag = f"c-{short}"
    if len(revision) > LONGEST_REVISION:
        raise Refused(f"The revision would be called {revision}, which is longer than {LONGEST_REVISION} characters.")
    if len(tag) + len(service) > LONGEST_TAG_AND_SERVICE:
        raise Refused(
            f"The service's name and the traffic tag {tag} together may have {LONGEST_TAG_AND_SERVICE} characters; "
            f"{service} is too long."
        )
    return {
        "short": short,
        "image_tags": [short, *branch_tag(branch, short), "latest"],
        "suffix": suffix,
        "revision": revision,
        "tag": tag,
    }


def branch_tag(branch, short):
    """An image tag takes letters, digits, `_`, `.` and `-`: feature/x becomes feature-x. A tag has no branch."""
    clean = re.sub(r"[^A-Za-z0-9_.-]", "-", branch).lstrip(".-")
    clean = clean[: LONGEST_IMAGE_TAG - len(short) - 1]
    return [f"{clean}-{short}"] if clean else []


def schema_label(heads):
    """The label `runback-schema` from what `alembic heads` printed: equal labels, equal schema.

    Runback does not move traffic between revisions whose labels differ.
    """
    lines = [line.strip() for line in heads.splitlines() if line.strip()]
    found = [re.fullmatch(r"(\S+)( \(.+\))* \(head\)", line) for line in lines]
    if not all(found):
        raise Refused(f"`alembic heads` printed something else than heads: {lines[found.index(None)]!r}.")
    # Alembic allows no hyphen in an id, so it can stand between two of them.
    label = "-".join(sorted(match[1] for match in found)) or "base"
    if not re.fullmatch(rf"[a-z0-9_-]{{1,{LONGEST_LABEL}}}", label):
        label = "h-" + hashlib.sha256(label.encode()).hexdigest()[:40]
    return label


# Whose the traffic is


def shares(service):
    """(revision or "LATEST", percent) of all that takes traffic, as it is meant to be."""
    targets = service["spec"].get("traffic") or [{"latestRevision": True, "percent": 100}]
    return [
        ("LATEST" if target.get("latestRevision") else target["revisionName"], target["percent"])
        for target in targets
        if target.get("percent")
    ]


def tags(service):
    """Traffic tag to revision, as it really is."""
    targets = service.get("status", {}).get("traffic", [])
    return {target["tag"]: target for target in targets if target.get("tag")}


def tagged(service, tag):
    return tags(service).get(tag, {}).get("revisionName")


def serving(service):
    """The revision that takes all traffic, as it really is; None when it is split."""
    targets = service.get("status", {}).get("traffic", [])
    percent = {}
    for target in targets:
        percent[target.get("revisionName")] = percent.get(target.get("revisionName"), 0) + target.get("percent", 0)
    return next((revision for revision, share in percent.items() if share == 100), None)


def held(service):
    """Why the traffic is not the pipeline's to move, as the beginning of a sentence; None when it is."""
    where = shares(service)
    if where == [("LATEST", 100)]:
        return None
    if len(where) == 1 and where[0][0] == tagged(service, RELEASED):
        return None
    split = " and ".join(f"{percent} % to {revision}" for revision, percent in where)
    return f"its traffic was moved by somebody else ({split}){rolled_back(service, {name for name, _ in where})}"


def rolled_back(service, targets):
    """What Runback's record says about it, if it was Runback."""
    try:
        record = json.loads(service["metadata"]["annotations"]["runback.dev/state"])
        last = record["rollbacks"][0]
        if last["target"] in targets:
            return f": Runback rolled {last['culprit']} back at {last['at']}, incident {last['incident']}"
    except (KeyError, IndexError, TypeError, ValueError):
        pass
    return ""


def tags_to_remove(service, newest_first):
    """Tags of old commits, and of revisions that are gone: with one of those, Cloud Run refuses every update."""
    kept = set(newest_first[:KEPT_TAGS]) | {revision for revision, _ in shares(service)}
    return sorted(
        tag
        for tag, target in tags(service).items()
        if COMMIT_TAG.fullmatch(tag) and target.get("revisionName") not in kept
    )


# What is done


def gcloud(*arguments):
    """What gcloud printed. What it says on standard error belongs into the build log."""
    print("+ gcloud", *map(shlex.quote, arguments), flush=True)
    done = subprocess.run(["gcloud", *arguments], stdout=subprocess.PIPE, text=True)
    if done.returncode != 0:
        raise Refused(f"gcloud {' '.join(arguments[:3])} failed; what it said is above.")
    return done.stdout


class Service:
    def __init__(self, project, region, name):
        self.name = name
        self.full_name = f"projects/{project}/locations/{region}/services/{name}"
        self.place = [f"--project={project}", f"--region={region}"]

    def read(self):
        return json.loads(gcloud("run", "services", "describe", self.name, *self.place, "--format=json"))

    def revisions(self):
        listed = gcloud(
            "run", "revisions", "list", f"--service={self.name}", *self.place,
            "--sort-by=~metadata.creationTimestamp", "--format=value(metadata.name)",
        )  # fmt: skip
        return listed.split()

    def update_traffic(self, *arguments):
        gcloud("run", "services", "update-traffic", self.name, *self.place, "--quiet", *arguments)


def may_come(runback, service, commit):
    """Whether the commit may be deployed: what was rolled back must not come back unnoticed."""
    command = [runback, "quarantine", service.full_name, "--check", commit]
    print("+", *map(shlex.quote, command), flush=True)
    try:
        done = subprocess.run(command, stdout=subprocess.DEVNULL)
    except OSError as error:
        raise Refused(f"{runback} cannot be run ({error}). It says whether {commit[:7]} was rolled back; --runback is its path.")
    if done.returncode not in (0, HELD):
        raise Refused(f"Whether {commit[:7]} was rolled back cannot be told; what runback said is above.")
    return done.returncode == 0


def stages(text):
    """10,50,100: percentages that rise, and end with all."""
    found = [int(part) for part in text.split(",") if part.strip().isdigit()]
    if len(found) != len(text.split(",")) or found != sorted(set(found)) or not 0 < found[0] <= found[-1] == 100:
        raise argparse.ArgumentTypeError("it takes whole percentages that rise and end with 100, such as 10,50,100")
    return found


def seconds(text):
    """4m or 90s."""
    match = re.fullmatch(r"(\d+)(s|m|h)", text)
    if not match:
        raise argparse.ArgumentTypeError("it takes a time such as 4m or 90s")
    return int(match[1]) * {"s": 1, "m": 60, "h": 3600}[match[2]]


def probe(url, path, audience):
    """Asks the revision itself. It has just been started, so the first answers may be slow."""
    token = None
    in_a_row = 0
    for attempt in range(1, PROBES_AT_MOST + 1):
        status, took = ask(url + path, token)
        print(f"probe {attempt}: {status} in {took:.1f} s", flush=True)
        if status in (401, 403) and token is None:
            # The audience is the service itself, even where one of its tags is asked.
            token = gcloud("auth", "print-identity-token", f"--audiences={audience}").strip()
            continue
        if status != 200 or took > PROBE_SECONDS:
            in_a_row = 0
            time.sleep(1)
            continue
        in_a_row += 1
        if in_a_row == PROBES_IN_A_ROW:
            return True
    return False


def ask(url, token):
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {token}"} if token else {})
    started = time.monotonic()
    try:
        with urllib.request.urlopen(request, timeout=PROBE_SECONDS) as answer:
            status = answer.status
    except urllib.error.HTTPError as error:
        status = error.code
    except OSError as error:
        status = f"no answer ({error})"
    return status, time.monotonic() - started


def deploy(service, called, image, labels, health_path, flags, canary=(100,), interval=0):
    before = service.read()
    now = serving(before)
    if held(before) is None and now is None:
        raise Refused(f"The traffic of {service.name} is being moved right now; build again when that is done.")
    if held(before) is None and tagged(before, RELEASED) != now:
        # `--no-traffic` pins what LATEST was. Marked, that pin is known as ours when the probe fails.
        service.update_traffic(f"--update-tags={RELEASED}={now}")

    gcloud(
        "run", "deploy", service.name, *service.place, "--quiet", f"--image={image}:{called['short']}",
        "--no-traffic", f"--tag={called['tag']}", f"--revision-suffix={called['suffix']}",
        "--update-labels=" + ",".join(f"{key}={value}" for key, value in labels.items()), *flags,
    )  # fmt: skip

    after = service.read()
    revision = called["revision"]
    if tagged(after, called["tag"]) != revision:
        raise Refused(f"The tag {called['tag']} does not lead to {revision}: is another build of this commit running?")
    url = tags(after)[called["tag"]]["url"]
    if not probe(url, health_path, after["status"]["url"]):
        raise Refused(f"NOT RELEASED: {revision} does not answer {url}{health_path} well. No user has seen it.")

    # Asked as late as can be: a rollback may have come while the revision was probed.
    after = service.read()
    if reason := held(after):
        print(
            f"NOT RELEASED: {service.name} is held, {reason}.\n"
            f"{revision} is deployed, healthy and gets 0 % of the traffic: {url}\n"
            f"When it is what should be served:\n"
            f"    runback release --service {service.full_name}\n"
            "which refuses while LATEST is a revision that was rolled back, or, without asking:\n"
            f"    gcloud run services update-traffic {service.name} {' '.join(service.place)} --to-latest",
            file=sys.stderr,
        )
        return HELD

    for percent in canary[:-1]:
        # Runback hears of every step, and judges the new revision anew.
        ours = [(revision, percent), (now, 100 - percent)]
        service.update_traffic("--to-revisions=" + ",".join(f"{name}={share}" for name, share in ours))
        print(f"CANARY: {percent} % to {revision}; the next step in {interval} s.", flush=True)
        time.sleep(interval)
        after = service.read()
        if sorted(shares(after)) != sorted(ours):
            split = " and ".join(f"{share} % to {name}" for name, share in shares(after))
            why = rolled_back(after, {name for name, _ in shares(after)})
            print(
                f"STOPPED at {percent} %: {service.name} is held, its traffic was moved by somebody else ({split}){why}.\n"
                f"    runback status {service.full_name}",
                file=sys.stderr,
            )
            return HELD

    arguments = [f"--to-revisions={revision}=100", f"--update-tags={RELEASED}={revision}"]
    if old := tags_to_remove(after, service.revisions()):
        arguments.append("--remove-tags=" + ",".join(old))
    service.update_traffic(*arguments)
    if serving(service.read()) != revision:
        raise Refused(f"The traffic was moved to {revision}, but the service's status does not show it.")
    print(f"RELEASED: {service.name} sends all traffic to {revision}. Before: {now or 'a split'}.")
    return 0


def main(arguments):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    for command in (commands.add_parser("names"), commands.add_parser("deploy")):
        command.add_argument("--service", required=True)
        command.add_argument("--commit", required=True, help="the full hash")
        command.add_argument("--branch", default="", help="empty when a tag is built")
        command.add_argument("--build", required=True, help="anything that no other build has")
    command.add_argument("--project", required=True)
    command.add_argument("--region", required=True)
    command.add_argument("--image", required=True, help="the image's name without a tag")
    command.add_argument("--heads", help="file with what `alembic heads` printed; without it no schema is marked")
    command.add_argument("--health-path", default="/health")
    command.add_argument("--canary", type=stages, default=[100], help="steps in percent, such as 10,50,100")
    command.add_argument("--interval", type=seconds, default=seconds("4m"), help="between two steps")
    command.add_argument("--runback", default="runback", help="the program, where it is not on the PATH")
    command.add_argument(
        "--although-rolled-back", action="store_true", help="deploy also what was rolled back before"
    )
    command.add_argument("flags", nargs="*", help="after --, more flags of `gcloud run deploy`")
    given = parser.parse_args(arguments)
    try:
        called = names(given.service, given.commit, given.branch, given.build)
        if given.command == "names":
            print("image_tags=" + shlex.quote(" ".join(called["image_tags"])))
            return 0
        labels = {"commit-sha": given.commit}
        if given.heads:
            with open(given.heads, encoding="utf-8") as file:
                labels["runback-schema"] = schema_label(file.read())
        service = Service(given.project, given.region, given.service)
        if not given.although_rolled_back and not may_come(given.runback, service, given.commit):
            print(f"NOT DEPLOYED: {given.commit[:7]} was rolled back before (above).", file=sys.stderr)
            return HELD
        return deploy(
            service, called, given.image, labels, given.health_path, given.flags, given.canary, given.interval
        )
    except Refused as sentence:
        print(sentence, file=sys.stderr)
        return FAILED


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
