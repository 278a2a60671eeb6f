#!/usr/bin/env python3
"""For the drift test of .ci/test-infra.

    drift.py move CLOUD.json    moves traffic in the stand-in provider's cloud as a rollback does: all of it to an older
                                revision, by name
    drift.py forget MODULE      takes every ignore_changes out of a module's files
"""
import json
import pathlib
import re
import sys


def move(path):
    cloud = json.loads(path.read_text())
    services = [it for name, it in cloud.items() if name.startswith("google_cloud_run_v2_service/")]
    if not services:
        sys.exit(f"there is no Cloud Run service in {path}")
    for service in services:
        revision = f"{service['name']}-00041-xyz"
        service["traffic"] = [
            {"type": "TRAFFIC_TARGET_ALLOCATION_TYPE_REVISION", "revision": revision, "percent": 100, "tag": None}
        ]
    path.write_text(json.dumps(cloud))


def forget(module):
    # On one line or on several; a bracket that ends a line ends the list.
    pattern = re.compile(r"\bignore_changes\s*=\s*\[.*?\]$", re.S | re.M)
    found = 0
    for path in module.glob("*.tf"):
        text, count = pattern.subn("ignore_changes = []", path.read_text())
        path.write_text(text)
        found += count
    if not found:
        sys.exit(f"{module} ignores no changes")


{"move": move, "forget": forget}[sys.argv[1]](pathlib.Path(sys.argv[2]))
