"""Links that work once. Each lets its holder do one thing. Only the SHA-256 of its token is stored."""

import hashlib
import secrets
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from psycopg import Connection
from psycopg.rows import scalar_row

from sync.sql import Queries

_QUERIES = Queries(Path(__file__).with_name("links.sql")).bind()


@dataclass(frozen=True, slots=True)
class Purpose:
    """What a link is for, and the page that it opens."""

    name: str
    page: str
    lifetime: timedelta

    def address(self, public_url: str, token: str) -> str:
        return f"{public_url}{self.page}?token={token}"


SET_UP = Purpose("set_up", "/set-up", timedelta(days=7))
NEW_PASSWORD = Purpose("new_password", "/new-password", timedelta(days=1))


class Links:
    """Works on one connection to Postgres. The caller begins and ends transactions."""

    def __init__(self, connection: Connection[Any]) -> None:
        self._connection = connection

    def create(self, purpose: Purpose, user_id: str | None = None) -> str:
        """Returns the new link's token. Earlier links stay valid."""
        token = new_token()
        self._connection.execute(
            _QUERIES["create"], _named(purpose, token) | {"user_id": user_id, "lifetime": purpose.lifetime}
        )
        return token

    def is_good(self, purpose: Purpose, token: str) -> bool:
        with self._connection.cursor(row_factory=scalar_row) as cursor:
            return bool(cursor.execute(_QUERIES["is_good"], _named(purpose, token)).fetchone())

    def take(self, purpose: Purpose, token: str) -> tuple[str | None] | None:
        """Uses the link up. Returns the id of its user (or None) in a row, or None if the link is not valid."""
        return self._connection.execute(_QUERIES["take"], _named(purpose, token)).fetchone()

    def delete_others(self, purpose: Purpose, user_id: str | None = None) -> None:
        """Voids the other links of the same kind after one was used."""
        self._connection.execute(_QUERIES["delete_others"], {"purpose": purpose.name, "user_id": user_id})


def _named(purpose: Purpose, token: str) -> dict[str, Any]:
    return {"purpose": purpose.name, "token_sha256": sha256(token)}


def new_token() -> str:
    """256 random bits, in a form that fits a cookie or an address."""
    return secrets.token_urlsafe(32)


def sha256(token: str) -> bytes:
    # A caller may send any characters. A token that is not one of ours matches nothing.
    return hashlib.sha256(token.encode(errors="replace")).digest()
