#!/usr/bin/env python3
"""Holds the tables of infra/README.md against the code.

    infra_docs.py --check    says what differs
    infra_docs.py --write    writes the tables of inputs and outputs anew
"""
import pathlib
import re
import sys

import hcl2

INFRA = pathlib.Path(__file__).resolve().parent.parent / "infra"
README = INFRA / "README.md"


def blocks(file, kind):
    """Name and body of each block of a kind. The parser keeps the quotes of every string."""
    with open(INFRA / file) as text:
        for entry in hcl2.load(text).get(kind, []):
            for name, body in entry.items():
                yield name.strip('"'), body


def plain(text):
    return text[1:-1].replace('\\"', '"') if text.startswith('"') else text


def short_type(text):
    text = text.removeprefix("${").removesuffix("}")
    return re.sub(r"object\(.*", "object)" if text.startswith("list(") else "object", text, flags=re.S)


def default(body):
    if "default" not in body:
        return "required"
    value = body["default"]
    if value is None:
        return "unset"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, list):
        return "`[]`"
    if isinstance(value, dict):
        return "`{}`"
    return "unset" if value == "null" else f"`{value}`"


def tables():
    rows = [
        f"| `{name}` | `{short_type(body['type'])}` | {default(body)} | {plain(body['description'])} |"
        for name, body in blocks("variables.tf", "variable")
    ]
    inputs = ["| input | type | default | |", "|---|---|---|---|", *rows]
    rows = [f"| `{name}` | {plain(body['description'])} |" for name, body in blocks("outputs.tf", "output")]
    outputs = ["| output | |", "|---|---|", *rows]
    return {"inputs": "\n".join(inputs), "outputs": "\n".join(outputs)}


def fields(text):
    """The attributes of the outermost object of a type, however deep its own objects go."""
    depth, found = 0, []
    for line in text.splitlines():
        key = re.match(r"\s*([a-z_]+)\s*=", line)
        if depth == 1 and key:
            found.append(key.group(1))
        code = line.split("#")[0]
        depth += code.count("{") - code.count("}")
    return found


def service_fields():
    """From the source: the parser makes one line of a type."""
    source = (INFRA / "variables.tf").read_text()
    start = source.index('variable "services"')
    kind = source[source.index("list(object({", start) : source.index("validation {", start)]
    return fields(kind)


def marked(text, name):
    begin, end = f"<!-- {name}: begin -->\n", f"\n<!-- {name}: end -->"
    if begin not in text or end not in text:
        sys.exit(f"infra/README.md has no {begin.strip()} … {end.strip()}")
    return text.index(begin) + len(begin), text.index(end)


def main():
    text = README.read_text()
    if sys.argv[1:] == ["--write"]:
        for name, table in tables().items():
            begin, end = marked(text, name)
            text = text[:begin] + table + text[end:]
        README.write_text(text)
        return
    wrong = []
    for name, table in tables().items():
        begin, end = marked(text, name)
        if text[begin:end] != table:
            have, want = set(text[begin:end].splitlines()), set(table.splitlines())
            wrong += [f"missing:  {line}" for line in sorted(want - have)]
            wrong += [f"outdated: {line}" for line in sorted(have - want)]
            wrong = wrong or [f"the {name} are in another order"]
    begin, end = marked(text, "service")
    listed = set(re.findall(r"`([a-z_]+)`", " ".join(row.split("|")[1] for row in text[begin:end].splitlines()[2:])))
    there = set(service_fields())
    wrong += [f"services has a key that the table does not list: {key}" for key in sorted(there - listed)]
    wrong += [f"the table lists a key that services does not have: {key}" for key in sorted(listed - there)]
    if wrong:
        print("infra/README.md and the code differ (.ci/infra_docs.py --write makes the first two tables):", *wrong, sep="\n")
        sys.exit(1)


main()
