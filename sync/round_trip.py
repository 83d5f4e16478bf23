"""Runs prepared statements together, in one transaction and one round trip or a few, through libpq itself.

psycopg's pipeline does the same, but examines each statement and value again. That took half a millisecond of CPU per
page, as much as reading the page.

A statement's name is made from its text, so it means the same to every process behind a pooler. If the pooler lends a
different connection for each transaction, names are useless, and the statements are sent without.
"""

import hashlib
import select
import time
import weakref
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import psycopg
from psycopg import abc, errors
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
_COMMIT = b"COMMIT"  # rolls back if a statement failed
# Each statement is of one team; those of the next teams would come on top of them for ever.
_MOST_PREPARED = 60
# A kept plan was made for the tables as they were. One for a table of a few rows may read all of a large one.
_PLANS_LAST_S = 60.0


Rows = list[tuple[Any, ...]]


class Call(NamedTuple):
    """A statement and its values. Values are texts, numbers, booleans, lists of texts, AsJsonb or None."""

    statement: Numbered
    values: Mapping[str, Any]


@dataclass(slots=True)
class _Known:
    """Of a connection, which is lent to one job after the other."""

    prepared: dict[Numbered, bytes] = field(default_factory=dict)
    uses: Counter[Numbered] = field(default_factory=Counter)  # of those that are not prepared yet
    first_prepared_at: float = 0.0
    is_shared: bool = False  # with other clients of a pooler, transaction by transaction


_KNOWN: "weakref.WeakKeyDictionary[psycopg.Connection, _Known]" = weakref.WeakKeyDictionary()


def forget_statements(connection: psycopg.Connection) -> None:
    """Where a connection has prepared many, or the first a while ago."""
    known = _KNOWN.get(connection)
    if known is None or not known.prepared:
        return
    if len(known.prepared) > _MOST_PREPARED or time.monotonic() - known.first_prepared_at > _PLANS_LAST_S:
        connection.execute("DEALLOCATE ALL")
        known.prepared.clear()
        known.uses.clear()


class RoundTrips:
    """Works on one connection in autocommit mode, which must have no open transaction."""

    def __init__(self, connection: psycopg.Connection) -> None:
        self._connection = connection
        self._known = _KNOWN.setdefault(connection, _Known())

    def run(self, statements: Sequence[Numbered], values: Mapping[str, Any]) -> tuple[Any, ...] | None:
        """Returns the first row of the last statement, or None if it has none.

        Raises psycopg.Error like `execute`; then no statement has had an effect.
        """
        rows = self.run_all([Call(each, values) for each in statements])[-1]
        return rows[0] if rows else None

    def run_all(self, calls: Sequence[Call]) -> list[Rows]:
        """Runs them in one transaction, each with its own values. Returns all rows of each."""
        return self._retried(_BEGIN, calls, _COMMIT)

    def read(self, statements: Sequence[Numbered], values: Mapping[str, Any]) -> list[Rows]:
        """Returns all rows of each statement. Several see one moment, and change nothing."""
        calls = [Call(each, values) for each in statements]
        return self._retried(_BEGIN_READING if len(calls) > 1 else None, calls, None)

    @contextmanager
    def transaction(self, prepared: Iterable[Numbered] | None) -> Iterator["OpenTransaction"]:
        """A transaction of several round trips. It commits at the end, and rolls back if the block raises.

        These statements are prepared before it begins, unless they are already. Others are sent as they are, because
        inside it a name that a pooler's other client took would end the transaction. None: nothing has a name.
        """
        if prepared is not None and not self._known.is_shared:
            for each in prepared:
                self._name(each)
        opened = OpenTransaction(self, has_names=prepared is not None)
        try:
            yield opened
            opened.end()
        except errors.InvalidSqlStatementName:  # the caller may run everything again, and then without names
            self._known.is_shared = True
            raise
        finally:
            self._roll_back()

    def _roll_back(self) -> None:
        pgconn = self._connection.pgconn
        if pgconn.transaction_status in (TransactionStatus.INTRANS, TransactionStatus.INERROR):
            pgconn.exec_(b"ROLLBACK")

    def _rows(self, calls: Sequence[Call], results: Sequence[PGresult]) -> list[Rows]:
        reader: abc.Transformer | None = None
        found: list[Rows] = []
        for call, result in zip(calls, results, strict=True):
            if call.statement.is_raw:
                found.append(_raw_rows(result))
                continue
            reader = reader or Transformer(self._connection)  # one for all, because it remembers how each type is read
            reader.set_pgresult(result)
            found.append(reader.load_rows(0, result.ntuples, tuple))
        return found

    def _retried(self, begin: bytes | None, calls: Sequence[Call], end: bytes | None) -> list[Rows]:
        """Runs a whole transaction, again if another client of a pooler deallocated its statements."""
        for is_last in (False, True):
            if not self._known.is_shared:
                for each in calls:
                    self._name(each.statement)
            try:
                return self.send(begin, calls, end)
            except errors.InvalidSqlStatementName:
                self._known.prepared.clear()
                self._known.is_shared = is_last
        return self.send(begin, calls, end)

    def send(
        self, begin: bytes | None, calls: Sequence[Call], end: bytes | None, *, has_names: bool = True
    ) -> list[Rows]:
        """One round trip. Returns the rows of each call. What only reads ends with its last statement."""
        known, before = self._known, 0 if begin is None else 1
        ends_by_itself = begin is _BEGIN_READING
        with self._connection.lock:
            sent = [[_as_sent(each.values[name]) for name in each.statement.names] for each in calls]
            named = {} if known.is_shared or not has_names else known.prepared
            names = [named.get(each.statement) for each in calls]
            socket = select.poll()
            socket.register(self._connection, _READABLE)
            pgconn = self._connection.pgconn
            pgconn.enter_pipeline_mode()
            if begin is not None:
                pgconn.send_query_params(begin, None)
            for call, name, arguments in zip(calls, names, sent, strict=True):
                if name is None:
                    pgconn.send_query_params(call.statement.text, arguments)
                else:
                    pgconn.send_query_prepared(name, arguments)
            if ends_by_itself:  # if a statement fails, this is skipped, which costs a further round trip
                pgconn.send_query_params(_COMMIT, None)
            pgconn.pipeline_sync()
            if end is not None:
                pgconn.send_query_params(end, None)
                pgconn.pipeline_sync()
            results = self._received(socket, syncs=1 if end is None else 2)
            pgconn.exit_pipeline_mode()
            if end is not None or ends_by_itself:  # the commit itself timed out, or was skipped
                self._roll_back()
        for result in results:
            if result.status == ExecStatus.FATAL_ERROR:
                raise _error_of(pgconn, result)
        return self._rows(calls, results[before : before + len(calls)])

    def _name(self, statement: Numbered) -> None:
        prepared, uses = self._known.prepared, self._known.uses
        if statement in prepared or statement.prepared_from is None:
            return
        uses[statement] += 1
        if uses[statement] >= statement.prepared_from:
            if not prepared:
                self._known.first_prepared_at = time.monotonic()
            with self._connection.lock:
                prepared[statement] = self._prepare(statement)

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


class OpenTransaction:
    """What `RoundTrips.transaction` gives. Its first round trip begins the transaction."""

    def __init__(self, trips: RoundTrips, *, has_names: bool) -> None:
        self._trips = trips
        self._has_names = has_names
        self._begin: bytes | None = _BEGIN
        self._is_open = True

    def run(self, calls: Sequence[Call]) -> list[Rows]:
        """Returns all rows of each call. Raises psycopg.Error like `execute`; then the transaction has failed."""
        begin, self._begin = self._begin, None
        return self._trips.send(begin, calls, None, has_names=self._has_names)

    def end(self, calls: Sequence[Call] = ()) -> list[Rows]:
        """Commits after these calls, in the same round trip. Does nothing if it has ended already."""
        if not self._is_open:
            return []
        self._is_open = False
        return self._trips.send(self._begin, calls, _COMMIT, has_names=self._has_names)


def _raw_rows(result: PGresult) -> Rows:
    columns = range(result.nfields)
    return [tuple([result.get_value(row, column) for column in columns]) for row in range(result.ntuples)]


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
            _refuse_nul(value)
            return value.encode()
        case list():
            return _array(value)
    raise TypeError(f"{type(value).__name__} is not a type that can be sent")


def _array(texts: list[str]) -> bytes:
    all_of_it = "".join(texts)
    _refuse_nul(all_of_it)
    if '"' in all_of_it or "\\" in all_of_it:
        texts = [each.replace("\\", "\\\\").replace('"', '\\"') for each in texts]
    return b'{"%s"}' % '","'.join(texts).encode() if texts else b"{}"


def _refuse_nul(text: str) -> None:
    if "\0" in text:  # libpq would end the text there
        raise psycopg.DataError("Postgres cannot store a NUL in a text")
