"""Finds rows that were written between two moments: each write gives a row a new `xmin`."""

import psycopg
from psycopg import sql

from sync.object_types import DEFAULT_TYPES, in_order


class Rows:
    """Call `remember`, run something, then ask how many rows were `rewritten`."""

    def __init__(self, database_url: str, schema: str) -> None:
        self._database_url = database_url
        self._tables = [sql.Identifier(schema, each.table) for each in in_order(DEFAULT_TYPES)]

    def remember(self) -> None:
        with psycopg.connect(self._database_url) as connection:
            connection.execute("DROP TABLE IF EXISTS public.bench_rows")
            connection.execute("CREATE TABLE public.bench_rows (id text PRIMARY KEY, version text NOT NULL)")
            for table in self._tables:
                connection.execute(sql.SQL("INSERT INTO public.bench_rows SELECT id, xmin::text FROM {}").format(table))

    def rewritten(self) -> int:
        """Of the remembered rows. The ids of different types never collide."""
        statement = sql.SQL(
            "SELECT count(*) FROM {} AS now JOIN public.bench_rows AS past USING (id) WHERE now.xmin::text <> past.version"
        )
        total = 0
        with psycopg.connect(self._database_url) as connection:
            for table in self._tables:
                row = connection.execute(statement.format(table)).fetchone()
                assert row
                total += row[0]
        return total

    def total(self) -> int:
        """How many rows were remembered."""
        with psycopg.connect(self._database_url) as connection:
            row = connection.execute("SELECT count(*) FROM public.bench_rows").fetchone()
        assert row
        return int(row[0])
