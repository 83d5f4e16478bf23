"""A POST repeated under one idempotency key is done once."""

from typing import Any

from scripts.sandbox.account import Account
from scripts.sandbox.answers import Answer
from tests.sandbox.conftest import EMPTY, Clock


def post(account: Account, key: str, broken: Any = None, path: str = "/v1/customers", **params: Any) -> Answer:
    return account.handle("POST", path, params, {"idempotency-key": key}, broken)


def test_a_repeated_key_gives_the_first_answer_and_makes_nothing_new(empty: Account) -> None:
    first = post(empty, "k", name="Ada")
    again = post(empty, "k", name="Ada")

    assert again.body == first.body
    assert again.headers["Idempotent-Replayed"] == "true"
    assert len(empty.objects("customer")) == 1


def test_a_key_with_other_parameters_is_an_idempotency_error(empty: Account) -> None:
    post(empty, "k", name="Ada")

    for answer in (post(empty, "k", name="Grace"), post(empty, "k", path="/v1/products", name="Ada")):
        assert answer.status == 400
        assert answer.json()["error"]["type"] == "idempotency_error"


def test_keys_of_other_accounts_do_not_meet(empty: Account) -> None:
    other = Account("other", EMPTY, Clock())

    assert post(empty, "k", name="Ada").body != post(other, "k", name="Ada").body


def test_refused_parameters_are_not_stored(empty: Account) -> None:
    assert post(empty, "k", balance="much").status == 400
    assert post(empty, "k", balance="5").status == 200


def test_a_stored_500_is_replayed_whether_or_not_the_work_was_done(empty: Account) -> None:
    assert post(empty, "before", "before").status == 500
    assert post(empty, "before").status == 500
    assert empty.objects("customer") == []

    assert post(empty, "after", "after").status == 500
    assert post(empty, "after").status == 500
    assert len(empty.objects("customer")) == 1


def test_a_key_is_forgotten_after_a_day(empty: Account, clock: Clock) -> None:
    post(empty, "k")
    clock.now += 24 * 3600 + 1
    post(empty, "k")

    assert len(empty.objects("customer")) == 2


def test_a_key_has_at_most_255_characters(empty: Account) -> None:
    assert post(empty, "k" * 256).status == 400
    assert post(empty, "k" * 255).status == 200
