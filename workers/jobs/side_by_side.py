"""Applies the events of several teams at the same time, each in one thread.

A team whose objects have to be fetched waits for Stripe. Other teams' events do not wait behind it.
"""

from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextvars import copy_context

import structlog

from sync.error_text import loggable_reason

# Most of a team's time is Stripe's answer to a doubtful event. With about this many teams, two cores are busy.
TEAMS_TOGETHER = 24
# A team that is woken meanwhile waits this long at most for a free thread to see it.
_LOOK_EVERY_S = 0.02

Facts = dict[str, str]  # `team`, and the `request_id` that woke it

log = structlog.get_logger()


class SideBySide:
    """`apply` settles one team's events and returns how many. `take` takes a waiting team, or returns None.

    `put_back` wakes a team again that failed. If it fails again, it does so in a job of its own and under its own name.
    """

    def __init__(
        self,
        apply: Callable[[str], int],
        take: Callable[[], Facts | None],
        put_back: Callable[[Facts], None],
        is_over: Callable[[], bool],
    ) -> None:
        self._apply = apply
        self._take = take
        self._put_back = put_back
        self._is_over = is_over
        self._running: dict[Future[int], Facts] = {}
        self._woken: dict[str, Facts] = {}  # teams that were woken while they were being served
        self._has_failed = False

    def run(self, first: Facts) -> int:
        """Serves `first`, then waiting teams until none waits or the turn is over. Raises what `first` raises."""
        settled = 0
        with ThreadPoolExecutor(TEAMS_TOGETHER) as pool:
            own = self._begin(pool, first)
            while self._take_more(pool):
                ended, _ = wait(self._running, timeout=_LOOK_EVERY_S, return_when=FIRST_COMPLETED)
                for each in ended:
                    facts = self._running.pop(each)
                    settled += 0 if each is own else self._settled(each, facts)
                    self._serve_again(pool, facts["team"])
        return settled + own.result()

    def _begin(self, pool: ThreadPoolExecutor, facts: Facts) -> Future[int]:
        future = pool.submit(copy_context().run, self._serve, facts)
        self._running[future] = facts
        return future

    def _serve(self, facts: Facts) -> int:
        with structlog.contextvars.bound_contextvars(**facts):
            return self._apply(facts["team"])

    def _take_more(self, pool: ThreadPoolExecutor) -> bool:
        """Returns whether any team is being served now."""
        served = {facts["team"] for facts in self._running.values()}
        while len(self._running) < TEAMS_TOGETHER and self._may_take() and (facts := self._take()):
            if facts["team"] in served:
                self._woken[facts["team"]] = facts
            else:
                self._begin(pool, facts)
                served.add(facts["team"])
        return bool(self._running)

    def _may_take(self) -> bool:
        return not self._has_failed and not self._is_over()

    def _settled(self, future: Future[int], facts: Facts) -> int:
        try:
            return future.result()
        except Exception as exc:
            with structlog.contextvars.bound_contextvars(**facts):
                log.warning("events.put_back", reason=loggable_reason(exc))
            self._put_back(facts)
            self._has_failed = True
            return 0

    def _serve_again(self, pool: ThreadPoolExecutor, team_id: str) -> None:
        facts = self._woken.pop(team_id, None)
        if facts is None:
            return
        if self._may_take():
            self._begin(pool, facts)
        else:
            self._put_back(facts)
