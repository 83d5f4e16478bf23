"""The objects that a whole process shares, built once from its settings.

They are the Postgres pool, Redis, and the box that encrypts and decrypts secrets.
"""

import contextlib
from dataclasses import dataclass
from typing import Any

import psycopg
import redis
from psycopg.conninfo import conninfo_to_dict
from redis.backoff import ExponentialBackoff
from redis.driver_info import DriverInfo
from redis.retry import Retry

from sync.database.schema import refuse_too_new
from sync.database.server import refuse_unfit
from sync.teams.secrets import SecretBox
from workers.pool import Pool
from workers.redis import sentinel
from workers.redis.meter import Meter
from workers.redis.trouble import REFUSED, Trouble
from workers.settings import Settings

# A longer wait would pile up requests behind an unavailable Postgres. The caller answers 503, and its client tries
# again.
_POOL_WAIT_S = 5.0
_REDIS_TIMEOUT_S = 5.0
# Defaults for connections whose URL says nothing else. A Postgres that vanished silently must not hold a thread for
# hours.
_POSTGRES = {"connect_timeout": 5, "tcp_user_timeout": 30_000}
# What redis-py tells the server about itself. Without it, each new connection reads the package's metadata from disk.
_REDIS_DRIVER = DriverInfo()


@dataclass(frozen=True, slots=True)
class Context:
    """One per process. `redis` does not decode answers: RQ stores bytes."""

    settings: Settings
    pool: Pool
    redis: redis.Redis
    box: SecretBox
    meter: Meter
    trouble: Trouble

    def close(self) -> None:
        self.meter.flush()
        self.pool.close()
        self.redis.close()


def open_context(
    settings: Settings,
    *,
    pool_size: int = 4,
    pool_wait_s: float = _POOL_WAIT_S,
    count_every_s: float = 0.0,
    pool_class: type[Pool] = Pool,
    direct: bool = False,
    application: str = "billstack",
) -> Context:
    """Connects to nothing yet: Postgres and Redis may be unavailable when a process starts, and come back later.

    `direct` connects past a pooler to Postgres itself, for processes that write a lot.
    """
    url = settings.database_direct_url if direct else settings.database_url
    connection = connect_redis(settings)
    trouble = Trouble(connection)
    pool = pool_class(
        url,
        size=pool_size,
        wait_s=pool_wait_s,
        options=connection_options(url, application),
        refused=lambda: trouble.note(REFUSED),
    )
    meter = Meter(connection, flush_every_s=count_every_s)
    return Context(settings, pool, connection, SecretBox(settings.secret_keys), meter, trouble)


def connection_options(database_url: str, application_name: str) -> dict[str, Any]:
    """psycopg's options for all of BillStack's connections. JSON goes to Postgres as its original UTF-8 bytes.

    psycopg would number the statements that it prepares. Behind a pooler, two processes would then use one name for
    different statements. Statements worth preparing get a name made from their text (sync/round_trip.py).
    """
    given = conninfo_to_dict(database_url)
    ours = _POSTGRES | {"application_name": application_name}
    always = {"autocommit": True, "client_encoding": "utf8", "prepare_threshold": None}
    return always | {key: ours[key] for key in ours if key not in given}


def refuse_unfit_postgres(url: str, name: str) -> None:
    """Raises ConfigError if the mirror would come out wrong on this server.

    `name` is the setting that has its address. Raises SchemaError if the database is too new for this program.
    """

    def connect() -> psycopg.Connection:
        return psycopg.connect(url, **connection_options(url, "billstack"))

    refuse_unfit(connect, name)
    with contextlib.suppress(psycopg.OperationalError), connect() as connection:
        refuse_too_new(connection)


def connect_redis(settings: Settings) -> redis.Redis:
    """RQ's workers extend the timeout for commands that wait for a job."""
    connect = sentinel.connect if sentinel.is_sentinel(settings.redis_url) else redis.Redis.from_url
    return connect(
        settings.redis_url,
        socket_connect_timeout=_REDIS_TIMEOUT_S,
        socket_timeout=_REDIS_TIMEOUT_S,
        health_check_interval=30,
        driver_info=_REDIS_DRIVER,
        retry=Retry(ExponentialBackoff(cap=0.5, base=0.05), retries=2),  # redis-py's default, ten, takes 4 s
    )
