"""Runs prepared statements with one round trip and one commit, through libpq itself.

psycopg's pipeline does the same, but looks at each statement and value anew: that took half a millisecond of processor
time a page, as much as reading the page.
"""

import itertools
import select
from collections.abc import Mapping, Sequence
from typing import Any

import psycopg
from psycopg import errors
from psycopg.adapt import Transformer
from psycopg.pq import ConnStatus, ExecStatus

from sync.json_text import AsJsonb
from sync.sql import Numbered

_READABLE = select.POLLIN
_EITHER = select.POLLIN | select.POLLOUT

_numbers = itertools.count(1)


class RoundTrips:
    """On one connection in autocommit mode, which must have no transaction open."""

    def __init__(self, connection: psycopg.Connection) -> None:
        self._connection = connection
        self._prepared: dict[Numbered, bytes] = {}

    def run(self, statements: Sequence[Numbered], values: Mapping[str, Any]) -> tuple[Any, ...] | None:
        """The first row of the last statement; None: it has none.

        Values are texts, numbers, booleans, AsJsonb, or None. Raises psycopg.Error as `execute` does; then none of the
        statements has had an effect.
        """
        try:
            return self._run(statements, values)
        except errors.InvalidSqlStatementName:
            # psycopg deallocates all when a transaction is rolled back after it has prepared any itself; poolers do too.
            self._prepared.clear()
            return self._run(statements, values)

    def _run(self, statements: Sequence[Numbered], values: Mapping[str, Any]) -> tuple[Any, ...] | None:
        with self._connection.lock:
            calls = [
                (self._prepared.get(each) or self._prepare(each), [_as_sent(values[name]) for name in each.names])
                for each in statements
            ]
            socket = select.poll()
            socket.register(self._connection, _READABLE)
            pgconn = self._connection.pgconn
            pgconn.enter_pipeline_mode()
            for name, sent in calls:
                pgconn.send_query_prepared(name, sent)
            pgconn.pipeline_sync()
            results = self._results(socket)
            pgconn.exit_pipeline_mode()
        for result in results:
            if result.status != ExecStatus.TUPLES_OK:
                raise errors.error_from_result(result)
        rows = Transformer(self._connection)
        rows.set_pgresult(results[-1])
        return rows.load_row(0, tuple) if results[-1].ntuples else None

    def _prepare(self, statement: Numbered) -> bytes:
        name = b"billstack_%d" % next(_numbers)
        result = self._connection.pgconn.prepare(name, statement.text)
        if result.status != ExecStatus.COMMAND_OK:
            raise errors.error_from_result(result)
        self._prepared[statement] = name
        return name

    def _results(self, socket: select.poll) -> list[Any]:
        """One for each statement up to the first that failed."""
        pgconn = self._connection.pgconn
        while pgconn.flush():
            socket.modify(self._connection, _EITHER)
            socket.poll()
            pgconn.consume_input()  # Postgres may wait for us to read before it reads on
        socket.modify(self._connection, _READABLE)
        results: list[Any] = []
        while True:
            while pgconn.is_busy():
                socket.poll()
                pgconn.consume_input()
            result = pgconn.get_result()
            if pgconn.status == ConnStatus.BAD:
                raise psycopg.OperationalError(f"the connection is lost: {pgconn.get_error_message()}")
            if result is None:  # between two statements
                continue
            if result.status == ExecStatus.PIPELINE_SYNC:
                return results
            if result.status != ExecStatus.PIPELINE_ABORTED:
                results.append(result)


def _as_sent(value: object) -> bytes | None:
    match value:
        case None:
            return None
        case AsJsonb():
            return value.raw
        case bool():
            return b"t" if value else b"f"
        case int():
            return b"%d" % value
        case str():
            if "\0" in value:  # libpq would end the text there
                raise psycopg.DataError("Postgres does not store a NUL in a text")
            return value.encode()
    raise TypeError(f"{type(value).__name__} is none of the values that are sent")
