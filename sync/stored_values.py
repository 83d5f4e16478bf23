"""Reads values that Postgres holds but Python cannot represent, so that no row breaks the answers about its team.

Importing this module registers it for all connections. sync/sql.py imports it for every store.
"""

import json
from datetime import UTC, datetime
from typing import Any

import psycopg
from psycopg.abc import AdaptContext, Buffer
from psycopg.adapt import Loader
from psycopg.types.datetime import TimestamptzLoader
from psycopg.types.json import set_json_loads

EARLIEST = datetime.min.replace(tzinfo=UTC)
LATEST = datetime.max.replace(tzinfo=UTC)
# Python refuses to read numbers with more digits (sys.set_int_max_str_digits). Postgres' numeric has up to 131,072.
_MOST_DIGITS = 4300


class _AnyTime(Loader):
    """Times in UTC. A time outside Python's years becomes the nearest one inside them."""

    def __init__(self, oid: int, context: AdaptContext | None = None) -> None:
        super().__init__(oid, context)
        self._within = TimestamptzLoader(oid, context)

    def load(self, data: Buffer) -> datetime:
        try:
            return self._within.load(data).astimezone(UTC)
        except (psycopg.DataError, OverflowError):
            text = bytes(data)
            return EARLIEST if text.endswith(b"BC") or text.startswith((b"-", b"0001")) else LATEST


def read_json(text: str | bytes) -> Any:
    """A number with too many digits for Python stays a text. JSON nested too deeply is left out."""
    try:
        return json.loads(text, parse_int=_whole_number)
    except RecursionError:
        return None


def _whole_number(digits: str) -> int | str:
    return int(digits) if len(digits) <= _MOST_DIGITS else digits


psycopg.adapters.register_loader("timestamptz", _AnyTime)
set_json_loads(read_json)
