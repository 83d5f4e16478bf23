"""Takes in event deliveries: verifies them, records them in batches and gets them applied.

One thread writes the events of all requests. So one fsync covers every event that came while the previous fsync ran,
and an answer waits for at most two. Another thread then tells Redis; no answer waits for that.
"""

import contextlib
import re
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import psycopg
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

# The application's extension.
INTAKE = "billstack_intake"
_TEAM_ID = re.compile(r"team_[a-z0-9_]{1,64}")
# How long a secret may still be accepted after it was replaced or forgotten.
_SECRETS_LAST_S = 1.0
# Events in one statement.
_MOST_TOGETHER = 200
# As long as Stripe waits for an answer, more or less. A later one would find nobody, and would have held a thread.
_PATIENCE_S = 20.0

log = structlog.get_logger()


@dataclass(slots=True)
class _Waiting:
    """An event whose request waits until `done` is set. Then it is durable, or `error` says why not."""

    event: Delivered
    request_id: str | None
    done: threading.Event = field(default_factory=threading.Event)
    is_new: bool = False
    error: Exception | None = None


class Intake:
    """One per process that receives deliveries. Thread-safe."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._waker = _Waker(context)
        self._refusals = Refusals(context)
        self._secrets: dict[str, tuple[float, list[str]]] = {}
        self._waiting: list[_Waiting] = []
        self._changed = threading.Condition()
        self._writer: threading.Thread | None = None

    def take(self, team_id: str, body: bytes, signature: str | None, *, now: float, request_id: str | None) -> bool:
        """Returns False if the event was known already. `now` is in epoch seconds; `body` is the request's, unchanged.

        Once this returns, the event survives any crash. Raises NotFound for an unknown team, BadRequest for a body that
        Stripe did not sign or that is no event, and psycopg.Error if the event could not be recorded.
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
        if not waiting.done.wait(_PATIENCE_S):
            raise psycopg.OperationalError("the ledger could not be written in time")  # it may still be
        if isinstance(waiting.error, REFUSALS):
            raise _no_event() from waiting.error
        if waiting.error:
            raise waiting.error
        return waiting.is_new

    def _note_refused(self, team_id: str, body: bytes, signature: str | None) -> None:
        """Counts only requests that look like a delivery from Stripe. Others are not worth a person's attention."""
        if is_well_formed(signature):
            with contextlib.suppress(*UNREADABLE):
                read_delivered(team_id, body)
                self._refusals.add(team_id)

    def _verify(self, team_id: str, body: bytes, signature: str | None, now: float) -> None:
        """Deliveries come in bursts, so secrets are read once a second, and again if none matches."""
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
            if self._writer is None:  # not earlier: servers fork
                self._writer = threading.Thread(target=self._write_all, name="intake", daemon=True)
                self._writer.start()
            self._waiting.append(waiting)
            self._changed.notify()

    # The writer thread --------------------------------------------------------------------------------------------

    def _write_all(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting)
                together = self._waiting[:_MOST_TOGETHER]
                del self._waiting[:_MOST_TOGETHER]
            self._write(together)
            for waiting in together:
                waiting.done.set()
            self._wake(together)

    def _wake(self, together: Sequence[_Waiting]) -> None:
        """Must not end this thread: without it, no delivery would be answered any more."""
        try:
            for waiting in together:
                if waiting.is_new:
                    self._waker.wake(waiting.event.team_id, waiting.request_id)
        except RuntimeError as exc:  # there is no thread left for the waker
            log.warning("events.not_woken", reason=str(exc))

    def _write(self, together: Sequence[_Waiting]) -> None:
        try:
            with self._context.pool.connection() as connection:
                new = record_delivered(connection, [waiting.event for waiting in together])
        except Exception as exc:  # any error: the waiting requests need an answer
            self._refuse(together, exc)
            return
        for waiting in together:
            key = (waiting.event.team_id, waiting.event.id)
            waiting.is_new = key in new
            new.discard(key)  # a duplicate in the same batch is not new

    def _refuse(self, together: Sequence[_Waiting], error: Exception) -> None:
        """One bad event, or a team that is being removed, must not fail the other events of the batch.

        Tries halves of the batch: one bad event in two hundred is found with sixteen statements.
        """
        if len(together) > 1 and not is_lost(error):
            half = len(together) // 2
            self._write(together[:half])
            self._write(together[half:])
            return
        for waiting in together:
            waiting.error = error


class _Waker:
    """Wakes the teams' apply jobs from its own thread, once for all events that came meanwhile.

    So a slow or hanging Redis delays no answer to Stripe. If the process ends first, the scheduler finds the events in
    the ledger.
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
    return BadRequest("the body is not a Stripe event", code="malformed_event")
