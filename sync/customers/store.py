"""The SQL of a team's project customers and of the intents under which they are linked (store.sql)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import psycopg
from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from sync.database.schema import schema_name
from sync.errors import LeaseLost
from sync.ids import new_id
from sync.sql import BoundQueries, Queries

_QUERIES = Queries(Path(__file__).with_name("store.sql"))
# Longer than a request to Stripe nearly always takes. One that takes longer loses its intent to the next request, which
# goes on with the same idempotency key: so this bounds how long a dead process is waited for, and no more.
LEASE = timedelta(seconds=10)


@dataclass(frozen=True, slots=True)
class ProjectCustomer:
    """A person in a project as we show them; `metadata` is the Stripe customer's."""

    id: str
    project_id: str
    stripe_customer_id: str
    email: str
    name: str | None
    metadata: dict[str, str]
    created_at: datetime
    updated_at: datetime


@dataclass(slots=True)
class Intent:
    """The right to link this email, held by one request. With a `creation`, Stripe may have made the customer already."""

    email: str
    holder: str
    idempotency_key: str | None = None
    creation: dict[str, Any] | None = field(default=None, repr=False)


class ProjectCustomerStore:
    """One team's, on one connection. Transactions are the caller's."""

    def __init__(self, connection: psycopg.Connection, team_id: str) -> None:
        self.connection = connection
        self._team_id = team_id

    def has_mirror(self) -> bool:
        """A team without one has no project customers either: they go together."""
        row = self._run("has_mirror", customers=f"{schema_name(self._team_id)}.customers").fetchone()
        return bool(row and row[0])

    def list_people(self, project_id: str, *, email: str | None, limit: int, offset: int) -> list[ProjectCustomer]:
        """Newest first; emails compare without case."""
        blocks = ("select", "where_email", "page") if email else ("select", "page")
        return self._select(*blocks, project_id=project_id, email=email, limit=limit, offset=offset)

    def find(self, project_id: str, person_id: str) -> ProjectCustomer | None:
        return next(iter(self._select("select", "where_id", project_id=project_id, id=person_id)), None)

    def find_linked(self, project_id: str, stripe_customer_id: str) -> ProjectCustomer | None:
        blocks = ("select", "where_stripe_customer")
        return next(iter(self._select(*blocks, project_id=project_id, stripe_customer_id=stripe_customer_id)), None)

    def insert(
        self, project_id: str, stripe_customer_id: str, *, email: str, name: str | None, metadata: dict[str, str]
    ) -> str | None:
        """The new id; None when this Stripe customer is linked in the project already."""
        row = self._run(
            "insert",
            id=new_id("pc"),
            project_id=project_id,
            stripe_customer_id=stripe_customer_id,
            email=email,
            name=name,
            metadata=Jsonb(metadata),
        ).fetchone()
        return row[0] if row else None

    def update(self, project_id: str, person_id: str, *, name: str | None, metadata: dict[str, str]) -> None:
        self._run("update", project_id=project_id, id=person_id, name=name, metadata=Jsonb(metadata))

    def delete(self, project_id: str, person_id: str) -> bool:
        """False when there is no such person in the project."""
        return self._run("delete", project_id=project_id, id=person_id).fetchone() is not None

    def foreign(self, project_id: str, brought_by: Mapping[str, str | None]) -> set[str]:
        """Which of these Stripe customers another project of the team has, or brought, and this one does not have."""
        ids, projects = list(brought_by), list(brought_by.values())
        rows = self._run("foreign", project_id=project_id, ids=ids, brought_by=projects).fetchall()
        return {stripe_customer_id for (stripe_customer_id,) in rows}

    def mirrored_ids(self, email: str) -> list[str]:
        """Live Stripe customers of this email, as far as the mirror knows."""
        return [stripe_customer_id for (stripe_customer_id,) in self._run("mirrored_ids", email=email).fetchall()]

    def mirrored(self, stripe_customer_id: str, email: str) -> str | None:
        """The JSON of one of them, if it still is one."""
        row = self._run("mirrored", stripe_customer_id=stripe_customer_id, email=email).fetchone()
        return row[0] if row else None

    def claim(self, email: str) -> Intent | None:
        """None while another request holds it."""
        holder = new_id("req")
        row = self._run("claim", email=email, holder=holder, lease=LEASE).fetchone()
        return Intent(*row) if row else None

    def decide(self, intent: Intent, idempotency_key: str | None, creation: dict[str, Any] | None) -> None:
        """Keeps what Stripe is about to be asked to create; None: nothing was created. Raises LeaseLost."""
        kept = Jsonb(creation) if creation is not None else None
        row = self._run_intent("decide", intent, idempotency_key=idempotency_key, creation=kept, lease=LEASE).fetchone()
        if row is None:
            raise LeaseLost("another request went on with this e-mail address")
        intent.idempotency_key, intent.creation = idempotency_key, creation

    def hold(self, intent: Intent) -> None:
        """Nobody takes the intent over until the transaction ends. Raises LeaseLost when somebody has."""
        if self._run_intent("hold", intent).fetchone() is None:
            raise LeaseLost("another request went on with this e-mail address")

    def let_go(self, intent: Intent) -> None:
        """The next request goes on with it; a no-op for one that was lost or forgotten."""
        self._run_intent("let_go", intent)

    def forget(self, intent: Intent) -> None:
        self._run_intent("forget", intent)

    def _run_intent(self, query: str, intent: Intent, **params: Any) -> psycopg.Cursor[Any]:
        return self._run(query, email=intent.email, holder=intent.holder, **params)

    def _select(self, *blocks: str, **params: Any) -> list[ProjectCustomer]:
        queries = _bound(schema_name(self._team_id))
        statement = "\n".join(queries[block] for block in blocks)
        with self.connection.cursor(row_factory=class_row(ProjectCustomer)) as cursor:
            return cursor.execute(statement, params | {"team_id": self._team_id}).fetchall()

    def _run(self, query: str, /, **params: Any) -> psycopg.Cursor[Any]:
        return self.connection.execute(_bound(schema_name(self._team_id))[query], params | {"team_id": self._team_id})


@cache
def _bound(schema: str) -> BoundQueries:
    return _QUERIES.bind(team=schema)
