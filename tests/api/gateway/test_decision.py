"""Who answers what: the table of the gateway's decisions."""

from dataclasses import replace

import pytest

from api.gateway import decision as gateway
from api.gateway.decision import Asked, Forward, MirrorList, MirrorNested, MirrorObject
from api.gateway.errors import RefusedParameter
from api.gateway.params import nested
from api.gateway.store import Standing
from sync.object_types import OBJECT_TYPES
from sync.stripe.sdk import API_VERSION

ALL = frozenset(OBJECT_TYPES)
WHOLE = Standing(is_connected=True, mirrored=ALL, right_as_of=dict.fromkeys(OBJECT_TYPES, 1_700_000_000))
NOTHING_READ = Standing(is_connected=True, mirrored=ALL)
NOT_CONNECTED = Standing(is_connected=False, mirrored=ALL, right_as_of=WHOLE.right_as_of)


def decide(asked, standing):
    found = gateway.decide(asked)
    return found if isinstance(found, Forward) else gateway.doubt(asked, found.object_type, standing) or found


def asked(target, method="GET", **facts):
    path, _, query = target.partition("?")
    pairs = [tuple(pair.split("=", 1)) for pair in query.split("&") if pair]
    return Asked(method, path, nested(pairs), **facts)


@pytest.mark.parametrize(
    ("target", "kind"),
    [
        ("/v1/customers", MirrorList),
        ("/v1/customers?email=a@b&limit=3&created[gte]=5", MirrorList),
        ("/v1/customers/cus_1", MirrorObject),
        ("/v1/invoices/in_1?expand[]=customer", MirrorObject),
        ("/v1/invoices?expand[]=data.customer", MirrorList),
        ("/v1/invoices/in_1/lines", MirrorNested),
        ("/v1/invoices/in_1/lines?limit=2&starting_after=il_1", MirrorNested),
        ("/v1/subscription_items?subscription=sub_1", MirrorNested),
        ("/v1/products?active=True", MirrorList),
        ("/v1/checkout/sessions/cs_1", MirrorObject),
        ("/v1/plans?product=prod_1", MirrorList),
        ("/v1/plans/gold?expand[]=tiers", MirrorObject),
        ("/v1/checkout/sessions/cs_1/line_items", MirrorNested),
    ],
)
def test_the_mirror_answers_what_it_can_answer_exactly(target, kind):
    assert isinstance(decide(asked(target), WHOLE), kind)


@pytest.mark.parametrize(
    "target",
    [
        "/v1/balance",
        "/v1/customers/search?query=x",
        "/v1/invoices/upcoming?customer=cus_1",
        "/v1/customers/cus_1/sources",
        "/v1/customers/",
        "/v1/customers/cus_1?include=x",
        "/v1/customers?test_clock=clock_1",
        "/v1/invoices?expand[]=customer",
        "/v1/invoices/in_1/lines?expand[]=data.price",
        "/v1/subscription_items",
        "/v1/plans?type=recurring",
        "/v1/plans?expand[]=data.currency_options",
        "/v1/plans/gold/x",
        "/v1/",
    ],
)
def test_stripe_answers_the_rest(target):
    decision = decide(asked(target), WHOLE)

    assert isinstance(decision, Forward)
    assert decision.reason
    assert not decision.is_known_later


@pytest.mark.parametrize("method", ["POST", "DELETE"])
def test_stripe_does_what_changes_something(method):
    assert isinstance(decide(asked("/v1/customers/cus_1", method), WHOLE), Forward)


@pytest.mark.parametrize(
    "facts",
    [{"api_version": "2023-10-16"}, {"account": "acct_other"}, {"wants_fresh": True}],
    ids=lambda facts: min(facts),
)
def test_the_mirror_answers_in_its_own_version_for_its_own_account(facts):
    assert isinstance(decide(asked("/v1/customers/cus_1", **facts), WHOLE), Forward)


def test_the_mirrors_own_version_may_be_named():
    assert isinstance(decide(asked("/v1/customers/cus_1", api_version=API_VERSION), WHOLE), MirrorObject)


@pytest.mark.parametrize(
    ("version", "kind"), [(None, MirrorObject), ("2023-10-16", MirrorObject), (API_VERSION, Forward)]
)
def test_a_connection_may_speak_another_version_than_ours(version, kind):
    older = replace(WHOLE, api_version="2023-10-16")

    assert isinstance(decide(asked("/v1/customers/cus_1", api_version=version), older), kind)


@pytest.mark.parametrize("standing", [NOTHING_READ, NOT_CONNECTED])
@pytest.mark.parametrize("target", ["/v1/customers", "/v1/customers/cus_1", "/v1/invoices/in_1/lines"])
def test_what_is_not_known_is_never_answered(target, standing):
    decision = decide(asked(target), standing)

    assert isinstance(decision, Forward)
    assert decision.is_known_later


@pytest.mark.parametrize(
    "target",
    [
        "/v1/customers?limit=0",
        "/v1/customers?limit=101",
        "/v1/customers?limit=ten",
        "/v1/customers?starting_after=a&ending_before=b",
        "/v1/invoices/in_1?expand[]=a.b.c.d.e",
        "/v1/subscriptions?expand[]=data.items.data.price.product",
        "/v1/invoices?status=gone",
    ],
)
def test_what_stripe_refuses_is_refused(target):
    with pytest.raises(RefusedParameter):
        decide(asked(target), WHOLE)


def test_a_type_that_the_team_does_not_mirror_is_stripes():
    decision = decide(asked("/v1/refunds"), Standing(is_connected=True, mirrored=ALL - {"refund"}))

    assert isinstance(decision, Forward)
    assert not decision.is_known_later
