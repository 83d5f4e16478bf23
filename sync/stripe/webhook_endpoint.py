"""Creates, repairs and removes a team's webhook endpoint at Stripe. Touches only endpoints that we created.

A word in their metadata identifies ours, even if a crash between Stripe's answer and our commit lost the secret.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import msgspec

from sync.errors import StripeRejected
from sync.stripe.answers import Answer, Read
from sync.stripe.caller import Caller

_PATH = "/v1/webhook_endpoints"
_MARK = "billstack_team"
# An account may have about 16 (stripe-facts section 6).
_MOST_ENDPOINTS = 100


class _Endpoint(msgspec.Struct):
    """Only the answer to its creation contains the `secret`."""

    id: str
    url: str
    enabled_events: list[str]
    status: str = "enabled"
    api_version: str | None = None
    metadata: dict[str, str] = {}
    secret: str | None = None


class _Endpoints(msgspec.Struct):
    data: list[_Endpoint]


@dataclass(frozen=True, slots=True)
class SetUp:
    """`secret` is None if the known one stays valid."""

    action: Literal["created", "repaired", "kept"]
    endpoint_id: str
    secret: str | None = None


def set_up(
    caller: Caller,
    *,
    team_id: str,
    url: str,
    events: Sequence[str],
    known_id: str | None,
    attempt: str,
    is_refused: bool = False,
) -> SetUp:
    """Ensures an endpoint that delivers exactly these `events`, in the caller's API version.

    `known_id` is the endpoint whose secret we have. `attempt` differs between calls, so that a retry creates no second
    one.

    `is_refused`: deliveries do not match our secret, so Stripe may have another one. Only a new endpoint reveals its
    secret.

    Raises StripeUnavailable, and StripeRejected if the key may not write webhook endpoints.
    """
    ours = [endpoint for endpoint in _list(caller) if endpoint.metadata.get(_MARK) == team_id]
    known = next((endpoint for endpoint in ours if endpoint.id == known_id), None)
    # Its API version cannot be changed and its secret cannot be read later (stripe-facts section 6).
    usable = known if known and known.api_version == caller.api_version and not is_refused else None
    done = _repair(caller, usable, url, events, attempt) if usable else _create(caller, team_id, url, events, attempt)
    for endpoint in ours:
        if endpoint.id != done.endpoint_id:
            remove(caller, endpoint.id)
    return done


def remove(caller: Caller, endpoint_id: str) -> None:
    """Succeeds also if it is gone already."""
    try:
        caller.delete("delete_webhook_endpoints", f"{_PATH}/{endpoint_id}")
    except StripeRejected as exc:
        if not exc.is_missing:
            raise


def _list(caller: Caller) -> list[_Endpoint]:
    def read(answer: Answer) -> list[_Endpoint]:
        return msgspec.json.decode(answer.body, type=_Endpoints).data

    return caller.get(Read("list_webhook_endpoints", _PATH, {"limit": _MOST_ENDPOINTS}, read))


def _create(caller: Caller, team_id: str, url: str, events: Sequence[str], attempt: str) -> SetUp:
    params = {
        "url": url,
        "enabled_events": list(events),
        "api_version": caller.api_version,
        "description": "Keeps BillStack's mirror in sync",
        "metadata": {_MARK: team_id},
    }
    made = caller.post("create_webhook_endpoints", _PATH, params, _read, idempotency_key=f"webhook-{attempt}")
    return SetUp("created", made.id, made.secret)


def _repair(caller: Caller, endpoint: _Endpoint, url: str, events: Sequence[str], attempt: str) -> SetUp:
    as_it_is = (endpoint.url, set(endpoint.enabled_events), endpoint.status)
    if as_it_is == (url, set(events), "enabled"):
        return SetUp("kept", endpoint.id)
    params = {"url": url, "enabled_events": list(events), "disabled": False}
    path = f"{_PATH}/{endpoint.id}"
    caller.post("update_webhook_endpoints", path, params, _read, idempotency_key=f"webhook-{attempt}")
    return SetUp("repaired", endpoint.id)


def _read(answer: Answer) -> _Endpoint:
    return msgspec.json.decode(answer.body, type=_Endpoint)
