"""The mirror's errors in Stripe's own shape. Stripe's libraries then raise the same exceptions as for Stripe's."""

import re
from typing import Any

from sync.errors import BadRequest, BillStackError, Forbidden, NotFound, TooManyRequests

_ADDRESS = re.compile(r"/v1(/|$)|/api/billstack/teams/[^/]+/mirror/")


class RefusedParameter(BadRequest):
    """`code` is Stripe's; Stripe gives none to most refusals."""

    def __init__(self, message: str, param: str | None = None, *, code: str | None = None) -> None:
        super().__init__(message, code=code, details={"param": param} if param else None)


class NoSuchObject(NotFound):
    def __init__(self, type_name: str, object_id: str) -> None:
        super().__init__(f"No such {type_name}: '{object_id}'", code="resource_missing", details={"param": "id"})


class OnlyStripeCan(Exception):
    """The mirror cannot make this answer. The message says why. Stripe is asked instead.

    `is_known_later`: the mirror will be able to, once a backfill has finished.
    """

    def __init__(self, reason: str, *, is_known_later: bool = False) -> None:
        super().__init__(reason)
        self.is_known_later = is_known_later


class NotYetKnown(BillStackError):
    """The mirror cannot vouch for an answer, and the key may not ask Stripe. A 404 would be wrong."""

    code = "mirror_not_ready"


class StripeUnreachable(BillStackError):
    """Stripe did not answer a forwarded request. It may have done the work all the same."""

    code = "stripe_unreachable"


class MissingScope(Forbidden):
    def __init__(self, scope: str, why: str) -> None:
        message = f"{why}, and this API key lacks the scope {scope}, with which BillStack asks Stripe"
        super().__init__(message, code="missing_scope", details={"scope": scope})


class TooManyForwarded(TooManyRequests):
    """Too many of the team's requests are already at Stripe or waiting for its budget."""


def is_of_mirror(path: str) -> bool:
    """Whether errors of this address take Stripe's shape."""
    return _ADDRESS.match(path) is not None


def stripe_body(status: int, code: str, message: str, details: dict[str, Any] | None) -> dict[str, Any]:
    """`{"error": {"message", "type", "code"?, "param"?, "doc_url"?}}`."""
    error: dict[str, Any] = {"message": message, "type": "api_error" if status >= 500 else "invalid_request_error"}
    if status == 429:
        code = "rate_limit"
    if code != BadRequest.code:
        error["code"] = code
    if details and "param" in details:
        if code != BadRequest.code:
            error["doc_url"] = f"https://stripe.com/docs/error-codes/{code.replace('_', '-')}"
        error["param"] = details["param"]
    return {"error": error}
