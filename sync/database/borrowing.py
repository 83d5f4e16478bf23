"""A connection for long work that rarely uses Postgres: it holds a real one only during each use."""

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, cast

import psycopg

Connect = Callable[[], AbstractContextManager[psycopg.Connection]]


def borrowing(connect: Connect) -> psycopg.Connection:
    """Returns an object that a store can use as a connection in autocommit mode.

    Each statement, and each transaction, borrows a real one from `connect`. So a job whose threads wait for Stripe
    needs only a few connections, however many threads it has.
    """
    return cast(psycopg.Connection, _Borrowing(connect))  # it has only the methods that stores use


@contextmanager
def same_connection(connection: psycopg.Connection) -> Iterator[psycopg.Connection]:
    """One real connection for the whole block, for statements that must know their connection."""
    if isinstance(connection, _Borrowing):
        with connection.lent() as real:
            yield real
    else:
        yield connection


class _Borrowing:
    """Thread-safe: a transaction belongs to the thread that opened it."""

    def __init__(self, connect: Connect) -> None:
        self._connect = connect
        self._here = threading.local()

    def execute(self, query: Any, params: Any = None) -> psycopg.Cursor[Any]:
        """The cursor already has its rows, so it outlives the loan."""
        with self.lent() as connection:
            return connection.execute(query, params)

    def cursor(self, *, row_factory: Any) -> "_Cursor":
        return _Cursor(self, row_factory)

    @contextmanager
    def transaction(self) -> Iterator[psycopg.Transaction]:
        with self.lent() as connection, connection.transaction() as transaction:
            outer, self._here.connection = getattr(self._here, "connection", None), connection
            try:
                yield transaction
            finally:
                self._here.connection = outer

    @contextmanager
    def lent(self) -> Iterator[psycopg.Connection]:
        if connection := getattr(self._here, "connection", None):
            yield connection
            return
        with self._connect() as connection:
            yield connection

    def execute_as(self, row_factory: Any, query: Any, params: Any) -> psycopg.Cursor[Any]:
        with self.lent() as connection:
            return connection.cursor(row_factory=row_factory).execute(query, params)


class _Cursor:
    """Supports `with connection.cursor(row_factory=…) as cursor: cursor.execute(…)`."""

    def __init__(self, connection: _Borrowing, row_factory: Any) -> None:
        self._connection = connection
        self._row_factory = row_factory

    def __enter__(self) -> "_Cursor":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def execute(self, query: Any, params: Any = None) -> psycopg.Cursor[Any]:
        return self._connection.execute_as(self._row_factory, query, params)
