"""The sentence about a backfill that does not move says what is known, and nothing while all is well."""

from typing import Any

import pytest

from api.account.notices import notice

WORKING = {"state": "working", "silentSeconds": 0.3, "resumesWithinSeconds": None}
WAITING = {"state": "waiting", "silentSeconds": 7.2, "resumesWithinSeconds": None}


def stopped(*, resumes_within: int = 6) -> dict[str, Any]:
    return {"state": "stopped", "silentSeconds": 4.0, "resumesWithinSeconds": resumes_within}


def paused() -> dict[str, Any]:
    return {"state": "paused", "silentSeconds": 12.4, "resumesWithinSeconds": 26}


def failed(attempt: int = 3, *, status: int | None = 500, request_id: str | None = "req_1", soon: float = 12.0) -> Any:
    return {
        "path": "/v1/invoices",
        "status": status,
        "requestId": request_id,
        "attempt": attempt,
        "attempts": 15,
        "nextTryInSeconds": soon,
    }


def said(
    work: dict[str, Any], retries: dict[str, Any] | None = None, *, still_s: float | None = 0, workers: int | None = 6
) -> str | None:
    return notice(work, retries or {}, still_s=still_s, workers=workers)


@pytest.mark.parametrize(
    "work",
    [
        pytest.param({"invoice": WORKING, "charge": WAITING}, id="somebody works"),
        pytest.param({"invoice": WAITING | {"silentSeconds": 0.4}}, id="just enqueued"),
        pytest.param({}, id="nothing is left"),
    ],
)
def test_while_all_is_well_there_is_nothing_to_say(work: dict[str, Any]) -> None:
    assert said(work) is None


def test_a_stopped_worker_is_told_with_when_its_work_resumes() -> None:
    assert said({"invoice": stopped()}, still_s=12) == (
        "No progress for 12 s: a worker stopped. Work on invoices resumes within 6 s."
    )
    assert said({"invoice": stopped(), "charge": WORKING}) == "A worker stopped. Work on invoices resumes within 6 s."
    assert said({"customer": stopped(), "invoice": stopped(resumes_within=9), "charge": stopped()}, still_s=4) == (
        "3 workers stopped. Work on customers, invoices and charges resumes within 9 s."
    )


def test_what_was_foretold_and_did_not_happen_is_not_foretold_again() -> None:
    assert said({"invoice": stopped(resumes_within=1)}, still_s=40) == (
        "No progress for 40 s: a worker stopped. Work on invoices resumes as soon as a worker is free."
    )


def test_without_any_worker_the_sentence_says_what_to_do() -> None:
    assert said({"invoice": stopped(), "charge": WAITING}, still_s=15, workers=0) == (
        "No progress for 15 s: no worker is running. Start the worker process: the sync continues where it stopped."
    )


def test_a_worker_that_only_paused_is_not_called_dead() -> None:
    assert said({"finish": paused()}, still_s=None) == (
        "The worker on the last checks has been silent for 12 s. It resumes within 26 s."
    )


def test_parts_that_nobody_has_taken_up_wait_for_a_worker() -> None:
    assert said({"invoice": WAITING, "charge": WAITING}) == "Waiting for a free worker for 7 s."


def test_a_retry_is_told_with_status_request_and_next_attempt() -> None:
    assert said({"invoice": WORKING}, {"invoice": failed()}, still_s=31) == (
        "No progress for 31 s: Stripe answered 500 to /v1/invoices, request req_1: attempt 3 of 15 failed, the next"
        " starts in 12 s."
    )
    assert said({"invoice": WORKING}, {"invoice": failed(status=None, request_id=None, soon=0.2)}) == (
        "Stripe gave no answer to /v1/invoices: attempt 3 of 15 failed, the next starts now."
    )


def test_of_several_retries_the_one_that_failed_most_is_told() -> None:
    sentence = said({"invoice": WORKING}, {"customer": failed(2), "invoice": failed(7), "charge": failed(1)})

    assert sentence is not None
    assert "attempt 7 of 15" in sentence


def test_one_attempt_that_failed_and_is_repeated_at_once_is_no_news() -> None:
    assert said({"invoice": WORKING}, {"invoice": failed(1, soon=0.4)}) is None


def test_where_nothing_is_known_the_silence_itself_is_told() -> None:
    assert said({"invoice": WORKING}, still_s=14) == "No progress for 14 s: waiting for Stripe."
