"""How often somebody tries a secret: counted in Postgres before it is checked. A right password gives its attempt back.

A device that signed in to the account before has a count of its own. So a stranger who guesses shuts out neither the
owner, nor with their many failures everybody behind the same proxy.
"""

import hashlib
import ipaddress
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from psycopg import Connection

from sync.errors import TooManyRequests
from sync.sql import Queries

_QUERIES = Queries(Path(__file__).with_name("attempts.sql")).bind()
# What one customer of a provider has of IPv6 addresses, at least.
_IPV6_PREFIX = 64


@dataclass(frozen=True, slots=True)
class Limit:
    """`most` attempts in a window that begins with the first."""

    name: str
    most: int
    window: timedelta = timedelta(minutes=5)

    def counter(self, who: str) -> bytes:
        return hashlib.sha256(f"{self.name} {who}".encode(errors="replace")).digest()


# A person mistypes a few times.
FROM_KNOWN_DEVICE = Limit("known-device", most=10)
OF_ACCOUNT_FROM_ADDRESS = Limit("account-from-address", most=10)
# An office behind one address has a few such persons.
FROM_ADDRESS = Limit("address", most=100)
# A stranger with many addresses; only devices that are new to the account feel it.
OF_ACCOUNT = Limit("account", most=100)
# A team's keys of Stripe: each asks Stripe, and holds a thread meanwhile. Whoever pastes the wrong one tries a few times.
CONNECTS_OF_TEAM = Limit("connect", most=20)


@dataclass(frozen=True, slots=True)
class Attempt:
    """Who tries: an account in its normal form, from an address, on a device that the account knows or on another."""

    account: str
    address: str
    device: str | None

    def counters(self) -> Iterator[tuple[Limit, str]]:
        """In this order, the narrowest first: what it refuses does not use up the wider ones."""
        if self.device is not None:
            yield FROM_KNOWN_DEVICE, f"{self.account} {self.device}"
            return
        network = network_of(self.address)
        yield OF_ACCOUNT_FROM_ADDRESS, f"{self.account} {network}"
        yield FROM_ADDRESS, network
        yield OF_ACCOUNT, self.account


class Attempts:
    """On one connection to Postgres, each statement by itself: a count that was rolled back would count nothing."""

    def __init__(self, connection: Connection[Any]) -> None:
        self._connection = connection

    def count(self, attempt: Attempt) -> None:
        """Raises TooManyRequests when a limit is spent."""
        for limit, who in attempt.counters():
            self.spend(limit, who, "too many failed attempts to sign in: wait a little")

    def spend(self, limit: Limit, who: str, refusal: str) -> None:
        """Counts one. Raises TooManyRequests with that sentence when the limit is spent."""
        spent, reset_s = self._spend(limit, who)
        if spent > limit.most:
            raise TooManyRequests(refusal, retry_after_s=reset_s)

    def forgive(self, attempt: Attempt) -> None:
        """It was the right password: only failures count."""
        for limit, who in attempt.counters():
            self._connection.execute(_QUERIES["give_back"], {"who": limit.counter(who)})

    def _spend(self, limit: Limit, who: str) -> tuple[int, float]:
        parameters = {"who": limit.counter(who), "window": limit.window}
        row = self._connection.execute(_QUERIES["spend"], parameters).fetchone()
        assert row is not None, "the statement always returns a row"
        return row[0], row[1]


def network_of(address: str) -> str:
    """Who has one IPv6 address has millions of them."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    if parsed.version == 4:
        return address
    return str(ipaddress.ip_network(f"{address.partition('%')[0]}/{_IPV6_PREFIX}", strict=False))
