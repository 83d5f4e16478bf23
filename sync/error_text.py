"""What log lines and failed jobs say about an exception: its origin and reason, never a text or id that a tenant chose.

Operators read those, and the page that shows failed jobs does not escape them.
"""

import re
import traceback
from collections.abc import Iterator

import psycopg

from sync.errors import BillStackError, StripeError

# Stripe's secret and restricted keys, its signing secrets, and our own API keys. The prefix stays, to show what it was.
_SECRET = re.compile(r"\b((?:sk|rk)_[a-z]+_|whsec_|bs_(?=[0-9a-f]{16}))[A-Za-z0-9+/=_-]+")
# Each of them has one of these. To look for them takes a tenth of the time.
_OF_SECRETS = ("k_", "whsec_", "bs_")
_BAD_DATA = "22"  # SQLSTATE class: these sentences quote the value
# A programmer's sentence, with nothing that a page or a terminal could take for markup or a command.
_HARMLESS = re.compile(r"[A-Za-z0-9 _.,:;()'…-]{1,200}")


def chain_of(exc: BaseException | None) -> Iterator[BaseException]:
    """The exception and its causes in turn."""
    while exc is not None:
        yield exc
        exc = exc.__cause__ or (None if exc.__suppress_context__ else exc.__context__)


def redact(text: str) -> str:
    """`text` with every key cut to its prefix."""
    return _SECRET.sub(r"\1…", text) if any(each in text for each in _OF_SECRETS) else text


def loggable_reason(exc: BaseException) -> str:
    """One line. Leaves out Stripe's sentences, Postgres' details, texts of Python's errors that name objects, and keys."""
    return redact(_reason(exc))


def _reason(exc: BaseException) -> str:
    if isinstance(exc, StripeError):
        return f"Stripe: {', '.join(f'{key} {value}' for key, value in _of_stripe(exc).items()) or exc.code}"
    if isinstance(exc, BillStackError):
        return exc.message
    if isinstance(exc, psycopg.Error):
        return _of_postgres(exc)
    return f"{type(exc).__name__}{_words(exc)}{_place(exc)}"


def _of_stripe(exc: StripeError) -> dict[str, str]:
    known = {"status": exc.status, "code": exc.stripe_code, "request": exc.request_id}
    return {key: str(value) for key, value in known.items() if value}


def _of_postgres(exc: psycopg.Error) -> str:
    if exc.sqlstate is None:  # the driver's own words about a connection
        return str(exc)
    sentence = None if exc.sqlstate.startswith(_BAD_DATA) else exc.diag.message_primary
    return f"{type(exc).__name__} ({exc.sqlstate}){f': {sentence}' if sentence else ''}"


def _words(exc: BaseException) -> str:
    text = str(exc)
    return f": {text}" if _HARMLESS.fullmatch(text) else ""


def _place(exc: BaseException) -> str:
    frames = traceback.extract_tb(exc.__traceback__)
    return f" at {frames[-1].filename.rsplit('/', 1)[-1]}:{frames[-1].lineno}" if frames else ""
