"""Lets a team's programs use its own Stripe key at the gateway. The statements are in own_keys.sql.

Only the connection's full secret key: it may read everything at Stripe, so the mirror shows it nothing more. A restricted
key may read less than the mirror holds.
"""

import hashlib
import hmac
import re
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import psycopg
from psycopg.rows import class_row

from sync.errors import Conflict
from sync.round_trip import RoundTrips
from sync.sql import Queries
from sync.teams.secrets import SECRET_KEY, SecretBox

_QUERIES = Queries(Path(__file__).with_name("own_keys.sql")).bind()
_FULL = re.compile(r"sk_(test|live)_\w{1,246}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Opened:
    """The setting of a team that lets its key in."""

    since: datetime
    used_at: datetime | None


@dataclass(frozen=True, slots=True)
class OwnKey:
    """A key that a team lets in. `key_valid`: Stripe has not refused it since."""

    team_id: str
    key_valid: bool
    is_use_due: bool  # whether own_key_used_at should be written


def is_full(secret_key: str) -> bool:
    return _FULL.fullmatch(secret_key) is not None


def own_key_sha256(secret_key: str) -> str | None:
    """In hex digits. None for a restricted key."""
    return hashlib.sha256(secret_key.encode()).hexdigest() if is_full(secret_key) else None


class OwnKeys:
    def __init__(self, connection: psycopg.Connection[Any], box: SecretBox) -> None:
        self._connection = connection
        self._box = box

    def get(self, team_id: str) -> Opened | None:
        """None: the team does not let its key in, as at first."""
        with self._connection.cursor(row_factory=class_row(Opened)) as cursor:
            return cursor.execute(_QUERIES["get"], {"team_id": team_id}).fetchone()

    def open(self, team_id: str, secret_key: str) -> Opened:
        """`secret_key` is the connection's. Raises Conflict.

        The caller holds the lock of the team's connection (Connections.lock).
        """
        sha256 = own_key_sha256(secret_key)
        if sha256 is None:
            raise Conflict(
                "the team is connected with a restricted key, which may see less than the mirror shows: connect it with"
                " the full secret key (sk_…) first, or use API keys of BillStack",
                code="restricted_key",
            )
        for sealed in self._sealed(sha256, but_of=team_id):
            if self._is_of(sealed, secret_key):
                raise Conflict(
                    "another team lets the same Stripe key in, and a key can name one team only: use API keys of BillStack",
                    code="key_let_in_elsewhere",
                )
        self._connection.execute(_QUERIES["open"], {"team_id": team_id, "sha256": sha256})
        found = self.get(team_id)
        assert found is not None
        return found

    def close(self, team_id: str) -> bool:
        """Returns False if it was not open."""
        return self._connection.execute(_QUERIES["close"], {"team_id": team_id}).rowcount > 0

    def find(self, raw_key: str) -> OwnKey | None:
        """None also where two teams let the key in, because it does not say which one is meant."""
        sha256 = own_key_sha256(raw_key)
        if sha256 is None:
            return None
        (rows,) = RoundTrips(self._connection).read([_QUERIES.numbered("keys_of_hash")], {"sha256": sha256})
        found = [OwnKey(team_id, *facts) for team_id, sealed, *facts in rows if self._is_of((team_id, sealed), raw_key)]
        return found[0] if len(found) == 1 else None

    def note_use(self, team_id: str) -> None:
        self._connection.execute(_QUERIES["note_use"], {"team_id": team_id})

    def _sealed(self, sha256: str, *, but_of: str) -> list[tuple[str, bytes]]:
        params = {"sha256": sha256, "team_id": but_of}
        return self._connection.execute(_QUERIES["sealed_elsewhere"], params).fetchall()

    def _is_of(self, sealed: tuple[str, bytes], raw_key: str) -> bool:
        """Whether it is the key that the connection has now, whatever the hash is of."""
        team_id, secret_key = sealed
        opened = self._box.open(secret_key, team_id=team_id, use=SECRET_KEY)
        return hmac.compare_digest(opened.encode(), raw_key.encode())
