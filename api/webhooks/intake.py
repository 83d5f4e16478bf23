"""Takes in deliveries of events: checks them, makes them durable together, and sees to it that somebody applies them.

One thread writes what all the others bring, so that an fsync serves all that came while the one before it ran: an answer
waits for two of them at most, however many come. Another thread tells Redis afterwards; no answer waits for that.
"""

import contextlib
import re
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import redis
import structlog

from api.webhooks.refusals import Refusals
from sync.errors import BadRequest, NotFound
from sync.events.ledger import Delivered, record_delivered
from sync.events.routing import UNREADABLE, read_delivered
from sync.mirror.store import REFUSALS, is_lost
from sync.stripe.signature import is_well_formed, verify
from sync.teams.connections import Connections
from workers.context import Context
from workers.queues import wake_events

_TEAM_ID = re.compile(r"team_[a-z0-9_]{1,64}")
# For so long a secret may still be taken that was replaced or forgotten.
_SECRETS_LAST_S = 1.0
# In one statement.
_MOST_TOGETHER = 200

log = structlog.get_logger()


@dataclass(slots=True)
class _Waiting:
    """An event whose bringer waits until `done`: it is durable then, or there is an `error`."""

    event: Delivered
    request_id: str | None
    done: threading.Event = field(default_factory=threading.Event)
    is_new: bool = False
    error: Exception | None = None


class Intake:
    """One per process that Stripe delivers to. Thread-safe."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._waker = _Waker(context)
        self._refusals = Refusals(context)
        self._secrets: dict[str, tuple[float, list[str]]] = {}
        self._waiting: list[_Waiting] = []
        self._changed = threading.Condition()
        self._writer: threading.Thread | None = None

    def take(self, team_id: str, body: bytes, signature: str | None, *, now: float, request_id: str | None) -> bool:
        """False when the event was known already. `now` is in epoch seconds, `body` exactly as it came.

        When this returns, the event outlives a crash of everything. Raises NotFound for an unknown team, BadRequest for
        what Stripe did not sign or what is no event, psycopg.Error when it could not be recorded.
        """
        try:
            self._verify(team_id, body, signature, now)
        except BadRequest:
            self._note_refused(team_id, body, signature)
            raise
        try:
            waiting = _Waiting(read_delivered(team_id, body), request_id)
        except UNREADABLE as exc:
            raise _no_event() from exc
        self._hand_over(waiting)
        waiting.done.wait()
        if isinstance(waiting.error, REFUSALS):
            raise _no_event() from waiting.error
        if waiting.error:
            raise waiting.error
        return waiting.is_new

    def _note_refused(self, team_id: str, body: bytes, signature: str | None) -> None:
        """Only what looks like a delivery of Stripe's is worth a person's attention."""
        if is_well_formed(signature):
            with contextlib.suppress(*UNREADABLE):
                read_delivered(team_id, body)
                self._refusals.add(team_id)

    def _verify(self, team_id: str, body: bytes, signature: str | None, now: float) -> None:
        """Deliveries come in bursts: secrets are read once a second, and at once when they do not fit."""
        read_at, secrets = self._secrets.get(team_id, (0.0, []))
        if time.monotonic() - read_at < _SECRETS_LAST_S:
            try:
                return verify(body, signature, secrets, now=now)
            except BadRequest:
                log.debug("secrets.read_again", team=team_id)
        verify(body, signature, self._read_secrets(team_id), now=now)

    def _read_secrets(self, team_id: str) -> list[str]:
        found = None
        if _TEAM_ID.fullmatch(team_id):
            with self._context.pool.connection() as connection:
                found = Connections(connection, self._context.box).webhook_secrets(team_id)
        if found is None:
            raise NotFound("there is no such team, or it was never connected to Stripe")
        self._secrets[team_id] = (time.monotonic(), found)
        return found

    def _hand_over(self, waiting: _Waiting) -> None:
        with self._changed:
            if self._writer is None:  # not before, for servers fork
                self._writer = threading.Thread(target=self._write_all, name="intake", daemon=True)
                self._writer.start()
            self._waiting.append(waiting)
            self._changed.notify()

    # The writer's thread -------------------------------------------------------------------------------------------

    def _write_all(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting)
                together = self._waiting[:_MOST_TOGETHER]
                del self._waiting[:_MOST_TOGETHER]
            self._write(together)
            for waiting in together:
                if waiting.is_new:
                    self._waker.wake(waiting.event.team_id, waiting.request_id)
                waiting.done.set()

    def _write(self, together: Sequence[_Waiting]) -> None:
        try:
            with self._context.pool.connection() as connection:
                new = record_delivered(connection, [waiting.event for waiting in together])
        except Exception as exc:  # whatever it is: who brought these waits for a word
            self._refuse(together, exc)
            return
        for waiting in together:
            key = (waiting.event.team_id, waiting.event.id)
            waiting.is_new = key in new
            new.discard(key)  # its twin of the same moment is not new

    def _refuse(self, together: Sequence[_Waiting], error: Exception) -> None:
        """One event that Postgres refuses, or a team that is being removed, is no reason to refuse the others.

        By halves: one of two hundred is found with sixteen statements.
        """
        if len(together) > 1 and not is_lost(error):
            half = len(together) // 2
            self._write(together[:half])
            self._write(together[half:])
            return
        for waiting in together:
            waiting.error = error


class _Waker:
    """Wakes teams' apply jobs from a thread of its own, once for all events that come meanwhile.

    So a Redis that is slow or hangs holds up no answer to Stripe; and what this process did not get to tell it, the
    scheduler finds in the ledger.
    """

    def __init__(self, context: Context) -> None:
        self._context = context
        self._teams: dict[str, str | None] = {}
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None

    def wake(self, team_id: str, request_id: str | None) -> None:
        with self._changed:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="waker", daemon=True)
                self._thread.start()
            self._teams.setdefault(team_id, request_id)
            self._changed.notify()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._teams)
                teams, self._teams = self._teams, {}
            for team_id, request_id in teams.items():
                try:
                    wake_events(self._context, team_id, request_id=request_id)
                except redis.RedisError as exc:
                    log.warning("events.not_woken", team=team_id, reason=str(exc))


def _no_event() -> BadRequest:
    return BadRequest("the body is no event of Stripe's", code="malformed_event")
