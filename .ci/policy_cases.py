#!/usr/bin/env python3
"""The policies of infra/tests/policy_cases.json, for terraform: each becomes a service of its own. The program is held to
the same file by tests/e2e/infra.rs.

    policy_cases.py values accepted|refused    variables in JSON
    policy_cases.py refusals PLAN.txt          says which refused policy the plan does not complain of
"""
import json
import pathlib
import re
import sys

CASES = json.loads((pathlib.Path(__file__).resolve().parent.parent / "infra/tests/policy_cases.json").read_text())


def name(number):
    return f"case-{number:02}"


if sys.argv[1] == "values":
    account = "k-back@demo-project.iam.gserviceaccount.com"
    services = [{"service": name(i), "service_account": account, **keys} for i, keys in enumerate(CASES[sys.argv[2]])]
    print(json.dumps({"services": services}))
else:
    # Terraform breaks its lines.
    said = re.sub(r"[\s│]+", " ", pathlib.Path(sys.argv[2]).read_text())
    silent = [keys for i, keys in enumerate(CASES["refused"]) if f"/{name(i)}, `" not in said]
    if silent:
        sys.exit("terraform accepts what the program refuses:\n" + "\n".join(map(json.dumps, silent)))
