"""The SQL of the Stripe account behind a team; keys are sealed on the way in and opened on the way out."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import psycopg
from psycopg.rows import dict_row

from sync.database.schema import schema_name
from sync.database.session import SILENT_S
from sync.errors import Conflict
from sync.object_types import OBJECT_TYPES
from sync.sql import Queries
from sync.teams.secrets import ENDPOINT_SECRET, SECRET_KEY, WEBHOOK_SECRET, SecretBox, Use

_QUERIES = Queries(Path(__file__).with_name("connections.sql")).bind()
# The sealed columns. A pasted secret moves from the second to the third when its successor comes.
_USES = {
    "secret_key": SECRET_KEY,
    "webhook_secret": WEBHOOK_SECRET,
    "previous_webhook_secret": WEBHOOK_SECRET,
    "endpoint_secret": ENDPOINT_SECRET,
}

# About so often a team's events are read from Stripe; rarely where its webhook delivers, for then a sweep finds nothing.
SWEEP_EVERY_S = 300
SWEEP_RARELY_S = 1800

_DELETIONS = ("delete_backfills", "delete_reconciles", "delete_events", "delete_activity", "delete_proofs", "delete")


@dataclass(frozen=True, slots=True)
class Connection:
    """`secret_key` is None once disconnected. Keys stay out of the repr, and so out of logs.

    `sealed_key` is the key as it is stored: another one with each connect, also of the same key.
    """

    team_id: str
    account_id: str
    account_name: str | None
    livemode: bool
    secret_key: str | None = field(repr=False)
    sealed_key: bytes | None = field(repr=False)
    publishable_key: str | None
    webhook_secret: str | None = field(repr=False)
    endpoint_id: str | None
    key_valid: bool
    connected_at: datetime
    disconnected_at: datetime | None
    last_event_at: datetime | None


class Connections:
    """On one connection to Postgres; transactions are the caller's."""

    def __init__(self, connection: psycopg.Connection, box: SecretBox) -> None:
        self._connection = connection
        self._box = box

    def get(self, team_id: str) -> Connection | None:
        row = self._row("get", team_id=team_id)
        if row is None:
            return None
        row["sealed_key"] = row["secret_key"]
        for name in ("secret_key", "webhook_secret"):
            row[name] = self._open(row[name], team_id, name)
        return Connection(**row)

    def webhook_secrets(self, team_id: str) -> list[str] | None:
        """Any of them may have signed an event; None for a team that was never connected."""
        row = self._row("webhook_secrets", team_id=team_id)
        if row is None:
            return None
        return [secret for name, sealed in row.items() if (secret := self._open(sealed, team_id, name))]

    def set_endpoint(self, connected: Connection, endpoint_id: str, secret: str) -> bool:
        """The webhook endpoint that we made at Stripe ourselves. False: the team is not `connected` there any more."""
        params = {
            "team_id": connected.team_id,
            "account_id": connected.account_id,
            "livemode": connected.livemode,
            "endpoint_id": endpoint_id,
            "endpoint_secret": self._box.seal(secret, team_id=connected.team_id, use=ENDPOINT_SECRET),
        }
        return self._connection.execute(_QUERIES["set_endpoint"], params).fetchone() is not None

    def add_refused(self, counts: Mapping[str, int]) -> None:
        """By team, deliveries whose signature did not fit."""
        self._run("add_refused", team_ids=list(counts), counts=list(counts.values()))

    def is_refused(self, team_id: str) -> bool:
        """Whether the last delivery that came had a signature that does not fit."""
        row = self._connection.execute(_QUERIES["is_refused"], {"team_id": team_id}).fetchone()
        return bool(row and row[0])

    def sweeps_due(self) -> bool:
        """Whether any team's events are to be read from Stripe now."""
        return self._row("sweeps_due") is not None

    def claim_sweeps(self, limit: int) -> list[str]:
        """Teams whose events are to be read from Stripe now; nobody else gets them for minutes."""
        params = {"limit": limit, "every_s": SWEEP_EVERY_S, "rarely_s": SWEEP_RARELY_S}
        rows = self._connection.execute(_QUERIES["claim_sweeps"], params).fetchall()
        return [team_id for (team_id,) in rows]

    def webhook_missed(self, team_id: str) -> None:
        """A sweep found events that were not delivered, although some were lately."""
        self._run("webhook_missed", team_id=team_id, every_s=SWEEP_EVERY_S)

    def swept_until(self, team_id: str) -> int | None:
        """Up to which second of Stripe's clock all events are in the ledger; None before the first backfill."""
        row = self._connection.execute(_QUERIES["swept_until"], {"team_id": team_id}).fetchone()
        return row[0] if row else None

    def set_swept(self, team_id: str, until: int) -> None:
        self._run("set_swept", team_id=team_id, until=until)

    def sweep_again(self, team_id: str) -> None:
        """There is more to read than one turn could."""
        self._run("sweep_again", team_id=team_id)

    def set_unread(self, team_id: str, until: int) -> None:
        """Stripe forgot events before that second unread; the status says so until all was compared or read again."""
        self._run("set_unread", team_id=team_id, until=until)

    def set_sweep_error(self, team_id: str, error: str) -> None:
        """Why events cannot be read; the status shows it until they can."""
        self._run("set_sweep_error", team_id=team_id, error=error)

    def set_key_valid(self, team_id: str, sealed_key: bytes, *, valid: bool) -> None:
        """What Stripe thinks of that key; nothing, once another one is stored."""
        self._run("set_key_valid", team_id=team_id, sealed_key=sealed_key, valid=valid)

    def lock(self, team_id: str) -> None:
        """Until the transaction ends, nobody connects the team, disconnects it or begins something that needs its key."""
        self._row("lock", team_id=team_id)

    def connected(self, team_id: str) -> Connection:
        """The team's connection, with its key. Raises Conflict `not_connected`."""
        found = self.get(team_id)
        if found is None or found.secret_key is None:
            raise Conflict("this team is not connected to Stripe: connect it first", code="not_connected")
        return found

    def put(
        self,
        team_id: str,
        *,
        account_id: str,
        account_name: str | None,
        livemode: bool,
        secret_key: str,
        publishable_key: str | None,
        webhook_secret: str | None,
    ) -> None:
        """A publishable key or webhook secret that is not given stays as it was."""
        self._run(
            "put",
            team_id=team_id,
            account_id=account_id,
            account_name=account_name,
            livemode=livemode,
            secret_key=self._box.seal(secret_key, team_id=team_id, use=SECRET_KEY),
            publishable_key=publishable_key,
            webhook_secret=(
                self._box.seal(webhook_secret, team_id=team_id, use=WEBHOOK_SECRET) if webhook_secret else None
            ),
        )

    def forget_keys(self, team_id: str) -> None:
        self._run("forget_keys", team_id=team_id)

    def delete(self, team_id: str) -> None:
        """With the team's backfills and events: nothing of the account is left."""
        for statement in _DELETIONS:
            self._run(statement, team_id=team_id)

    def status(self, team_id: str) -> dict[str, Any] | None:
        """The columns of the statement `status` by name; None for a team that was never connected."""
        return self._row(
            "status", team_id=team_id, schema=schema_name(team_id), all_types=list(OBJECT_TYPES), silent_s=SILENT_S
        )

    def sealed_teams(self) -> list[str]:
        return [team_id for (team_id,) in self._connection.execute(_QUERIES["sealed_teams"]).fetchall()]

    def reseal(self, team_id: str) -> int:
        """Seals the team's secrets with the first key and for their use, and returns how many were not so.

        In the caller's transaction. Raises ConfigError for one that no key opens.
        """
        row = self._row("sealed", team_id=team_id) or {}
        stale = {
            name: sealed
            for name, sealed in row.items()
            if sealed and not self._box.is_current(sealed, team_id=team_id, use=_USES[name])
        }
        if stale:
            again = {name: self._reseal_one(sealed, team_id, _USES[name]) for name, sealed in stale.items()}
            self._run("reseal", team_id=team_id, **dict.fromkeys(_USES) | again)
        return len(stale)

    def _reseal_one(self, sealed: bytes, team_id: str, use: Use) -> bytes:
        return self._box.seal(self._box.open(sealed, team_id=team_id, use=use), team_id=team_id, use=use)

    def _open(self, sealed: bytes | None, team_id: str, column: str) -> str | None:
        return self._box.open(sealed, team_id=team_id, use=_USES[column]) if sealed else None

    def _row(self, name: str, **params: Any) -> dict[str, Any] | None:
        with self._connection.cursor(row_factory=dict_row) as cursor:
            return cursor.execute(_QUERIES[name], params).fetchone()

    def _run(self, name: str, **params: Any) -> None:
        self._connection.execute(_QUERIES[name], params)
