"""What an explore page lists, as CSV for spreadsheets. Rows are read some at a time, so a slow reader holds nothing."""

import csv
import io
from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal
from typing import Any

from flask import Blueprint, Response, request

from api.dashboard.asked import Asked, read_asked
from api.dashboard.explore import table_of
from api.dashboard.mirror_rows import MirrorRows, Row
from api.dashboard.mirror_tables import Table
from api.dashboard.paging import Place, Sort, place_of, read_sort
from api.http.access import Access, allow
from api.http.context import current_context
from api.http.times import iso
from api.numbers.currencies import decimals
from workers.context import Context

blueprint = Blueprint("export", __name__)

_AT_A_TIME = 1000
# With one of these at its beginning, spreadsheets take a text for a formula.
_FORMULAS = ("=", "+", "-", "@", "\t", "\r", "\n", "\N{FULLWIDTH EQUALS SIGN}", "\N{FULLWIDTH PLUS SIGN}")


@blueprint.get("/teams/<team_id>/export/<kind>.csv")
@allow(Access.READ_TEAM)
def download(team_id: str, kind: str) -> Response:
    """In the order and with the filters of the page."""
    table = table_of(kind)
    asked, sort = read_asked(table, request.args), read_sort(table, request.args)
    pieces = lines(current_context(), team_id, table, asked, sort)
    response = Response(pieces, mimetype="text/csv")
    response.headers["Content-Disposition"] = f'attachment; filename="{table.name}.csv"'
    response.headers["X-Accel-Buffering"] = "no"  # otherwise nginx would buffer the pieces
    return response


def lines(context: Context, team_id: str, table: Table, asked: Asked, sort: Sort) -> Iterator[str]:
    yield _as_csv([[*_headings(table)]])
    for rows in _batches(context, team_id, table, asked, sort):
        yield _as_csv([_cells(table, row) for row in rows])


def _batches(context: Context, team_id: str, table: Table, asked: Asked, sort: Sort) -> Iterator[list[Row]]:
    """Each on a connection that is given back before the reader gets its rows."""
    after: Place | None = None
    while True:
        with context.pool.connection() as connection:
            mirror = MirrorRows(connection, team_id)
            if after is None and not mirror.has_table(table.name):
                return
            rows = mirror.list_rows(table.name, asked, limit=_AT_A_TIME, sort=sort, after=after)
        if rows:
            yield rows
        if len(rows) < _AT_A_TIME:
            return
        after = place_of(rows[-1], sort)


def _headings(table: Table) -> list[str]:
    money = ["currency"] if table.amount else []
    keys = [column.key for column in table.columns]
    return list(dict.fromkeys(["id", *keys, *money, "created", "deleted_at"]))


def _cells(table: Table, row: Row) -> list[str]:
    money = {column.key for column in table.columns if column.kind == "money"}
    return [whole(row[key], row["currency"]) if key in money else cell(row[key]) for key in _headings(table)]


def whole(amount: int | Decimal | None, currency: str | None) -> str:
    """In whole units, so that a spreadsheet adds them up."""
    return "" if amount is None else f"{Decimal(amount).scaleb(-decimals(currency)):f}"


def cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, datetime):
        return iso(value) or ""
    text = str(value)
    return f"'{text}" if isinstance(value, str) and text.startswith(_FORMULAS) else text


def _as_csv(rows: list[list[str]]) -> str:
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    return text.getvalue()
