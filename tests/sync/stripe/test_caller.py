"""One layer retries: what may pass, with jitter and Stripe's own wish; what will not fails at once, in Stripe's words."""

import email.utils
import time
from collections.abc import Callable

import msgspec
import pytest

from sync.errors import StripeRateLimited, StripeRejected, StripeUnavailable
from sync.object_types import OBJECT_TYPES
from sync.stripe.answers import Answer, Read
from sync.stripe.caller import Caller
from sync.stripe.retries import Retry
from tests.factories import NOW
from tests.sync.simulated_stripe import Budget, Clock, Request, SimulatedStripe, error, simulated_stripe, source_of

READ = Read("retrieve_customers", "/v1/customers/cus_1", {}, lambda answer: answer)
OK = (200, {}, b'{"id":"acct_1"}')


class Watch:
    """Remembers what it hears of retries."""

    def __init__(self) -> None:
        self.heard: list[Retry] = []
        self.waiting: set[object] = set()

    def waits(self, request: object, retry: Retry) -> None:
        self.heard.append(retry)
        self.waiting.add(request)

    def is_over(self, request: object) -> None:
        self.waiting.discard(request)  # also of one that never waited


class Called:
    """A caller whose answers the test writes down; when they are used up, the last one is given again."""

    def __init__(
        self,
        *answers: tuple[int, dict[str, str], bytes] | Exception,
        attempts: int = 5,
        wait_s: float = 0,
        count: int = 1,
    ) -> None:
        self.stripe = simulated_stripe()
        self.stripe.at_begin = self._give
        self.budget = Budget(wait_s=wait_s, count=count)
        self.waits: list[float] = []
        self.retries = Watch()
        self._answers = list(answers)
        self.caller = Caller(
            secret_key="sk_test_a",
            account_id="acct_1",
            livemode=False,
            api_base="https://stripe.invalid",
            transport=self.stripe,
            limiter=self.budget,
            attempts=attempts,
            sleep=self.waits.append,
            monotonic=self.stripe.clock,
            retries=self.retries,
        )

    def get(self, **options) -> Answer:
        return self.caller.get(READ, **options)

    def get_among(self, hear: Callable[[StripeUnavailable], None] = lambda error: None) -> Answer:
        """As one of many of a thread; it is paid for."""
        ends: list[Callable[[], Answer]] = []
        requests = self.caller.concurrent_requests()
        self.caller.begin(requests, READ, ends.append)
        while not ends:
            requests.wait(10)
        try:
            return ends[0]()
        except StripeUnavailable as error:
            return self.caller.again(READ, error, hear)

    def _give(self, request: Request) -> None:
        given = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if isinstance(given, Exception):
            raise given
        request.instead = given


@pytest.mark.parametrize(
    "failure",
    [
        error(500),
        error(502),
        error(503),
        error(409, "lock_timeout"),
        error(429, "rate_limit"),
        (500, {}, b"<html>Bad gateway</html>"),
        (502, {}, b""),
        StripeUnavailable("no answer from Stripe: it took too long"),
    ],
)
@pytest.mark.parametrize("way", ["get", "get_among"])
def test_what_may_pass_is_tried_again(failure, way: str) -> None:
    called = Called(failure, failure, OK)

    assert getattr(called, way)().body == OK[2]
    assert len(called.waits) == 2


@pytest.mark.parametrize(
    ("status", "code"), [(400, "parameter_invalid"), (401, None), (402, None), (403, None), (404, "resource_missing")]
)
@pytest.mark.parametrize("way", ["get", "get_among"])
def test_what_will_not_pass_fails_at_once(status: int, code: str | None, way: str) -> None:
    called = Called(error(status, code, "The key is bad.", **{"Request-Id": "req_7"}))

    with pytest.raises(StripeRejected) as raised:
        getattr(called, way)()

    refused = raised.value
    assert called.waits == []
    assert (refused.status, refused.stripe_code, refused.request_id, refused.message) == (
        status,
        code,
        "req_7",
        "The key is bad.",
    )
    assert refused.details == {
        "status": status,
        "stripeMessage": "The key is bad.",
        "requestId": "req_7",
        **({"stripeCode": code} if code else {}),
    }


@pytest.mark.parametrize("way", ["get", "get_among"])
def test_after_the_last_attempt_the_error_says_what_stripe_said(way: str) -> None:
    called = Called(error(503, message="We are down."), attempts=3)

    with pytest.raises(StripeUnavailable, match="We are down"):
        getattr(called, way)()

    assert len(called.waits) == 2


def test_an_answer_of_html_is_not_repeated_to_anybody() -> None:
    called = Called((502, {}, b"<html>secret page</html>"), attempts=1)

    with pytest.raises(StripeUnavailable) as raised:
        called.get()

    assert "html" not in raised.value.message
    assert "502" in raised.value.message


def test_broken_json_under_a_200_is_tried_again() -> None:
    called = Called((200, {}, b'{"id": "cus_'), OK)

    found = called.caller.get(Read("e", "/v1/account", {}, lambda answer: msgspec.json.decode(answer.body)))

    assert found == {"id": "acct_1"}


def test_waits_have_full_jitter_and_a_cap() -> None:
    longest = [0.0] * 12
    for _ in range(60):
        called = Called(error(500), attempts=13)
        with pytest.raises(StripeUnavailable):
            called.get()
        longest = [max(pair) for pair in zip(longest, called.waits, strict=True)]
        for number, wait_s in enumerate(called.waits):
            assert 0 <= wait_s <= min(20, 0.5 * 2**number)

    assert longest[-1] > 10, "the later waits are long"
    assert longest[0] > 0.25, "and use the whole of their range"


def test_stripes_own_wish_goes_before_jitter() -> None:
    called = Called(error(429, **{"Retry-After": "7"}), error(503, **{"Retry-After": "0"}), OK)

    called.get()

    assert called.waits == [7.0, 0.0]


@pytest.mark.parametrize("wish", ["soon", "-1", "Wed, 21 Oct 2026 07:28:00 GMT", ""])
def test_a_wish_that_is_no_number_of_seconds_is_not_heard(wish: str) -> None:
    called = Called(error(503, **{"Retry-After": wish}), OK)

    called.get()

    assert 0 <= called.waits[0] <= 0.5


@pytest.mark.parametrize("reason", ["global-rate", "endpoint-rate", "global-concurrency", "resource-specific", None])
def test_a_429_tells_the_budget_its_reason(reason: str | None) -> None:
    headers = {"Stripe-Rate-Limited-Reason": reason} if reason else {}
    called = Called(error(429, "rate_limit", **headers), OK)
    heard: list[BaseException] = []

    called.get_among(heard.append)

    assert called.budget.slowed_down == [("retrieve_customers", reason)]
    assert isinstance(heard[0], StripeRateLimited)
    assert heard[0].reason == reason


def test_who_watches_hears_which_attempt_failed_how_and_when_the_next_one_comes() -> None:
    called = Called(error(500, **{"Request-Id": "req_1"}), StripeUnavailable("no answer"), OK, attempts=7)

    called.get()

    first, second = called.retries.heard
    assert (first.path, first.status, first.request_id) == ("/v1/customers/cus_1", 500, "req_1")
    assert (first.attempt, first.attempts, first.wait_s) == (1, 7, called.waits[0])
    assert (second.attempt, second.status, second.message) == (2, None, "no answer")
    assert called.retries.waiting == set()


def test_who_watches_hears_that_it_is_over_also_where_nothing_came_of_it() -> None:
    called = Called(error(500), attempts=3)

    with pytest.raises(StripeUnavailable):
        called.caller.fail_fast().get(Read("e", "/v1/customers", {}, lambda answer: answer))

    assert [retry.attempts for retry in called.retries.heard] == [3, 3]
    assert called.retries.waiting == set()


def test_every_attempt_is_paid_for_except_one_that_is_paid_already() -> None:
    unpaid, paid, among = (Called(error(500), error(500), OK) for _ in range(3))

    unpaid.get()
    paid.get(reserved=True)
    among.get_among()

    assert len(unpaid.budget.reserved) == 3
    assert len(paid.budget.reserved) == len(among.budget.reserved) == 2


def test_a_page_stands_in_line_also_when_it_is_tried_again_and_a_cut_list_does_not() -> None:
    stripe, budget, invoices = simulated_stripe(counts={"customer": 1}), Budget(), OBJECT_TYPES["invoice"]
    customer = stripe.account.objects("customer")[0]["id"]
    invoice = stripe.account.create("invoice", customer=customer)
    lines = [{"amount": 1, "description": "a line"} for _ in range(12)]
    stripe.account.handle("POST", f"/v1/invoices/{invoice['id']}/add_lines", {"lines": lines})
    source = source_of(stripe, budget=budget)
    failures = [error(500), None, error(500), None]

    def fail_every_other(request: Request) -> None:
        request.instead = failures.pop(0)

    stripe.at_begin = fail_every_other
    page = source.page(invoices, {}, reserved=True)
    source.complete(invoices, page.cut_ids(invoices), page.answer)

    assert list(zip(budget.reserved, budget.urgent, budget.most, strict=True)) == [
        ("list_invoices", False, 1),
        ("list_lines", True, 1),
        ("list_lines", True, 1),
    ]


def test_a_request_waits_as_long_as_the_budget_says() -> None:
    called = Called(OK, wait_s=1.5)

    called.get()

    assert called.waits == [1.5]


# as_of, as_of_until -----------------------------------------------------------------------------------------------------


def moments(*, before_s: float, after_s: float, at: float = NOW) -> tuple[Answer, float, float]:
    """A request with the time it takes before and after Stripe writes the Date; and when it began and ended."""
    called = Called(OK)
    called.stripe.clock.now = at

    def begin(request: Request) -> None:
        request.instead = OK
        called.stripe.clock.advance(before_s)

    called.stripe.at_begin = begin
    called.stripe.at_end = lambda request: called.stripe.clock.advance(after_s)
    answer = called.get()
    return answer, at, called.stripe.clock.now


@pytest.mark.parametrize("at", [NOW, NOW + 0.001, NOW + 0.5, NOW + 0.999])
@pytest.mark.parametrize("before_s", [0, 0.2, 1, 3.7, 60])
@pytest.mark.parametrize("after_s", [0, 0.2, 1, 3.7, 60])
def test_an_answer_was_true_between_its_two_moments(at: float, before_s: float, after_s: float) -> None:
    answer, began, ended = moments(at=at, before_s=before_s, after_s=after_s)

    assert answer.as_of <= began
    assert ended <= answer.as_of_until
    assert answer.as_of_until - answer.as_of <= 2 * (ended - began) + 3, "and not between much wider ones"


def test_our_own_clock_plays_no_part() -> None:
    simulated = SimulatedStripe(simulated_stripe().account, Clock(NOW))
    date = email.utils.formatdate(NOW + 9000, usegmt=True)
    called = Called((200, {"Date": date}, b"{}"))
    called.stripe.clock = simulated.clock

    answer = called.get()

    assert (answer.as_of, answer.as_of_until) == (NOW + 9000, NOW + 9001)


@pytest.mark.parametrize("date", ["", "yesterday", "Wed, 99 Foo 2026 00:00:00 GMT"])
def test_a_date_that_cannot_be_read_is_replaced_by_our_own_clock(date: str) -> None:
    before = int(time.time())

    answer = Called((200, {"Date": date}, b"{}")).get()

    assert before <= answer.as_of <= time.time()


def test_a_refusal_has_its_moments_too() -> None:
    called = Called(error(404, "resource_missing"))

    with pytest.raises(StripeRejected) as raised:
        called.get()

    assert (raised.value.as_of, raised.value.as_of_until) == (NOW, NOW + 1)
