"""What is handed to a loop is called in the thread that waits, whichever thread it comes from."""

import threading
import time
from collections.abc import Callable, Iterator

import pytest

from sync.backfill.loop import Loop
from sync.errors import StripeRejected, StripeUnavailable
from sync.stripe.answers import Answer, Read
from tests.sync.simulated_stripe import Request, SimulatedStripe, error, simulated_stripe, source_of

READ = Read("list_customers", "/v1/customers", {}, lambda answer: answer.body)


@pytest.fixture
def stripe() -> SimulatedStripe:
    return simulated_stripe()


@pytest.fixture
def loop(stripe: SimulatedStripe) -> Iterator[Loop]:
    with Loop(source_of(stripe, attempts=3).caller, most_threads=4) as made:
        yield made


def answers(*bodies: bytes | tuple[int, dict[str, str], bytes]) -> Callable[[Request], None]:
    left = list(bodies)

    def answer(request: Request) -> None:
        given = left.pop(0)
        request.instead = (200, {}, given) if isinstance(given, bytes) else given

    return answer


def wait_for(loop: Loop, found: list, count: int = 1) -> None:
    give_up_at = time.monotonic() + 10
    while len(found) < count and time.monotonic() < give_up_at:
        loop.wait(0.5)
    assert len(found) == count


def fail(*_: object) -> None:
    pytest.fail("not expected")


def test_an_answer_is_handed_over_in_the_thread_that_waits(loop: Loop, stripe: SimulatedStripe) -> None:
    stripe.at_begin = answers(b"{}")
    found: list[tuple[bytes, int]] = []

    loop.read(READ, lambda body: found.append((body, threading.get_ident())), fail)
    wait_for(loop, found)

    assert found == [(b"{}", threading.get_ident())]


def test_what_may_pass_is_tried_again_elsewhere_and_handed_over_here(loop: Loop, stripe: SimulatedStripe) -> None:
    stripe.at_begin = answers(error(500), error(429, "rate_limit"), b"{}")
    found: list[tuple[bytes, int]] = []
    retried: list[tuple[int | None, int]] = []

    loop.read(
        READ,
        lambda body: found.append((body, threading.get_ident())),
        fail,
        lambda failure: retried.append((failure.status, threading.get_ident())),  # type: ignore[attr-defined]
    )
    wait_for(loop, found)

    here = threading.get_ident()
    assert found == [(b"{}", here)]
    assert retried == [(500, here), (429, here)]
    assert len(stripe.requests) == 3


@pytest.mark.parametrize("before", [(), (error(500),)], ids=["at once", "when it is tried again"])
def test_a_refusal_is_handed_over(loop: Loop, stripe: SimulatedStripe, before: tuple) -> None:
    stripe.at_begin = answers(*before, error(404, "resource_missing"))
    refused: list[StripeRejected] = []

    loop.read(READ, fail, refused.append)
    wait_for(loop, refused)

    assert refused[0].is_missing


def test_what_does_not_pass_is_raised_by_wait(loop: Loop, stripe: SimulatedStripe) -> None:
    stripe.at_begin = answers(*[error(503, message="We are down.")] * 3)
    loop.read(READ, fail, fail)

    with pytest.raises(StripeUnavailable, match="We are down"):
        wait_for(loop, [], 1)

    assert len(stripe.requests) == 3


def test_what_a_reader_raises_is_raised_by_wait(loop: Loop, stripe: SimulatedStripe) -> None:
    stripe.at_begin = answers(b"{}")

    def broken(answer: Answer) -> None:
        raise ZeroDivisionError

    loop.read(Read("list_customers", "/v1/customers", {}, broken), fail, fail)

    with pytest.raises(ZeroDivisionError):
        wait_for(loop, [], 1)


def test_other_threads_tell_in_the_order_in_which_they_speak(loop: Loop) -> None:
    told: list[tuple[int, int]] = []

    def speak() -> None:
        for number in range(100):
            loop.tell(lambda number: told.append((number, threading.get_ident())), number)

    threading.Thread(target=speak, daemon=True).start()
    wait_for(loop, told, 100)

    assert told == [(number, threading.get_ident()) for number in range(100)]


def test_work_is_done_elsewhere_and_its_result_handed_over_here(loop: Loop) -> None:
    found: list[tuple[int, int]] = []

    loop.run(threading.get_ident, lambda there: found.append((there, threading.get_ident())))
    wait_for(loop, found)

    there, here = found[0]
    assert here == threading.get_ident() != there


def test_what_work_raises_is_raised_by_wait(loop: Loop) -> None:
    def break_down() -> None:
        raise ZeroDivisionError

    loop.run(break_down, fail)

    with pytest.raises(ZeroDivisionError):
        wait_for(loop, [], 1)


def test_what_ends_after_the_loop_is_not_heard_of(stripe: SimulatedStripe) -> None:
    go_on, told = threading.Event(), threading.Event()

    def work() -> None:
        go_on.wait(10)

    with Loop(source_of(stripe).caller, most_threads=1) as loop:
        loop.run(work, lambda _: told.set())
    go_on.set()

    assert not told.wait(0.1)
