"""axe-core finds nothing to complain about on any page, light and dark, on a phone and on a wide screen."""

import os
import re
import shutil
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import pytest
from playwright.sync_api import Page, expect

from scripts.run_procfile import ROOT
from tests.browser.conftest import sign_in
from tests.end_to_end.product import Product

pytestmark = pytest.mark.browser

AXE_VERSION = "4.14.1"
SIGNED_OUT = ("/sign-in", "/teams/team_x/nothing")
OF_TEAM = (
    "overview",
    "search",
    "search?q=a",
    "stripe",
    "events",
    "events?state=refused",
    "repairs",
    "alerts",
    "explore/customers",
    "explore/products",
    "explore/prices?active=false",
    "explore/subscriptions?status=canceled",
    "explore/invoices?find=nobody",
    "explore/charges",
    "psql",
    "projects",
    "api-keys",
    "members",
    "audit-log",
)
OF_NO_TEAM = ("/operators", "/operators/audit-log", "/account", "/new-team")
DIALOGS = (
    ("stripe", "Sync data"),
    ("stripe", "Disconnect…"),
    ("psql", "Create role"),
    ("alerts", "Turn on"),
    ("api-keys", "New key"),
    ("members", "Invite"),
)

Look = tuple[int, Literal["light", "dark"]]  # how wide the screen is, and the colour scheme


@pytest.fixture(scope="module")
def axe() -> str:
    """axe-core's script, from npm; kept in .billstack so that it is fetched once."""
    script = ROOT / ".billstack" / "axe" / f"axe-{AXE_VERSION}.js"
    if not script.exists():
        _fetch(script)
    return script.read_text()


@pytest.mark.parametrize(
    "looks",
    [
        pytest.param([(390, "light"), (1440, "dark")], id="two looks"),
        pytest.param([(390, "dark"), (1440, "light")], id="the other two", marks=pytest.mark.slow),
    ],
)
def test_no_page_breaks_a_rule(synced: Product, open_page: Callable[..., Page], axe: str, looks: list[Look]):
    page = open_page(synced.stack.url)
    found = {address: _violations(page, axe, looks, address) for address in SIGNED_OUT}
    synced.stack.flask("operator", "--email", synced.email)
    sign_in(page, synced.email)
    team = f"/teams/{synced.team_id}"
    for address in [f"{team}/{place}" for place in OF_TEAM] + [
        *_objects(synced),
        "/operators",
        "/operators/audit-log",
        "/account",
        "/new-team",
    ]:
        found[address] = _violations(page, axe, looks, address)
    for place, button in DIALOGS:
        page.goto(f"{team}/{place}")
        page.get_by_role("button", name=button).click()
        found[f"{place}: {button}"] = _run(page, axe, looks)

    found |= _with_a_role(page, axe, looks, synced)

    assert {address: each for address, each in found.items() if each} == {}


def _with_a_role(page: Page, axe: str, looks: list[Look], product: Product) -> dict[str, list[str]]:
    """The page for psql while a new role's password is shown, and after."""
    address = f"/teams/{product.team_id}/psql"
    page.goto(address)
    page.get_by_role("button", name="Create role").click()
    page.get_by_role("button", name="Create", exact=True).click()
    expect(page.get_by_label("Password", exact=True)).to_have_value(re.compile(r"^[\w-]{32}$"))
    shown = _run(page, axe, looks)
    found = {f"{address}: password": shown, f"{address}: role": _violations(page, axe, looks, address)}
    expect(page.get_by_label("Command")).to_have_value(re.compile(r"^psql "))
    product.client.call("DELETE", f"/api/billstack/teams/{product.team_id}/database-access", {})
    return found


def _objects(product: Product) -> list[str]:
    """One with much that belongs to it, and one whose title is a long id."""
    ((customer_id,),) = product.sql("SELECT id FROM {team}.customers ORDER BY created, id LIMIT 1")
    ((subscription_id,),) = product.sql("SELECT id FROM {team}.subscriptions ORDER BY created, id LIMIT 1")
    explore = f"/teams/{product.team_id}/explore"
    return [f"{explore}/customers/{customer_id}", f"{explore}/subscriptions/{subscription_id}"]


def _violations(page: Page, axe: str, looks: list[Look], address: str) -> list[str]:
    page.goto(address)
    return _run(page, axe, looks)


def _run(page: Page, axe: str, looks: list[Look]) -> list[str]:
    """The page in each look; also that nothing is wider than the screen."""
    page.evaluate(axe)
    found = []
    for width, scheme in looks:
        page.set_viewport_size({"width": width, "height": 900})
        page.emulate_media(color_scheme=scheme)
        found += [f"{width} {scheme}: {each}" for each in _broken_rules(page)]
        if page.evaluate("document.documentElement.scrollWidth > window.innerWidth"):
            found.append(f"{width} {scheme}: wider than the screen")
    return found


def _broken_rules(page: Page) -> list[str]:
    """All rules, but a report on what breaks one only: that on all the rest takes most of the time."""
    violations = page.evaluate("axe.run({ resultTypes: ['violations'] }).then((answer) => answer.violations)")
    return [
        f"{rule['id']}: {node['html'][:160]} {node.get('failureSummary', '')[:200]}"
        for rule in violations
        for node in rule["nodes"][:3]
    ]


def _fetch(script: Path) -> None:
    npm = shutil.which("npm")
    if npm is None:
        _give_up("npm is not installed")
    script.parent.mkdir(parents=True, exist_ok=True)
    command = [npm, "pack", f"axe-core@{AXE_VERSION}", "--silent", "--pack-destination", str(script.parent)]
    done = subprocess.run(command, cwd=script.parent, capture_output=True, text=True, check=False, timeout=120)
    if done.returncode:
        _give_up(f"npm could not fetch axe-core: {done.stderr.strip()[-200:]}")
    archive = script.parent / f"axe-core-{AXE_VERSION}.tgz"
    with tarfile.open(archive) as packed:
        script.write_bytes(packed.extractfile("package/axe.min.js").read())
    archive.unlink()


def _give_up(reason: str) -> None:
    if os.environ.get("CI") == "true":
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)
