"""A real browser on the real processes of the Procfile."""

from collections.abc import Callable, Iterator

import psycopg
import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, sync_playwright

from scripts.local.stack import Stack
from scripts.sandbox.running import SandboxProcess
from tests.end_to_end.product import PASSWORD, Installation, Product

# The machine that runs the tests may be busy with others.
PATIENCE_MS = 30_000


@pytest.fixture(scope="session")
def browser(chromium_path: str) -> Iterator[Browser]:
    with sync_playwright() as playwright:
        # Chromium's own sandbox needs rights that a container does not have.
        yield playwright.chromium.launch(executable_path=chromium_path, args=["--no-sandbox"])


@pytest.fixture
def open_page(browser: Browser) -> Iterator[Callable[..., Page]]:
    """A page of a browser of its own, which fails the test on any script error or breach of the policy."""
    contexts: list[BrowserContext] = []
    complaints: list[str] = []

    def watch(message: ConsoleMessage) -> None:
        is_ours = message.type == "error" and not message.text.startswith("Failed to load resource")
        if is_ours:
            complaints.append(message.text)

    def create(base_url: str, **options: object) -> Page:
        context = browser.new_context(base_url=base_url, **options)
        context.set_default_timeout(PATIENCE_MS)
        contexts.append(context)
        page = context.new_page()
        page.on("console", watch)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        return page

    yield create
    for context in contexts:
        context.close()
    assert complaints == []


@pytest.fixture
def sandbox(installation: Installation) -> SandboxProcess:
    return installation.sandbox


@pytest.fixture
def fresh_stack(installation: Installation) -> Stack:
    """An installation that nobody has visited."""
    with psycopg.connect(installation.stack.postgres.url, autocommit=True) as connection:
        connection.execute("DELETE FROM billstack.teams")
        connection.execute("DELETE FROM billstack.users")
    return installation.stack


@pytest.fixture(scope="module")
def synced(installation: Installation, request: pytest.FixtureRequest) -> Product:
    """A small account that is mirrored: of each module its own."""
    name = request.module.__name__.rpartition("_")[2]
    product = installation.new_team(name, scale=0.1)
    assert product.backfill()["syncStatus"] == "ready"
    return product


def sign_in(page: Page, email: str, password: str = PASSWORD) -> None:
    page.goto("/sign-in")
    page.get_by_label("E-mail").fill(email)
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url("**/teams/**")
