"""API keys in Postgres, only as SHA-256. The statements are in key_store.sql."""

import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from functools import lru_cache
from pathlib import Path
from typing import Any

import msgspec
from psycopg import Connection
from psycopg.rows import class_row

from sync.ids import new_id
from sync.round_trip import Call, RoundTrips, Rows
from sync.sql import Queries

PREFIX = "bs_"
_RAW_KEY = re.compile(r"bs_[0-9a-f]{48}")
_SECRET_BYTES = 24
# bs_ and eight digits: enough to tell keys apart, and 160 secret bits remain.
_SHOWN = 11

_QUERIES = Queries(Path(__file__).with_name("key_store.sql")).bind()
_KEYS_OF_PREFIX = _QUERIES.joined(("keys_of_prefix",), prepared_from=1, is_raw=True)


class Scope(StrEnum):
    READ_CUSTOMERS = "customers:read"
    CHANGE_CUSTOMERS = "customers:write"
    READ_PRODUCTS = "products:read"
    READ_SUBSCRIPTIONS = "subscriptions:read"
    READ_INVOICES = "invoices:read"
    # For the gateway: what the mirror cannot answer goes to Stripe, with the team's own key.
    READ_STRIPE = "stripe:read"
    CHANGE_STRIPE = "stripe:write"


# What the team's own Stripe key may do at the gateway: all that it may at Stripe.
OF_OWN_KEY = [scope.value for scope in Scope if scope is not Scope.CHANGE_CUSTOMERS]

# What a key with the scope may do, for the people who create keys.
SCOPE_WORDS = {
    Scope.READ_CUSTOMERS: "read customers, their names and addresses, and what belongs to them",
    Scope.CHANGE_CUSTOMERS: "create, link and change a project's customers; new ones are created at Stripe",
    Scope.READ_PRODUCTS: "read products, prices and discounts",
    Scope.READ_SUBSCRIPTIONS: "read subscriptions and the team's numbers",
    Scope.READ_INVOICES: "read invoices, charges, refunds and other payments",
    Scope.READ_STRIPE: "read everything that the team's Stripe key can read, at Stripe where the mirror cannot answer;"
    " without it, such requests are refused",
    Scope.CHANGE_STRIPE: "change anything that the team's Stripe key can change: charge, refund, cancel, delete",
}


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key as its team sees it. Without a project it is valid for all of them."""

    id: str
    name: str
    prefix: str
    project_id: str | None
    scopes: list[str]
    expires_at: datetime | None
    created_at: datetime
    last_used_at: datetime | None


@dataclass(frozen=True, slots=True)
class PresentedKey:
    """A key that a caller sent, and what it gives access to."""

    id: str
    team_id: str
    project_id: str | None
    scopes: list[str]
    is_expired: bool
    is_use_due: bool  # whether last_used_at should be written


class KeyStore:
    def __init__(self, connection: Connection[Any]) -> None:
        self._connection = connection

    def create_key(
        self, team_id: str, name: str, *, project_id: str | None, scopes: list[str], expires_at: datetime | None
    ) -> tuple[ApiKey, str]:
        """Returns the key and its raw text, which cannot be read again.

        Raises psycopg.errors.ForeignKeyViolation if there is no such project.
        """
        raw_key = PREFIX + secrets.token_hex(_SECRET_BYTES)
        with self._connection.cursor(row_factory=class_row(ApiKey)) as cursor:
            parameters = {
                "id": new_id("key"),
                "team_id": team_id,
                "project_id": project_id,
                "name": name,
                "prefix": raw_key[:_SHOWN],
                "key_sha256": digest_of(raw_key),
                "scopes": scopes,
                "expires_at": expires_at,
            }
            created = cursor.execute(_QUERIES["create_key"], parameters).fetchone()
        assert created is not None
        return created, raw_key

    def list_keys(self, team_id: str) -> list[ApiKey]:
        with self._connection.cursor(row_factory=class_row(ApiKey)) as cursor:
            return cursor.execute(_QUERIES["list_keys"], {"team_id": team_id}).fetchall()

    def delete_key(self, team_id: str, key_id: str) -> bool:
        """Returns False if the team has no such key."""
        row = self._connection.execute(_QUERIES["delete_key"], {"team_id": team_id, "key_id": key_id}).fetchone()
        return row is not None

    def find(self, raw_key: str) -> PresentedKey | None:
        if not _RAW_KEY.fullmatch(raw_key):
            return None
        look_up = look_up_of(raw_key)
        (rows,) = RoundTrips(self._connection).read([look_up.statement], look_up.values)
        return key_among(rows, digest_of(raw_key))

    def note_use(self, key_id: str) -> None:
        self._connection.execute(_QUERIES["note_use"], {"key_id": key_id})


def look_up_of(raw_key: str) -> Call:
    """What brings the rows for `key_among`."""
    return Call(_KEYS_OF_PREFIX, {"prefix": raw_key[:_SHOWN]})


def key_among(rows: Rows, digest: bytes) -> PresentedKey | None:
    keys = (_key_of(row) for (row,) in rows)
    return next((key for sha256, key in keys if hmac.compare_digest(sha256, digest)), None)


@lru_cache(1000)
def _key_of(row: bytes) -> tuple[bytes, PresentedKey]:
    """Most requests find the same row as the one before."""
    fields = msgspec.json.decode(row)
    return bytes.fromhex(fields.pop("sha256")), PresentedKey(**fields)


def digest_of(raw_key: str) -> bytes:
    return hashlib.sha256(raw_key.encode()).digest()
