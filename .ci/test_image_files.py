"""Whether the images build where they are built: python3 -m unittest .ci/test_image_files.py

Cloud Build's docker step is an engine 20.10 with the classic builder, unless DOCKER_BUILDKIT=1 asks for the other one.
"""

import re
import subprocess
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

# What the classic builder stops at, often only after minutes of building.
ONLY_BUILDKIT = {
    "COPY or ADD with --chmod, --link, --parents or --exclude": r"^(COPY|ADD)\s.*--(chmod|link|parents|exclude)\b",
    "RUN with --mount, --network or --security": r"^RUN\s+--(mount|network|security)\b",
    "a here-document": r"^(RUN|COPY|ADD)\s.*<<-?[\"']?\w",
    "a line that names another syntax": r"^#\s*syntax\s*=",
}


def refused(dockerfile):
    """What of a Dockerfile the classic builder refuses."""
    text = re.sub(r"\\\n\s*", " ", dockerfile)
    return [what for what, pattern in ONLY_BUILDKIT.items() if re.search(pattern, text, re.M | re.I)]


def steps_that_build_without_buildkit(build):
    """The docker steps of a Cloud Build file that build without asking for BuildKit."""
    steps = re.split(r"^  - (?=id:|name:)", build.split("\nsteps:\n")[1], flags=re.M)
    builds = [step for step in steps if re.search(r"args: \[build\b|^\s*docker build\b", step, re.M)]
    return builds, [step for step in builds if "DOCKER_BUILDKIT=1" not in step]


def kept(pattern):
    names = subprocess.check_output(
        ["git", "-C", ROOT, "ls-files", "--cached", "--others", "--exclude-standard", pattern], text=True
    )
    return [ROOT / name for name in names.splitlines()]


class ImageFiles(unittest.TestCase):
    def test_every_dockerfile_builds_with_the_classic_builder(self):
        files = kept("*Dockerfile")
        self.assertTrue(files)
        for path in files:
            self.assertEqual(refused(path.read_text()), [], path)

    def test_what_only_buildkit_can_do_is_seen(self):
        for line in (
            "COPY --from=build --chmod=0555 /a /a",
            "COPY \\\n    --link a b",
            "RUN --mount=type=cache,target=/x make",
            "RUN <<END\nmake\nEND",
            "# syntax=docker/dockerfile:1",
        ):
            self.assertEqual(len(refused(f"FROM x\n{line}\n")), 1, line)
        self.assertEqual(refused("FROM x\nCOPY --from=build --chown=1:1 /a /a\nRUN echo a\n"), [])

    def test_every_build_in_cloud_build_asks_for_buildkit_all_the_same(self):
        for path in kept("*cloudbuild.yaml"):
            builds, without = steps_that_build_without_buildkit(path.read_text())
            self.assertTrue(builds, f"{path} builds nothing")
            self.assertEqual(without, [], path)


if __name__ == "__main__":
    unittest.main()
