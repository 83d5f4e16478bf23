"""The dependencies of every part of a backfill."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass

import psycopg

from sync.stripe.source import Source


@dataclass(frozen=True, slots=True)
class BackfillTools:
    """`connect` lends a connection in autocommit mode, as a context manager."""

    source: Source
    connect: Callable[[], AbstractContextManager[psycopg.Connection]]
    should_yield: Callable[[], bool]
    is_stopping: Callable[[], bool] = lambda: False  # the worker must stop, even in work that does not yield
