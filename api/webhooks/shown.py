"""What the status says of a team's webhook: whether events come by it, and what is known where they do not."""

import ipaddress
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

from api.http.times import iso

# An endpoint that is sent to with two secrets is accepted and refused in the same moment.
_SAME_MOMENT = timedelta(seconds=10)
_REMEMBERED = timedelta(days=3)  # as long as Stripe repeats a delivery
# Names that no public DNS answers (RFC 2606, RFC 6762, RFC 8375).
_PRIVATE_NAMES = ("localhost", "local", "internal", "test", "example", "invalid", "home.arpa", "lan")


def webhook_address(public_url: str, team_id: str) -> str:
    return f"{public_url}/api/webhooks/stripe/{team_id}"


def webhook_shown(row: dict[str, Any], url: str) -> dict[str, Any]:
    """`row` is a status row. `state`: none · waiting (set up, nothing came yet) · active · refused."""
    refused = _refused(row)
    return {
        "state": _state(row, refused),
        "url": url,
        "endpointId": row["endpoint_id"],
        "lastDeliveryAt": iso(row["delivered_at"]),
        "lagSeconds": row["delivery_lag_s"],
        "refused": refused,
        "unreachable": unreachable_because(url, livemode=row["livemode"]),
    }


def webhook_warnings(row: dict[str, Any]) -> list[str]:
    """What is known, and no more: anybody can send what we refuse."""
    refused = _refused(row)
    if refused is None or not row["connected"]:
        return []
    count = refused["count"]
    told = f"{count} {'delivery' if count == 1 else 'deliveries'} with a signature that does not fit came since"
    if _is_refused(row):
        return [
            f"{told} {refused['since']}, the last one at {refused['lastAt']}, and none that fits. If the signing secret was"
            " changed at Stripe, set up the webhook again or give the new secret; until then changes arrive a few minutes"
            " late."
        ]
    return [
        f"{told} {refused['since']}, while others are accepted: either another endpoint at Stripe sends here with a secret"
        " that BillStack does not have, or it is not Stripe that sends them. None of them was recorded."
    ]


def unreachable_because(url: str, *, livemode: bool) -> str | None:
    """Why Stripe cannot deliver to this address, as far as the address says so."""
    address = urlsplit(url)
    host = (address.hostname or "").lower().rstrip(".")
    if _is_private(host):
        return f"Stripe cannot reach {host}: set BILLSTACK_PUBLIC_URL to an address that the internet knows."
    if livemode and address.scheme != "https":
        return "Stripe delivers live events to https addresses only: set BILLSTACK_PUBLIC_URL to one."
    return None


def _is_private(host: str) -> bool:
    try:
        return not ipaddress.ip_address(host).is_global
    except ValueError:
        return "." not in host or host.endswith(tuple(f".{name}" for name in _PRIVATE_NAMES))


def _refused(row: dict[str, Any]) -> dict[str, Any] | None:
    if row["refused_at"] is None or datetime.now(UTC) - row["refused_at"] > _REMEMBERED:
        return None
    return {
        "count": row["refused_deliveries"],
        "since": iso(row["refused_since"]),
        "lastAt": iso(row["refused_at"]),
    }


def _is_refused(row: dict[str, Any]) -> bool:
    """The last that came was refused, and no other fitted at about that time."""
    return row["delivered_at"] is None or row["refused_at"] - row["delivered_at"] > _SAME_MOMENT


def _state(row: dict[str, Any], refused: dict[str, Any] | None) -> str:
    if not row["connected"] or not row["has_webhook"]:
        return "none"
    if refused and _is_refused(row):
        return "refused"
    return "active" if row["delivered_at"] else "waiting"
