"""Every endpoint and page of a team that reads, called with what its mirror holds: whatever came in, all of them answer."""

from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import psycopg
from flask import Flask
from psycopg import sql
from werkzeug.routing import Rule

from sync.database.schema import schema_name
from sync.object_types import DEFAULT_TYPES, in_order
from tests.api.conftest import Member
from tests.api.gateway.mirror_filling import prove

# A stream that does not end.
_NOT_CALLED = ("/status/stream",)
_OBJECTS_EACH = 3


def failures(app: Flask, member: Member, database: psycopg.Connection) -> list[str]:
    """The addresses that answer 5xx, with their status."""
    # Otherwise the mirror would answer 503: it cannot vouch for what was never read completely.
    prove(database, member.team_id, list(DEFAULT_TYPES))
    answers = ((address, member.client.get(address).status_code) for address in _addresses(app, member, database))
    return [f"{status} {address}" for address, status in answers if status >= 500]


def _addresses(app: Flask, member: Member, database: psycopg.Connection) -> Iterator[str]:
    projects = _ids(database, "SELECT id FROM billstack.projects WHERE team_id = %s", member.team_id)
    people = _ids(database, "SELECT id FROM billstack.project_customers WHERE team_id = %s", member.team_id)
    for rule in app.url_map.iter_rules():
        if "GET" not in (rule.methods or ()) or not _is_of_a_team(rule):
            continue
        for table, object_id in _objects(database, member.team_id, rule):
            values = {"team_id": member.team_id, "kind": table, "object_id": object_id}
            values |= {"project_id": next(iter(projects), "proj_x"), "customer_id": next(iter(people), "pc_x")}
            yield _filled(rule, values)
    yield "/metrics"


def _is_of_a_team(rule: Rule) -> bool:
    return "team_id" in rule.arguments and not rule.rule.endswith(_NOT_CALLED)


def _objects(database: psycopg.Connection, team_id: str, rule: Rule) -> list[tuple[str, str]]:
    """Newest written first, of the rule's type or of all."""
    if not {"kind", "object_id"} & rule.arguments:
        return [("customers", "")]
    tables = [
        each.table for each in in_order(DEFAULT_TYPES) if "kind" in rule.arguments or f"/{each.table}/" in rule.rule
    ]
    if "object_id" not in rule.arguments:
        return [(table, "") for table in tables]
    found: list[tuple[str, str]] = []
    for table in tables:
        statement = sql.SQL("SELECT id FROM {} ORDER BY synced_at DESC, id DESC LIMIT {}").format(
            sql.Identifier(schema_name(team_id), table), _OBJECTS_EACH
        )
        found += [(table, object_id) for object_id in _ids(database, statement)]
    return found


def _ids(database: psycopg.Connection, statement: Any, *params: str) -> list[str]:
    return [found for (found,) in database.execute(statement, params or None).fetchall()]


def _filled(rule: Rule, values: dict[str, str]) -> str:
    address = rule.rule
    for name in rule.arguments:
        filled = quote(values.get(name, "x"), safe="")
        address = address.replace(f"<{name}>", filled).replace(f"<path:{name}>", filled)
    return address
