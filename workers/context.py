"""What a process works with, built once from its settings: the Postgres pool, Redis, and the box that opens secrets."""

from dataclasses import dataclass
from typing import Any

import psycopg
import redis
from psycopg.conninfo import conninfo_to_dict
from redis.backoff import ExponentialBackoff
from redis.driver_info import DriverInfo
from redis.retry import Retry

from sync.database.server import refuse_unfit
from sync.teams.secrets import SecretBox
from workers.pool import Pool
from workers.redis.meter import Meter
from workers.redis.trouble import REFUSED, Trouble
from workers.settings import Settings

# Waiting longer would pile up requests behind a Postgres that is away; the caller answers 503 and is asked again.
_POOL_WAIT_S = 5.0
_REDIS_TIMEOUT_S = 5.0
# For connections whose URL does not say otherwise. A Postgres that vanished without a word must not hold a thread for hours.
_POSTGRES = {"connect_timeout": 5, "tcp_user_timeout": 30_000}
# What redis-py tells the server about itself. Without it, each new connection reads the package's metadata from disk.
_REDIS_DRIVER = DriverInfo()


@dataclass(frozen=True, slots=True)
class Context:
    """One per process. `redis` does not decode: RQ stores bytes."""

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
    """Opens nothing yet: Postgres and Redis may be away when a process starts, and come back.

    `direct`: to Postgres itself, past a pooler, as whoever writes much does.
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
    """psycopg's options for all connections of BillStack. JSON goes to Postgres as the bytes that came: UTF-8.

    Psycopg numbers what it prepares by itself, and behind a pooler two processes then mean two statements by one name.
    What is worth preparing has a name made of its text (sync/round_trip.py).
    """
    given = conninfo_to_dict(database_url)
    ours = _POSTGRES | {"application_name": application_name}
    always = {"autocommit": True, "client_encoding": "utf8", "prepare_threshold": None}
    return always | {key: ours[key] for key in ours if key not in given}


def refuse_unfit_postgres(url: str, name: str) -> None:
    """Raises ConfigError for an address, that of the setting `name`, at which the mirror would come out wrong."""
    refuse_unfit(lambda: psycopg.connect(url, **connection_options(url, "billstack")), name)


def connect_redis(settings: Settings) -> redis.Redis:
    """RQ's workers lengthen the timeout for the commands that wait for a job."""
    return redis.Redis.from_url(
        settings.redis_url,
        socket_connect_timeout=_REDIS_TIMEOUT_S,
        socket_timeout=_REDIS_TIMEOUT_S,
        health_check_interval=30,
        driver_info=_REDIS_DRIVER,
        retry=Retry(ExponentialBackoff(cap=0.5, base=0.05), retries=2),  # redis-py's own ten take 4 s to say no
    )
