"""./scripts/test: which tests are not run, and when that is a failure."""

import os
import subprocess
import sys

import pytest

from scripts.run_procfile import ROOT

TESTS = """
import pytest

@pytest.mark.browser
def test_in_a_browser():
    pass

@pytest.mark.slow
def test_for_minutes():
    pass
"""


@pytest.fixture
def run(tmp_path):
    """Runs pytest with the project's conftest on a PATH without any browser."""

    def run(*arguments, **environ):
        file = tmp_path / "test_two.py"
        file.write_text(TESTS)
        options = ["-c", str(ROOT / "pyproject.toml"), "--rootdir", str(ROOT), "-p", "tests.conftest", *arguments]
        kept = {key: value for key, value in os.environ.items() if key != "CI"}
        env = kept | {"PATH": str(tmp_path)} | environ
        command = [sys.executable, "-m", "pytest", *options, str(file)]
        return subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)

    return run


def test_what_is_not_run_is_listed_with_its_reason(run):
    done = run()

    assert done.returncode == 0
    assert "browser test, and there is no Chromium here (apt install chromium)" in done.stdout
    assert "slow; ./scripts/test --runslow runs it" in done.stdout
    assert "2 skipped" in done.stdout


def test_in_ci_a_missing_browser_is_a_failure_and_slow_tests_run_when_asked_for(run):
    done = run("--runslow", CI="true")

    assert done.returncode == 1
    assert "browser test, and there is no Chromium here; .ci/run installs it" in done.stdout
    assert "1 passed, 1 error" in done.stdout
