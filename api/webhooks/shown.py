"""The webhook part of the status: whether events arrive, and if not, what is known about why."""

import ipaddress
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

from api.http.times import iso

# Stripe may sign one event with two secrets, one of them ours: then we accept and refuse it within a moment.
_SAME_MOMENT = timedelta(seconds=10)
_REMEMBERED = timedelta(days=3)  # as long as Stripe retries a delivery
# Names that public DNS never resolves (RFC 2606, RFC 6762, RFC 8375).
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
    """Says only what is certain: anybody can send deliveries that we refuse."""
    refused = _refused(row)
    if refused is None or not row["connected"]:
        return []
    count = refused["count"]
    told = f"{count} {'delivery' if count == 1 else 'deliveries'} with a wrong signature arrived since"
    if _is_refused(row):
        return [
            f"{told} {refused['since']} (last at {refused['lastAt']}), and none with a valid one. If you changed the"
            " signing secret at Stripe, set up the webhook again or enter the new secret. Until then, changes"
            " arrive a few minutes late."
        ]
    return [
        f"{told} {refused['since']}, while others were valid. Either another endpoint at Stripe sends here with"
        " a secret that BillStack does not have, or somebody else sends them. BillStack recorded none of them."
    ]


def unreachable_because(url: str, *, livemode: bool) -> str | None:
    """Why Stripe cannot deliver to this address, as far as the address itself shows it."""
    address = urlsplit(url)
    host = (address.hostname or "").lower().rstrip(".")
    if _is_private(host):
        return f"Stripe cannot reach {host}: set BILLSTACK_PUBLIC_URL to an address that the internet can reach."
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
    """Whether the last delivery was refused and none was valid at about that time."""
    return row["delivered_at"] is None or row["refused_at"] - row["delivered_at"] > _SAME_MOMENT


def _state(row: dict[str, Any], refused: dict[str, Any] | None) -> str:
    if not row["connected"] or not row["has_webhook"]:
        return "none"
    if refused and _is_refused(row):
        return "refused"
    return "active" if row["delivered_at"] else "waiting"
