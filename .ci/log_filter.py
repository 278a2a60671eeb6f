#!/usr/bin/env python3
"""What the log sinks of infra/watch.tf take out of a log: the entries of infra/tests/audit_cases.json, by the filter as
Terraform made it. tests/e2e/infra.rs holds the program to the same entries.

    log_filter.py STATE.json    STATE.json: `terraform show -json` after an apply of infra/example.tfvars

It reads as much of the Logging query language as these filters use: AND, OR, NOT, parentheses, log_id(), and the
comparisons =, =~ and >. A field that an entry does not have matches nothing, so NOT makes that true.
(https://cloud.google.com/logging/docs/view/logging-query-language)
"""
import json
import pathlib
import re
import sys

CASES = pathlib.Path(__file__).resolve().parent.parent / "infra/tests/audit_cases.json"
TOKEN = re.compile(r'\s*(log_id\("[^"]*"\)|[()]|[A-Za-z_.]+|=~|=|>|"[^"\\]*"|\d+)')


class Filter:
    def __init__(self, text):
        self.rest = TOKEN.findall(text)
        if "".join(self.rest) != re.sub(r'\s+(?=([^"]*"[^"]*")*[^"]*$)', "", text):
            raise SyntaxError(f"not understood: {text}")
        self.matches = self.expression()
        if self.rest:
            raise SyntaxError(f"too much: {self.rest}")

    def expression(self):
        parts, joined_by = [self.part()], set()
        while self.rest and self.rest[0] in ("AND", "OR"):
            joined_by.add(self.rest.pop(0))
            parts.append(self.part())
        # Logging has rules for this, which nobody should have to know.
        if len(joined_by) > 1:
            raise SyntaxError("AND and OR are mixed without parentheses")
        together = any if joined_by == {"OR"} else all
        return lambda entry: together(part(entry) for part in parts)

    def part(self):
        first = self.rest.pop(0)
        if first == "NOT":
            negated = self.part()
            return lambda entry: not negated(entry)
        if first == "(":
            inner = self.expression()
            if self.rest.pop(0) != ")":
                raise SyntaxError("a parenthesis stays open")
            return inner
        if first.startswith("log_id("):
            log = "/logs/" + first[8:-2].replace("/", "%2F")
            return lambda entry: entry["logName"].endswith(log)
        compare, wanted = COMPARISONS[self.rest.pop(0)], self.rest.pop(0).strip('"')
        return lambda entry: any(compare(value, wanted) for value in values(entry, first.split(".")))


# Only regular expressions know capitals from small letters.
COMPARISONS = {
    "=": lambda value, wanted: str(value).lower() == wanted.lower(),
    "=~": lambda value, wanted: re.search(wanted, str(value)) is not None,
    ">": lambda value, wanted: float(value) > float(wanted),
}


def values(entry, path):
    """A field's values: none where it is missing, each of a list."""
    for key in path:
        if not isinstance(entry, dict) or key not in entry:
            return []
        entry = entry[key]
    return entry if isinstance(entry, list) else [entry]


def main():
    state = json.loads(pathlib.Path(sys.argv[1]).read_text())["values"]["root_module"]["resources"]
    made = {resource["address"]: resource["values"] for resource in state}
    sink = made['google_logging_project_sink.deploys["my-project"]']
    # Whom the cases call RUNBACK is known only now.
    cases = CASES.read_text().replace('"RUNBACK"', json.dumps(made["google_service_account.runback"]["email"]))
    taken = Filter(sink["filter"])
    wrong = [case["about"] for case in json.loads(cases) if taken.matches(case["entry"]) != case["delivered"]]
    if wrong:
        sys.exit(f"the filter is wrong about: {'; '.join(wrong)}\n{sink['filter']}")


if __name__ == "__main__":
    main()
