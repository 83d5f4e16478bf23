"""The kinds and shapes of what is listed under a customer only."""

from collections.abc import Mapping

from scripts.sandbox import pools
from scripts.sandbox.rows import Filter, Kind
from scripts.sandbox.shapes import Json
from scripts.sandbox.types.kind import facet
from scripts.sandbox.types.maker import Made, Maker, Shape, without

_TAX_IDS = (("eu_vat", "DE", "DE123456789"), ("gb_vat", "GB", "GB123456789"), ("us_ein", "US", "12-3456789"))


def _under_customers(
    name: str, plural: str, prefix: str, under: str, *, permission: str = "", **fields: object
) -> Kind:
    """`customer` narrows its lists, but is no parameter of them: it is in the address."""
    return Kind(
        name,
        plural,
        prefix,
        22,
        permission or name,
        {"customer": facet("customer"), "type": facet("type")},
        indexed=("customer",),
        filters={"customer": Filter("customer"), "type": Filter("type")},
        parent="customer",
        under=under,
        lists_by_time=False,
        **fields,  # type: ignore[arg-type]
    )


KINDS: tuple[Kind, ...] = (
    _under_customers(
        "payment_method",
        "payment_methods",
        "pm_1",
        "payment_methods",
        unsupported=("allow_redisplay", "customer_account"),
        event_prefix="payment_method",
        event_names={"created": "attached", "deleted": "detached"},
        keeps_orphans=True,
    ),
    _under_customers(
        "customer_balance_transaction",
        "customers/{id}/balance_transactions",
        "cbtxn_1",
        "balance_transactions",
        permission="customer",
        events=(),
        event_prefix="customer_balance_transaction",
    ),
    _under_customers("tax_id", "tax_ids", "txi_1", "tax_ids", deletable=True, event_prefix="customer.tax_id"),
)


def _payment_method(make: Maker, head: Json, about: Json | None) -> Made:
    """`about` is a charge that was paid with it."""
    if about:
        head["id"] = about["payment_method"]
    details = (about or {}).get("payment_method_details") or {}
    card = details.get("card") or {"brand": make.dice.pick(pools.BRANDS), "last4": f"{make.dice.number(0, 9999):04}"}
    owner = (about or {}).get("billing_details") or {"email": None, "name": "Zoë Buyer"}
    return {
        **head,
        "allow_redisplay": "unspecified",
        "billing_details": {"address": None, "email": owner["email"], "name": owner["name"], "phone": None},
        "card": {
            "brand": card["brand"],
            "country": "DE",
            "exp_month": make.dice.number(1, 12),
            "exp_year": make.dice.number(2027, 2033),
            "fingerprint": make.dice.token(16),
            "funding": "credit",
            "last4": card["last4"],
        },
        "customer": about["customer"] if about else make.id_of("customer"),
        "type": "card",
    }, None


def _customer_balance_transaction(make: Maker, head: Json, about: Json | None) -> Made:
    """`about` has the customer, the amount and the balance after it."""
    customer = make.some("customer") or {"id": None, "balance": 0, "currency": None}
    moved = about or {"customer": customer["id"], "amount": -500, "ending_balance": customer["balance"]}
    return {
        **head,
        "amount": moved["amount"],
        "checkout_session": None,
        "credit_note": None,
        "currency": "usd",
        "customer": moved["customer"],
        "description": make.dice.pick((None, "Gutschrift", "Goodwill")),
        "ending_balance": moved["ending_balance"],
        "invoice": None,
        "type": "adjustment",
    }, None


def _tax_id(make: Maker, head: Json, about: Json | None) -> Made:
    type, country, value = make.dice.pick(_TAX_IDS)
    customer = make.id_of("customer")
    return {
        **without(head, "metadata"),
        "country": country,
        "customer": customer,
        "customer_account": None,
        "owner": {"customer": customer, "type": "customer"},
        "type": type,
        "value": value,
        "verification": {"status": "pending", "verified_address": None, "verified_name": None},
    }, None


SHAPES: Mapping[str, Shape] = {
    "payment_method": _payment_method,
    "customer_balance_transaction": _customer_balance_transaction,
    "tax_id": _tax_id,
}
