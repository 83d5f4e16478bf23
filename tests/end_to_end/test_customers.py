"""A person's POST through the real web processes: ten at once, and `kill -9` while Stripe makes the customer."""

import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import urllib3

from scripts.api_client import ApiError
from scripts.benchmark.processes import children
from tests.end_to_end.product import Installation, Product

PATIENCE_S = 60.0


@pytest.fixture(scope="module")
def product(installation: Installation) -> Product:
    return installation.new_team("customers", scale=0.01)


@pytest.fixture
def customers(product: Product) -> str:
    """The address of a new project's customers."""
    projects = f"/api/billstack/teams/{product.team_id}/projects"
    project: dict[str, Any] = product.client.call("POST", projects, {"name": "Shop"})["project"]
    return f"{projects}/{project['id']}/customers"


def post(product: Product, customers: str, email: str) -> str:
    """What became of one POST."""
    try:
        product.client.call("POST", customers, {"email": email})
        return "linked"
    except ApiError as error:
        return str(error.code)
    except urllib3.exceptions.HTTPError:
        return "no answer"


def post_ten(product: Product, customers: str, email: str) -> Any:
    pool = ThreadPoolExecutor(10)
    futures = [pool.submit(post, product, customers, email) for _ in range(10)]
    pool.shutdown(wait=False)
    return futures


def assert_one(product: Product, customers: str, email: str) -> None:
    at_stripe = [
        each for each in product.sandbox.objects("customer", account=product.account) if each["email"] == email
    ]
    assert len(at_stripe) == 1
    (person,) = product.client.call("GET", f"{customers}?email={email}")["customers"]
    assert person["stripeCustomerId"] == at_stripe[0]["id"]


def test_ten_identical_requests_make_one_customer(product: Product, customers: str) -> None:
    outcomes = sorted(future.result() for future in post_ten(product, customers, "ten@example.com"))

    assert outcomes == ["customer_exists"] * 9 + ["linked"]
    assert_one(product, customers, "ten@example.com")


def test_a_web_that_is_killed_while_stripe_creates_makes_one_customer(product: Product, customers: str) -> None:
    """Stripe has made the customer, and nobody is left to hear of it."""
    hang = {"kind": "hang", "seconds": 3, "times": 1, "share": 1, "path": "/v1/customers", "method": "POST"}
    product.sandbox.call("PUT", "faults", faults=[hang])
    futures = post_ten(product, customers, "killed@example.com")
    wait_until_made(product, "killed@example.com")

    web = product.stack.processes.pids()["web"]
    for worker in children(web):
        os.kill(worker, signal.SIGKILL)
    product.stack.processes.kill("web")

    outcomes = [future.result() for future in futures]
    assert "no answer" in outcomes
    # What the web had not accepted yet waits on its port for its successor.
    assert set(outcomes) <= {"no answer", "linked", "customer_exists"}
    assert outcomes.count("linked") <= 1
    assert until_answered(product, customers, "killed@example.com") in ("linked", "customer_exists")
    assert_one(product, customers, "killed@example.com")


def wait_until_made(product: Product, email: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while email not in (each["email"] for each in product.sandbox.objects("customer", account=product.account)):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def until_answered(product: Product, customers: str, email: str) -> str:
    """The next request is repeated while the web comes back."""
    deadline = time.monotonic() + PATIENCE_S
    while (outcome := post(product, customers, email)) == "no answer":
        assert time.monotonic() < deadline
        time.sleep(0.2)
    return outcome
