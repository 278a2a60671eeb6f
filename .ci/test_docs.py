"""Whether what the documents say can be typed: python3 -m unittest .ci/test_docs.py"""

import json
import re
import shutil
import subprocess
import tempfile
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DOCUMENTS = [
    ROOT / "README.md",
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted((ROOT / "examples").rglob("*.md")),
    *sorted((ROOT / "infra").glob("*.md")),
]


def blocks(document):
    """The code blocks that are shell, fenced or indented, with their lines joined."""
    text = document.read_text(encoding="utf-8")
    fenced = re.findall(r"^( *)```sh\n(.*?)^\1```$", text, re.M | re.S)
    return ["\n".join(line.removeprefix(indent) for line in code.splitlines()) for indent, code in fenced]


def commands(document):
    """Each gcloud command of a document, on one line, without its comment."""
    text = document.read_text(encoding="utf-8").replace("\\\n", " ")
    inline = re.findall(r"`(gcloud [^`\n]+)`", text)
    inner = re.findall(r"\$\((gcloud [^)]+)\)", text)
    lines = [line.strip() for code in blocks(document) for line in code.replace("\\\n", " ").splitlines()]
    lines += [line.strip() for line in re.findall(r"^    (gcloud .*)$", text, re.M)]
    found = [line for line in [*inline, *inner, *lines] if line.startswith("gcloud ")]
    return [re.sub(r"\s+#.*$|\s†$", "", command) for command in found]


class Documents(unittest.TestCase):
    def test_shell_blocks_are_shell(self):
        for document in DOCUMENTS:
            for code in blocks(document):
                checked = subprocess.run(["bash", "-n"], input=code, text=True, capture_output=True)
                self.assertEqual(checked.returncode, 0, f"{document.name}: {checked.stderr}\n{code}")

    def test_goals_of_make_exist(self):
        goals = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M))
        for document in DOCUMENTS:
            text = document.read_text(encoding="utf-8")
            named = re.findall(r"(?:^ *|`)make ([a-z-]+)", text, re.M)
            self.assertLessEqual(set(named), goals, document.name)

    def test_linked_files_exist(self):
        for document in DOCUMENTS:
            for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", document.read_text(encoding="utf-8")):
                if "://" not in target:
                    self.assertTrue((document.parent / target).exists(), f"{document.name}: {target}")

    @unittest.skipUnless(shutil.which("gcloud"), "gcloud is not installed")
    def test_gcloud_knows_each_command_and_flag(self):
        found = sorted({command for document in DOCUMENTS for command in commands(document) if "…" not in command})
        self.assertGreater(len(found), 10)
        with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
            json.dump([{"command_string": command} for command in found], file)
            file.flush()
            checked = subprocess.run(
                ["gcloud", "meta", "lint-gcloud-commands", f"--commands-file={file.name}"],
                capture_output=True, text=True,
            )  # fmt: skip
        if checked.returncode != 0:
            self.skipTest("this gcloud cannot check commands: that is an internal of it")
        results = json.loads(checked.stdout)
        self.assertEqual(len(results), len(found))
        refused = [f"{each['command_string']}: {each['error_message']}" for each in results if not each["success"]]
        self.assertEqual(refused, [])


if __name__ == "__main__":
    unittest.main()
