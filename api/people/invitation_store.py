"""Invitations in Postgres; the statements are in invitation_store.sql. Only the SHA-256 of a link's token is stored."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from psycopg import Connection
from psycopg.rows import class_row

from api.people.links import sha256
from sync.ids import new_id
from sync.sql import Queries

_QUERIES = Queries(Path(__file__).with_name("invitation_store.sql")).bind()


@dataclass(frozen=True, slots=True)
class Invitation:
    id: str
    team_id: str
    email: str
    role: str
    created_at: datetime
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class FoundInvitation(Invitation):
    """An invitation as its holder sees it.

    `is_theirs` says whether it was sent to the address that they are signed in with.
    """

    team_name: str
    is_theirs: bool | None


class Invitations:
    """Works on one connection to Postgres. The caller begins and ends transactions."""

    def __init__(self, connection: Connection[Any]) -> None:
        self._connection = connection

    def create(self, team_id: str, *, email: str, role: str, token: str, lifetime: timedelta) -> Invitation:
        values = {"id": new_id("inv"), "team_id": team_id, "email": email, "role": role, "lifetime": lifetime}
        with self._connection.cursor(row_factory=class_row(Invitation)) as cursor:
            made = cursor.execute(_QUERIES["create"], values | {"token_sha256": sha256(token)}).fetchone()
        assert made is not None, "the statement always returns a row"
        return made

    def list_open(self, team_id: str) -> list[Invitation]:
        with self._connection.cursor(row_factory=class_row(Invitation)) as cursor:
            return cursor.execute(_QUERIES["list_open"], {"team_id": team_id}).fetchall()

    def find(self, token: str, *, as_email: str | None) -> FoundInvitation | None:
        with self._connection.cursor(row_factory=class_row(FoundInvitation)) as cursor:
            parameters = {"token_sha256": sha256(token), "as_email": as_email}
            return cursor.execute(_QUERIES["find"], parameters).fetchone()

    def take(self, invitation: Invitation, token: str) -> bool:
        return self._is_found("take", id=invitation.id, token_sha256=sha256(token))

    def withdraw(self, team_id: str, invitation_id: str) -> bool:
        return self._is_found("withdraw", team_id=team_id, id=invitation_id)

    def is_member(self, team_id: str, email: str) -> bool:
        row = self._connection.execute(_QUERIES["is_member"], {"team_id": team_id, "email": email}).fetchone()
        return bool(row and row[0])

    def _is_found(self, query: str, /, **parameters: Any) -> bool:
        return self._connection.execute(_QUERIES[query], parameters).fetchone() is not None
