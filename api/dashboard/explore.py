"""The explore pages: a filterable table for each type, and a page for each object with its related objects."""

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from flask import Blueprint, request

from api.account.status import read_status
from api.dashboard.mirror_rows import MirrorRows, Row
from api.dashboard.mirror_tables import TABLES, Table, of_a_customer
from api.dashboard.pages import show_page
from api.http.access import Access, allow
from api.http.context import current_context
from sync.errors import NotFound
from sync.teams.mirrored_types import MirroredTypes

blueprint = Blueprint("explore", __name__)

_PAGE = 50
_RELATED = 10


@blueprint.get("/teams/<team_id>/explore/<kind>")
@allow(Access.READ_TEAM)
def show_table(team_id: str, kind: str) -> str:
    table = _table(kind)
    given = {name: value for name, value in request.args.items() if value.strip()}
    conditions, params = _filters(table, given)
    if "find" in given:
        _add_find(table, given["find"], conditions, params)
    if "before" in given:
        _add_cursor(given["before"], conditions, params)
    with current_context().pool.connection() as connection:
        mirror = MirrorRows(connection, team_id)
        has_mirror = mirror.has_table(kind)
        rows = mirror.list_rows(kind, conditions, limit=_PAGE + 1, **params) if has_mirror else []
    return show_page(
        "explore_table.html",
        team_id,
        table=table,
        rows=rows[:_PAGE],
        has_mirror=has_mirror,
        given=given,
        is_filtered=bool(set(given) & {"find", "status", "active"}),
        older={**given, "before": _cursor(rows[_PAGE - 1])} if len(rows) > _PAGE else None,
    )


@blueprint.get("/teams/<team_id>/explore/<kind>/<id:object_id>")
@allow(Access.READ_TEAM)
def show_object(team_id: str, kind: str, object_id: str) -> str:
    table = _table(kind)
    with current_context().pool.connection() as connection:
        mirror = MirrorRows(connection, team_id)
        row = mirror.find_row(kind, object_id) if mirror.has_table(kind) else None
        if row is None:
            raise NotFound(f"there is no such {table.one} in the mirror")
        raw = mirror.raw(kind, object_id)
        related = _related(mirror, MirroredTypes(connection, team_id).names(), kind, object_id)
    status = read_status(current_context(), team_id)
    return show_page(
        "explore_object.html",
        team_id,
        table=table,
        row=row,
        raw=raw,
        related=related,
        limit=_RELATED,
        stripe_url=_stripe_url(table, object_id, status),
    )


def _table(kind: str) -> Table:
    if kind not in TABLES:
        raise NotFound("there is nothing at this address")
    return TABLES[kind]


def _filters(table: Table, given: Mapping[str, str]) -> tuple[list[str], dict[str, Any]]:
    """The blocks of mirror_rows.sql and their parameters. Ignores filters that the type does not have."""
    found: dict[str, Any] = {}
    if given.get("status") in table.explored.statuses:
        found["where_status"] = given["status"]
    if table.explored.has_active and given.get("active") in ("true", "false"):
        found["where_active"] = given["active"] == "true"
    return list(found), {block.removeprefix("where_"): value for block, value in found.items()}


def _add_find(table: Table, text: str, conditions: list[str], params: dict[str, Any]) -> None:
    """Ids may begin or end with a space. A person who types one next to an id does not mean it."""
    if "\0" in text:
        raise NotFound("no text in Postgres can contain this")
    conditions += ["find", *(f"or_{place}" for place in table.explored.finds), "end_find"]
    params |= {"texts": [text, text.strip()], "find": text.strip()}


def _cursor(row: Row) -> str:
    """Where the next page begins. A row without a creation time has only its id."""
    created = row["created"]
    return f"{int(created.timestamp()) if created else ''}.{row['id']}"


def _add_cursor(cursor: str, conditions: list[str], params: dict[str, Any]) -> None:
    created, dot, last_id = cursor.partition(".")
    if not dot or "\0" in last_id or not re.fullmatch(r"(-?[0-9]{1,12})?", created, re.ASCII):
        raise NotFound("there is no such page: start from the newest")
    conditions.append("before" if created else "before_undated")
    params |= {"before_id": last_id} | ({"before_created": min(int(created), 253402300799)} if created else {})


def _related(mirror: MirrorRows, mirrored: list[str], kind: str, object_id: str) -> list[tuple[Table, list[Row]]]:
    if kind != "customers":
        return []
    return [
        (table, mirror.list_rows(table.name, ["where_customer"], limit=_RELATED + 1, customer=object_id))
        for table in of_a_customer(mirrored)
    ]


def _stripe_url(table: Table, object_id: str, status: Mapping[str, Any]) -> str | None:
    """None if Stripe's dashboard has no such page, or if a browser would resolve the address to something else."""
    if object_id in (".", "..") or not table.explored.stripe_path:
        return None
    mode = "" if status["livemode"] else "test/"
    return f"https://dashboard.stripe.com/{status['accountId']}/{mode}{table.explored.stripe_path}/{quote(object_id, safe='')}"
