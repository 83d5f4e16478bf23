"""The image and compose.yaml name what the Procfile, the settings and the tree have; no test here needs a container engine."""

import json
import re
import shlex

import pytest

from scripts.run_procfile import ROOT, read_procfile

COMPOSE = (ROOT / "compose.yaml").read_text()
DOCKERFILE = (ROOT / "Dockerfile").read_text()
ON_ONE_MACHINE = {"PORT", "STRIPE_API_BASE"}  # compose publishes the port, and the sandbox is for tests


def service(name):
    return re.search(rf"^  {name}:\n((?:    .*\n|\n)+)", COMPOSE, re.MULTILINE)[1]


@pytest.mark.parametrize("name", ["worker", "events", "scheduler"])
def test_compose_runs_a_procfile_line_as_it_stands(name):
    (command,) = re.findall(r"^    command: (.*)$", service(name), re.MULTILINE)

    assert json.loads(command) == shlex.split(read_procfile()[name])


def test_the_image_runs_the_web_by_itself():
    command = json.loads(re.search(r"^CMD (.*)$", DOCKERFILE, re.MULTILINE)[1])

    assert [part for part in command if part not in ("--worker-tmp-dir", "/dev/shm")] == shlex.split(
        read_procfile()["web"]
    )
    assert "command:" not in service("web")


def test_every_line_of_the_procfile_is_a_service():
    services = set(re.findall(r"^  (\S+):$", COMPOSE.partition("\nservices:\n")[2], re.MULTILINE))

    assert services >= {*read_procfile(), "postgres", "redis", "init-db"}


def test_compose_the_example_and_the_readme_know_every_setting():
    settings = set(re.findall(r'"([A-Z]+_[A-Z_]+|PORT)"', (ROOT / "workers" / "settings.py").read_text()))
    readme = (ROOT / "README.md").read_text()
    in_compose = set(re.findall(r"^    ([A-Z_]+):", COMPOSE, re.MULTILINE))
    in_readme = set(re.findall(r"`([A-Z_]+)`", "".join(re.findall(r"^\| (`[A-Z].*?) \|", readme, re.MULTILINE))))
    in_example = set(re.findall(r"^#? ?([A-Z_]+)=", (ROOT / ".env.example").read_text(), re.MULTILINE))

    assert settings - ON_ONE_MACHINE <= in_compose
    assert settings <= in_example
    assert settings <= in_readme


def test_the_image_installs_the_product_alone_and_each_package_by_its_hash():
    (install,) = re.findall(r"pip install (.*?) \\$", DOCKERFILE, re.MULTILINE)

    assert install.endswith("-r requirements.lock")
    assert {"--require-hashes", "--no-deps", "--only-binary=:all:"} <= set(install.split())
    assert "requirements-" not in DOCKERFILE


def test_the_image_has_what_the_program_imports_and_nothing_private():
    copied = set(re.findall(r"^COPY (?!--from)(.+?) \S+$", DOCKERFILE, re.MULTILINE))
    allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}

    names = {name for line in copied for name in line.split()}
    assert names >= {"api", "sync", "workers", "schema.sql", "requirements.lock"}
    assert names == allowed
    assert all((ROOT / name).exists() for name in names)
