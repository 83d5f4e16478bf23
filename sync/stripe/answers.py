"""Stripe's answers: the body and when it was true, or our error with Stripe's own words on why there is none."""

import email.utils
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Generic, TypeVar

import msgspec

from sync.bounds import is_second
from sync.errors import StripeError, StripeRateLimited, StripeRejected, StripeUnavailable
from sync.json_text import repair_surrogates
from sync.stripe.curl import HttpAnswer

_LONGEST_WISH_S = 300.0  # the longest wait that Stripe may ask for

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Answer:
    """A body as Stripe sent it. It was true between two moments of Stripe's clock, in whole seconds."""

    body: bytes
    as_of: int
    as_of_until: int


@dataclass(frozen=True, slots=True)
class Read(Generic[T]):
    """A GET request, and the function that decodes its answer.

    An `urgent` attempt without a token goes before those that wait in line for the budget.
    """

    endpoint: str
    path: str
    params: Mapping[str, Any]
    decode: Callable[[Answer], T]
    urgent: bool = True


def read_answer(read: Read[T], answer: HttpAnswer, elapsed_s: float) -> T:
    """Raises what `raise_for_status` raises, and StripeUnavailable if the body cannot be decoded."""
    raise_for_status(answer, elapsed_s)
    found = Answer(answer.body, *moments(answer.headers, elapsed_s))
    try:
        try:
            return read.decode(found)
        except msgspec.DecodeError:
            return read.decode(replace(found, body=repair_surrogates(found.body)))
    except msgspec.DecodeError as exc:
        raise StripeUnavailable(
            f"Stripe's answer to {read.endpoint} is not valid JSON of the expected form: {exc}"
        ) from exc


def raise_for_status(answer: HttpAnswer, elapsed_s: float) -> None:
    """Raises StripeRejected for errors that will not pass by themselves.

    Raises StripeUnavailable for those that may: 5xx, 409, 429, a redirect.
    """
    if answer.status >= 300:
        raise _refusal(answer, _error_fields(answer.body), elapsed_s)


def moments(headers: Mapping[str, str], elapsed_s: float) -> tuple[int, int]:
    """as_of and as_of_until of an answer that came `elapsed_s` after its request began.

    Stripe wrote the Date header during the request, in whole seconds. So the request began at most its whole duration
    before Date, and ended at most its duration plus that second after it. Our own clock plays no part.
    """
    whole_s = math.ceil(elapsed_s)
    date = _seconds(headers.get("Date") or "") or int(time.time())
    return date - whole_s, date + 1 + whole_s


def _refusal(answer: HttpAnswer, fields: Mapping[str, str], elapsed_s: float) -> StripeError:
    status, code = answer.status, fields.get("code")
    facts: dict[str, Any] = {
        "status": status,
        "stripe_code": code,
        "request_id": answer.headers.get("Request-Id"),
        "retry_after_s": _retry_after(answer.headers),
        "param": fields.get("param"),
        "type": fields.get("type"),
    }
    message = fields.get("message") or f"Stripe answered {status} without saying why"
    if status == 429 or (status == 400 and code == "rate_limit"):
        limited = StripeRateLimited(message, **facts | {"status": 429})
        limited.reason = answer.headers.get("Stripe-Rate-Limited-Reason")
        return limited
    if status < 400 or status == 409 or status >= 500:
        unavailable = StripeUnavailable(message, **facts)
        unavailable.is_replay = answer.headers.get("Idempotent-Replayed") == "true"
        return unavailable
    rejected = StripeRejected(message, **facts)
    rejected.as_of, rejected.as_of_until = moments(answer.headers, elapsed_s)
    return rejected


def _error_fields(body: bytes) -> dict[str, str]:
    """The texts of a body `{"error": {...}}`. Empty for any other body, such as a proxy's HTML page."""
    try:
        found = msgspec.json.decode(repair_surrogates(body))
    except msgspec.DecodeError:
        return {}
    error = found.get("error") if isinstance(found, dict) else None
    return {key: value for key, value in error.items() if isinstance(value, str)} if isinstance(error, dict) else {}


@lru_cache(maxsize=16)  # all answers of a second share their Date
def _seconds(date: str) -> int | None:
    parsed = email.utils.parsedate_tz(date)
    try:
        second = email.utils.mktime_tz(parsed) if parsed else None
    except (ValueError, OverflowError):  # the 32nd of a month, the year 99999
        return None
    return second if second is not None and is_second(second) else None


def _retry_after(headers: Mapping[str, str]) -> float | None:
    value = headers.get("Retry-After", "")
    return min(float(value), _LONGEST_WISH_S) if value.isdecimal() else None
