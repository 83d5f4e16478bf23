"""The real SDK cannot tell the sandbox from Stripe."""

from typing import Any

import pytest
import stripe

from scripts.sandbox.running import SandboxThread


def client_of(served: SandboxThread, key: str = "sk_test_demo") -> stripe.StripeClient:
    http_client = stripe.RequestsClient(timeout=5)
    return stripe.StripeClient(key, base_addresses={"api": served.url}, max_network_retries=0, http_client=http_client)


@pytest.fixture
def client(served: SandboxThread) -> stripe.StripeClient:
    return client_of(served)


def test_auto_paging_meets_every_object_of_every_type(served: SandboxThread, client: stripe.StripeClient) -> None:
    lists: dict[str, Any] = {
        "customer": client.v1.customers.list({"limit": 30}),
        "product": client.v1.products.list({"limit": 30}),
        "subscription": client.v1.subscriptions.list({"limit": 30, "status": "all"}),
        "invoice": client.v1.invoices.list({"limit": 30}),
        "charge": client.v1.charges.list({"limit": 30, "created": {"gte": 5}}),
    }

    for type, page in lists.items():
        found = {each.id: each.to_dict() for each in page.auto_paging_iter()}
        assert found.keys() == {each["id"] for each in served.objects(type)}


def test_auto_paging_backwards_meets_them_too(client: stripe.StripeClient) -> None:
    newest_first = [each.id for each in client.v1.customers.list({"limit": 100}).auto_paging_iter()]

    page = client.v1.customers.list({"limit": 20, "ending_before": newest_first[-1]})

    assert [each.id for each in page.auto_paging_iter()] == newest_first[:-1][::-1]


def test_nested_lists_are_paged_by_their_own_calls(client: stripe.StripeClient) -> None:
    invoice = next(each for each in client.v1.invoices.list({"limit": 100}).auto_paging_iter() if each.lines.has_more)
    subscription = next(
        each
        for each in client.v1.subscriptions.list({"limit": 100, "status": "all"}).auto_paging_iter()
        if each["items"].has_more
    )

    lines = list(client.v1.invoices.line_items.list(invoice.id, {"limit": 5}).auto_paging_iter())
    items = list(client.v1.subscription_items.list({"subscription": subscription.id, "limit": 5}).auto_paging_iter())

    assert sum(line.amount for line in lines) == invoice.total
    assert len(items) > 10
    assert all(item.subscription == subscription.id for item in items)


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ("500", stripe.APIError),
        ("502", stripe.APIError),
        ("429", stripe.RateLimitError),
        ("reset", stripe.APIConnectionError),
        ("truncated", stripe.APIConnectionError),
        ("garbage", stripe.APIError),
    ],
)
def test_faults_become_the_sdks_errors(
    served: SandboxThread, client: stripe.StripeClient, fault: str, error: type[Exception]
) -> None:
    served.call("PUT", "faults", faults=[{"kind": fault, "share": 1}])

    with pytest.raises(error):
        client.v1.charges.list()


def test_refusals_become_the_sdks_errors(served: SandboxThread, client: stripe.StripeClient) -> None:
    restricted = client_of(served, served.call("POST", "keys", permissions=[])["key"])

    with pytest.raises(stripe.InvalidRequestError) as missing:
        client.v1.customers.retrieve("cus_unknown")
    with pytest.raises(stripe.AuthenticationError):
        client_of(served, "sk_test_nobody").v1.charges.list()
    with pytest.raises(stripe.PermissionError, match="rak_invoice_read"):
        restricted.v1.invoices.list()
    client.v1.customers.create({"name": "Ada"}, {"idempotency_key": "k"})
    with pytest.raises(stripe.IdempotencyError):
        client.v1.customers.create({"name": "Grace"}, {"idempotency_key": "k"})

    assert missing.value.code == "resource_missing"
    assert missing.value.request_id is not None


def test_a_limited_call_names_its_limit(served: SandboxThread, client: stripe.StripeClient) -> None:
    served.call("PUT", "limits", endpoint_rps=1)
    client.v1.charges.list()

    with pytest.raises(stripe.RateLimitError) as refused:
        client.v1.charges.list()

    assert refused.value.headers is not None
    assert refused.value.headers["Stripe-Rate-Limited-Reason"] == "endpoint-rate"


def test_a_business_is_built_by_the_sdk(client: stripe.StripeClient) -> None:
    customer = client.v1.customers.create({"email": "ada@example.com", "metadata": {"project_id": "proj_1"}})
    product = client.v1.products.create({"name": "Plan", "images": ["https://example.com/a.png"]})
    price = client.v1.prices.create(
        {"product": product.id, "currency": "eur", "unit_amount": 990, "recurring": {"interval": "month"}}
    )
    subscription = client.v1.subscriptions.create(
        {"customer": customer.id, "items": [{"price": price.id, "quantity": 3}]}
    )
    invoice = client.v1.invoices.create({"customer": customer.id, "auto_advance": False})
    client.v1.invoices.add_lines(invoice.id, {"lines": [{"amount": 500, "description": "Set-up"}]})

    client.v1.products.update(product.id, {"default_price": price.id})
    client.v1.subscriptions.update(subscription.id, {"cancel_at_period_end": True})
    client.v1.invoices.finalize_invoice(invoice.id)

    assert [each.id for each in client.v1.customers.list({"email": "ada@example.com"}).data] == [customer.id]
    assert subscription["items"].data[0].quantity == 3
    assert client.v1.invoices.pay(invoice.id).status == "paid"
    assert client.v1.subscriptions.cancel(subscription.id).status == "canceled"
    assert client.v1.customers.delete(customer.id).deleted is True
    assert client.v1.customers.retrieve(customer.id).deleted is True


def test_events_are_read_in_chronological_order(client: stripe.StripeClient) -> None:
    ids = [client.v1.customers.create({"name": str(at)}).id for at in range(5)]
    newest_first = client.v1.events.list({"types": ["customer.created"]}).data

    later = client.v1.events.list({"ending_before": newest_first[-1].id, "limit": 2}).auto_paging_iter()

    assert [event.data.object["id"] for event in newest_first] == ids[::-1]
    assert [event.data.object["id"] for event in later] == ids[1:]


def test_the_account_and_its_modes(served: SandboxThread, client: stripe.StripeClient) -> None:
    live = client_of(served, "sk_live_demo")

    assert client.v1.accounts.retrieve_current().id == live.v1.accounts.retrieve_current().id
    settings = client.v1.accounts.retrieve_current().settings
    assert settings is not None
    assert settings.dashboard.display_name == "Demo"
    assert client.v1.charges.list().data[0].livemode is False
    assert live.v1.charges.list().data[0].livemode is True
