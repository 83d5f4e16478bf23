"""Accounts to ask, small ones with a clock that stands still, and one served over HTTP."""

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from scripts.sandbox.account import Account
from scripts.sandbox.running import SandboxThread
from scripts.sandbox.sandbox import Sandbox
from scripts.sandbox.seeding import Recipe

NOW = 1_790_000_000
SMALL = Recipe(seed=7, scale=0.1)
EMPTY = Recipe(scale=0)


@dataclass
class Clock:
    """Time that moves only when a test says so."""

    now: float = NOW

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def account(clock: Clock) -> Account:
    """A tenth of the default account: 125 customers, 320 invoices, 410 charges."""
    return Account("demo", SMALL, clock)


@pytest.fixture
def empty(clock: Clock) -> Account:
    """An account in which nothing has happened yet."""
    return Account("demo", EMPTY, clock)


@pytest.fixture
def served() -> Iterator[SandboxThread]:
    """A small account behind HTTP, on the real clock."""
    sandbox = Sandbox()
    sandbox.add_account("demo", SMALL)
    with SandboxThread(sandbox) as running:
        yield running
