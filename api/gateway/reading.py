"""Reads the mirror for one request, or says why only Stripe can answer it."""

from collections.abc import Callable, Collection, Iterable
from functools import lru_cache

from flask import Flask

from api.gateway.decision import Asked, Forward, decide
from api.gateway.errors import MissingScope, OnlyStripeCan
from api.gateway.mirror_answers import Made, MirrorAnswers, types_of
from api.gateway.params import nested
from api.gateway.store import Beside, MirrorReader
from api.http.context import EXTENSION
from api.http.times import iso, since_1970
from api.projects.key_store import Scope
from sync.object_types import ObjectType
from workers.context import Context
from workers.redis.gateway_use import GatewayUse

_USE = "billstack-gateway-use"


def install(app: Flask) -> None:
    context: Context = app.extensions[EXTENSION]
    app.extensions[_USE] = GatewayUse(context.redis)


def use_of(app: Flask) -> GatewayUse:
    """What this process counts of the gateway's answers."""
    found: GatewayUse = app.extensions[_USE]
    return found


def asked_of(method: str, path: str, pairs: Iterable[tuple[str, str]], header: Callable[[str], str | None]) -> Asked:
    """`header` looks up a header of the request by its name."""
    return Asked(
        method,
        path,
        nested(pairs),
        header("Stripe-Version"),
        header("Stripe-Account") or header("Stripe-Context"),
        (header("X-BillStack-Fresh") or "").lower() == "true",
    )


def read_mirror(
    context: Context, team_id: str, scopes: Collection[str] | None, asked: Asked, beside: Beside | None = None
) -> Made:
    """`scopes` are the key's; None for a member of the team, who reads everything. `beside` is read in the same moment.

    Raises OnlyStripeCan, MissingScope, and what Stripe would refuse, too.
    """

    def may_read(object_type: ObjectType) -> bool:
        return scopes is None or object_type.scope in scopes or Scope.READ_STRIPE in scopes

    decision = decide(asked)
    if isinstance(decision, Forward):
        raise OnlyStripeCan(decision.reason, is_known_later=decision.is_known_later)
    if not may_read(decision.object_type):
        raise MissingScope(decision.object_type.scope, "this reads the mirror")
    with context.pool.connection() as connection:
        reader = MirrorReader(connection, team_id, beside, types_of(decision))
        return MirrorAnswers(reader, asked, may_read).make(decision)


def mirror_headers(made: Made, request_id: str) -> dict[str, str]:
    return {
        "Stripe-Version": made.api_version,
        "Request-Id": request_id,
        "X-BillStack-Source": "mirror",
        "X-BillStack-Synced-At": _synced_at(made.right_as_of),
    }


@lru_cache(1000)
def _synced_at(second: int) -> str:
    shown = iso(since_1970(second))
    assert shown is not None
    return shown
