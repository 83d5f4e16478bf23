"""Types that Stripe lists under each customer only. They are read customer by customer, in the order of their ids."""

from sync.registry.row import (
    BY_CUSTOMER,
    CREATED,
    CUSTOMER,
    OF_CUSTOMER,
    Column,
    Explored,
    Filter,
    ObjectType,
    Parent,
    events,
)

_BALANCE = "/v1/customers/{id}/balance_transactions"

TYPES = (
    # A detached payment method can still be retrieved, but it has no customer and is never attached again.
    ObjectType(
        "payment_method",
        table="payment_methods",
        path="/v1/payment_methods",
        ordinal=27,
        group="Payment methods",
        scope="customers:read",
        events=events("payment_method", "attached", "automatically_updated", "detached", "updated"),
        deleted_by="payment_method.detached",
        parent=Parent("customer", "/v1/customers/{id}/payment_methods", "customer"),
        filters=(Filter("customer"), Filter("type")),
        explored=Explored(
            (
                Column("Payment method", "id", "title"),
                Column("Type", "type"),
                Column("Brand", "card_brand"),
                Column("Last four", "last4"),
                Column("Expires", "card_expires", needs="medium"),
                CUSTOMER,
                CREATED,
            ),
            finds=OF_CUSTOMER,
            find_label=BY_CUSTOMER,
        ),
    ),
    # Each changes its customer's balance, and of that Stripe tells.
    ObjectType(
        "customer_balance_transaction",
        table="customer_balance_transactions",
        path=_BALANCE,
        ordinal=28,
        group="Billing",
        scope="customers:read",
        events=(),
        parent=Parent("customer", _BALANCE, "customer", holds_objects=True),
        is_reread=True,
        permission="rak_customer_read",
        explored=Explored(
            (
                Column("Customer balance transaction", "id", "title"),
                Column("Type", "type"),
                Column("Amount", "amount", "money"),
                Column("Balance after", "ending_balance", "money"),
                CUSTOMER,
                CREATED,
            ),
            finds=OF_CUSTOMER,
            find_label=BY_CUSTOMER,
        ),
    ),
    # The plain list has the account's own tax ids alone.
    ObjectType(
        "tax_id",
        table="tax_ids",
        path="/v1/tax_ids",
        ordinal=29,
        heading="Tax ids",
        group="Billing",
        scope="customers:read",
        events=events("customer.tax_id", "created", "deleted", "updated"),
        deleted_by="customer.tax_id.deleted",
        parent=Parent("customer", "/v1/customers/{id}/tax_ids", "customer"),
        explored=Explored(
            (
                Column("Tax id", "value", "title"),
                Column("Type", "type"),
                Column("Country", "country"),
                Column("Verified", "verification"),
                CUSTOMER,
                CREATED,
            ),
            finds=OF_CUSTOMER,
            find_label=BY_CUSTOMER,
        ),
    ),
)
