"""Tells which workers are alive. Each sends a heartbeat every few seconds, on Redis' clock, which all hosts share.

RQ's own heartbeats use each host's clock, and its record of a killed worker says "busy" until it expires.
"""

import redis

BEAT_EVERY_S = 5
# A little more than two missed heartbeats.
DEAD_AFTER_S = 12
_KEPT_S = 3600

_BEAT = """
local now = redis.call('TIME')[1]
redis.call('ZADD', KEYS[1], now, ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - ARGV[2])
redis.call('EXPIRE', KEYS[1], ARGV[2])
"""
_ALIVE = """
local now = redis.call('TIME')[1]
return redis.call('ZRANGEBYSCORE', KEYS[1], now - ARGV[1], '+inf')
"""


def beat(connection: redis.Redis, role: str, worker_name: str) -> None:
    """`role` is the first queue of the worker. Also works in a pipeline."""
    connection.eval(_BEAT, 1, _key(role), worker_name, str(_KEPT_S))


def stop_beating(connection: redis.Redis, role: str, worker_name: str) -> None:
    connection.zrem(_key(role), worker_name)


def ask_for_alive(connection: redis.Redis, role: str) -> list[bytes]:
    """The names of the living workers of this role. In a pipeline they are among its results."""
    found: list[bytes] = connection.eval(_ALIVE, 1, _key(role), str(DEAD_AFTER_S))
    return found


def _key(role: str) -> str:
    return f"billstack:beats:{role}"
