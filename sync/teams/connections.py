"""The SQL of a team's Stripe connection. Keys are encrypted when written and decrypted when read."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime
from pathlib import Path
from typing import Any

import psycopg
from psycopg.rows import dict_row

from sync.database.schema import schema_name
from sync.database.session import SILENT_S
from sync.errors import Conflict
from sync.object_types import DEFAULT_TYPES, REREAD_TYPES
from sync.round_trip import Call, Rows
from sync.sql import Queries
from sync.stripe.sdk import API_VERSION
from sync.teams.own_keys import own_key_sha256
from sync.teams.secrets import ENDPOINT_SECRET, SECRET_KEY, WEBHOOK_SECRET, SecretBox, Use

_QUERIES = Queries(Path(__file__).with_name("connections.sql")).bind()
# The encrypted columns. When a new secret is entered, the previous one moves from the second to the third.
_USES = {
    "secret_key": SECRET_KEY,
    "webhook_secret": WEBHOOK_SECRET,
    "previous_webhook_secret": WEBHOOK_SECRET,
    "endpoint_secret": ENDPOINT_SECRET,
}

# About how often a team's events are read from Stripe. Less often if its webhook delivers, because then there is
# nothing.
SWEEP_EVERY_S = 300
SWEEP_RARELY_S = 1800

_DELETIONS = (
    "delete_backfills",
    "delete_reconciles",
    "delete_repairs",
    "delete_events",
    "delete_activity",
    "delete_proofs",
    "delete_numbers",
    "delete_mirrored_types",
    "delete",
)


@dataclass(frozen=True, slots=True)
class Connection:
    """`secret_key` is None once disconnected. Keys are not in the repr, so they do not get into logs.

    `sealed_key` is the encrypted key. It differs after each connect, even with the same key.
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
    api_version: str = API_VERSION


# The columns of the statement `get`.
_READ = tuple(each.name for each in fields(Connection) if each.name != "sealed_key")


class Connections:
    """Works on one connection to Postgres. The caller begins and ends transactions."""

    def __init__(self, connection: psycopg.Connection, box: SecretBox) -> None:
        self._connection = connection
        self._box = box

    def get(self, team_id: str) -> Connection | None:
        call = self.call(team_id)
        return self.opened(self._connection.execute(_QUERIES["get"], call.values).fetchall())

    def call(self, team_id: str) -> Call:
        """Reads what `opened` takes, together with other statements."""
        return Call(_QUERIES.numbered("get"), {"team_id": team_id, "default_version": API_VERSION})

    def opened(self, rows: Rows) -> Connection | None:
        for row in rows:
            read = dict(zip(_READ, row, strict=True))
            opened = {name: self._open(read[name], read["team_id"], name) for name in ("secret_key", "webhook_secret")}
            return Connection(sealed_key=read["secret_key"], **read | opened)
        return None

    def webhook_secrets(self, team_id: str) -> list[str] | None:
        """Any of them may have signed an event. None for a team that was never connected."""
        row = self._row("webhook_secrets", team_id=team_id)
        if row is None:
            return None
        return [secret for name, sealed in row.items() if (secret := self._open(sealed, team_id, name))]

    def set_endpoint(self, connected: Connection, endpoint_id: str, secret: str) -> bool:
        """Stores the webhook endpoint that we created.

        Returns False if the team's connection has changed since `connected`.
        """
        params = {
            "team_id": connected.team_id,
            "account_id": connected.account_id,
            "livemode": connected.livemode,
            "endpoint_id": endpoint_id,
            "endpoint_secret": self._box.seal(secret, team_id=connected.team_id, use=ENDPOINT_SECRET),
        }
        return self._connection.execute(_QUERIES["set_endpoint"], params).fetchone() is not None

    def add_refused(self, counts: Mapping[str, int]) -> None:
        """Adds deliveries with a wrong signature, by team."""
        self._run("add_refused", team_ids=list(counts), counts=list(counts.values()))

    def is_refused(self, team_id: str) -> bool:
        """Whether the last delivery had a wrong signature."""
        row = self._connection.execute(_QUERIES["is_refused"], {"team_id": team_id}).fetchone()
        return bool(row and row[0])

    def sweeps_due(self) -> bool:
        """Whether any team's events should be read from Stripe now."""
        return self._row("sweeps_due") is not None

    def claim_sweeps(self, limit: int) -> list[str]:
        """Teams whose events should be read from Stripe now. Nobody else gets them for minutes."""
        params = {
            "limit": limit,
            "every_s": SWEEP_EVERY_S,
            "rarely_s": SWEEP_RARELY_S,
            "reread_types": list(REREAD_TYPES),
        }
        rows = self._connection.execute(_QUERIES["claim_sweeps"], params).fetchall()
        return [team_id for (team_id,) in rows]

    def webhook_missed(self, team_id: str) -> None:
        """A sweep found undelivered events, although Stripe had delivered some recently."""
        self._run("webhook_missed", team_id=team_id, every_s=SWEEP_EVERY_S)

    def swept_until(self, team_id: str) -> int | None:
        """The second of Stripe's clock up to which the ledger has all events. None before the first backfill."""
        row = self._connection.execute(_QUERIES["swept_until"], {"team_id": team_id}).fetchone()
        return row[0] if row else None

    def set_swept(self, team_id: str, until: int) -> None:
        self._run("set_swept", team_id=team_id, until=until)

    def sweep_again(self, team_id: str) -> None:
        """Makes the team due again: one turn did not read everything."""
        self._run("sweep_again", team_id=team_id)

    def set_unread(self, team_id: str, until: int) -> None:
        """Stripe forgot unread events from before that second.

        The status says so until everything was compared or read again.
        """
        self._run("set_unread", team_id=team_id, until=until)

    def set_sweep_error(self, team_id: str, error: str) -> None:
        """Why events cannot be read. The status shows it until they can."""
        self._run("set_sweep_error", team_id=team_id, error=error)

    def set_key_valid(self, team_id: str, sealed_key: bytes, *, valid: bool) -> None:
        """Stores whether Stripe accepts that key. Does nothing once another key is stored."""
        self._run("set_key_valid", team_id=team_id, sealed_key=sealed_key, valid=valid)

    def lock(self, team_id: str) -> None:
        """Locks the team's connection until the transaction ends.

        Nobody else can connect or disconnect the team, or begin work that needs its key.
        """
        self._row("lock", team_id=team_id)

    def connected(self, team_id: str) -> Connection:
        """The team's connection with its key. Raises Conflict `not_connected`."""
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
        api_version: str = API_VERSION,
    ) -> None:
        """Without a new publishable key or webhook secret, the stored one stays.

        Where the team's own key was let in at the gateway, the new key is, if it is a full secret key and of no other team.
        """
        self._run(
            "put",
            team_id=team_id,
            account_id=account_id,
            account_name=account_name,
            livemode=livemode,
            secret_key=self._box.seal(secret_key, team_id=team_id, use=SECRET_KEY),
            own_key_sha256=own_key_sha256(secret_key),
            publishable_key=publishable_key,
            webhook_secret=(
                self._box.seal(webhook_secret, team_id=team_id, use=WEBHOOK_SECRET) if webhook_secret else None
            ),
            api_version=api_version,
            default_version=API_VERSION,
        )

    def forget_proofs(self, team_id: str) -> bool:
        """Nothing counts as read until a backfill has read it again. Returns False if nothing did."""
        return self._connection.execute(_QUERIES["delete_proofs"], {"team_id": team_id}).rowcount > 0

    def forget_keys(self, team_id: str) -> None:
        self._run("forget_keys", team_id=team_id)

    def delete(self, team_id: str) -> None:
        """Also deletes the team's backfills and events. Nothing about the account remains."""
        for statement in _DELETIONS:
            self._run(statement, team_id=team_id)

    def status(self, team_id: str) -> dict[str, Any] | None:
        """The columns of the statement `status` by name. None for a team that was never connected."""
        return self._row(
            "status",
            team_id=team_id,
            schema=schema_name(team_id),
            default_types=list(DEFAULT_TYPES),
            silent_s=SILENT_S,
            default_version=API_VERSION,
        )

    def sealed_teams(self) -> list[str]:
        return [team_id for (team_id,) in self._connection.execute(_QUERIES["sealed_teams"]).fetchall()]

    def reseal(self, team_id: str) -> int:
        """Encrypts the team's secrets with the first key, bound to their use. Returns how many were not.

        Runs in the caller's transaction. Raises ConfigError if no key decrypts a secret.
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
