"""Verifies a webhook: Stripe signs "{t}.{body}" with the endpoint's secret (https://docs.stripe.com/webhooks)."""

import hashlib
import hmac
import re
from collections.abc import Iterable

from sync.errors import BadRequest

# Stripe's SDKs allow as much between the signature's time and ours. It limits how long a delivery can be replayed.
TOLERANCE_S = 300
_DIGEST = re.compile(rb"[0-9a-f]{64}")


def verify(body: bytes, header: str | None, secrets: Iterable[str], *, now: float) -> None:
    """Raises BadRequest `bad_signature` unless one of the secrets made one of the header's `v1`, recently.

    While a secret is being rolled, Stripe signs with both and sends several `v1`.
    """
    timestamp, signatures = _parse(header or "")
    if timestamp is None or not signatures:
        raise _bad("the Stripe-Signature header is missing or malformed")
    signed = f"{timestamp}.".encode() + body
    digests = [hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest().encode() for secret in secrets]
    if not digests:
        raise _bad("this team has no webhook signing secret: connect again with webhookSecret, or set the webhook up")
    if not any(hmac.compare_digest(digest, given) for digest in digests for given in signatures):
        raise _bad("the signature does not match: is webhookSecret the signing secret of this endpoint?")
    if abs(now - int(timestamp)) > TOLERANCE_S:
        raise _bad(f"the signature is more than {TOLERANCE_S} s away from this machine's clock")


def is_well_formed(header: str | None) -> bool:
    """Whether the header looks like Stripe's. Anybody may have sent it."""
    timestamp, signatures = _parse(header or "")
    return timestamp is not None and any(_DIGEST.fullmatch(given) for given in signatures)


def _parse(header: str) -> tuple[str | None, list[bytes]]:
    """The header's unchanged `t`, and every `v1`."""
    pairs = [part.strip().partition("=") for part in header.split(",")]
    times = [value for name, _, value in pairs if name == "t"]
    signatures = [value.encode() for name, _, value in pairs if name == "v1"]
    is_number = len(times) == 1 and times[0].isascii() and times[0].isdecimal() and len(times[0]) <= 12
    return (times[0] if is_number else None), signatures


def _bad(sentence: str) -> BadRequest:
    return BadRequest(sentence, code="bad_signature")
