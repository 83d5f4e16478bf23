"""The state of Stripe budgets that were used recently, for operators."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

import redis

from workers.redis.limiter import KEY_PREFIX, Bucket, Limiter

_KEY = re.compile(re.escape(KEY_PREFIX) + r"\{(?P<account>[^}]+)\}:(?P<mode>live|test)(?::(?P<endpoint>\w+))?")
# Buckets live for a minute, so there are few. But Redis may hold many other keys, and showing a page must stay cheap.
# Among more than a hundred thousand keys, some buckets are not found.
_SCANNED_AT_A_TIME = 1000
_SCANS = 100


@dataclass(frozen=True, slots=True)
class Budget:
    """The budget of one account in one mode. `endpoints` are those used in the last minute, the busiest first."""

    account_id: str
    livemode: bool
    account: Bucket
    endpoints: list[tuple[str, Bucket]]


def read_budgets(client: redis.Redis, limiter: Limiter) -> list[Budget]:
    """The busiest account first. Raises redis.RedisError."""
    found = [
        _read(limiter, account_id, livemode, endpoints) for (account_id, livemode), endpoints in _known(client).items()
    ]
    return sorted(found, key=lambda budget: (-budget.account.lately, budget.account_id, budget.livemode))


def _read(limiter: Limiter, account_id: str, livemode: bool, endpoints: set[str]) -> Budget:
    names = sorted(endpoints)
    account, *buckets = limiter.look(account_id, names, livemode=livemode)
    by_use = sorted(zip(names, buckets, strict=True), key=lambda each: (-each[1].lately, each[0]))
    return Budget(account_id, livemode, account, by_use)


def _known(client: redis.Redis) -> dict[tuple[str, bool], set[str]]:
    """The endpoints that have a bucket, by account and mode."""
    found: dict[tuple[str, bool], set[str]] = {}
    for key in _scan(client):
        if match := _KEY.fullmatch(key):
            endpoints = found.setdefault((match["account"], match["mode"] == "live"), set())
            endpoints.update(filter(None, [match["endpoint"]]))
    return found


def _scan(client: redis.Redis) -> Iterator[str]:
    cursor = 0
    for _ in range(_SCANS):
        cursor, keys = client.scan(cursor, match=f"{KEY_PREFIX}*", count=_SCANNED_AT_A_TIME)
        yield from (key.decode() if isinstance(key, bytes) else key for key in keys)
        if cursor == 0:
            return
