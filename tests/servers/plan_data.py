"""A mirror of 100,000 objects among a thousand teams, and a value for each parameter of the statements that meet it."""

from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
from psycopg import sql
from psycopg.types.json import Jsonb

from sync.database import schema
from sync.object_types import OBJECT_TYPES

TEAM, PROJECT, BACKFILL, USER = "team_plans", "proj_plans", "bf_plans_1", "user_1"
SCHEMA = schema.schema_name(TEAM)
NEXT_SCHEMA = f"{SCHEMA}_next"  # of tables that are made again (sync/database/rebuild.py)
TEAMS = 1_000
EVENTS, PEOPLE, NAMED_PRICES = 20_000, 10_000, 5_000
ROWS = {
    "customers": 20_000,
    "products": 5_000,
    "prices": 5_000,
    "subscriptions": 10_000,
    "invoices": 20_000,
    "charges": 40_000,
}
OTHER_ROWS = 2_000  # of types that few teams mirror
START = 1_700_000_000

_CONTROL = """
INSERT INTO billstack.teams (id, name) SELECT 'team_' || i, 'Team ' || i FROM generate_series(1, %(teams)s) i;
INSERT INTO billstack.teams (id, name) VALUES (%(team)s, 'Plans');
INSERT INTO billstack.users (id, email, password_hash)
    SELECT 'user_' || i, 'u' || i || '@example.com', 'x' FROM generate_series(1, %(teams)s) i;
INSERT INTO billstack.members (team_id, user_id, role)
    SELECT 'team_' || i, 'user_' || i, 'owner' FROM generate_series(1, %(teams)s) i;
INSERT INTO billstack.members (team_id, user_id, role) SELECT %(team)s, 'user_' || i, 'owner' FROM generate_series(1, 5) i;
INSERT INTO billstack.sessions (token_sha256, user_id, expires_at)
    SELECT sha256(i::text::bytea), 'user_' || (i %% %(teams)s + 1), now() + interval '1 day' FROM generate_series(1, 10000) i;
INSERT INTO billstack.connections (team_id, account_id, livemode, secret_key, sweep_due_at)
    SELECT id, 'acct_' || id, false, '\\x00', now() + interval '1 day' FROM billstack.teams;
INSERT INTO billstack.projects (id, team_id, name)
    SELECT 'proj_' || i, 'team_' || (i %% %(teams)s + 1), 'P' FROM generate_series(1, 5000) i;
INSERT INTO billstack.projects (id, team_id, name) VALUES (%(project)s, %(team)s, 'P');
INSERT INTO billstack.api_keys (id, team_id, name, prefix, key_sha256, scopes)
    SELECT 'key_' || i, 'team_' || (i %% %(teams)s + 1), 'K', 'bs_' || lpad(i::text, 8, '0'), sha256(i::text::bytea), '{}'
    FROM generate_series(1, 5000) i;
INSERT INTO billstack.backfills (id, team_id, objects, state, started, upper, finished_at)
    SELECT 'bf_' || t.id || '_' || i, t.id, '{customer}', 'ready', 1700000000, 1700000000, now()
    FROM billstack.teams t, generate_series(2, 5) i;
INSERT INTO billstack.backfills (id, team_id, objects, state, started, upper, requested_at)
    VALUES (%(backfill)s, %(team)s, '{customer,charge}', 'running', 1700000000, 1700000000, now() - interval '1 day');
INSERT INTO billstack.backfills (id, team_id, objects, state) VALUES ('bf_empty', 'team_1', '{customer}', 'error');
INSERT INTO billstack.backfill_types (backfill_id, type)
    SELECT b.id, t FROM billstack.backfills b, unnest('{customer,product,price,subscription,invoice,charge}'::text[]) t;
INSERT INTO billstack.leases (backfill_id, part, fence, held, done)
    SELECT b.id, t, 1, b.state = 'running', b.state <> 'running'
    FROM billstack.backfills b, unnest('{customer,charge,finish}'::text[]) t;
INSERT INTO billstack.windows (backfill_id, type, number, variant, gte, lt, floor, fence, oldest, done)
    SELECT b.id, t, n, 0, 0, 1700000000, 0, 1, 0, false
    FROM billstack.backfills b, unnest('{customer,charge}'::text[]) t, generate_series(1, 5) n
    WHERE b.id <> 'bf_empty';
INSERT INTO billstack.reconciles (id, team_id, state, finished_at)
    SELECT 'rec_' || t.id || '_' || i, t.id, 'done', now() FROM billstack.teams t, generate_series(1, 5) i;
INSERT INTO billstack.events (team_id, id, type, created, body, delivered, state, applied_at, received_at)
    SELECT CASE WHEN i %% 2 = 0 THEN %(team)s ELSE 'team_' || (i %% %(teams)s + 1) END, 'evt_' || i, 'customer.updated',
        1700000000 + i, '{}', true, 'applied', now(), now() - i * interval '1 minute'
    FROM generate_series(1, %(events)s) i;
INSERT INTO billstack.events (team_id, id, type, created, body, delivered, state)
    SELECT %(team)s, 'evt_new_' || i, 'customer.updated', 1700000000 + i, '{}', true,
        CASE WHEN i %% 10 = 0 THEN 'failed' ELSE 'pending' END
    FROM generate_series(1, 1000) i;
INSERT INTO billstack.repairs (team_id, reconcile_id, type, object_id, kind, fields, at)
    SELECT CASE WHEN i %% 2 = 0 THEN %(team)s ELSE 'team_' || (i %% %(teams)s + 1) END, 'rec_1', 'charge', 'ch_' || i,
        'stale', '[]', now() - i * interval '1 minute'
    FROM generate_series(1, %(events)s) i;
INSERT INTO billstack.alert_settings (team_id, webhook_url, webhook_secret) SELECT id, '\\x00', '\\x00' FROM billstack.teams;
INSERT INTO billstack.alert_recipients (team_id, user_id) SELECT team_id, user_id FROM billstack.members;
INSERT INTO billstack.alerts (team_id, kind, is_on, since, details)
    SELECT id, kind, true, now(), '{}'
    FROM billstack.teams, unnest('{key_refused,drift_found,events_behind,schema_outdated}'::text[]) kind;
INSERT INTO billstack.alert_notices (id, team_id, channel, kind, is_on, since, details, state, created_at)
    SELECT 'alert_' || t.id || '_' || i, t.id, 'webhook', 'key_refused', true, now(), '{}',
        CASE WHEN i = 1 THEN 'waiting' ELSE 'sent' END, now() - i * interval '1 hour'
    FROM billstack.teams t, generate_series(1, 20) i;
INSERT INTO billstack.activity (team_id, hour, what, count)
    SELECT t.id, date_trunc('hour', now()) - i * interval '1 hour', 'event', 1
    FROM billstack.teams t, generate_series(1, 20) i;
INSERT INTO billstack.customer_intents (team_id, email, holder, held_until)
    SELECT 'team_' || (i %% %(teams)s + 1), 'c' || i || '@example.com', 'h', now() FROM generate_series(1, 5000) i;
INSERT INTO billstack.project_customers (id, team_id, project_id, stripe_customer_id, email, metadata)
    SELECT 'pc_' || i, %(team)s, %(project)s, 'cus_' || i, 'c' || i || '@example.com', '{}'
    FROM generate_series(1, %(people)s) i;
INSERT INTO billstack.projects (id, team_id, name) VALUES ('proj_small', %(team)s, 'P');
INSERT INTO billstack.project_customers (id, team_id, project_id, stripe_customer_id, email, metadata)
    SELECT 'pc_small_' || i, %(team)s, 'proj_small', 'cus_' || i, 'c' || i || '@example.com', '{}'
    FROM generate_series(1, 50) i;
"""

_OBJECTS = """
INSERT INTO {table} (id, raw, as_of, as_of_until)
SELECT %(prefix)s || i, jsonb_build_object(
    'id', %(prefix)s || i, 'created', %(start)s + i, 'email', 'c' || i || '@example.com', 'customer', 'cus_' || (i %% 20000 + 1),
    'product', 'prod_' || (i %% 5000 + 1), 'subscription', 'sub_' || (i %% 10000 + 1), 'status', 'paid', 'currency', 'usd',
    'payment_intent', 'pi_' || i, 'active', true,
    'automatic', true, 'reconciliation_status', 'completed', 'lookup_key', 'key_' || i,
    'collection_method', 'charge_automatically', 'type', 'recurring', 'items', jsonb_build_object('data', jsonb_build_array(
        jsonb_build_object('price', jsonb_build_object('id', 'price_' || (i %% 5000 + 1), 'product', 'prod_1'))))
), 1, 1
FROM generate_series(1, %(rows)s) i;
"""
_SEEN = """
INSERT INTO {seen} (type, span, ids)
SELECT 'charge', billstack.span_of(5, %(start)s + g * 100, %(start)s + g * 100 + 99), array_agg('charge_' || i)
FROM generate_series(0, 399) g, generate_series(g * 100, g * 100 + 99) i
WHERE i %% 997 <> 0
GROUP BY g;
INSERT INTO {named} SELECT 'price_' || i FROM generate_series(1, 5000) i;
INSERT INTO {shared} SELECT 'charge', 'charge_' || i, i / 50, i %% 50 FROM generate_series(1, 20000) i;
INSERT INTO {rejects} (type, id, reason) SELECT 'charge', 'ch_' || i, 'x' FROM generate_series(1, 20) i;
INSERT INTO {paid_out} SELECT 'payouts_' || i %% 40 + 1, 'balance_transactions_' || i FROM generate_series(1, %(others)s) i;
INSERT INTO {readings} SELECT 'payouts_' || i, 1, 50, 0 FROM generate_series(1, %(others)s) i;
"""
PREFIXES = {
    "customers": "cus_", "products": "prod_", "prices": "price_", "subscriptions": "sub_", "invoices": "in_",
    "charges": "charge_",
}  # fmt: skip


def fill(connection: psycopg.Connection) -> None:
    client = psycopg.ClientCursor(connection)
    names = {"team": TEAM, "project": PROJECT, "backfill": BACKFILL, "teams": TEAMS, "events": EVENTS, "people": PEOPLE}
    client.execute(_CONTROL, names)
    with connection.transaction():
        schema.create_team_schema(connection, TEAM)
        schema.ensure_tables(connection, TEAM, OBJECT_TYPES.values())
        schema.make_tables(connection, NEXT_SCHEMA, OBJECT_TYPES.values())
    for table in (each.table for each in OBJECT_TYPES.values()):
        statement = sql.SQL(_OBJECTS).format(table=sql.Identifier(SCHEMA, table))
        values = {"prefix": PREFIXES.get(table, f"{table}_"), "rows": ROWS.get(table, OTHER_ROWS), "start": START}
        client.execute(statement, values)
    parts = {"seen": "seen_pages", "named": "named_prices", "rejects": "rejects", "shared": "shared_seconds"}
    parts |= {"paid_out": "payout_balance_transactions", "readings": "payout_readings"}
    seen = sql.SQL(_SEEN).format(**{name: sql.Identifier(SCHEMA, table) for name, table in parts.items()})
    client.execute(seen, {"start": START, "others": OTHER_ROWS})


def _page() -> Jsonb:
    """A hundred charges, ten of them new."""
    ids = [*range(1_000, 1_090), *(f"new_{i}" for i in range(10))]
    objects = [{"id": f"charge_{i}", "object": "charge", "created": START + 1_000 + n} for n, i in enumerate(ids)]
    return Jsonb({"data": objects})


NOW = datetime.now(UTC)
SAMPLES: dict[str, Any] = {
    "schema": SCHEMA, "ordinal": 5, "team_id": TEAM, "project_id": PROJECT, "backfill_id": BACKFILL, "errored_id": "bf_team_1_2",
    "user_id": USER, "type": "charge", "number": 1, "fence": 1, "part": "charge", "giver": 1, "mid": 10, "floor": 0,
    "reuses_ids": False, "page": _page(), "list": "lines", "completed": Jsonb({}), "as_of": 10, "as_of_until": 11,
    "has_more": True, "cursor": "charge_500", "newest": START + 1000, "oldest": START,
    "named_prices": Jsonb(["price_1", "price_x"]),
    "pages": 1, "id": "charge_77", "reason": "x", "types": ["charge"], "raw": Jsonb({"id": "charge_77", "created": START}),
    "version": "1", "advance": True, "created": START, "checked_until": 1, "gte": 0, "lt": START + 10**6, "after": "",
    "limit": 100, "rows_at_least": 110, "type_name": "charge", "seconds": ["1", "1"], "ranks": ["1", "2"],
    "now": 1, "lease_s": 10, "pooled_s": 10, "own_pid": 1, "variant": 0, "progress": 0.5, "done": False, "status": "paid",
    "error": "x", "state": "ready",
    "warnings": ["x"], "objects": ["customer", "charge"], "parts": ["customer"], "created_after": None, "request_id": None,
    "body": "{}", "delivered": True, "team_ids": [TEAM], "ids": ["charge_1", "charge_2"], "createds": [START], "bodies": ["{}"],
    "claim_s": 60, "count": 1, "until": START + 10**6, "since": START, "delivered_version": None, "failed": True, "due_for_s": 30,
    "email": "c77@example.com", "id_of_person": "pc_77", "stripe_customer_id": "cus_77", "offset": 0, "name": "n",
    "metadata": Jsonb({}), "customers": f"{SCHEMA}.customers", "holder": "h", "lease": timedelta(seconds=10),
    "idempotency_key": "k", "creation": None, "start": START, "end": START + 5_000, "rows": 5_000,
    "listed": [f"charge_{i}" for i in range(1, 5_000)], "cursor_created": NOW - timedelta(days=400),
    "created_from": START, "created_to": START + 10**6, "active": False, "collection_method": "send_invoice", "currency": "eur",
    "customer": "cus_77", "lookup_keys": ["key_1", "key_2"], "payment_intent": "pi_77", "person": "pc_77", "price": "price_77",
    "product": "prod_77", "shippable": True, "statuses": ["open"], "subscription": "sub_77", "transfer_group": "group_1",
    "charge": "charge_77", "code": "SUN", "coupon": "SUMMER_1", "destination": "ba_1", "inclusive": True,
    "hidden": ["line_items"], "paging_field": "created", "undated": None, "are_by_time": [True],
        "invoice": "in_77", "payment_link": "plink_1", "payment_method": "pm_77", "source": "charge_77",
    "table": "charges",
    "url": "https://example.com", "customer_email": "c77@example.com", "at": str(START + 500), "after_id": "charge_500",
    "reference": "in_77", "from_day": NOW.date(), "to_day": NOW.date(), "least": 10, "most": 100,
    "token_sha256": b"x", "extend_after": timedelta(minutes=5), "lifetime": timedelta(days=30), "password_hash": "x",
    "amount_from": 10**9, "amount_to": -1, "total_from": 10**9, "total_to": -1, "disputed": True, "most_bytes": 2**40,
    "metadata_like": ['%"a": "b"%'], "email_like": "%c77@%", "email_words": "c77",
    "role": "owner", "sha256": "00" * 32, "own_key_sha256": "00" * 32,
    "key_id": "key_77", "prefix": "bs_00000077", "key_sha256": b"x", "scopes": ["customers:read"], "expires_at": None,
    "account_id": "acct_x", "account_name": None, "livemode": False, "secret_key": b"x", "publishable_key": None,
    "webhook_secret": b"x", "endpoint_id": "we_1", "endpoint_secret": b"x", "every_s": 60, "sealed_key": b"x", "valid": True,
    "default_types": ["customer"], "reread_types": ["balance_transaction"],
    "upper": 1, "compared_until": 1, "suspects": Jsonb({}), "found": Jsonb({}), "span": "hour",
    "kept": timedelta(days=400), "tables": [f"{SCHEMA}.charges"], "schemas": [SCHEMA, NEXT_SCHEMA], "old": f"{SCHEMA}.charges",
    "new": f"{NEXT_SCHEMA}.charges", "ours": ["charges_pkey"], "table_name": "charges",
    "next_schema": NEXT_SCHEMA, "longest": timedelta(days=90), "variants": [98],
    "seen_from": 2**30, "parents": ["cus_1", "cus_2"], "parent_id": "cus_77", "parent_type": "customer", "parents_until": "",
    "texts": ["cus_77", "cus_77 "], "find": "c77@example.com",
    "emails": ["u1@example.com"], "webhook_url": b"x", "behind_s": 600, "wait_s": 30.0,
    "before": START + 10**6, "look": 1_000, "family": None, "mentioned": None, "reconcile_id": "rec_1", "object_id": "ch_1",
    "payout": "payouts_7", "transactions": [f"balance_transactions_{i}" for i in range(50)], "refusal": None,
    "kind": "stale", "fields": Jsonb([]), "more_fields": 0, "repair_ids": [1, 2], "before_repair": 2**62,
}  # fmt: skip

# For a parameter that has no value above.
OF_TYPE: dict[str, Any] = {
    "text": "x", "text[]": ["x"], "smallint": 1, "integer": 1, "bigint": 1, "bigint[]": [1], "boolean": False, "bytea": b"x",
    "timestamp with time zone": NOW, "interval": timedelta(days=1), "jsonb": Jsonb({}), "double precision": 1.0, "real": 1.0,
    "name": "x", "oid": 1, "numeric": 1,
}  # fmt: skip
