"""Limits attempts at a secret. Each one counts in Postgres before its check; a right password takes it back.

A device that has signed in to the account before has its own count. So a stranger who guesses passwords locks out
neither the owner nor everybody else behind the same proxy.
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
# Providers give each customer at least this much of IPv6.
_IPV6_PREFIX = 64


@dataclass(frozen=True, slots=True)
class Limit:
    """`most` attempts in a window that begins with the first."""

    name: str
    most: int
    window: timedelta = timedelta(minutes=5)

    def counter(self, who: str) -> bytes:
        return hashlib.sha256(f"{self.name} {who}".encode(errors="replace")).digest()


# People mistype a few times.
FROM_KNOWN_DEVICE = Limit("known-device", most=10)
OF_ACCOUNT_FROM_ADDRESS = Limit("account-from-address", most=10)
# An office behind one address has a few such people.
FROM_ADDRESS = Limit("address", most=100)
# Stops a stranger with many addresses. Only devices that are new to the account feel it.
OF_ACCOUNT = Limit("account", most=100)
# Attempts to connect a Stripe key. Each one calls Stripe and holds a thread. A person who pastes the wrong key tries a
# few.
CONNECTS_OF_TEAM = Limit("connect", most=20)


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt: the account in its normal form, the address, and the device.

    The device counts only if the account knows it.
    """

    account: str
    address: str
    device: str | None

    def counters(self) -> Iterator[tuple[Limit, str]]:
        """The narrowest first, so that an attempt which it refuses does not use up the wider ones."""
        if self.device is not None:
            yield FROM_KNOWN_DEVICE, f"{self.account} {self.device}"
            return
        network = network_of(self.address)
        yield OF_ACCOUNT_FROM_ADDRESS, f"{self.account} {network}"
        yield FROM_ADDRESS, network
        yield OF_ACCOUNT, self.account


class Attempts:
    """Works on one connection to Postgres, outside a transaction: a count that rolls back would count nothing."""

    def __init__(self, connection: Connection[Any]) -> None:
        self._connection = connection

    def count(self, attempt: Attempt) -> None:
        """Raises TooManyRequests once a limit is reached."""
        for limit, who in attempt.counters():
            self.spend(limit, who, "too many failed sign-ins: wait a few minutes")

    def spend(self, limit: Limit, who: str, refusal: str) -> None:
        """Counts one attempt. Raises TooManyRequests with the sentence `refusal` once the limit is reached."""
        spent, reset_s = self._spend(limit, who)
        if spent > limit.most:
            raise TooManyRequests(refusal, retry_after_s=reset_s)

    def forgive(self, attempt: Attempt) -> None:
        """Takes the attempt back after a right password: only failures count."""
        for limit, who in attempt.counters():
            self._connection.execute(_QUERIES["give_back"], {"who": limit.counter(who)})

    def _spend(self, limit: Limit, who: str) -> tuple[int, float]:
        parameters = {"who": limit.counter(who), "window": limit.window}
        row = self._connection.execute(_QUERIES["spend"], parameters).fetchone()
        assert row is not None, "the statement always returns a row"
        return row[0], row[1]


def network_of(address: str) -> str:
    """An IPv6 address as its whole network: a customer who has one address has millions."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    if parsed.version == 4:
        return address
    return str(ipaddress.ip_network(f"{address.partition('%')[0]}/{_IPV6_PREFIX}", strict=False))
