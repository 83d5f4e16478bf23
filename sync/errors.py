"""Every error that BillStack raises on purpose. `api/http/errors.py` turns them into answers.

BillStackError
├── ConfigError            a setting is missing or malformed; the process stops
├── SchemaError            the database is of another version than this program
├── BadRequest             400
├── Unauthorized           401
├── Forbidden              403
├── NotFound               404, also for what the caller may not see
├── Conflict               409
├── TooLarge               413
├── TooManyRequests        429, with the seconds to wait
├── StripeError            Stripe refused or did not answer: 502 if a person waits for it
│   ├── StripeUnavailable  may pass: network, 5xx, 409, broken JSON under a 200
│   │   └── StripeRateLimited  429, with the reason Stripe gave
│   └── StripeRejected     will not pass by itself: 400, 401, 402, 403, 404
│       └── CursorLost     the object named by `starting_after` is gone
├── LeaseLost              another worker holds the lease, or the backfill was canceled
└── TurnOver               the worker must stop; another one continues
"""

from typing import Any


class BillStackError(Exception):
    """`message` is one sentence that a person can act on; `code` is snake_case; `details` is public JSON."""

    code = "internal_error"

    def __init__(self, message: str, *, code: str | None = None, details: dict[str, Any] | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.code = code or self.code
        self.details = details

    @property
    def sentence(self) -> str:
        """`message` with a full stop, so that another sentence can follow. Stripe's messages sometimes lack one."""
        text = self.message.strip()
        return text if text.endswith((".", "!", "?")) else f"{text}."


class ConfigError(BillStackError):
    code = "config_error"


class SchemaError(BillStackError):
    code = "schema_error"


class BadRequest(BillStackError):
    code = "bad_request"


class Unauthorized(BillStackError):
    code = "unauthorized"


class Forbidden(BillStackError):
    code = "forbidden"


class NotFound(BillStackError):
    code = "not_found"


class Conflict(BillStackError):
    code = "conflict"


class TooLarge(BillStackError):
    code = "too_large"


class TooManyRequests(BillStackError):
    code = "too_many_requests"

    def __init__(self, message: str, *, retry_after_s: float) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class StripeError(BillStackError):
    """An error from Stripe, in Stripe's own words if it sent any."""

    code = "stripe_error"

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        status: int | None = None,
        stripe_code: str | None = None,
        request_id: str | None = None,
        retry_after_s: float | None = None,
        param: str | None = None,
        type: str | None = None,
    ) -> None:
        details = {"status": status, "stripeCode": stripe_code, "stripeMessage": message, "requestId": request_id}
        super().__init__(message, code=code, details={key: value for key, value in details.items() if value})
        self.status = status
        self.stripe_code = stripe_code
        self.request_id = request_id
        self.retry_after_s = retry_after_s
        self.param = param
        self.type = type


class StripeUnavailable(StripeError):
    """`is_replay`: Stripe stores this error under the idempotency key and repeats it for a day."""

    code = "stripe_unavailable"
    is_replay = False


class StripeRateLimited(StripeUnavailable):
    """`reason` is the Stripe-Rate-Limited-Reason header (https://docs.stripe.com/rate-limits), or None."""

    code = "stripe_rate_limited"
    reason: str | None = None


class StripeRejected(StripeError):
    """`as_of` and `as_of_until`: when Stripe said so, on its own clock (sync/stripe/answers.py, Answer)."""

    code = "stripe_rejected"
    as_of = 0
    as_of_until = 0

    @property
    def is_missing(self) -> bool:
        """Stripe does not have the requested object. Answers from before 2018 have no code and name the `id`."""
        if self.stripe_code is None:
            return self.status == 404 and self.type == "invalid_request_error" and self.param == "id"
        return self.stripe_code == "resource_missing" and self.status not in (401, 403)

    @property
    def is_cursor_lost(self) -> bool:
        """For a request with `starting_after`: its object, or the list's parent, is gone (stripe-facts 1.3)."""
        return self.is_missing or (self.status in (400, 404) and self.param == "starting_after")


class CursorLost(StripeRejected):
    code = "cursor_lost"


class LeaseLost(BillStackError):
    code = "lease_lost"


class TurnOver(BillStackError):
    def __init__(self) -> None:
        super().__init__("the worker is to stop")
