"""A real browser on the real processes of the Procfile."""

import base64
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, sync_playwright

from scripts.sandbox.running import SandboxProcess
from scripts.servers import temporary_state_dir
from scripts.stack import Stack, running_stack
from tests.end_to_end.product import FAST, PASSWORD, Product, running_product

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


@pytest.fixture(scope="session")
def browser_state_dir() -> Iterator[Path]:
    with temporary_state_dir() as folder:
        yield folder


@pytest.fixture
def sandbox() -> Iterator[SandboxProcess]:
    with SandboxProcess("--scale", "0.3") as running:
        yield running


@pytest.fixture
def fresh_stack(browser_state_dir: Path, sandbox: SandboxProcess) -> Iterator[Stack]:
    """An installation that nobody has visited."""
    settings = {
        **FAST,
        "BILLSTACK_SECRET_KEY": base64.b64encode(secrets.token_bytes(32)).decode(),
        "STRIPE_API_BASE": sandbox.url,
    }
    with running_stack(browser_state_dir / "fresh", settings=settings, durable=False) as stack:
        yield stack


@pytest.fixture(scope="module")
def synced(browser_state_dir: Path) -> Iterator[Product]:
    """A small account that is mirrored."""
    with running_product(browser_state_dir / "synced", "--scale", "0.1") as product:
        assert product.backfill()["syncStatus"] == "ready"
        yield product


def sign_in(page: Page, email: str, password: str = PASSWORD) -> None:
    page.goto("/sign-in")
    page.get_by_label("E-mail").fill(email)
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url("**/teams/**")
