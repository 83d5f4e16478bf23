"""Metrics that are read only when somebody asks. No label names a team.

They cover backfills, proofs, jobs, workers, budgets and connections.
"""

from collections.abc import Iterator, Mapping

from prometheus_client.core import GaugeMetricFamily, Metric

from sync.database.vitals import Vitals, count_connections, read_vitals
from workers.context import Context
from workers.queues import ALL_QUEUES, BACKFILLS, EVENTS
from workers.redis.beats import ask_for_alive
from workers.redis.budgets import read_budgets
from workers.rq_internals import queue_depth
from workers.stripe_account import shared_limiter


def of_postgres(context: Context) -> Iterator[Metric]:
    """Raises psycopg.Error."""
    with context.pool.connection() as connection:
        vitals, connections = read_vitals(connection), count_connections(connection)
    yield from _of_teams(vitals)
    parts = {"held": vitals.held, "free": vitals.free, "dead": vitals.dead}
    yield GaugeMetricFamily("billstack_backfills_running", "Backfills that run", vitals.backfills)
    yield _by(
        "billstack_backfill_parts",
        "Unfinished types of running backfills, by the state of their worker",
        "state",
        parts,
    )
    yield _by("billstack_postgres_connections", "Connections to Postgres, by application", "application", connections)
    yield GaugeMetricFamily(
        "billstack_postgres_connections_most", "The most connections that Postgres accepts", vitals.most_connections
    )


def _of_teams(vitals: Vitals) -> Iterator[Metric]:
    teams = {"connected": vitals.connected, "key_refused": vitals.refused_keys, "never_proven": vitals.unproven}
    yield _by(
        "billstack_teams",
        "Connected teams, and those with a refused key or a mirror that was never read whole",
        "state",
        teams,
    )
    yield GaugeMetricFamily(
        "billstack_oldest_proof_seconds",
        "Age of the oldest last full read or comparison of any team",
        vitals.oldest_s or 0.0,
    )


def of_redis(context: Context) -> Iterator[Metric]:
    """Raises redis.RedisError."""
    yield _jobs(context)
    alive = {role: len(ask_for_alive(context.redis, role)) for role in (BACKFILLS, EVENTS)}
    yield _by("billstack_workers", "Workers that are alive", "role", alive)
    budgets = [budget.account for budget in read_budgets(context.redis, shared_limiter(context))]
    yield GaugeMetricFamily(
        "billstack_budget_used_ratio",
        "Share of its budget that the busiest account used recently",
        max((budget.lately / budget.configured for budget in budgets), default=0.0),
    )
    yield GaugeMetricFamily(
        "billstack_budgets_cut",
        "Accounts with a rate below the configured one, after Stripe answered 429",
        sum(budget.rate < budget.configured for budget in budgets),
    )


def _jobs(context: Context) -> Metric:
    family = GaugeMetricFamily("billstack_jobs", "Jobs, by queue and state", labels=("queue", "state"))
    for name in ALL_QUEUES:
        depth = queue_depth(name, context.redis)
        family.add_metric((name, "waiting"), depth.waiting)
        family.add_metric((name, "running"), depth.running)
        family.add_metric((name, "failed"), depth.failed)
    return family


def _by(name: str, about: str, label: str, values: Mapping[str, float]) -> Metric:
    family = GaugeMetricFamily(name, about, labels=(label,))
    for value, amount in sorted(values.items()):
        family.add_metric((value,), amount)
    return family
