#!/usr/bin/env python3
"""Moves traffic in the stand-in provider's cloud as a rollback does: all of it to an older revision, by name.

    move_traffic.py CLOUD.json
"""
import json
import sys

path = sys.argv[1]
with open(path) as file:
    cloud = json.load(file)
services = [it for name, it in cloud.items() if name.startswith("google_cloud_run_v2_service/")]
if not services:
    sys.exit(f"there is no Cloud Run service in {path}")
for service in services:
    revision = f"{service['name']}-00041-xyz"
    service["traffic"] = [
        {"type": "TRAFFIC_TARGET_ALLOCATION_TYPE_REVISION", "revision": revision, "percent": 100, "tag": None}
    ]
with open(path, "w") as file:
    json.dump(cloud, file)
