"""Every statement reads in proportion to what it returns, whatever Postgres knows of the tables and however it plans.

A backfill fills empty tables within one autovacuum nap, so each statement also meets tables that nobody has analyzed.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any, LiteralString, cast

import psycopg
import pytest
from psycopg import sql
from psycopg.types.json import Jsonb

from api.dashboard.mirror_rows import _select
from api.dashboard.mirror_tables import TABLES
from api.gateway.params import FILTERS
from api.gateway.selection import OF_ONE_PLAN
from scripts.local.servers import EmbeddedPostgres, at_database
from scripts.run_procfile import ROOT
from sync.database import dbt
from sync.database.upgrade import upgrade
from sync.object_types import OBJECT_TYPES
from sync.registry.references import ONE_WAY
from sync.sql import BoundQueries, Queries
from tests.servers import plan_data
from tests.servers.plan_data import BACKFILL, ROWS, SAMPLES, SCHEMA

# What Stripe's search knows and no list: each reads the table, up to a size.
SEARCHES: Mapping[str, tuple[str, ...]] = {
    "charges": ("where_amount_from", "where_amount_to", "where_disputed", "where_metadata_like"),
    "customers": ("where_email_words", "where_metadata_like"),
    "invoices": ("where_total_from", "where_total_to"),
}
# Rows that the nodes of a plan may handle together: a page of a hundred passes through two dozen of them.
BASE, PER_RETURNED_ROW = 5_000, 40
TIMEOUT_S = 30

# Statements that have to read more than they return, how much, and why. Each is far below what a quadratic plan handles.
_CHARGES, _TEAMS_EVENTS = ROWS["charges"], plan_data.EVENTS // 2 + 1_000
ALLOWED: Mapping[str, int] = {
    "mirror.store.suspects": 8 * _CHARGES,  # a set difference: all rows and all ids that were met, sorted
    "mirror.parents.parents": 4
    * ROWS["customers"],  # may sort them once; a part that needs more analyzes the table first
    # Of the parents' table, in which few rows are new: its rows are looked at, in the order of their ids.
    "mirror.parents.parents_since": 4 * ROWS["customers"],
    "mirror.parents.changed_parents": 4 * ROWS["customers"],
    "mirror.parents.orphans": 8 * (_CHARGES + ROWS["customers"]),  # a set difference, once a day
    "mirror.parents.unlisted": 8 * 5_000,
    "mirror.store.missing_prices": 6 * plan_data.NAMED_PRICES,  # each price that was named is looked up
    "reconcile.comparison.unlisted": 8 * 5_000,  # a slice of 5,000 rows against as many ids
    "reconcile.records.due_teams": 20 * plan_data.TEAMS,  # asks of each team, once in a while
    "teams.connections.claim_sweeps": 20 * plan_data.TEAMS,
    "events.ledger.teams_waiting": 20 * plan_data.TEAMS,
    "events.ledger.replay": 4 * plan_data.EVENTS,  # a person's command, over all events of a team
    "events.ledger.pending": 4 * _TEAMS_EVENTS,
    "events.ledger.backlog": 4 * _TEAMS_EVENTS,
    "alerts.store.look": 150 * plan_data.TEAMS,  # asks of each team that wants alerts; here, much changes of each
    "alerts.store.claim": 20 * plan_data.TEAMS,  # a notice of each team is due
    "alerts.store.sealed": 3 * plan_data.TEAMS,
    "events.ledger.claim": 30 * 1_000,  # sorts what is due
    # Sort what the team has while nobody has analyzed the ledger, which grows all the time.
    "events.log.page": 3 * _TEAMS_EVENTS,
    "events.log.look_end": 3 * _TEAMS_EVENTS,
    "reconcile.repairs.list": 3 * plan_data.EVENTS // 2,
    # The people of one project, once, until autovacuum has analyzed them.
    "customers.store.page": 8 * plan_data.PEOPLE,
    "database.vitals.vitals": 25 * plan_data.TEAMS,  # what Prometheus asks for, of all teams
    # Tables that are made again are copied: once, with the table's triggers, and what changed meanwhile under the lock.
    "database.rebuild.copy_rows": 4 * _CHARGES,
    "database.rebuild.copy_changed": 4 * _CHARGES,
    "database.rebuild.forget_changed": 8 * _CHARGES,
    "customers.store.where_email": 8 * plan_data.PEOPLE,
    "events.ledger.mentioned": 4 * plan_data.EVENTS,
    # Numbers of a whole business: each reads all of its subscriptions or customers, once.
    "numbers.store.currencies": 40 * ROWS["subscriptions"],
    "numbers.store.statuses": 6 * ROWS["subscriptions"],
    "numbers.store.new_customers": 4 * ROWS["customers"],
    "numbers.store.new_people": 8 * plan_data.PEOPLE,
    "numbers.store.events": 6 * _TEAMS_EVENTS,
    "numbers.store.revenue": 6 * (ROWS["invoices"] + ROWS["charges"]),
    "numbers.store.failed_payments": 4 * ROWS["charges"],
    **{
        f"gateway.store.{table}.{name}.search": 8 * ROWS[table] for table, blocks in SEARCHES.items() for name in blocks
    },
    # An order or filter by amount reads the table; a count stops at ten thousand.
    **{
        f"dashboard.mirror_rows.{table}.{name}": 8 * ROWS[table]
        for table in ("charges", "invoices")
        for name in ("amounts", "largest", "smallest", "after_largest", "after_smallest", "counted")
    },
}
# What a name means elsewhere.
OTHER_VALUES: Mapping[str, Mapping[str, Any]] = {
    "people.links.create": {"purpose": "set_up", "user_id": None},
    "teams.activity.since": {"since": plan_data.NOW - timedelta(days=2)},
    "numbers.store.currencies": {"since": plan_data.NOW - timedelta(days=30), "first": plan_data.NOW.date()},
    "numbers.kept.keep": {"as_of": plan_data.NOW},
    "numbers.store.events": {"since": plan_data.NOW - timedelta(days=30)},
    "numbers.store.revenue": {"first": plan_data.NOW.date()},
    "numbers.store.failed_payments": {"since": plan_data.NOW - timedelta(days=30)},
    "numbers.store.new_customers": {"first": plan_data.NOW.date()},
    "numbers.store.new_people": {"first": plan_data.NOW.date()},
    "backfill.records.insert_backfill": {"id": "bf_new", "team_id": "team_1"},
    "backfill.records.insert_types": {"objects": ["other"]},
    "backfill.records.insert_leases": {"parts": ["other"], "afters": [None]},
    "mirror.store.insert_event": {"id": "charge_new"},
    "mirror.parents.tables": {"names": ["charges"]},
    "mirror.parents.changed_parents": {"since": 2**31},
    "backfill.records.insert_window": {"number": 99},
    "backfill.records.split": {"number": 99},
    "database.rebuild.grants": {"table": f"{SCHEMA}.charges"},
    "database.rebuild.forget_changed": {"since": "1"},
    "database.rebuild.copy_changed": {"since": str(2**31)},
    "database.rebuild.move_count": {"schema": "elsewhere"},
    "backfill.records.adopt_windows": {"backfill_id": "bf_empty", "errored_id": BACKFILL},
    "backfill.records.end_type": {"status": "ready"},
    "events.ledger.record_delivered": {"ids": ["evt_a"], "types": ["x"]},
    "events.ledger.replay": {"type": None, "id": None},
    "events.ledger.settle": {"state": "applied", "ids": ["evt_new_1"]},
    "events.ledger.postpone": {"ids": ["evt_new_1"]},
    "alerts.store.look": {"version": 4},
    "alerts.store.add_recipients": {"team_id": "team_9"},
    "alerts.store.end_notice": {"id": "alert_team_plans_1", "state": "sent"},
    "alerts.store.postpone": {"id": "alert_team_plans_1"},
    "events.log.page": {"state": "refused", "type": None},
    "events.log.waiting": {"state": "failed", "type": None},
    "events.log.get": {"id": "evt_2"},
    "reconcile.records.insert": {"id": "rec_new"},
    "reconcile.records.end": {"state": "done"},
    "teams.database_access.holes": {"role": "postgres"},
}
# As psycopg sends them; what is not here is a text, whose type Postgres decides.
_TYPES = {
    bool: "boolean",
    float: "float8",
    Jsonb: "jsonb",
    timedelta: "interval",
    datetime: "timestamptz",
    date: "date",
    bytes: "bytea",
}
SYNC, API = ROOT / "sync", ROOT / "api"
MIRROR, PEOPLE, LISTS = SYNC / "mirror/store.sql", SYNC / "customers/store.sql", API / "gateway/store.sql"
_PLANNED = re.compile(r"\s*(WITH|SELECT|INSERT|UPDATE|DELETE)\b", re.IGNORECASE)
# Where objects share a second.
SHARED_SECONDS = {
    "newest": ("newest_seconds", "newest_place_first"),
    "after": ("seconds_until_cursor", "newest_seconds", "after_place", "place_of_cursor", "newest_place_first"),
    "before": ("seconds_from_cursor", "oldest_seconds", "before_place", "place_of_cursor", "oldest_place_first"),
}
SEARCH, TIMELINE = API / "dashboard/search.sql", API / "dashboard/timeline.sql"
ROWS_PAGE, REBUILD = API / "dashboard/mirror_rows.sql", SYNC / "database/rebuild.sql"
FILES = sorted(path for folder in ("sync", "api", "workers") for path in (ROOT / folder).rglob("*.sql"))
# Blocks that are a statement only with others, below.
_HEADS = {PEOPLE: ("select",), LISTS: ("page", "seconds"), ROWS_PAGE: ("plain", "of_customers", *TABLES, "count")}


@dataclass(frozen=True)
class Statement:
    """Blocks of a file."""

    file: Path
    blocks: tuple[str, ...]
    table: str = "charges"
    is_list: bool = False
    reference: str = "id"  # the column of an explore page's list that names the object

    @property
    def keeps_its_plan(self) -> bool:
        """Lists are planned each time, with the exception of some (api/gateway/selection.py)."""
        return not self.is_list or (self.file == LISTS and OF_ONE_PLAN.issuperset(self.blocks))


def statements() -> dict[str, Statement]:
    """By their names in messages."""
    found = {}
    for file in FILES:
        blocks = bound(file)
        for name in blocks.names:
            if _PLANNED.match(blocks[name]) and name not in _HEADS.get(file, ()):
                found[f"{file.parent.name}.{file.stem}.{name}"] = Statement(file, (name,))
    for name, ending in {"where_id": (), "where_stripe_customer": (), "where_email": ("page",), "page": ()}.items():
        found[f"customers.store.{name}"] = Statement(PEOPLE, ("select", name, *ending))
    starts = {name: Statement(SEARCH, (name,)) for name in bound(SEARCH).names if name != "by_id"}
    return found | lists() | explored() | {f"dashboard.search.{name}": each for name, each in starts.items()}


def lists() -> dict[str, Statement]:
    """Of the gateway: each filter, in each direction."""
    found = {}
    for object_type in OBJECT_TYPES.values():
        for ending in ENDINGS:
            name = f"gateway.store.{object_type.name}.all.{ending[0]}"
            found[name] = Statement(LISTS, ("page", *ending), object_type.table, is_list=True)
        for way, ending in SHARED_SECONDS.items():
            name = f"gateway.store.{object_type.name}.all.shared_{way}"
            found[name] = Statement(LISTS, ("seconds", *ending), object_type.table, is_list=True)
    for ending in ENDINGS:
        blocks = ("page", "where_not_canceled", *ending)
        found[f"gateway.store.subscription.default.{ending[0]}"] = Statement(
            LISTS, blocks, "subscriptions", is_list=True
        )
    for type_name, filters in FILTERS.items():
        blocks = {each.block for each in filters.values()} | {"where_created_from", "where_created_to"}
        blocks |= {"where_project", "where_small_project", "where_person"} if "customer" in filters else set()
        for name in sorted(blocks):
            found[f"gateway.store.{type_name}.{name}.cursor"] = Statement(
                LISTS, ("cursor", name), OBJECT_TYPES[type_name].table
            )
            for ending in ENDINGS:
                statement = Statement(LISTS, ("page", name, *ending), OBJECT_TYPES[type_name].table, is_list=True)
                found[f"gateway.store.{type_name}.{name}.{ending[0]}"] = statement
            for way, ending in SHARED_SECONDS.items() if OBJECT_TYPES[type_name].is_default else ():
                statement = Statement(LISTS, ("seconds", name, *ending), OBJECT_TYPES[type_name].table, is_list=True)
                found[f"gateway.store.{type_name}.{name}.shared_{way}"] = statement
    for table, blocks in SEARCHES.items():
        for name in blocks:
            searched = ("page", "where_table_is_small", name, "newest_first")
            found[f"gateway.store.{table}.{name}.search"] = Statement(LISTS, searched, table, is_list=True)
    return found


def explored() -> dict[str, Statement]:
    """The explore pages' lists: each filter, each way of paging, and each column that names other objects."""
    found = {}
    for table in TABLES.values():
        filters: dict[str, tuple[str, ...]] = {"all": (), "id": ("where_id",), "times": ("where_from_day",)}
        filters["found"] = ("find", *(f"or_{place}" for place in table.explored.finds), "end_find")
        filters |= {"status": ("where_status",)} if table.explored.statuses else {}
        filters |= {"active": ("where_active",)} if table.explored.has_active else {}
        lists = {name: (*blocks, "by_newest") for name, blocks in filters.items()}
        lists |= {"oldest": ("by_oldest",), "until": ("where_to_day", "by_oldest")}
        lists |= {f"after_{name}": (f"after_{name}", f"by_{name.partition('_')[0]}") for name in PAGED}
        lists |= {"undated": ("undated", "by_oldest")}
        if table.name in OF_AMOUNTS:
            lists |= {"amounts": ("where_least", "where_most", "by_newest"), "smallest": ("by_smallest",)}
            lists |= {f"after_{name}": (f"after_{name}", f"by_{name}") for name in ("largest", "smallest")}
            lists |= {"largest": ("by_largest",)}
        for name, blocks in lists.items():
            statement = Statement(ROWS_PAGE, (_select(table.name), *blocks), table.name, is_list=True)
            found[f"dashboard.mirror_rows.{table.name}.{name}"] = statement
        for column in table.references:
            if (OF_TABLE[table.name], column) not in ONE_WAY:
                blocks = (_select(table.name), table.where_reference(column), "by_newest")
                statement = Statement(ROWS_PAGE, blocks, table.name, is_list=True, reference=column)
                found[f"dashboard.mirror_rows.{table.name}.naming_{column}"] = statement
    counted = Statement(ROWS_PAGE, ("count", "where_status", "end_count"), is_list=True)
    always = ("customers", UNION, "subscriptions", UNION, "charges", UNION, "refunded_charges")
    for blocks in (always, (*always, "without_refunds", UNION, "refunds")):
        found[f"dashboard.timeline.{blocks[-1]}_in_all"] = Statement(TIMELINE, (*blocks, "newest"))
    return found | {"dashboard.mirror_rows.charges.counted": counted}


def bound(file: Path, table: str = "charges", reference: str = "id") -> BoundQueries:
    """Placeholders have the same meaning in all files."""
    names: dict[str, str | sql.Composable] = {
        "team": SCHEMA,
        "next": plan_data.NEXT_SCHEMA,
        "table": table,
        "tables": table,
        "views": table,
        "parent": "customer",
        "parent_table": "customers",
        "columns": sql.SQL("id, raw, as_of, as_of_until") if file == REBUILD else sql.Identifier("object", "id"),
        "role": "postgres",
        "schema": SCHEMA,
        "database": "postgres",
        "comment": sql.Literal("x"),
        "dbt": SCHEMA,
        "view": table,
        "reader": "postgres",
        "team_id": sql.Literal(plan_data.TEAM),
        "limit": sql.Literal(SAMPLES["limit"]),
        **dict.fromkeys(dbt.ALL_TABLES, table),
        "kind": sql.Literal("x"),
        "title": "id",
        "reference": reference,
        "references": "id",
        "amount": sql.Identifier("object", {"invoices": "total", "charges": "amount"}.get(table, "id")),
    }
    return Queries(file).bind(**{name: value for name, value in names.items() if f"{{{name}}}" in file.read_text()})


UNION = "UNION ALL"
ENDINGS = (("newest_first",), ("after", "newest_first"), ("before", "oldest_first"))
PAGED = ("newest", "newest_undated", "oldest", "oldest_undated")
# An order or filter by amount reads the whole table, whichever it is.
OF_AMOUNTS = ("charges", "invoices")
OF_TABLE = {each.table: name for name, each in OBJECT_TYPES.items()}
STATEMENTS = statements()
TRIED = [(name, "force_custom_plan") for name in STATEMENTS]
TRIED += [(name, "force_generic_plan") for name, statement in STATEMENTS.items() if statement.keeps_its_plan]


def test_every_statement_of_every_file_is_tried() -> None:
    """All of them once were none: they were listed before they had been read."""
    written = {
        (file.relative_to(ROOT).as_posix(), name)
        for file in FILES
        for name, text in re.findall(r"^-- name: (\w+)\n((?:^--.*\n)*.*)", file.read_text(), re.MULTILINE)
        if _PLANNED.match(re.sub(r"^--.*\n", "", text, flags=re.MULTILINE))
    }
    tried = {(each.file.relative_to(ROOT).as_posix(), name) for each in STATEMENTS.values() for name in each.blocks}

    assert len({file for file, _ in written}) > 15
    assert written - tried == set()


@pytest.fixture(scope="module")
def filled(any_postgres: EmbeddedPostgres) -> str:
    with psycopg.connect(any_postgres.url, autocommit=True) as connection:
        connection.execute("CREATE DATABASE plans")
    url = at_database(any_postgres.url, "plans")
    with psycopg.connect(url, autocommit=True) as connection:
        upgrade(connection)
        plan_data.fill(connection)
    return url


@pytest.fixture(scope="module", params=["unanalyzed", "analyzed"])
def mirror(request: pytest.FixtureRequest, filled: str) -> Iterator[psycopg.Connection]:
    """Of each server first the mirror as a backfill leaves it, then the same one analyzed."""
    with psycopg.connect(filled, autocommit=True) as connection:
        if request.param == "analyzed":
            connection.execute("ANALYZE")
        yield connection


@pytest.mark.parametrize(("name", "mode"), TRIED)
def test_a_statement_reads_in_proportion_to_what_it_returns(mirror: psycopg.Connection, name: str, mode: str) -> None:
    statement = STATEMENTS[name]
    values = {**SAMPLES, **OTHER_VALUES.get(name, {})}
    values |= {"project_id": "proj_small"} if "where_small_project" in statement.blocks else {}
    queries = bound(statement.file, statement.table, statement.reference)
    plan = explain(mirror, queries, statement.blocks, values, mode)

    handled = work(plan)
    allowed = ALLOWED.get(name, BASE + PER_RETURNED_ROW * returned(plan))
    if statement.is_list and not is_analyzed(mirror):
        # May sort its table once, with what it shows beside each row: the backfill analyzes it in the end.
        allowed = 8 * ROWS.get(statement.table, plan_data.OTHER_ROWS)
    # A catalog is small: what filters it may read it.
    allowed = max(allowed, 3 * ROWS["prices"])
    assert handled <= allowed, (
        f"{name} handles {handled:,.0f} rows, {allowed:,} are allowed, by this plan:\n{shown(plan)}"
    )


def explain(
    connection: psycopg.Connection, queries: BoundQueries, blocks: Sequence[str], values: Mapping[str, Any], mode: str
) -> dict[str, Any]:
    """Runs it, and takes back what it did."""
    text, names = numbered("\n".join(block if block == UNION else queries[block] for block in blocks))
    types = ", ".join(type_of(values.get(each)) for each in names)
    connection.execute("DEALLOCATE ALL")
    with connection.transaction(force_rollback=True):
        connection.execute(Queries(MIRROR).bind()["page_settings"] if "mirror_page" in blocks else "")
        connection.execute(sql.SQL("SET LOCAL statement_timeout = {}").format(sql.Literal(f"{TIMEOUT_S}s")))
        connection.execute(sql.SQL("SET LOCAL plan_cache_mode = {}").format(sql.SQL(cast(LiteralString, mode))))
        connection.execute(cast(LiteralString, f"PREPARE tried {f'({types})' if types else ''} AS {text}"))
        (found,) = connection.execute("SELECT parameter_types::text[] FROM pg_prepared_statements").fetchone() or ([],)
        arguments = [values.get(name, plan_data.OF_TYPE.get(kind)) for name, kind in zip(names, found, strict=True)]
        call = sql.SQL("EXECUTE tried ({})").format(sql.SQL(", ").join(map(sql.Literal, arguments)))
        call = call if names else sql.SQL("EXECUTE tried")
        row = connection.execute(sql.SQL("EXPLAIN (ANALYZE, TIMING OFF, FORMAT JSON) ") + call).fetchone()
    assert row
    return cast(dict[str, Any], row[0][0]["Plan"])


def numbered(text: str) -> tuple[str, list[str]]:
    names = list(dict.fromkeys(re.findall(r"%\((\w+)\)s", text)))
    replaced = re.sub(r"%\((\w+)\)s", lambda match: f"${names.index(match[1]) + 1}", text)
    return replaced.replace("%%", "%"), names


def is_analyzed(connection: psycopg.Connection) -> bool:
    found = connection.execute("SELECT reltuples >= 0 FROM pg_class WHERE oid = %s::regclass", (f"{SCHEMA}.charges",))
    return bool((found.fetchone() or [False])[0])


def type_of(value: object) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        return "smallint" if abs(value) < 2**15 else "integer" if abs(value) < 2**31 else "bigint"
    return _TYPES.get(type(value), "unknown")


def returned(plan: dict[str, Any]) -> int:
    """What came back, or was written."""
    written = [each["Actual Rows"] for each in plan.get("Plans", []) if plan["Node Type"] == "ModifyTable"]
    return round(max([plan["Actual Rows"], *written]))


def work(plan: dict[str, Any]) -> float:
    """Rows that went through the plan's nodes, with those that were read and thrown away."""
    removed = sum(value for key, value in plan.items() if key.startswith("Rows Removed"))
    own = (plan["Actual Rows"] + removed) * plan["Actual Loops"]
    return own + sum(work(each) for each in plan.get("Plans", []))


def shown(plan: dict[str, Any], depth: int = 0) -> str:
    what = " ".join(str(plan[key]) for key in ("Node Type", "Relation Name", "Index Name", "CTE Name") if key in plan)
    removed = sum(value for key, value in plan.items() if key.startswith("Rows Removed"))
    line = (
        f"{'  ' * depth}{what}: {plan['Actual Rows']:,.0f} rows, {removed:,.0f} removed, {plan['Actual Loops']} times"
    )
    return "\n".join([line, *(shown(each, depth + 1) for each in plan.get("Plans", []))])
