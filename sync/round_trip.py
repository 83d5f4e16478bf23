"""Runs prepared statements in one transaction with one round trip, through libpq itself.

psycopg's pipeline does the same, but examines each statement and value again. That took half a millisecond of CPU per
page, as much as reading the page.

A statement's name is made from its text, so it means the same to every process behind a pooler. If the pooler lends a
different connection for each transaction, names are useless, and the statements are sent without.
"""

import hashlib
import select
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import psycopg
from psycopg import errors
from psycopg.adapt import Transformer
from psycopg.pq import ConnStatus, ExecStatus, TransactionStatus
from psycopg.pq.abc import PGconn, PGresult

from sync.json_text import AsJsonb
from sync.sql import Numbered

_READABLE = select.POLLIN
_EITHER = select.POLLIN | select.POLLOUT
# Independent of the database's or role's default: a page must see what was committed while it waited for a lock.
_BEGIN = b"BEGIN ISOLATION LEVEL READ COMMITTED"
# All statements see one moment.
_BEGIN_READING = b"BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
# Each statement is of one team; those of the next teams would come on top of them for ever.
_MOST_PREPARED = 60


@dataclass(slots=True)
class _Known:
    """Of a connection, which is lent to one job after the other."""

    prepared: dict[Numbered, bytes] = field(default_factory=dict)
    is_shared: bool = False  # with other clients of a pooler, transaction by transaction


_KNOWN: "weakref.WeakKeyDictionary[psycopg.Connection, _Known]" = weakref.WeakKeyDictionary()


def forget_statements(connection: psycopg.Connection) -> None:
    """Where a connection has prepared many."""
    known = _KNOWN.get(connection)
    if known and len(known.prepared) > _MOST_PREPARED:
        connection.execute("DEALLOCATE ALL")
        known.prepared.clear()


class RoundTrips:
    """Works on one connection in autocommit mode, which must have no open transaction."""

    def __init__(self, connection: psycopg.Connection) -> None:
        self._connection = connection
        self._known = _KNOWN.setdefault(connection, _Known())

    def run(self, statements: Sequence[Numbered], values: Mapping[str, Any]) -> tuple[Any, ...] | None:
        """Returns the first row of the last statement, or None if it has none.

        Values are texts, numbers, booleans, lists of texts, AsJsonb or None. Raises psycopg.Error like `execute`; then
        no statement has had an effect.
        """
        last = self._results(_BEGIN, statements, values)[-1]
        return self._rows(last)[0] if last.ntuples else None

    def read(self, statements: Sequence[Numbered], values: Mapping[str, Any]) -> list[list[tuple[Any, ...]]]:
        """Returns all rows of each statement. Several see one moment, and change nothing."""
        results = self._results(_BEGIN_READING if len(statements) > 1 else None, statements, values)
        return [self._rows(each) for each in results]

    def _rows(self, result: PGresult) -> list[tuple[Any, ...]]:
        rows = Transformer(self._connection)
        rows.set_pgresult(result)
        return rows.load_rows(0, result.ntuples, tuple)

    def _results(
        self, begin: bytes | None, statements: Sequence[Numbered], values: Mapping[str, Any]
    ) -> list[PGresult]:
        try:
            return self._send(begin, statements, values)
        except errors.InvalidSqlStatementName:
            self._known.prepared.clear()
        try:
            return self._send(begin, statements, values)  # another client deallocated them
        except errors.InvalidSqlStatementName:
            self._known.is_shared = True
            return self._send(begin, statements, values)

    def _send(self, begin: bytes | None, statements: Sequence[Numbered], values: Mapping[str, Any]) -> list[PGresult]:
        """One result for each statement."""
        with self._connection.lock:
            sent = [[_as_sent(values[name]) for name in each.names] for each in statements]
            names = [
                None if self._known.is_shared or each.is_planned_each_time else self._name(each) for each in statements
            ]
            socket = select.poll()
            socket.register(self._connection, _READABLE)
            pgconn = self._connection.pgconn
            pgconn.enter_pipeline_mode()
            if begin is not None:
                pgconn.send_query_params(begin, None)
            for statement, name, arguments in zip(statements, names, sent, strict=True):
                if name is None:
                    pgconn.send_query_params(statement.text, arguments)
                else:
                    pgconn.send_query_prepared(name, arguments)
            pgconn.pipeline_sync()
            if begin is not None:
                pgconn.send_query_params(b"COMMIT", None)  # rolls back if a statement failed
                pgconn.pipeline_sync()
            results = self._received(socket, syncs=1 if begin is None else 2)
            pgconn.exit_pipeline_mode()
            if pgconn.transaction_status != TransactionStatus.IDLE:  # the commit itself timed out
                pgconn.exec_(b"ROLLBACK")
        for result in results:
            if result.status == ExecStatus.FATAL_ERROR:
                raise _error_of(pgconn, result)
        return results if begin is None else results[1:-1]

    def _name(self, statement: Numbered) -> bytes:
        prepared = self._known.prepared
        if statement not in prepared:
            prepared[statement] = self._prepare(statement)
        return prepared[statement]

    def _prepare(self, statement: Numbered) -> bytes:
        name = b"billstack_" + hashlib.sha256(statement.text).hexdigest()[:40].encode()
        result = self._connection.pgconn.prepare(name, statement.text)
        if result.status != ExecStatus.COMMAND_OK:
            error = _error_of(self._connection.pgconn, result)
            if not isinstance(error, errors.DuplicatePreparedStatement):  # a pooler's other client did
                raise error
        return name

    def _received(self, socket: select.poll, syncs: int) -> list[PGresult]:
        """One result for each statement up to the first that failed, and for begin and commit where there are such.

        A sync ends the statements, and another one the commit.
        """
        pgconn = self._connection.pgconn
        while pgconn.flush():
            socket.modify(self._connection, _EITHER)
            socket.poll()
            pgconn.consume_input()  # Postgres may be waiting for us to read
        socket.modify(self._connection, _READABLE)
        results: list[PGresult] = []
        while syncs:
            while pgconn.is_busy():
                socket.poll()
                pgconn.consume_input()
            result = pgconn.get_result()
            if pgconn.status == ConnStatus.BAD:
                raise _lost(pgconn)
            if result is None:  # end of one statement's results
                continue
            if result.status == ExecStatus.PIPELINE_SYNC:
                syncs -= 1
            elif result.status != ExecStatus.PIPELINE_ABORTED:
                results.append(result)
        return results


def _error_of(pgconn: PGconn, result: PGresult) -> psycopg.Error:
    """libpq itself makes the result of a lost connection. It has no SQLSTATE, and would be an error of our statement."""
    return _lost(pgconn) if pgconn.status == ConnStatus.BAD else errors.error_from_result(result)


def _lost(pgconn: PGconn) -> psycopg.OperationalError:
    return psycopg.OperationalError(f"the connection is lost: {pgconn.get_error_message()}")


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
                raise psycopg.DataError("Postgres cannot store a NUL in a text")
            return value.encode()
        case list():
            return b"{%s}" % b",".join(_quoted(each) for each in value)
    raise TypeError(f"{type(value).__name__} is not a type that can be sent")


def _quoted(text: str) -> bytes:
    """An element of an array."""
    sent = _as_sent(text)
    assert sent is not None
    return b'"%s"' % sent.replace(b"\\", b"\\\\").replace(b'"', b'\\"')
