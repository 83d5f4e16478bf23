"""Limits for the numbers, ids and texts that go from Stripe into our tables, and the form of ids in logs.

A tenant signs its own events, so a stranger may have chosen any of these values. Whatever we store must be readable: a
time that Postgres holds and Python does not would turn every answer about its team into a 500.
"""

import hashlib
import re

# 9999-12-31T23:59:59Z. Python's datetime ends there; Postgres' timestamptz does not.
LAST_SECOND = 253_402_300_799
# Stripe's own promise for its ids
# (https://docs.stripe.com/upgrades#what-changes-does-stripe-consider-to-be-backward-compatible).
MOST_ID_CHARACTERS = 255
# How far ahead of our clock Stripe's may be. Events of a test clock may carry its time, years from now.
CLOCK_LEEWAY_S = 86_400

_EVENT_ID = re.compile(rf"[A-Za-z0-9_.:-]{{1,{MOST_ID_CHARACTERS}}}")
_EVENT_TYPE = re.compile(r"[A-Za-z0-9_.\[\]-]{1,255}")
_API_VERSION = re.compile(r"[A-Za-z0-9.-]{1,40}")
_HARMLESS = re.compile(r"[A-Za-z0-9_-]{1,64}")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


def is_second(number: int) -> bool:
    return 0 <= number <= LAST_SECOND


def is_object_id(text: str) -> bool:
    """People choose ids of products, prices and customers: any text that fits an index and can be part of a path."""
    return 0 < len(text) <= MOST_ID_CHARACTERS and not _CONTROL.search(text)


def is_event_id(text: str) -> bool:
    return _EVENT_ID.fullmatch(text) is not None


def is_event_type(text: str) -> bool:
    return _EVENT_TYPE.fullmatch(text) is not None


def is_api_version(text: str) -> bool:
    return _API_VERSION.fullmatch(text) is not None


def loggable(object_id: str) -> str:
    """The id if it looks like one of Stripe's own, otherwise a digest, so that tenants cannot write into our log."""
    if _HARMLESS.fullmatch(object_id):
        return object_id
    return f"sha256:{hashlib.sha256(object_id.encode(errors='surrogatepass')).hexdigest()[:16]}"
