"""The SQL of alerts: one method per statement of store.sql. Addresses and secrets are encrypted when written."""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Literal

import psycopg
from psycopg.rows import class_row, dict_row

from sync.alerts.words import BEHIND_S
from sync.database.schema import SCHEMA_VERSION
from sync.errors import ConfigError
from sync.sql import Queries
from sync.teams.secrets import ALERT_SECRET, ALERT_URL, SecretBox

_QUERIES = Queries(Path(__file__).with_name("store.sql")).bind()

# Longer than all notices of one claim take (workers/alerts/sending.py).
CLAIM_S = 180
_SECRET_BYTES = 24
_LOCKED_WAIT_S = 3600
_USES = {"webhook_url": ALERT_URL, "webhook_secret": ALERT_SECRET}

Channel = Literal["webhook", "email"]


@dataclass(frozen=True, slots=True)
class Receivers:
    """Where a team's alerts go. The address and the secret are not in the repr, so they do not get into logs."""

    webhook_url: str | None = field(repr=False)
    webhook_secret: str | None = field(repr=False)
    emails: list[str] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Alert:
    kind: str
    is_on: bool
    since: datetime
    over_at: datetime | None
    details: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice(Alert):
    """A notice to send through one channel: an alert began, or it is over. `attempts` includes this one."""

    id: str
    team_id: str
    team: str
    channel: Channel
    attempts: int
    receivers: Receivers


@dataclass(frozen=True, slots=True)
class Told:
    """A notice as it is listed."""

    id: str
    channel: Channel
    kind: str
    is_on: bool
    created_at: datetime
    state: Literal["waiting", "sent", "failed"]
    attempts: int
    next_attempt_at: datetime
    ended_at: datetime | None
    error: str | None


class AlertStore:
    """On one connection in autocommit mode."""

    def __init__(self, connection: psycopg.Connection, box: SecretBox) -> None:
        self._connection = connection
        self._box = box

    # What a team wants ------------------------------------------------------------------------------------------------

    def receivers(self, team_id: str) -> Receivers | None:
        """None for a team that wants no alerts."""
        found = self._rows("settings", team_id=team_id)
        return self._opened(team_id, found[0]) if found else None

    def put(
        self, team_id: str, *, webhook_url: str | None, emails: Sequence[str], new_secret: bool = False
    ) -> set[str]:
        """Replaces the team's settings. A webhook keeps its secret unless there is none, or a `new_secret` is wanted.

        Returns the addresses, in lower case, that belong to members. Nobody else gets alerts.
        """
        with self._connection.transaction():
            known = self.receivers(team_id)
            secret = known.webhook_secret if known and not new_secret else None
            secret = (secret or f"whsec_{secrets.token_hex(_SECRET_BYTES)}") if webhook_url else None
            sealed = {
                name: self._box.seal(value, team_id=team_id, use=_USES[name]) if value else None
                for name, value in (("webhook_url", webhook_url), ("webhook_secret", secret))
            }
            self._run("put_settings", team_id=team_id, **sealed)
            self._run("drop_recipients", team_id=team_id)
            return {email for (email,) in self._run("add_recipients", team_id=team_id, emails=list(emails)).fetchall()}

    def delete(self, team_id: str) -> bool:
        return self._run("delete_settings", team_id=team_id).fetchone() is not None

    def alerts(self, team_id: str) -> list[Alert]:
        """What is wrong now, then what was last."""
        with self._connection.cursor(row_factory=class_row(Alert)) as cursor:
            return cursor.execute(_QUERIES["alerts"], {"team_id": team_id}).fetchall()

    def notices(self, team_id: str, *, limit: int) -> list[Told]:
        """The newest first."""
        with self._connection.cursor(row_factory=class_row(Told)) as cursor:
            return cursor.execute(_QUERIES["notices"], {"team_id": team_id, "limit": limit}).fetchall()

    # Looking and telling ----------------------------------------------------------------------------------------------

    def look(self, *, every_s: float) -> int | None:
        """Finds what began and what is over since the last look. Returns how much that is.

        None if a scheduler looked less than `every_s` ago.
        """
        with self._connection.transaction():
            if not self._run("claim_look", every_s=every_s).fetchone():
                return None
            row = self._run("look", behind_s=BEHIND_S, version=SCHEMA_VERSION).fetchone()
        return row[0] if row else 0

    def claim(self, *, limit: int) -> list[Notice]:
        """Due notices, which nobody else gets for CLAIM_S. One whose secrets do not open waits for its key."""
        found = []
        for row in self._rows("claim", limit=limit, claim_s=CLAIM_S):
            try:
                found.append(self._notice(row))
            except ConfigError as exc:
                self.postpone(row["id"], exc.message, wait_s=_LOCKED_WAIT_S)
        return found

    def add_test(self, team_id: str) -> list[Notice]:
        """A claimed test notice for each channel of the team."""
        return [self._notice(row) for row in self._rows("add_test", team_id=team_id, claim_s=CLAIM_S)]

    def count_tests(self, team_id: str) -> int:
        """In the last hour."""
        row = self._run("count_tests", team_id=team_id).fetchone()
        return row[0] if row else 0

    def sent(self, notice_id: str) -> None:
        self._run("end_notice", id=notice_id, state="sent", error=None)

    def give_up(self, notice_id: str, error: str) -> None:
        self._run("end_notice", id=notice_id, state="failed", error=error)

    def postpone(self, notice_id: str, error: str, *, wait_s: float) -> None:
        self._run("postpone", id=notice_id, error=error, wait_s=wait_s)

    def prune(self, kept: timedelta) -> int:
        """Deletes old notices that ended."""
        return self._run("prune", kept=kept).rowcount

    # Secrets ----------------------------------------------------------------------------------------------------------

    def reseal(self) -> int:
        """Encrypts all teams' addresses and secrets with the first key. Returns how many were not.

        Raises ConfigError if no key decrypts one.
        """
        count = 0
        with self._connection.transaction():
            for row in self._rows("sealed"):
                team_id = row.pop("team_id")
                stale = {
                    name: sealed
                    for name, sealed in row.items()
                    if sealed and not self._box.is_current(sealed, team_id=team_id, use=_USES[name])
                }
                again = {name: self._seal_again(sealed, team_id, name) for name, sealed in stale.items()}
                if again:
                    self._run("reseal", team_id=team_id, **dict.fromkeys(_USES) | again)
                count += len(again)
        return count

    def _seal_again(self, sealed: bytes, team_id: str, name: str) -> bytes:
        secret = self._box.open(sealed, team_id=team_id, use=_USES[name])
        return self._box.seal(secret, team_id=team_id, use=_USES[name])

    def _notice(self, row: dict[str, Any]) -> Notice:
        receivers = self._opened(row["team_id"], row)
        return Notice(receivers=receivers, **{name: row[name] for name in row if name not in (*_USES, "emails")})

    def _opened(self, team_id: str, row: dict[str, Any]) -> Receivers:
        opened = {
            name: self._box.open(row[name], team_id=team_id, use=use) if row[name] else None
            for name, use in _USES.items()
        }
        return Receivers(**opened, emails=row["emails"])

    def _rows(self, name: str, **params: Any) -> list[dict[str, Any]]:
        with self._connection.cursor(row_factory=dict_row) as cursor:
            return cursor.execute(_QUERIES[name], params).fetchall()

    def _run(self, name: str, **params: Any) -> psycopg.Cursor[Any]:
        return self._connection.execute(_QUERIES[name], params)
