"""Updates the connection's `key_valid` from Stripe's answers. It costs nothing while the key works."""

import psycopg
import redis
import structlog

from sync.bounds import LAST_SECOND
from sync.events.ledger import Ledger
from sync.teams.connections import Connection, Connections
from workers.context import Context
from workers.queues import wake_events

_REFUSED = 401
_TRIED_AGAIN = 1000

log = structlog.get_logger()


class KeyWatch:
    """Sees the status of every answer to one key. Thread-safe."""

    def __init__(self, context: Context, connection: Connection) -> None:
        self._context = context
        self._connection = connection
        # Only a key that was refused before our first request may become valid again. A success that was in progress
        # when Stripe refused another request proves nothing.
        self._was_refused = not connection.key_valid

    def answered(self, status: int | None) -> None:
        if status == _REFUSED:
            self._was_refused = False
            self._set(valid=False)
        elif status == 200 and self._was_refused:
            self._was_refused = False
            self._set(valid=True)

    def _set(self, *, valid: bool) -> None:
        sealed, team_id = self._connection.sealed_key, self._connection.team_id
        assert sealed is not None
        try:
            with self._context.pool.connection() as connection:
                Connections(connection, self._context.box).set_key_valid(team_id, sealed, valid=valid)
                # Events that failed because of the key would wait for up to an hour.
                due = Ledger(connection, team_id).try_again(LAST_SECOND, limit=_TRIED_AGAIN) if valid else 0
        except psycopg.Error as exc:
            log.warning("key.not_judged", reason=str(exc))  # the next request to Stripe will tell
            return
        if due:
            self._wake()
        log.info("key.valid" if valid else "key.refused", team=team_id)

    def _wake(self) -> None:
        try:
            wake_events(self._context, self._connection.team_id)
        except redis.RedisError as exc:  # the scheduler will find them
            log.warning("events.not_woken", team=self._connection.team_id, reason=str(exc))
