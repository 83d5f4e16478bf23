"""Takes the README's screenshots: starts everything, walks through the dashboard, and captures each page."""

import argparse
import base64
import json
import secrets
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from playwright.sync_api import Browser, Page, ViewportSize, sync_playwright

from scripts.api_client import ApiClient
from scripts.local.stack import Stack, running_stack
from scripts.run_procfile import ROOT
from scripts.sandbox.running import SandboxProcess

CHROMIUM_NAMES = ("chromium", "chromium-browser", "google-chrome")
EMAIL, PASSWORD, TEAM = "ada@example.com", secrets.token_urlsafe(12), "Acme"
ACCOUNT = "acme"
WIDE, PHONE = ViewportSize(width=1440, height=900), ViewportSize(width=390, height=844)
LOOKS: dict[str, tuple[Literal["light", "dark"], ViewportSize]] = {
    "light": ("light", WIDE),
    "dark": ("dark", WIDE),
    "phone": ("light", PHONE),
}
# Slow enough to capture the bars on their way.
SLOW_MS = 1500
FAST = {"STRIPE_ACCOUNT_RPS": "80"}

Walk = Callable[[Page], None]


def main() -> int:
    parser = argparse.ArgumentParser(prog="./scripts/screenshots", description=__doc__)
    parser.add_argument("--to", type=Path, default=ROOT / "docs" / "screenshots", help="docs/screenshots by default")
    target = parser.parse_args().to
    chromium = next((path for path in map(shutil.which, CHROMIUM_NAMES) if path), None)
    if chromium is None:
        print("screenshots: there is no Chromium here (apt install chromium)", file=sys.stderr)
        return 1
    target.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as state, SandboxProcess("--account", ACCOUNT) as sandbox:
        settings = FAST | {
            "BILLSTACK_SECRET_KEY": base64.b64encode(secrets.token_bytes(32)).decode(),
            "STRIPE_API_BASE": sandbox.url,
        }
        with running_stack(Path(state), settings=settings, durable=False) as stack, sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
            draw(browser, stack, sandbox, target)
            browser.close()
    return 0


def draw(browser: Browser, stack: Stack, sandbox: SandboxProcess, target: Path) -> None:
    in_each_look(browser, stack, target, "set-up", lambda page: visit(page, stack.flask("set-up-link").strip()))
    made = json.loads(stack.flask("create-user", "--email", EMAIL, "--team", TEAM, "--operator", says=PASSWORD))
    client, team_id = ApiClient(stack.url), made["teamId"]
    client.sign_in(EMAIL, PASSWORD)
    client.connect(team_id, f"sk_test_{ACCOUNT}")
    sandbox.call("PUT", "latency", ms=SLOW_MS)
    client.start_backfill(team_id)
    in_each_look(browser, stack, target, "syncing", show_syncing(team_id))
    sandbox.call("PUT", "latency", ms=0)
    client.call("POST", f"/api/billstack/teams/{team_id}/projects", {"name": "Rocket"})
    for name, walk in pages(team_id).items():
        in_each_look(browser, stack, target, name, walk)


def pages(team_id: str) -> dict[str, Walk]:
    team = f"/teams/{team_id}"
    return {
        "stripe": lambda page: show_ready(page, team),
        "overview": lambda page: visit(page, f"{team}/overview"),
        "invoices": lambda page: visit(page, f"{team}/explore/invoices"),
        "customer": lambda page: show_customer(page, team),
        "psql": lambda page: visit(page, f"{team}/psql"),
        "projects": lambda page: visit(page, f"{team}/projects"),
        "operators": lambda page: visit(page, "/operators"),
    }


def show_syncing(team_id: str) -> Walk:
    def walk(page: Page) -> None:
        visit(page, f"/teams/{team_id}/stripe")
        page.locator("[data-field=total]:text-matches('^[1-9],')").wait_for()

    return walk


def show_ready(page: Page, team: str) -> None:
    visit(page, f"{team}/stripe")
    page.locator("#sync .title-row .badge.good").wait_for(timeout=180_000)


def show_customer(page: Page, team: str) -> None:
    visit(page, f"{team}/explore/subscriptions?status=active")
    page.locator("tbody tr").first.locator("a").nth(1).click()
    page.wait_for_url("**/explore/customers/**")


def visit(page: Page, address: str) -> None:
    """Signs in on the way if necessary."""
    page.goto(address)
    if "/sign-in" in page.url:
        page.get_by_label("E-mail").fill(EMAIL)
        page.get_by_label("Password").fill(PASSWORD)
        page.get_by_role("button", name="Sign in").click()
        page.wait_for_url(lambda url: "/sign-in" not in url)


def in_each_look(browser: Browser, stack: Stack, target: Path, name: str, walk: Walk) -> None:
    for look, (scheme, size) in LOOKS.items():
        context = browser.new_context(base_url=stack.url, color_scheme=scheme, viewport=size, reduced_motion="reduce")
        page = context.new_page()
        walk(page)
        path = target / f"{name}-{look}.png"
        page.screenshot(path=path)
        print(path)
        context.close()


if __name__ == "__main__":
    sys.exit(main())
