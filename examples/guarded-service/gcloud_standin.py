"""Stands in for gcloud in the tests: the four commands that release.py uses, as gcloud 528 was seen to send them."""

import json
import sys
import urllib.request

port, *arguments = sys.argv[1:]
URL = f"http://127.0.0.1:{port}/apis/serving.knative.dev/v1/namespaces/demo"
flags = dict(part[2:].partition("=")[::2] for part in arguments if part.startswith("--"))
command = [part for part in arguments if not part.startswith("--")]


def call(path, value=None):
    body = None if value is None else json.dumps(value).encode()
    request = urllib.request.Request(URL + path, data=body, method="PUT" if body else "GET")
    with urllib.request.urlopen(request) as answer:
        return json.load(answer)


def pairs(name):
    return dict(pair.split("=") for pair in flags.get(name, "").split(",") if pair)


def put(service, percent, tags):
    """Percentages first, then every tag in a target of its own."""
    traffic = [
        {"latestRevision": True, "percent": share} if name == "LATEST" else {"revisionName": name, "percent": share}
        for name, share in percent.items()
    ]
    traffic += [{"revisionName": revision, "tag": tag} for tag, revision in tags.items()]
    call("/services/k-back", service | {"spec": service["spec"] | {"traffic": traffic}})


if command[:2] == ["auth", "print-identity-token"]:
    print(f"token-for-{flags['audiences']}")
    sys.exit()
if command[:3] == ["run", "revisions", "list"]:
    items = call("/revisions")["items"]
    items.sort(key=lambda item: item["metadata"]["creationTimestamp"], reverse=True)
    print("\n".join(item["metadata"]["name"] for item in items))
    sys.exit()

service = call("/services/k-back")
targets = service["spec"]["traffic"]
percent = {t.get("revisionName", "LATEST"): t["percent"] for t in targets if t.get("percent")}
tags = {t["tag"]: t.get("revisionName") for t in targets if t.get("tag")}

if command[:3] == ["run", "services", "describe"]:
    print(json.dumps(service))
elif command[:3] == ["run", "services", "update-traffic"]:
    for tag in filter(None, flags.get("remove-tags", "").split(",")):
        tags.pop(tag, None)
    tags |= pairs("update-tags")
    if moved := pairs("to-revisions"):
        percent = {name: int(share) for name, share in moved.items()}
    put(service, percent, tags)
elif command[:2] == ["run", "deploy"]:
    name = f"k-back-{flags['revision-suffix']}"
    template = service["spec"]["template"]
    template["metadata"]["name"] = name
    template["metadata"]["labels"] = template["metadata"].get("labels", {}) | pairs("update-labels")
    template["spec"]["containers"][0]["image"] = flags["image"]
    if "LATEST" in percent and "no-traffic" in flags:
        percent[service["status"]["latestReadyRevisionName"]] = percent.pop("LATEST")
    put(service, percent, tags | {flags["tag"]: name})
else:
    sys.exit(f"the stand-in does not know: {command}")
